"""Joins shards and scores into the catalogue."""

from typing import TYPE_CHECKING

from dioscuri.catalogs.tables import make_catalog
from dioscuri.job import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    settings = dict(snakemake.params.items())
    scores = {
        arm: [path for path in snakemake.input.scores if f"/{arm}/inference/" in path] for arm in settings["arms"]
    }
    make_catalog(
        snakemake.input.shards,
        scores,
        snakemake.output.fits,
        snakemake.output.parquet,
        penalties=settings["penalties"],
        duplicates_path=snakemake.output.duplicates,
        stars_path=snakemake.output.stars,
        source_radius=settings["source_radius"],
        table=settings["table"],
        **settings["zero_points"],
        settings=settings,
    )
