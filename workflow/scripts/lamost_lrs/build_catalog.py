"""Joins scored shards into the catalogue of low-resolution spectra."""

from typing import TYPE_CHECKING

from dioscuri.catalogs.lrs_catalog import print_table, write_catalog
from dioscuri.job import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    output = snakemake.output
    write_catalog(snakemake.input.shards, output.fits, output.parquet)
    print_table(output.parquet, output.printed, snakemake.params.threshold)
