"""Tabulates stellar tracks."""

from typing import TYPE_CHECKING

from dioscuri.job import logged
from dioscuri.stars.tracks import load_tracks

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    settings = snakemake.params.tracks
    tracks = load_tracks(snakemake.wildcards.source, settings["mist_dir"], mass_max=settings["mass_max"])
    tracks.save(snakemake.output[0])
