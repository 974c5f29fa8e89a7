"""Packs the spectra of one shard of LAMOST MRS files."""

from typing import TYPE_CHECKING

from pathlib import Path

from dioscuri.job import logged, provenance, use_threads
from dioscuri.spectra.arms import Arm
from dioscuri.spectra.ingest import Limits, ingest_files, write
from dioscuri.spectra.inputs import read_manifest
from dioscuri.spectra.library import SpectralLibrary
from dioscuri.spectra.velocity import Templates, VelocityMeter

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    use_threads(snakemake.threads)
    settings = dict(snakemake.params.items())
    library = SpectralLibrary.load(snakemake.input.library)
    arms = [Arm(name, **facts) for name, facts in settings["arms"].items()]
    meters = {arm.name: VelocityMeter(Templates.from_library(library, arm), arm) for arm in arms}
    files = read_manifest(Path(snakemake.input.manifest))[int(snakemake.wildcards.shard)]
    limits = Limits(settings["ingest"]["snr_min"], npixbad_max=settings["npixbad_max"], teff=library.limits["teff"])
    ingested = ingest_files(files, arms, meters, limits=limits, coadds=settings["ingest"]["coadds"])
    write(ingested, snakemake.output.shard, snakemake.output.rejected, provenance(settings, files=files))
