"""Reads a user's synthetic observations into a catalogue."""

from typing import TYPE_CHECKING

from dioscuri.analogues.user_catalogue import Channel, load
from dioscuri.job import logged, provenance

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    settings = snakemake.params.catalogue
    load(
        snakemake.output[0],
        {name: Channel(**settings["files"][name]) for name in snakemake.params.channels},
        settings["metadata"],
        distance_pc=settings["distance"],
        separation_au=settings["separation"],
        provenance=provenance(settings),
    )
