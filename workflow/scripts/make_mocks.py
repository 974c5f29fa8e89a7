"""Draws the pairs of one shard and makes their spectra."""

from typing import TYPE_CHECKING

from dioscuri.job import logged, use_threads
from dioscuri.spectra.arms import Arm
from dioscuri.spectra.library import SpectralLibrary
from dioscuri.spectra.mocks import write_mock_shard
from dioscuri.stars.population import draw_pairs
from dioscuri.stars.tracks import TrackGrid

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    use_threads(snakemake.threads)
    libraries = [SpectralLibrary.load(path) for path in snakemake.input.libraries]
    tracks, seed = TrackGrid.load(snakemake.input.tracks), snakemake.params.seed
    start, n_pairs = snakemake.params.pairs
    pairs = draw_pairs(n_pairs, seed, tracks, libraries[0].limits, start=start, **snakemake.params.population)
    write_mock_shard(
        snakemake.output[0],
        arms=[Arm(name, **facts) for name, facts in snakemake.params.arms.items()],
        libraries=libraries,
        population=pairs,
        recipe=snakemake.params.recipe,
        seed=seed,
    )
