"""Draws systems of the field and makes their low-resolution spectra."""

from typing import TYPE_CHECKING

from dioscuri.job import logged, provenance, use_threads
from dioscuri.libraries.grid import SpectralLibrary
from dioscuri.mocks.lrs_mocks import Disturbances, disturbed, draw_sample, normalised_light
from dioscuri.shards import write_field_mocks
from dioscuri.stars.field import FieldLaw
from dioscuri.stars.tracks import TrackGrid

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    use_threads(snakemake.threads)
    params, seen = snakemake.params, Disturbances(**snakemake.params.disturbances)
    library, tracks = SpectralLibrary.load(snakemake.input.library), TrackGrid.load(snakemake.input.tracks)
    sample = draw_sample(params.n, params.seed, tracks, library, FieldLaw(**params.population), params.teff)
    sample = disturbed(sample, params.seed, seen, library.limits["afe"])
    flux = normalised_light(sample, library, params.width)
    write_field_mocks(snakemake.output[0], sample, flux, provenance(dict(params.items()), library=library.provenance))
