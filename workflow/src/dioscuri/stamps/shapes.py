"""What photometry programs say of a source's shape: the statistics that people cut on, as rivals of networks.

Each is made so that pairs have more of it than single stars.
"""

import numpy as np

from dioscuri.psf.render import SIZE
from dioscuri.stamps.mocks import Renderer
from dioscuri.stamps.optimum import SingleFit, fit_single

FWHM = 2.0  # px, of DAOFIND's kernel
CORE = 2  # px around the star that qfit and DOLPHOT's numbers look at: 5 × 5 px, as photometry fits
WINDOW = 1.5  # px: σ of the Gaussian that weights the moments
NAMES = ("dao_sharpness", "dao_roundness", "qfit", "moments", "dolphot_sharpness", "dolphot_chi")


def shape_statistics(stamps: np.ndarray, variance: float, renderer: Renderer) -> dict[str, np.ndarray]:
    """`NAMES` → (S,) of `stamps` (S, SIZE, SIZE) [e-] with background `variance` [e²] and the PSF that is assumed.

    dao_sharpness, dao_roundness: DAOFIND's (Stetson 1987), by photutils; the first with its sign changed, the second
    without, NaN where there is no peak. qfit: Σ|data − fit| / flux within 5 × 5 px, as photutils and Anderson have it.
    moments: how far the ellipticity and size of the Gaussian-weighted second moments are from those of a star of the
    PSF at the same place, × S/N, what Kuntzer & Courbin (2017) give their classifiers. dolphot_sharpness, dolphot_chi:
    as Dolphin (2000), minus the amplitude of the PSF's Laplacian in the residual per flux (0 for stars, positive here
    for what is broader), and √χ² per pixel.
    """
    stamps = np.asarray(stamps, float)
    fit = fit_single(stamps, variance, renderer)
    model = renderer.render(fit.x, fit.y, fit.flux)
    core = _core(fit)
    noise = np.sqrt(model.clip(0) + variance)
    sharpness, roundness = _daofind(stamps, fit)
    return {
        "dao_sharpness": -sharpness,
        "dao_roundness": np.abs(roundness),
        "qfit": (core * np.abs(stamps - model)).sum((1, 2)) / fit.flux,
        "moments": _moments(stamps, model, fit, variance),
        "dolphot_sharpness": -_laplacian(stamps - model, noise, renderer, fit, core),
        "dolphot_chi": np.sqrt((core * ((stamps - model) / noise) ** 2).sum((1, 2)) / core.sum((1, 2))),
    }


def _core(fit: SingleFit) -> np.ndarray:
    """1 within ± `CORE` px of the fitted star, else 0 (S, SIZE, SIZE)."""
    pixel = np.arange(SIZE)
    rows, columns = (np.abs(pixel - np.rint(place)[:, None]) <= CORE for place in (fit.y, fit.x))
    return (rows[:, :, None] & columns[:, None, :]).astype(float)


def _daofind(stamps: np.ndarray, fit: SingleFit) -> tuple[np.ndarray, np.ndarray]:
    """Sharpness and roundness (by symmetry) of photutils, of all stamps side by side in one image."""
    from photutils.detection import DAOStarFinder

    place = np.c_[np.rint(fit.x) + SIZE * np.arange(len(stamps)), np.rint(fit.y)]
    anything = (-np.inf, np.inf)
    finder = DAOStarFinder(0.0, FWHM, xycoords=place, sharpness_range=anything, roundness_range=anything)
    found = finder(np.hstack(list(stamps)))
    sharpness, roundness = np.full((2, len(stamps)), np.nan)
    if found is not None:
        number = np.clip(np.asarray(found["x_centroid"], float) // SIZE, 0, len(stamps) - 1).astype(int)
        sharpness[number], roundness[number] = np.asarray(found["sharpness"]), np.asarray(found["roundness1"])
    return sharpness, roundness


def _moments(stamps: np.ndarray, model: np.ndarray, fit: SingleFit, variance: float) -> np.ndarray:
    """Distance in (e1, e2, ln size) between data and the model of a single star, × S/N."""
    snr = fit.flux / np.sqrt(fit.flux + SIZE**2 * variance)
    return snr * np.linalg.norm(_second(stamps, fit) - _second(model, fit), axis=1)


def _second(images: np.ndarray, fit: SingleFit) -> np.ndarray:
    """Ellipticity e1, e2 and ln of the size R² (S, 3) of the weighted second moments about the photocentre."""
    x = np.arange(SIZE) - fit.x[:, None]
    y = np.arange(SIZE) - fit.y[:, None]
    weight = np.exp(-0.5 * (x[:, None, :] ** 2 + y[:, :, None] ** 2) / WINDOW**2) * images
    xx, yy = (weight * x[:, None, :] ** 2).sum((1, 2)), (weight * y[:, :, None] ** 2).sum((1, 2))
    xy = (weight * x[:, None, :] * y[:, :, None]).sum((1, 2))
    size = np.maximum(xx + yy, 1e-9)
    total = np.maximum(weight.sum((1, 2)), 1e-9)
    return np.stack([(xx - yy) / size, 2 * xy / size, np.log(size / total)], axis=1)


def _laplacian(
    residual: np.ndarray, noise: np.ndarray, renderer: Renderer, fit: SingleFit, core: np.ndarray, step: float = 0.5
) -> np.ndarray:
    """Weighted amplitude of the PSF's second derivative in the residual: what is broader than a star is negative."""
    steps = ((step, 0.0), (-step, 0.0), (0.0, step), (0.0, -step))
    around = [renderer.render(fit.x + dx, fit.y + dy, fit.flux) for dx, dy in steps]
    template = 4 * renderer.render(fit.x, fit.y, fit.flux) - sum(around)
    weight = core / noise**2
    return (weight * template * residual).sum((1, 2)) / np.maximum((weight * template**2).sum((1, 2)), 1e-30)
