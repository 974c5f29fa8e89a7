"""Scores the test mocks with one model."""

from pathlib import Path
from typing import TYPE_CHECKING

from dioscuri.evaluation.mrs_rates import evaluate_model
from dioscuri.job import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    folder = Path(snakemake.input.model).parent
    evaluate_model(folder, snakemake.input.test, snakemake.output[0], threads=snakemake.threads)
