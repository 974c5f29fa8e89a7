"""Draws how well known parameters are recovered."""

from typing import TYPE_CHECKING

from dioscuri.job import logged
from dioscuri.plots.analogues import recovery

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    recovery(snakemake.output[0], snakemake.input.recovery)
