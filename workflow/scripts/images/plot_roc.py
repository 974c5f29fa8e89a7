"""Draws ROC and confusion matrix on the test stamps."""

from typing import TYPE_CHECKING

from dioscuri.job import logged
from dioscuri.plots.images_models import roc_and_confusion

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    roc_and_confusion(snakemake.input.scores, snakemake.input.optima, snakemake.output[0])
