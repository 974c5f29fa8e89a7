"""Scores twin binaries of chosen stars."""

from typing import TYPE_CHECKING

from dioscuri.arms import Arm
from dioscuri.evaluation.twins import score_twins
from dioscuri.job import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    settings, given = dict(snakemake.params.items()), snakemake.input
    arms = [Arm(name, **facts) for name, facts in settings.pop("arms").items()]
    about = {"threads": snakemake.threads, "settings": dict(snakemake.params.items())}
    score_twins(given.models, given.library, given.evidence, arms, snakemake.output[0], **settings, **about)
