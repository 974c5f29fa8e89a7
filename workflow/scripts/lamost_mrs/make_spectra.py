"""Draws the pairs of one shard and makes their spectra."""

from typing import TYPE_CHECKING

from dioscuri.arms import Arm
from dioscuri.job import logged, use_threads
from dioscuri.libraries.grid import SpectralLibrary
from dioscuri.mocks.pairs import write_mock_shard
from dioscuri.stars.contaminants import contaminate
from dioscuri.stars.population import draw_pairs
from dioscuri.stars.tracks import TrackGrid

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    use_threads(snakemake.threads)
    params, (start, n_pairs) = snakemake.params, snakemake.params.pairs
    arms = [Arm(name, **facts) for name, facts in params.arms.items()]
    libraries = [SpectralLibrary.load(path) for path in snakemake.input.libraries]
    tracks, limits = TrackGrid.load(snakemake.input.tracks), libraries[0].limits
    pairs = draw_pairs(n_pairs, params.seed, tracks, limits, start=start, **params.population)
    pairs = contaminate(pairs, params.contaminants, params.seed, tracks, limits)
    product = {"population": pairs, "recipe": params.recipe, "seed": params.seed}
    write_mock_shard(snakemake.output[0], arms=arms, libraries=libraries, **product)
