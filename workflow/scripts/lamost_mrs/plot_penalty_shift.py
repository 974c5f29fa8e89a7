"""Draws the shift of the logit against the penalty."""

from typing import TYPE_CHECKING

from dioscuri.job import logged
from dioscuri.plots.mrs_models import penalty_shift

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    penalty_shift(snakemake.input.calibration, snakemake.output[0])
