"""Tabulates the benchmark."""

from typing import TYPE_CHECKING

from dioscuri.analogues.benchmark import tabulate
from dioscuri.job import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    tabulate(snakemake.input.rows, snakemake.output.recovery, snakemake.output.heads, snakemake.params.networks)
