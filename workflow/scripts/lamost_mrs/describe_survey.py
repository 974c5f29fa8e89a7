"""Compares the lists of a simulated survey with its truth."""

from typing import TYPE_CHECKING

from dioscuri.evaluation.mrs_survey import describe_survey
from dioscuri.job import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    given, settings = snakemake.input, dict(snakemake.params.items())
    truth = f"{given.night}/truth.csv"
    describe_survey(
        *(given.catalog, given.candidates, given.sources, truth, given.tracks),
        *(snakemake.output.rates, snakemake.output.summary),
        settings=settings,
        **settings,
    )
