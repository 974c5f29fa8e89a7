"""Draws single stars and pairs and makes their stamps."""

from typing import TYPE_CHECKING

from dioscuri.job import logged
from dioscuri.psf.effective import Psf
from dioscuri.stamps.mocks import Law, Noise, Renderer, draw_sources, make_stamps, write_stamps

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    params, renderer = snakemake.params, Renderer(Psf.load(snakemake.input.psf))
    law, noise, drawn = Law(**params.law), Noise(**params.noise), {"n_members": renderer.n_members, **params.fixed}
    sources = draw_sources(params.n, params.seed, law, noise=noise, **drawn)
    stamps = make_stamps(sources, renderer, noise, params.seed)
    write_stamps(snakemake.output[0], stamps, sources, dict(params.items()), psf=snakemake.input.psf)
