"""Fails where a promised number was not reached, if that is to be strict."""

from typing import TYPE_CHECKING

from dioscuri.evaluation.mrs_checks import judge
from dioscuri.job import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    judge(snakemake.input.checks, snakemake.params.strict)
