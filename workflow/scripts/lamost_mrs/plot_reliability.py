"""Draws the share of binaries against the predicted probability."""

from typing import TYPE_CHECKING

from dioscuri.job import logged
from dioscuri.plots.mrs_models import reliability

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    reliability(snakemake.input.calibration, snakemake.output[0])
