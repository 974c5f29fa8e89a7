"""Draws the PSF and stamps made with it."""

from typing import TYPE_CHECKING

from dioscuri.job import logged
from dioscuri.plots.images_stamps import psf_and_stamps
from dioscuri.stamps.mocks import Noise

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    params = snakemake.params
    psf_and_stamps(snakemake.input.psf, snakemake.output[0], noise=Noise(**params.noise), seed=params.seed)
