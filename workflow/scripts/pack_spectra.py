"""Packs trained models and velocity templates for `dioscuri predict`."""

from pathlib import Path
from typing import TYPE_CHECKING

from dioscuri.arms import Arm
from dioscuri.job import logged, provenance
from dioscuri.release import pack_lamost_mrs

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    arms = [Arm(name, **facts) for name, facts in snakemake.params.arms.items()]
    folders = [Path(model).parent for model in snakemake.input.models]
    models = {arm.name: [folder for folder in folders if f"/{arm.name}/" in f"{folder}/"] for arm in arms}
    folder = Path(snakemake.output.templates).parent
    about = provenance(dict(snakemake.params.items()))
    pack_lamost_mrs(models, Path(snakemake.input.library), snakemake.input.evidence, arms, folder, about)
