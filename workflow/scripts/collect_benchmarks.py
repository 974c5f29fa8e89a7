"""Joins the rows of all benchmarks into one table."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from dioscuri.io import atomic
from dioscuri.job import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    rows = [row for path in snakemake.input for row in json.loads(Path(path).read_text(encoding="utf-8"))]
    table = pd.DataFrame(rows)
    with atomic(snakemake.output[0]) as temporary:
        table.to_csv(temporary, index=False, float_format="%.4g")
