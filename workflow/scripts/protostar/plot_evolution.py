"""Draws the best-matching system through time."""

from typing import TYPE_CHECKING

from dioscuri.job import logged
from dioscuri.plots.analogues import evolution

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    evolution(
        snakemake.output[0],
        dict(zip(snakemake.params.channels, snakemake.input.rankings)),
        snakemake.input.shards,
        method=snakemake.params.method,
        metric=snakemake.params.metric,
        truth_path=str(snakemake.input.truth) or None,
        settings=dict(snakemake.params.items()),
    )
