"""Averages the PSFs of the exposures that are searched."""

from typing import TYPE_CHECKING

from dioscuri.cluster.stages import average_psfs
from dioscuri.job import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    average_psfs(snakemake.output[0], snakemake.input.psfs)
