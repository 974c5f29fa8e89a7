"""Writes the page that tells what a run found."""

from typing import TYPE_CHECKING

from dioscuri.evaluation.summary import write_page
from dioscuri.job import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    params = snakemake.params
    write_page(snakemake.output[0], params.results, params.rules, f"dioscuri: {snakemake.config['preset']}")
