"""Draws the simulated night against its truth."""

from pathlib import Path
from typing import TYPE_CHECKING

from dioscuri.job import logged
from dioscuri.plots.mrs_catalog import night_recall

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    night_recall(
        snakemake.input.catalog,
        Path(snakemake.input.night) / "truth.csv",
        snakemake.output[0],
        arms=snakemake.params.arms,
        penalty=snakemake.params.penalty,
    )
