"""Draws the best candidates."""

from typing import TYPE_CHECKING

from dioscuri.arms import Arm
from dioscuri.job import logged
from dioscuri.plots.mrs_catalog import candidates

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    candidates(
        snakemake.input.candidates,
        snakemake.input.shards,
        snakemake.input.library,
        [Arm(name, **facts) for name, facts in snakemake.params.arms.items()],
        snakemake.output[0],
        penalty=snakemake.params.penalty,
    )
