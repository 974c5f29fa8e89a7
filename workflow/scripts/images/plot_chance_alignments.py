"""Draws the share of chance alignments against the density of stars."""

from typing import TYPE_CHECKING

from dioscuri.job import logged
from dioscuri.plots.images_stamps import chance_alignments

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    chance_alignments(snakemake.input.chance, snakemake.output[0])
