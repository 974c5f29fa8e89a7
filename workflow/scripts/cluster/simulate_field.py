"""Writes the exposures of a cluster field whose stars are known."""

from pathlib import Path
from typing import TYPE_CHECKING

from dioscuri.cluster.field import simulate
from dioscuri.job import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    params = snakemake.params
    field = {**params.field, "cluster": {**params.field["cluster"], **params.centre}}
    simulate(Path(snakemake.output.truth).parent, params.seed, field)
