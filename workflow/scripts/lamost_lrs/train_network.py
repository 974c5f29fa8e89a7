"""Trains one network: on mocks, on spectra labelled by the HR diagram, or on composites of their singles."""

from typing import TYPE_CHECKING

from dioscuri.evaluation.lrs_models import train_network
from dioscuri.evaluation.lrs_training import training_sample
from dioscuri.job import logged, use_threads
from dioscuri.spectra.compressed import Components

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    use_threads(snakemake.threads)
    inputs, params, seed = snakemake.input, snakemake.params, int(snakemake.wildcards.seed)
    real = (inputs.get("shards") or [], inputs.get("labels"))
    sample = training_sample(params.training, inputs.mocks, *real, seed)
    components, real_noise = Components.load(inputs.components), params.training != "mocks"
    path = snakemake.output[0]
    train_network(snakemake.wildcards.network, *sample, components, seed, path, params.epochs, real_noise)
