"""Scores stamps of the user's own."""

from typing import TYPE_CHECKING

from dioscuri import door, predict
from dioscuri.job import logged
from dioscuri.predict import csst

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]) as log:
    files, out, noise = snakemake.input, snakemake.output, snakemake.params.noise
    log.info("scored with %s", ", ".join(files.models))
    table, information = csst.predict(
        door.expand_inputs(snakemake.params.stamps, csst.SUFFIXES, csst.WHAT),
        psf=files.psf,
        noise=noise["sigma"],
        background=noise["background"],
        models=list(files.models),
    )
    for path in out.table:
        predict.write(table, path, information)
    predict.plot(table, out.figure, information)
