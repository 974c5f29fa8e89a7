"""Draws what errors of the PSF do."""

from typing import TYPE_CHECKING

from dioscuri.evaluation.image_merits import read_merits
from dioscuri.job import logged
from dioscuri.plots.images_models import psf_mismatch

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    psf_mismatch(read_merits(snakemake.input.merits), snakemake.output[0])
