"""Sets the networks' figures of merit beside the optimum's and the paper's."""

from typing import TYPE_CHECKING

from dioscuri.evaluation.image_merits import summarise
from dioscuri.job import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    summarise(snakemake.input.scores, snakemake.input.optima, snakemake.output[0])
