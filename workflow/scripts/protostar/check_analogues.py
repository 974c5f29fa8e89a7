"""Writes the numbers of the protostar line."""

from typing import TYPE_CHECKING

from dioscuri.evaluation.protostar_checks import write_checks
from dioscuri.job import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    write_checks(snakemake.output[0], snakemake.input.recovery, snakemake.input.heads, snakemake.input.true_snapshots)
