"""Shares the observed files out over shards."""

from pathlib import Path
from typing import TYPE_CHECKING

from dioscuri.door import expand_inputs
from dioscuri.io import write_json
from dioscuri.job import logged
from dioscuri.lamost.inputs import plan_shards

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    paths = expand_inputs(snakemake.params.spectra or [snakemake.input.simulated])
    params = snakemake.params
    plan = plan_shards(paths, params.files_per_shard, Path(snakemake.output.manifest), params.exposures_per_shard)
    write_json(snakemake.output.plan, plan)
