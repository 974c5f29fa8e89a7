"""Finds out what the list of candidates is worth."""

from pathlib import Path
from typing import TYPE_CHECKING

from dioscuri.cluster.stages import assess
from dioscuri.job import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    files, folder = snakemake.input, Path(snakemake.output.rates).parent
    assess(folder, files.sources, files.injected, **dict(snakemake.params.items()))
