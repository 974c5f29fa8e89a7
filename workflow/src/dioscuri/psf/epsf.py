"""Effective PSFs from the stars of a frame: as published, and by least squares that hold on undersampled data."""

import dataclasses
import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from dioscuri.psf.effective import Psf
from dioscuri.psf.epsf_equations import Correction, Spline, Star, equations

log = logging.getLogger(__name__)

PAPER_CUTOUT = 25  # px on a side (paper §4.2)
PAPER_OVERSAMPLING = 4
PAPER_SHAPE = 101  # samples on a side
WORST = 5.0  # σ above the median of χ²: a star beyond is no isolated single star
SAME = 0.5  # px: a neighbour as close as this is the star itself
ENOUGH_TO_REJECT = 8  # stars: from fewer none is rejected
CONVERGED = 1e-3  # of the peak


def literal_epsf(
    science: np.ndarray,
    bad: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    *,
    pixel_scale: float,
    maxiters: int = 10,
) -> Psf:
    """The ePSF as published: photutils' EPSFBuilder on 25×25 px around isolated stars, ×4, 101×101 (§4.2).

    science: (H, W) electrons without background; bad: (H, W), true where a pixel is of no use; x, y: (S,) px.
    On undersampled frames it does not converge: at the resolution of WFC3/UVIS it is off by 4 to 7 % of its peak
    around isolated stars, and by over 10 % in a crowded field, where fluxes then scatter by 4 to 6 %. See
    `fit_epsf`.
    """
    from astropy.nddata import NDData
    from astropy.table import Table
    from photutils.psf import EPSFBuilder, extract_stars

    positions = Table({"x": np.asarray(x, float), "y": np.asarray(y, float)})
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        stars = extract_stars(NDData(science, mask=np.asarray(bad, bool)), positions, size=PAPER_CUTOUT)
        if not len(stars):
            raise ValueError(f"ePSF: none of {len(positions)} stars lies {PAPER_CUTOUT // 2} px within the frame")
        build = EPSFBuilder(
            oversampling=PAPER_OVERSAMPLING, shape=(PAPER_SHAPE, PAPER_SHAPE), maxiters=maxiters, progress_bar=False
        )
        epsf = build(stars).epsf
    for message in sorted({str(warning.message) for warning in told}):
        log.warning("EPSFBuilder: %s", message)
    about = {"source": "stars", "method": "EPSFBuilder", "n_stars": len(stars), "maxiters": maxiters}
    return Psf(np.asarray(epsf.data, float)[None], PAPER_OVERSAMPLING, pixel_scale, provenance=about)


@dataclass(frozen=True)
class EpsfFit:
    """An ePSF and the S stars that it comes from.

    psf: the ePSF, with members 1, 2, … from bootstrap samples of the stars where those were asked for. x, y
    [px] and flux (S,): as fitted with it, the flux NaN where a star was lost; chi2 (S,): a pixel, within 4 px
    of the star; used (S,): whether it took part to the end; change: of the ePSF in the last iteration, as a
    share of its peak.
    """

    psf: Psf
    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    chi2: np.ndarray
    used: np.ndarray
    change: float


