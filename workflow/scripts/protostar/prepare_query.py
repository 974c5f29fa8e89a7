"""Lays an observed map on the pixels of the catalogue."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from dioscuri.analogues.search import prepare_query
from dioscuri.job import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    settings = dict(snakemake.params.query)
    if snakemake.input.truth:  # of a simulated query the stars' places, the distance and the noise are known
        truth = json.loads(Path(str(snakemake.input.truth)).read_text(encoding="utf-8"))
        settings = {name: truth[name] for name in ("primary", "secondary")} | {"distance": truth["distance_pc"]}
        settings["noise"] = truth["noise"].get(snakemake.wildcards.channel)
    files, channel = snakemake.input, snakemake.wildcards.channel
    prepare_query(snakemake.output[0], files.map, files.shards, settings, channel)
