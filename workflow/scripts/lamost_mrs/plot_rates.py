"""Draws the rates against the penalty."""

from typing import TYPE_CHECKING

from dioscuri.job import logged
from dioscuri.plots.mrs_models import rates_vs_penalty

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    rates_vs_penalty(snakemake.input.rates, snakemake.output[0])
