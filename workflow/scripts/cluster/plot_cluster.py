"""Draws one figure of the star cluster."""

from typing import TYPE_CHECKING

from dioscuri.job import logged
from dioscuri.plots.images_cluster import FIGURES

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    figure = FIGURES[snakemake.params.figure]
    files = {name: snakemake.input[name] for name in snakemake.params.files}
    figure(snakemake.output[0], **files, **snakemake.params.settings)
