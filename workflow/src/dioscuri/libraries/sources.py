"""Makes the spectral library that the settings name: embedded, from FERRE files, or from a table."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dioscuri.arms import Arm
from dioscuri.libraries.build import build_embedded
from dioscuri.libraries.ferre import EDDINGTON, read_ferre
from dioscuri.libraries.grid import window_of
from dioscuri.libraries.tabulated import read_table


def make_library(
    path: str | os.PathLike,
    arms: Sequence[Arm],
    axes: Mapping[str, Sequence[float]],
    *,
    source: str,
    files: Sequence[str] = (),
    linelist: str | None = None,
    resolution: float = 20000.0,
    step_kms: float = 4.0,
    molecules: bool = False,
    loggf_jitter: float = 0.25,
    air: bool | None = None,
    flux_scale: float | None = None,
    wave_file: str | None = None,
    fixed: Mapping[str, float] | None = None,
    variant: int = 0,
    seed: int = 0,
    workers: int = 1,
) -> None:
    """Write a library that covers `arms` to `path` (HDF5).

    `source`: embedded (nodes at `axes`, lines of `linelist`, with or without `molecules`; variants above 0 have log gf
    scattered by `loggf_jitter` [dex], those above 1 no molecules either), ferre (`files`) or table (`files[0]`), whose
    axes are their own. `resolution`: native λ/FWHM of the embedded grid, of a table, and of FERRE files that do not
    state theirs. `air`, `flux_scale` (None: the source's own), `wave_file` (tables) and `fixed` (FERRE) as in
    `read_ferre` and `read_table`.
    """
    windows = {arm.name: window_of(arm) for arm in arms}
    sampling: dict[str, Any] = {"resolution": resolution, "step_kms": step_kms}
    if source == "embedded":
        library = build_embedded(
            {name: np.asarray(values, float) for name, values in axes.items()},
            windows,
            linelist=linelist,
            molecules=molecules and variant < 2,
            loggf_jitter=loggf_jitter if variant else 0.0,
            seed=seed + variant,
            workers=workers,
            **sampling,
        )
    elif source == "ferre":
        scale = EDDINGTON if flux_scale is None else flux_scale
        library = read_ferre(files, windows, air=air, flux_scale=scale, fixed=fixed, **sampling)
    elif source == "table":
        scale = 1.0 if flux_scale is None else flux_scale
        library = read_table(files[0], windows, air=bool(air), flux_scale=scale, wave_file=wave_file, **sampling)
    else:
        raise ValueError(f"library.source: found '{source}'; accepted: embedded, ferre, table")
    library.save(path)
