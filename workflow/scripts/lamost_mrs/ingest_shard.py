"""Packs the spectra of one shard of LAMOST files."""

from pathlib import Path
from typing import TYPE_CHECKING

from dioscuri.arms import Arm
from dioscuri.job import logged, provenance, use_threads
from dioscuri.lamost.ingest import Limits, ingest_files, write
from dioscuri.lamost.inputs import read_manifest
from dioscuri.lamost.surveys import SURVEYS
from dioscuri.spectra.templates import velocity_meters

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    use_threads(snakemake.threads)
    params = snakemake.params
    arms = [Arm(name, **facts) for name, facts in params.arms.items()]
    meters = velocity_meters(snakemake.input.templates, arms)
    limits = Limits(params.snr_min, npixbad_max=params.npixbad_max)
    files = read_manifest(Path(snakemake.input.manifest)).files(int(snakemake.wildcards.shard))
    ingested = ingest_files(files, SURVEYS[params.survey], arms, meters, limits=limits, coadds=params.coadds)
    write(ingested, snakemake.output.shard, snakemake.output.rejected, provenance(dict(params.items()), files=files))
