"""Draws the accuracy along one axis of the test grid."""

from typing import TYPE_CHECKING

from dioscuri.evaluation.image_merits import read_merits
from dioscuri.job import logged
from dioscuri.plots.images_models import accuracy_along

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    accuracy_along(read_merits(snakemake.input.merits), snakemake.wildcards.axis, snakemake.output[0])
