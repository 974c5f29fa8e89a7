"""Draws a pair of mocks."""

from typing import TYPE_CHECKING

from dioscuri.arms import Arm
from dioscuri.job import logged
from dioscuri.plots.mrs_mocks import mock_pair

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    arms = [Arm(name, **facts) for name, facts in snakemake.params.arms.items()]
    mock_pair(snakemake.input.shard, snakemake.input.library, arms, snakemake.output[0])
