"""Selects the SB2 candidates of the catalogue."""

from typing import TYPE_CHECKING

from dioscuri.catalogs.candidates import select_candidates
from dioscuri.job import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    settings = dict(snakemake.params.items())
    select_candidates(
        snakemake.input.catalog,
        snakemake.output.candidates,
        snakemake.output.counts,
        settings=settings,
        **settings,
    )
