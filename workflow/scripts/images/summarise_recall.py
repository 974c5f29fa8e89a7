"""Counts the pairs found over separation and flux ratio."""

from typing import TYPE_CHECKING

from dioscuri.evaluation.image_merits import summarise_recall
from dioscuri.job import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    summarise_recall(snakemake.input.scores, snakemake.input.optima, snakemake.output[0])
