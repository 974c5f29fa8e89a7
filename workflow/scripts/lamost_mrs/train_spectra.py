"""Trains one network."""

from pathlib import Path
from typing import TYPE_CHECKING

from dioscuri.job import logged
from dioscuri.learn.spectra.training import train

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    train(
        snakemake.input.train,
        snakemake.input.validation,
        snakemake.wildcards.arm,
        snakemake.params.network,
        snakemake.params.penalty,
        int(snakemake.wildcards.seed),
        Path(snakemake.output.model).parent,
        grid=snakemake.params.grid,
        start=snakemake.input.start or None,
        threads=snakemake.threads,
        **snakemake.params.training,
    )
