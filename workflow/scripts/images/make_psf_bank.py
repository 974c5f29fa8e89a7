"""Writes the PSFs that networks are trained on."""

from typing import TYPE_CHECKING

from dioscuri.job import logged
from dioscuri.psf.sources import make_bank

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    params, fitted = snakemake.params, snakemake.input.fitted
    make_bank(snakemake.output[0], params.source, params.bank, params.seed, fitted or None)
