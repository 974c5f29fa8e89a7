"""Draws the probability against S/N of one arm."""

from typing import TYPE_CHECKING

from dioscuri.job import logged
from dioscuri.plots.mrs_catalog import probability_vs_snr

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    probability_vs_snr(
        snakemake.input.catalog,
        snakemake.output[0],
        arm=snakemake.wildcards.arm,
        penalties=snakemake.params.penalties,
    )
