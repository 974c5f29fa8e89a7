"""Labels the catalogue's stars by the HR diagram."""

from typing import TYPE_CHECKING

from dioscuri.evaluation.lrs_labels import write_labels
from dioscuri.job import logged
from dioscuri.libraries.photometry import Photometry
from dioscuri.stars.tracks import TrackGrid

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    inputs, output, params = snakemake.input, snakemake.output, snakemake.params
    grids = TrackGrid.load(inputs.tracks), Photometry.load(inputs.photometry)
    truth = inputs.get("truth") or None
    files = output.labels, output.facts, inputs.catalogue
    write_labels(*files, params.columns, *grids, training=params.training, truth=truth)
