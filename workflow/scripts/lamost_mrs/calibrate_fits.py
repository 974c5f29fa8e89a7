"""Calibrates what fits of one and two stars are worth, on validation mocks."""

from typing import TYPE_CHECKING

from dioscuri.arms import Arm
from dioscuri.evaluation.mock_path import write_calibrated_fits
from dioscuri.job import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    settings = dict(snakemake.params.items())
    arms = [Arm(name, **facts) for name, facts in settings.pop("arms").items()]
    job = {**settings, "threads": snakemake.threads, "settings": dict(snakemake.params.items())}
    write_calibrated_fits(snakemake.input.mocks, snakemake.input.library, arms, snakemake.output[0], **job)
