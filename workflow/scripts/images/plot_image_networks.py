"""Draws the layers of the image networks."""

from typing import TYPE_CHECKING

from dioscuri.job import logged
from dioscuri.plots.images_networks import architectures

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    architectures(snakemake.params.networks, snakemake.output[0])
