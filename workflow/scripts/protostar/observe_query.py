"""Observes a system that the catalogue does not have."""

from pathlib import Path
from typing import TYPE_CHECKING

from dioscuri.analogues.observation.mock_observation import write_observation
from dioscuri.analogues.simulation.system import read_system
from dioscuri.job import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    settings = snakemake.params.catalogue
    write_observation(
        Path(snakemake.output.truth).parent,
        read_system(snakemake.input.system),
        channels=snakemake.params.channels,
        separation_au=settings["separation"],
        fov_au=settings["field"],
        n_pixels=settings["n_pixels"],
        beam_au=settings["beam"],
        seed=snakemake.params.seed,
    )
