"""Draws the share of pairs found over separation and flux ratio."""

from typing import TYPE_CHECKING

from dioscuri.evaluation.image_merits import read_merits
from dioscuri.job import logged
from dioscuri.plots.images_models import recall_map

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    recall_map(read_merits(snakemake.input.recall), snakemake.output[0])
