"""Calibrates the networks of a case."""

from typing import TYPE_CHECKING

from dioscuri.job import logged
from dioscuri.stamps.calibrate import calibrate

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    files = snakemake.input
    calibrate(snakemake.output[0], files.models, files.bank, files.assumed, **dict(snakemake.params.items()))
