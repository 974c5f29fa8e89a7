"""Scores the stamps of a cell by the likelihood of two stars against one."""

from typing import TYPE_CHECKING

from dioscuri.evaluation.image_merits import TEST, write_scores
from dioscuri.job import logged
from dioscuri.stamps.bounds import optimum_of
from dioscuri.stamps.mocks import Law, Noise

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    params, files = snakemake.params, snakemake.input
    model = {"law": Law(**params.law), "noise": Noise(**params.noise)}
    model |= {"bank": files.bank or None, "n_unknown": params.n_unknown}
    sample, value = params.cell
    columns = optimum_of(files.stamps, files.psf, files.assumed, shapes=sample == TEST, **model)
    about = {"survey": snakemake.wildcards.survey, "case": snakemake.wildcards.case, "sample": sample}
    write_scores(snakemake.output[0], [(value, columns)], about, dict(params.items()))
