"""Scores the stars of an exposure for second stars."""

from typing import TYPE_CHECKING

from dioscuri.cluster.stages import score_exposure
from dioscuri.job import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    files, params = snakemake.input, snakemake.params
    score_exposure(
        snakemake.output[0],
        files.frame,
        files.psf,
        files.stars,
        files.detections,
        files.models,
        law=params.law,
        fit_above=params.fit_above,
        true_psfs=files.true_psfs,
    )
