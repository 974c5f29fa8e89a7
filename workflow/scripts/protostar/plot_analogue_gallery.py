"""Draws systems of the catalogue through time."""

from typing import TYPE_CHECKING

from dioscuri.job import logged
from dioscuri.plots.analogues import gallery

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    settings = dict(snakemake.params.items())
    gallery(snakemake.output[0], snakemake.input.shards, **settings, settings=settings)
