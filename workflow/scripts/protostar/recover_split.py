"""Recovers the parameters of held-out images with one network and one way of holding out."""

from typing import TYPE_CHECKING

from dioscuri.analogues.benchmark import recover_split
from dioscuri.job import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    recover_split(
        snakemake.output[0],
        snakemake.input.shards,
        snakemake.input.features,
        snakemake.wildcards.network,
        observation=snakemake.wildcards.observation,
        as_they_are=snakemake.input.as_they_are or None,
        kind=snakemake.wildcards.split_kind,
        **snakemake.params.benchmark,
        **snakemake.params.search,
        metric=snakemake.params.metric,
        seed=snakemake.params.seed,
    )
