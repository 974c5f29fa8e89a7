"""Draws the distances of the catalogue to the query."""

from typing import TYPE_CHECKING

from dioscuri.job import logged
from dioscuri.plots.analogues import distance_distributions

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    distance_distributions(
        snakemake.output[0], snakemake.input.ranking, snakemake.params.cut, settings=snakemake.params.cut
    )
