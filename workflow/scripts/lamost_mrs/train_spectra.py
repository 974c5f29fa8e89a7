"""Trains one network, or one of each penalty."""

from pathlib import Path
from typing import TYPE_CHECKING

from dioscuri.job import logged
from dioscuri.learn.spectra.training import train

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    files, params, arm = snakemake.input, snakemake.params, snakemake.wildcards.arm
    folders = [Path(path).parent for path in snakemake.output if path.endswith("model.ckpt")]
    given = {"grid": params.grid, "start": files.start or None, "threads": snakemake.threads, **params.training}
    for penalty, folder in zip(params.penalties, folders, strict=True):
        seed = int(snakemake.wildcards.seed)
        train(files.train, files.validation, arm, params.network, penalty, seed, folder, **given)
