"""Writes the files of a simulated survey, its catalogue and its truth."""

from typing import TYPE_CHECKING

from dioscuri.io import atomic
from dioscuri.job import logged, use_threads
from dioscuri.lamost.lrs_survey import simulate_survey
from dioscuri.libraries.grid import SpectralLibrary
from dioscuri.libraries.photometry import Photometry
from dioscuri.stars.field import FieldLaw
from dioscuri.stars.tracks import TrackGrid

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    use_threads(snakemake.threads)
    params = dict(snakemake.params.items())
    law, n, seed = FieldLaw(**params.pop("population")), params.pop("n"), params.pop("seed")
    library, tracks = SpectralLibrary.load(snakemake.input.library), TrackGrid.load(snakemake.input.tracks)
    params["photometry"] = Photometry.load(snakemake.input.photometry)
    tables = simulate_survey(snakemake.output.files, n, seed, tracks, library, law, **params)
    for path, table in zip((snakemake.output.catalogue, snakemake.output.truth, snakemake.output.hosts), tables):
        with atomic(path) as temporary:
            table.to_csv(temporary, index=False) if path.endswith("csv") else table.to_parquet(temporary, index=False)
