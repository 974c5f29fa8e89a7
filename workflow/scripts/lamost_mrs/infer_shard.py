"""Scores one shard of observations in one arm."""

from typing import TYPE_CHECKING

from dioscuri.arms import Arm
from dioscuri.catalogs.scores import score_shard
from dioscuri.job import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    score_shard(
        snakemake.input.shard,
        Arm(snakemake.wildcards.arm, **snakemake.params.grid),
        snakemake.input.pairs,
        snakemake.input.models,
        snakemake.output[0],
        **snakemake.params.inference,
        seed=snakemake.params.seed,
        threads=snakemake.threads,
        settings=dict(snakemake.params.items()),
    )
