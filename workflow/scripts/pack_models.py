"""Packs trained models for `dioscuri predict`."""

from pathlib import Path
from typing import TYPE_CHECKING

from dioscuri.job import logged, provenance
from dioscuri.release import pack_lamost_mrs
from dioscuri.spectra.arms import Arm

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    arms = [Arm(name, **facts) for name, facts in snakemake.params.arms.items()]
    folders = [Path(path).parent for path in snakemake.input.models]
    models = {arm.name: [folder for folder in folders if arm.name in folder.parts] for arm in arms}
    folder = Path(snakemake.output[0]).parent
    pack_lamost_mrs(models, snakemake.input.library, arms, folder, provenance(dict(snakemake.params.items())))
