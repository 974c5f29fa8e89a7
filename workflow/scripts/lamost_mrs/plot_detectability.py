"""Draws the recall against the labels of the pairs."""

from typing import TYPE_CHECKING

from dioscuri.job import logged
from dioscuri.plots.mrs_models import detectability

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    detectability(snakemake.input.scores, snakemake.output[0], penalty=snakemake.params.penalty)
