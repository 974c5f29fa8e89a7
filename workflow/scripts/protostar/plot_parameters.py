"""Draws the parameters of the analogues."""

from typing import TYPE_CHECKING

from dioscuri.analogues.catalogue import read_frame
from dioscuri.job import logged
from dioscuri.plots.analogues import parameter_histograms

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    methods = list(snakemake.params.methods)
    parameter_histograms(
        snakemake.output[0],
        snakemake.input.ranking,
        snakemake.params.cut,
        methods,
        {method: "l1" if "/" in method else snakemake.params.metric for method in methods},
        truth_path=str(snakemake.input.truth) or None,
        isotropic=read_frame(snakemake.input.shards[0]) if snakemake.params.isotropic else None,
        caveat=snakemake.params.caveat.replace("\n", ", "),
        settings=dict(snakemake.params.items()),
    )
