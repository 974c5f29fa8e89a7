"""Classifies every star from all its epochs, and fits orbits."""

from typing import TYPE_CHECKING

from dioscuri.catalogs.source_table import describe_sources
from dioscuri.job import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    settings = dict(snakemake.params.items())
    describe_sources(snakemake.input.catalog, snakemake.input.stars, snakemake.output[0], settings=settings, **settings)
