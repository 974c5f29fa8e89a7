"""Makes or reads one grid of model spectra."""

from typing import TYPE_CHECKING

from dioscuri.job import logged
from dioscuri.spectra.arms import Arm
from dioscuri.spectra.build import build_embedded
from dioscuri.spectra.ferre import read_ferre
from dioscuri.spectra.library import window_of
from dioscuri.spectra.tabulated import read_table

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    settings, variant = snakemake.params.library, int(snakemake.wildcards.variant)
    windows = {name: window_of(Arm(name, **facts)) for name, facts in snakemake.params.arms.items()}
    sampling = {"step_kms": settings["step_kms"], "resolution": settings["resolution"]}
    if settings["source"] == "embedded":
        library = build_embedded(
            snakemake.params.axes,
            windows,
            linelist=settings["linelist"],
            loggf_jitter=settings["loggf_jitter"] if variant else 0.0,
            seed=snakemake.params.seed + variant,
            workers=snakemake.threads,
            **sampling,
        )
    elif settings["source"] == "ferre":
        library = read_ferre(settings["files"], windows, **sampling)
    else:
        library = read_table(settings["files"][0], windows, **sampling)
    library.save(snakemake.output[0])
