"""Draws the observation among its best analogues."""

from typing import TYPE_CHECKING

from dioscuri.job import logged
from dioscuri.plots.analogues import ranked_sheet

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    settings = dict(snakemake.params.items())
    ranked_sheet(
        snakemake.output[0],
        snakemake.input.ranking,
        snakemake.input.query,
        snakemake.input.shards,
        snakemake.wildcards.channel,
        **settings,
        settings=settings,
    )
