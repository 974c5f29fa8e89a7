"""Ranks the true snapshots of members that are observed again."""

from typing import TYPE_CHECKING

from dioscuri.analogues.benchmark import find_true_snapshots
from dioscuri.job import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    find_true_snapshots(
        snakemake.output[0],
        snakemake.input.shards,
        snakemake.input.members,
        snakemake.input.query,
        snakemake.wildcards.channel,
        snakemake.params.network,
        **{name: snakemake.params[name] for name in ("n_queries", "metric", "literal", "scale_features", "seed")},
    )
