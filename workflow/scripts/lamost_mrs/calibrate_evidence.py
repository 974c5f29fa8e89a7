"""Calibrates how much fits of two stars and networks say together, on validation mocks as they are seen."""

from pathlib import Path
from typing import TYPE_CHECKING

from dioscuri.evaluation.mock_evidence import write_evidence
from dioscuri.job import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    files, params = snakemake.input, snakemake.params
    write_evidence(
        files.mocks,
        files.tables,
        files.fits,
        {arm: [Path(path).parent for path in files.models if f"/{arm}/" in path] for arm in params.arms},
        snakemake.output[0],
        penalty=params.penalty,
        threads=snakemake.threads,
        settings=dict(params.items()),
    )
