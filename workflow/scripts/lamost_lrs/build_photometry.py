"""Integrates the photometric bands over a library."""

from typing import TYPE_CHECKING

from dioscuri.job import logged
from dioscuri.libraries.photometry import make_photometry

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    make_photometry(snakemake.output[0], snakemake.input.library)
