"""Joins scored shards into the catalogue of low-resolution spectra."""

from typing import TYPE_CHECKING

from dioscuri.catalogs.lrs_catalog import print_hosts, print_table, write_catalog
from dioscuri.evaluation.lrs_labels import trained_stars
from dioscuri.job import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    inputs, output, params = snakemake.input, snakemake.output, snakemake.params
    trained = trained_stars(inputs.labels, params.training) if inputs.get("labels") else []
    write_catalog(inputs.shards, output.fits, output.parquet, trained)
    print_table(output.parquet, output.printed, params.threshold)
    if inputs.get("hosts"):
        print_hosts(output.parquet, inputs.hosts, output.hosts, params.host_columns, params.threshold)
