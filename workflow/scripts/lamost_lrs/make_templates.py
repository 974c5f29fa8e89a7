"""Velocity templates of the low-resolution mocks' own library."""

from typing import TYPE_CHECKING

from dioscuri.job import logged, provenance
from dioscuri.lamost.lrs_reduction import VELOCITY_ARM, velocity_templates
from dioscuri.libraries.grid import SpectralLibrary
from dioscuri.spectra.templates import save_templates

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    library = SpectralLibrary.load(snakemake.input.library)
    templates = {"velocity": (VELOCITY_ARM, velocity_templates(library, snakemake.params.width))}
    save_templates(snakemake.output[0], templates, provenance(dict(snakemake.params.items())))
