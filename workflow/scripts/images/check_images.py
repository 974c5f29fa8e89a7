"""Writes the numbers of an image survey beside the paper's."""

from typing import TYPE_CHECKING

from dioscuri.evaluation.image_checks import write_checks
from dioscuri.job import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    files = snakemake.input
    further = {"chance_csv": files.chance, "others": files.others, "calibrations": files.calibrations}
    write_checks(snakemake.output[0], files.merits, snakemake.params.cases, **further)
