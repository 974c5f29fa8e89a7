"""Counts chance alignments at several densities of stars."""

from typing import TYPE_CHECKING

from dioscuri.cluster.chance_alignments import write_chance_alignments
from dioscuri.job import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    write_chance_alignments(snakemake.output[0], seed=snakemake.params.seed, **snakemake.params.alignment)
