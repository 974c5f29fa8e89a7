"""Sends the mocks of one shard through the path of observations."""

from typing import TYPE_CHECKING

from dioscuri.arms import Arm
from dioscuri.evaluation.mock_path import see_shard
from dioscuri.job import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    files, made = snakemake.input, snakemake.output
    arms = [Arm(name, **facts) for name, facts in snakemake.params.arms.items()]
    job = {"seed": snakemake.params.seed, "threads": snakemake.threads, "settings": dict(snakemake.params.items())}
    see_shard(files.mocks, files.library, arms, files.evidence, made.mocks, made.fits, **job)
