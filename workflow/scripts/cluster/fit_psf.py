"""Writes the PSFs of an exposure."""

from typing import TYPE_CHECKING

from dioscuri.cluster.exposure_psf import write_exposure_psf
from dioscuri.job import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    files, params = snakemake.input, snakemake.params
    write_exposure_psf(
        snakemake.output[0],
        files.frame,
        pixel_area_maps=params.maps,
        file=files.file or None,
        **params.settings,
    )
