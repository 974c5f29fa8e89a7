"""Joins the refusals of all shards into one table."""

from typing import TYPE_CHECKING

import pandas as pd

from dioscuri.io import atomic
from dioscuri.job import logged
from dioscuri.seals import verified

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    table = pd.concat([pd.read_parquet(verified(path)) for path in snakemake.input], ignore_index=True)
    with atomic(snakemake.output[0]) as temporary:
        table.to_parquet(temporary, index=False)
