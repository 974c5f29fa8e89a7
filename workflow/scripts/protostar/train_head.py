"""Trains one head on the features of one network."""

from pathlib import Path
from typing import TYPE_CHECKING

from dioscuri.analogues.catalogue import read_metadata
from dioscuri.analogues.features import read_features
from dioscuri.job import logged
from dioscuri.learn.features.training import train

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    table, settings = read_features(snakemake.input.features), snakemake.params.head
    train(
        table.features, read_metadata(snakemake.input.shards), range(len(table.features)), None,
        snakemake.wildcards.recipe, int(snakemake.wildcards.seed), Path(snakemake.output.model).parent,
        network=table.description, cells=table.description["cells"], max_epochs=settings["epochs"],
        n_triplets=settings["triplets"], batch=settings["batch"], learning_rate=settings["learning_rate"],
    )  # fmt: skip
