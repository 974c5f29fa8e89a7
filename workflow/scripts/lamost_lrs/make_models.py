"""Components and fits of low-resolution mocks."""

from pathlib import Path
from typing import TYPE_CHECKING

from dioscuri.evaluation.lrs_models import make_models
from dioscuri.job import logged, use_threads
from dioscuri.shards import read_field_mocks

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    use_threads(snakemake.threads)
    stars, flux = read_field_mocks(snakemake.input.mocks)
    params, folder = snakemake.params, Path(snakemake.output.range).parent
    make_models(stars, flux, params.width, folder, tuple(params.window))
