"""Scores the stamps of a sample with one network."""

from typing import TYPE_CHECKING

from dioscuri.evaluation.image_merits import write_scores
from dioscuri.job import logged, use_threads
from dioscuri.stamps.scoring import network_of

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    use_threads(snakemake.threads)
    files, params, wildcards = snakemake.input, snakemake.params, snakemake.wildcards
    scores = [network_of(path, [files.model], files.psf, tta=params.tta) for path in files.stamps]
    about = {name: wildcards[name] for name in ("survey", "case", "sample", "network")} | {"seed": int(wildcards.seed)}
    write_scores(snakemake.output[0], list(zip(params.cell_values, scores)), about, dict(params.items()))
