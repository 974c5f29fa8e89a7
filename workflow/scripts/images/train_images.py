"""Trains one network on the stamps of a case."""

from pathlib import Path
from typing import TYPE_CHECKING

from dioscuri.job import logged
from dioscuri.stamps.mocks import Law, Noise
from dioscuri.stamps.training import train_on_stamps

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    files, settings, wildcards = snakemake.input, dict(snakemake.params.items()), snakemake.wildcards
    settings |= {"law": Law(**settings["law"]), "noise": Noise(**settings["noise"]), "seed": int(wildcards.seed)}
    train_on_stamps(
        Path(snakemake.output.model).parent,
        files.validation,
        files.train or None,
        files.psf,
        files.assumed,
        threads=snakemake.threads,
        about={name: wildcards[name] for name in ("survey", "case", "network")},
        **settings,
    )
