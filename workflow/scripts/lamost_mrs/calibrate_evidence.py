"""Calibrates how much fits of two stars and networks say, on validation mocks."""

from pathlib import Path
from typing import TYPE_CHECKING

from dioscuri.arms import Arm
from dioscuri.evaluation.mock_path import write_evidence
from dioscuri.job import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    settings = dict(snakemake.params.items())
    arms = [Arm(name, **facts) for name, facts in settings.pop("arms").items()]
    write_evidence(
        snakemake.input.mocks,
        {arm.name: [Path(path).parent for path in snakemake.input.models if f"/{arm.name}/" in path] for arm in arms},
        snakemake.input.library,
        arms,
        snakemake.output[0],
        **settings,
        threads=snakemake.threads,
        settings=dict(snakemake.params.items()),
    )