def fit_epsf(
    science: np.ndarray,
    error: np.ndarray,
    bad: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    flux: np.ndarray,
    start: Psf,
    *,
    neighbours: Sequence[np.ndarray] | None = None,
    size: int = PAPER_CUTOUT,
    smoothness: float = 40.0,
    amplitude: float = 1.0,
    iterations: int = 8,
    draws: int = 0,
    seed: int = 0,
) -> EpsfFit:
    """The ePSF of a frame as a smooth relative correction of `start`, by regularised least squares.

    science, error: (H, W) electrons without background, and 1σ; bad: (H, W), true where a pixel is of no use;
    x, y [px] and flux: (S,) PSF stars, to about half a pixel and 20 %; neighbours: x, y, flux of all stars
    around them, which are subtracted (a row of a PSF star itself does no harm).

    The pixels of all cut-outs (size × size) are fitted at once by cubic B-splines at the oversampling of
    `start`, with fluxes and positions free: stacking residuals, as EPSFBuilder does, cannot tell a wrong
    position from a wrong PSF where a star has most of its light in one pixel. The prior keeps the correction,
    relative to `start`, at the rms `amplitude`, and its second differences from sample to sample at
    1 / smoothness. Beyond the cut-outs, in its whole flux and in its centre the ePSF is that of `start`.

    draws: further members of the ePSF, each from a bootstrap sample of the stars drawn with `seed`. They tell
    the noise, not what the prior smooths away: the error of the ePSF is about twice their spread.
    """
    if start.n_members != 1:
        raise ValueError(f"ePSF: found {start.n_members} PSFs to start from; accepted: one, as from at(x, y)")
    if not len(x):
        raise ValueError("ePSF: found no stars to fit; give isolated, unsaturated ones")
    half = size // 2
    model = Spline.of(start)
    correction = Correction.of(start, half, smoothness, amplitude)
    stars = [Star.cut(science, error, bad, *star, half) for star in zip(x, y, flux)]
    others = _apart(() if neighbours is None else neighbours, stars)
    reach = half + start.centre / start.oversampling

    solution, change = np.zeros(correction.n_unknown), np.inf
    for iteration in range(iterations):
        chi2 = _refit(stars, others, model, reach)
        used = _ordinary(chi2, reject=iteration > 0)
        if not used.any():
            raise ValueError(f"ePSF: none of {len(stars)} stars has good pixels, and light, where it should be")
        pixels = equations([star for star, kept in zip(stars, used) if kept], model, correction)
        solution = correction.solve(pixels, solution)
        improved = correction.apply(solution)
        change = float(np.abs(improved - model.coefficients).max() / model.coefficients.max())
        model = dataclasses.replace(model, coefficients=improved)
        log.info("ePSF, iteration %d: %d stars, changed by %.4f of the peak", iteration + 1, used.sum(), change)
        if change < CONVERGED:
            break
    chi2 = _refit(stars, others, model, reach)

    members = [model.samples()]
    rng = np.random.default_rng(seed)
    n_used = int(used.sum())
    for _ in range(draws):
        counts = rng.multinomial(n_used, np.full(n_used, 1 / n_used))
        drawn = correction.apply(correction.solve(pixels.counted(counts), solution))
        members.append(dataclasses.replace(model, coefficients=drawn).samples())
    about = {
        "source": "stars",
        "method": "regularised least squares",
        "n_stars": n_used,
        "settings": {"size": size, "smoothness": smoothness, "amplitude": amplitude, "seed": seed},
        "start": start.provenance,
    }
    return EpsfFit(
        Psf(np.stack(members), start.oversampling, start.pixel_scale, provenance=about),
        np.array([star.x for star in stars]),
        np.array([star.y for star in stars]),
        np.array([star.flux for star in stars]),
        chi2,
        used,
        change,
    )


def _apart(neighbours: Sequence[np.ndarray], stars: Sequence[Star]) -> np.ndarray:
    """The neighbours (N, 3: x, y, flux) that are not the stars themselves."""
    if not len(neighbours):
        return np.empty((0, 3))
    table = np.transpose([np.asarray(column, float) for column in neighbours])
    distances, _ = cKDTree([(star.x, star.y) for star in stars]).query(table[:, :2])
    return table[distances > SAME]


def _refit(stars: Sequence[Star], others: np.ndarray, model: Spline, reach: float) -> np.ndarray:
    """Subtract from every star its neighbours, PSF stars among them, and fit it; returns χ² (S,), NaN where lost."""
    table = np.vstack([[(star.x, star.y, np.nan_to_num(star.flux)) for star in stars], others])
    for number, star in enumerate(stars):
        if star.lost:
            continue
        near = np.abs(table[:, :2] - [star.x, star.y]).max(axis=1) < reach
        near[number] = False
        star.subtract(model, table[near])
        star.fit(model)
    return np.array([star.chi2(model) for star in stars])


def _ordinary(chi2: np.ndarray, *, reject: bool) -> np.ndarray:
    """Which stars are as well fitted as the others: the rest are double, or have something beside them."""
    found = np.isfinite(chi2)
    if not reject or found.sum() < ENOUGH_TO_REJECT:
        return found
    median = np.median(chi2[found])
    scatter = 1.4826 * np.median(np.abs(chi2[found] - median))
    return found & (np.nan_to_num(chi2, nan=np.inf) <= median + WORST * scatter)
