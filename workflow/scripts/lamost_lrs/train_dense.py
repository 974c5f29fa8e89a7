"""Trains one dense network on components of low-resolution mocks."""

from typing import TYPE_CHECKING

from dioscuri.evaluation.lrs_models import train_networks, true_classes
from dioscuri.job import logged, use_threads
from dioscuri.learn.spectra.dense import DenseSettings
from dioscuri.mocks.lrs_mocks import read_mocks
from dioscuri.spectra.compressed import Components

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]) as log:
    use_threads(snakemake.threads)
    stars, flux = read_mocks(snakemake.input.mocks)
    components = Components.load(snakemake.input.components)
    settings, seed = DenseSettings(epochs=snakemake.params.epochs), int(snakemake.wildcards.seed)
    classes = true_classes(stars["q"])
    for row in train_networks(stars, flux, classes, components, seed, snakemake.output[0], settings):
        log.info("%s", row)
