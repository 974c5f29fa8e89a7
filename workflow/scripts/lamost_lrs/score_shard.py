"""Scores one shard of low-resolution spectra."""

from pathlib import Path
from typing import TYPE_CHECKING

from dioscuri.evaluation.lrs_scores import load_scorer, score_shard
from dioscuri.job import logged, use_threads

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    use_threads(snakemake.threads)
    inputs = snakemake.input
    scorer = load_scorer(Path(inputs.models).parent, inputs.calibration, inputs.networks)
    score_shard(inputs.shard, snakemake.output[0], scorer, inputs.get("catalogue") or None, snakemake.params.columns)
