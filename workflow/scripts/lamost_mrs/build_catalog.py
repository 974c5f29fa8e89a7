"""Joins shards and scores into the catalogue."""

from typing import TYPE_CHECKING

from dioscuri.catalogs.merge import make_catalog
from dioscuri.job import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    settings = dict(snakemake.params.items())
    scores = {
        arm: [path for path in snakemake.input.scores if f"/{arm}/inference/" in path] for arm in settings["arms"]
    }
    given = {name: settings[name] for name in ("penalties", "source_radius", "table")} | settings["zero_points"]
    output = snakemake.output
    files = {"duplicates_path": output.duplicates, "stars_path": output.stars}
    joined = (snakemake.input.shards, scores, snakemake.input.pairs, snakemake.input.evidence)
    make_catalog(*joined, output.fits, output.parquet, **files, **given, settings=settings)
