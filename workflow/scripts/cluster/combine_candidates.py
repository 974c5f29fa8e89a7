"""Combines the scores of all exposures to a list of candidates."""

from typing import TYPE_CHECKING

from dioscuri.cluster.stages import combine_candidates
from dioscuri.job import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    files, settings = snakemake.output, dict(snakemake.params.items())
    combine_candidates(
        dict(zip(("parquet", "fits"), files.sources)),
        dict(zip(("parquet", "fits"), files.candidates)),
        snakemake.input.stars,
        snakemake.input.scores,
        **settings,
        settings=settings,
    )
