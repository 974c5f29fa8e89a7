"""Draws the stars of the training sample."""

from typing import TYPE_CHECKING

from dioscuri.job import logged
from dioscuri.plots.mrs_mocks import hr_diagram

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    hr_diagram(snakemake.input.shards, snakemake.output[0], tracks_path=snakemake.input.tracks)
