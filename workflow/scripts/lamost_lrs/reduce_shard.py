"""Reduces the spectra of one shard of low-resolution files."""

from pathlib import Path
from typing import TYPE_CHECKING

from dioscuri.job import logged, provenance, use_threads
from dioscuri.lamost.inputs import read_manifest
from dioscuri.lamost.lrs_reduction import reduce_files, velocity_meter, write_shard
from dioscuri.spectra.templates import load_templates

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    use_threads(snakemake.threads)
    params = dict(snakemake.params.items())
    files = read_manifest(Path(snakemake.input.manifest)).files(int(snakemake.wildcards.shard))
    templates = load_templates(snakemake.input.templates, ["velocity"])["velocity"][1]
    reduced = reduce_files(files, velocity_meter(templates), **params)
    write_shard(reduced, snakemake.output.shard, snakemake.output.rejected, provenance(params, files=files))
