"""Draws which pixels of a pair the network goes by."""

from typing import TYPE_CHECKING

from dioscuri.job import logged
from dioscuri.plots.images_stamps import occlusion
from dioscuri.stamps.mocks import Noise

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    files, params = snakemake.input, snakemake.params
    occlusion(files.model, files.psf, snakemake.output[0], noise=Noise(**params.noise), seed=params.seed)
