"""Draws the pair of the paper's Fig. 2."""

from typing import TYPE_CHECKING

from dioscuri.arms import Arm
from dioscuri.job import logged
from dioscuri.plots.mrs_sources import papers_pair
from dioscuri.stars.tracks import TrackGrid

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    arms = [Arm(name, **facts) for name, facts in snakemake.params.arms.items()]
    papers_pair(TrackGrid.load(snakemake.input.tracks), arms, snakemake.output[0])
