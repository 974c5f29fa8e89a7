"""Draws the share of pairs found over separation and flux ratio."""

from typing import TYPE_CHECKING

from dioscuri.job import logged
from dioscuri.plots.images_models import recall_map

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    recall_map(snakemake.input.scores, snakemake.input.optima, snakemake.output[0])
