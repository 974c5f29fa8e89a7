"""Summarises the scores of all models."""

from typing import TYPE_CHECKING

from dioscuri.evaluation.mrs_rates import summarise
from dioscuri.job import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    summarise(
        snakemake.input.scores,
        snakemake.output.rates,
        snakemake.output.calibration,
        baseline_files=dict(zip(snakemake.params.arms, snakemake.input.classical)),
        settings=dict(snakemake.params.items()),
    )
