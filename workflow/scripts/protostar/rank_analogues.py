"""Ranks the catalogue against a query."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from dioscuri.analogues.search import rank_query
from dioscuri.job import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    files, networks = snakemake.input, snakemake.params.networks
    methods = [(network, recipe) for network in networks for recipe in snakemake.params.recipes]
    heads = {f"{a}/{b}": [path for path in files.heads if f"/{a}/{b}/" in path] for a, b in methods}
    rank_query(
        snakemake.output.ranking, snakemake.output.estimates, files.shards,
        dict(zip(networks, files.members)), dict(zip(networks, files.queries)),
        heads={method: paths for method, paths in heads.items() if paths}, **snakemake.params.search,
        truth=json.loads(Path(str(files.truth)).read_text(encoding="utf-8")) if files.truth else None,
    )  # fmt: skip
