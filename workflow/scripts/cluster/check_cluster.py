"""Writes the numbers of the cluster line beside the paper's."""

from typing import TYPE_CHECKING

from dioscuri.evaluation.cluster_checks import write_cluster_checks
from dioscuri.job import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    files = snakemake.input
    write_cluster_checks(
        snakemake.output[0],
        files.rates,
        files.regions,
        files.spatial,
        truth_csv=files.truth or None,
        photometry_csv=files.photometry or None,
        core_json=files.core or None,
    )
