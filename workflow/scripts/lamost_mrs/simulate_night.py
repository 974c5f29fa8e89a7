"""Writes a night of LAMOST files whose stars are known."""

from typing import TYPE_CHECKING

from dioscuri.arms import Arm
from dioscuri.job import logged, use_threads
from dioscuri.lamost.night import simulate_night
from dioscuri.libraries.grid import SpectralLibrary

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    use_threads(snakemake.threads)
    arms = [Arm(name, **facts) for name, facts in snakemake.params.arms.items()]
    library = SpectralLibrary.load(snakemake.input.library)
    simulate_night(snakemake.output[0], library, arms, snakemake.params.seed, **snakemake.params.night)
