"""Draws the learning curves of all networks."""

from pathlib import Path
from typing import TYPE_CHECKING

from dioscuri.job import logged
from dioscuri.plots.images_models import learning_curves

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    learning_curves([Path(path).parent for path in snakemake.input.histories], snakemake.output[0])
