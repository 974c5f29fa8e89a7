"""Matches the stars of all exposures."""

from typing import TYPE_CHECKING

from dioscuri.cluster.stages import build_cmd
from dioscuri.job import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    files, params = snakemake.output, snakemake.params
    build_cmd(
        files.stars,
        files.detections,
        files.alignment,
        snakemake.input.tables,
        pixel_scale=params.pixel_scale,
        regions=params.regions,
    )
