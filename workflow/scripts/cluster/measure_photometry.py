"""Measures the stars of an exposure."""

from typing import TYPE_CHECKING

from dioscuri.cluster.stages import measure_exposure
from dioscuri.job import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    files, params = snakemake.input, snakemake.params
    measure_exposure(
        snakemake.output[0], files.frame, files.psf, photometry=params.photometry, pixel_area_maps=params.maps
    )
