"""Trains one dense network: on mocks, on spectra labelled by the HR diagram, or on composites of their singles."""

from typing import TYPE_CHECKING

from dioscuri.evaluation.lrs_models import train_networks
from dioscuri.evaluation.lrs_training import training_sample
from dioscuri.job import logged, use_threads
from dioscuri.learn.spectra.dense import DenseSettings
from dioscuri.spectra.compressed import Components

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]) as log:
    use_threads(snakemake.threads)
    inputs, params, seed = snakemake.input, snakemake.params, int(snakemake.wildcards.seed)
    components, settings = Components.load(inputs.components), DenseSettings(epochs=params.epochs)
    real = (inputs.get("shards") or [], inputs.get("catalogue"), params.columns)
    stars, flux, classes = training_sample(params.training, inputs.mocks, *real, seed)
    observed = params.training != "mocks"
    for row in train_networks(stars, flux, classes, components, seed, snakemake.output[0], settings, observed):
        log.info("%s", row)
