"""Packs the seeds of an image network for `dioscuri predict`."""

from typing import TYPE_CHECKING

from dioscuri.job import logged
from dioscuri.learn.images.inference import load_model, save_released

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    save_released(snakemake.output[0], [load_model(path) for path in snakemake.input.models])
