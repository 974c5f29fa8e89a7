"""Writes PSFs that differ from the nominal one by a known amount."""

from typing import TYPE_CHECKING

from dioscuri.job import logged
from dioscuri.psf.sources import make_mismatch

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    params, fitted = snakemake.params, snakemake.input.fitted
    axis = snakemake.wildcards.axis
    make_mismatch(snakemake.output[0], params.source, axis, params.value, params.seed, fitted or None)
