"""Measures the features of a catalogue in one channel with one network, as it is or as a query was observed."""

from typing import TYPE_CHECKING

import torch

from dioscuri.analogues.search import measure_catalogue
from dioscuri.job import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    measure_catalogue(
        snakemake.output[0],
        snakemake.input.shards,
        snakemake.wildcards.channel,
        snakemake.params.network,
        **snakemake.params.stretch,
        seed=snakemake.params.seed,
        query=snakemake.input.get("query"),
        query_out=snakemake.output.get("query"),
        observation=snakemake.params.get("observation"),
        device="cuda" if torch.cuda.is_available() else "cpu",
    )
