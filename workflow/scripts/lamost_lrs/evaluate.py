"""Numbers and checks of the LRS line."""

from pathlib import Path
from typing import TYPE_CHECKING

from dioscuri.evaluation.lrs_merits import write_checks, write_merits
from dioscuri.evaluation.lrs_scores import load_scorer
from dioscuri.job import logged, use_threads
from dioscuri.shards import read_field_mocks

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    use_threads(snakemake.threads)
    inputs, output = snakemake.input, snakemake.output
    stars, flux = read_field_mocks(inputs.mocks)
    scorer = load_scorer(Path(inputs.models).parent, networks=inputs.networks)
    folder, truth = Path(output.merits).parent, inputs.get("truth") or None
    write_merits(folder, stars, flux, scorer, snakemake.params.seed, inputs.catalog, truth)
    write_checks(output.merits, output.checks)
