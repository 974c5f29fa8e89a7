"""Packs the models of low-resolution spectra for `dioscuri predict`."""

import shutil
from typing import TYPE_CHECKING

from dioscuri.evaluation.lrs_models import pack
from dioscuri.io import atomic
from dioscuri.job import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    pack(snakemake.input.networks, snakemake.output.networks)
    for source, target in zip(snakemake.input.parts, snakemake.output.parts, strict=True):
        with atomic(target) as temporary:
            shutil.copyfile(source, temporary)
