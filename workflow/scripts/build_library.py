"""Makes or reads one grid of model spectra."""

from typing import TYPE_CHECKING

from dioscuri.arms import Arm
from dioscuri.job import logged
from dioscuri.libraries.sources import make_library

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    make_library(
        snakemake.output[0],
        [Arm(name, **facts) for name, facts in snakemake.params.arms.items()],
        snakemake.params.axes,
        **snakemake.params.library,
        variant=int(snakemake.wildcards.variant),
        seed=snakemake.params.seed,
        workers=snakemake.threads,
    )
