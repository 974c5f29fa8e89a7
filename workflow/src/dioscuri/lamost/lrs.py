"""LAMOST LRS (R = 1800, 3700–9000 Å): mocks by the chain of MRS, and observed spectra normalised alike."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from dioscuri.arms import C_KMS, Arm
from dioscuri.libraries.grid import SpectralLibrary
from dioscuri.mocks.augment import Recipe
from dioscuri.mocks.pairs import MockBatch, make_mocks
from dioscuri.spectra.smoothing import WIDTH, smoothed

# What a library needs to serve LRS: three pixels per resolution element of R = 5000, a ninth of MRS's pixels per Å.
RESOLUTION, STEP_KMS = 5000.0, 20.0


def make_lrs_mocks(
    columns: Mapping[str, np.ndarray],
    libraries: Sequence[SpectralLibrary],
    arm: Arm,
    *,
    seed: int,
    recipe: str | Recipe = "lrs",
    width: float = WIDTH,
    batch: int = 64,
) -> Iterator[MockBatch]:
    """Mock pairs as `make_mocks` makes them, on the one arm of LRS, over their Gaussian-smoothed flux.

    `arm` (config/surveys.yaml: "full"), `libraries` with a window of its name; `width` [Å] of the smoothing, 350 as
    printed by Jing et al. (2025), 50 in Ho et al. (2017); `recipe` "lrs" (what the telescope delivers) or "paper".
    """
    continuum = {"method": "gaussian", "width": width}
    return make_mocks(columns, libraries, [arm], recipe=recipe, seed=seed, batch=batch, continuum=continuum)


def normalise_observed(
    wave: np.ndarray, flux: np.ndarray, ivar: np.ndarray, rv: float, arm: Arm, *, width: float = WIDTH
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One observed spectrum as the mocks are: flux over smoothed flux, its error, and where it is good, (L,) each.

    `wave` (N,) ascending, vacuum Å; `ivar` 0 where `flux` (N,) is of no use; `rv` [km/s] of the star, which is
    taken to rest. Pixels that touch a useless one weigh nothing in the smoothing and have an infinite error.
    ValueError where fewer than half of the arm's pixels are good.
    """
    rest = np.asarray(wave, float) / (1 + rv / C_KMS)
    usable = np.isfinite(flux) & np.isfinite(ivar) & (np.asarray(ivar) > 0)
    if usable.sum() < 2:
        raise ValueError("LRS spectrum: no pixel has flux and a positive ivar")
    good = np.interp(arm.wave, rest, usable.astype(float), 0.0, 0.0) > 1 - 1e-9
    if good.mean() < 0.5:
        raise ValueError(
            f"LRS spectrum: {good.mean():.0%} of the pixels between {arm.wave_min:g} and {arm.wave_max:g} Å are good; "
            "accepted: at least half"
        )
    resampled = np.interp(arm.wave, rest[usable], np.asarray(flux, float)[usable])
    sigma = np.interp(arm.wave, rest[usable], np.asarray(ivar, float)[usable] ** -0.5)
    level = smoothed(arm.wave, resampled, width=width, good=good)
    return resampled / level, np.where(good, sigma / level, np.inf), good
