"""Fits one and two stars to the spectra of one shard."""

from typing import TYPE_CHECKING

from dioscuri.arms import Arm
from dioscuri.catalogs.pairs import fit_shard
from dioscuri.job import logged
from dioscuri.spectra.double_lines import DoubleLineFitter
from dioscuri.spectra.templates import templates_of

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    arms = [Arm(name, **facts) for name, facts in snakemake.params.arms.items()]
    templates = templates_of(snakemake.input.templates, arms)
    fitters = {arm.name: DoubleLineFitter(template, arm) for arm, template in zip(arms, templates)}
    about = {"threads": snakemake.threads, "settings": dict(snakemake.params.items())}
    fit_shard(snakemake.input.shard, fitters, snakemake.input.evidence, snakemake.output[0], **about)
