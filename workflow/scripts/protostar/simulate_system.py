"""Simulates one system of the toy catalogue."""

from typing import TYPE_CHECKING

from dioscuri.analogues.simulation.collapse import simulate
from dioscuri.analogues.simulation.system import write_system
from dioscuri.job import logged, provenance

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    settings = snakemake.params.size
    size = {name: settings[name] for name in ("n_particles", "n_snapshots", "duration")}
    system = simulate(snakemake.params.seed, **size, separation_au=settings["separation"])
    write_system(snakemake.output[0], system, provenance(settings))
