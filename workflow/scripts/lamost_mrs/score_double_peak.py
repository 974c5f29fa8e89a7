"""Scores the test mocks by the double peak of their cross-correlation."""

from typing import TYPE_CHECKING

from dioscuri.arms import Arm
from dioscuri.evaluation.double_peak import score_pairs
from dioscuri.job import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    arm = Arm(snakemake.wildcards.arm, **snakemake.params.grid)
    score_pairs(snakemake.input.test, snakemake.input.library, arm, snakemake.output[0], threads=snakemake.threads)
