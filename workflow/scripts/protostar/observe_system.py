"""Makes the images and metadata of one system."""

from typing import TYPE_CHECKING

from dioscuri.analogues.simulation.system import read_system
from dioscuri.analogues.synthetic import write_system_catalogue
from dioscuri.job import logged, provenance

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    settings = snakemake.params.catalogue
    write_system_catalogue(
        snakemake.output[0],
        read_system(snakemake.input.system),
        int(snakemake.wildcards.system),
        provenance(settings),
        separation_au=settings["separation"],
        fov_au=settings["field"],
        beam_au=(settings["beam"], settings["beam"], 0.0),
        channels=snakemake.params.channels,
        **{name: settings[name] for name in ("n_pixels", "n_lines", "mirror")},
    )
