"""Adds artificial stars to an exposure and searches it."""

from typing import TYPE_CHECKING

from dioscuri.cluster.stages import inject_exposure
from dioscuri.job import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    files = snakemake.input
    inject_exposure(
        snakemake.output[0], files.frame, files.reference, files.psf, files.models, **dict(snakemake.params.items())
    )
