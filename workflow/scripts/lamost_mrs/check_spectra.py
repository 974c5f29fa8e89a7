"""Writes our numbers beside the paper's."""

from pathlib import Path
from typing import TYPE_CHECKING

from dioscuri.evaluation.mrs_checks import write_checks
from dioscuri.job import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    write_checks(
        snakemake.output[0],
        snakemake.input.rates,
        snakemake.input.calibration,
        catalog_path=snakemake.input.catalog,
        truth_csv=Path(snakemake.input.night) / "truth.csv" if snakemake.input.night else None,
        arms=snakemake.params.arms,
        penalty=snakemake.params.penalty,
    )
