"""Scores the test mocks with one model, or with one of each penalty."""

from pathlib import Path
from typing import TYPE_CHECKING

from dioscuri.evaluation.mrs_rates import evaluate_model
from dioscuri.job import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    for scores in snakemake.output:
        evaluate_model(Path(scores).parent, snakemake.input.test, scores, threads=snakemake.threads)
