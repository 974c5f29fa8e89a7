"""Compares candidates and photometry of a simulated field with the truth."""

from pathlib import Path
from typing import TYPE_CHECKING

from dioscuri.cluster.stages import compare_with_truth
from dioscuri.job import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    files, folder = snakemake.input, Path(snakemake.output.rates).parent
    frames = Path(files.truth).parent
    compare_with_truth(folder, files.sources, files.detections, frames, **dict(snakemake.params.items()))
