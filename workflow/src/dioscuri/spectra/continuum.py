"""The continuum of a spectrum: the iterative smoothing spline of Zhang et al. (2021), exact and in batches.

Each iteration fits the cubic smoothing spline f that minimises

    p Σ (y − f)² + (1 − p) ∫ f″² dλ        over the pixels kept so far,

measures the scatter of the residuals in overlapping bins, and drops the pixels that stick out: below −1σ
(lines) or above +3σ (cosmic rays). This is `normalize_spectrum_spline` of the authors' package laspec, behind
the paper's mocks.

All of it is float64: in float32 rounding alone decides on pixels at the clipping limit, and moves the
continuum.

The spline bends on a scale of some twenty Å, so it can also be had on knots a few Å apart
(`dioscuri.spectra.pspline`), to a part in a million and in a third of the time.
"""

import math
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
from numba import njit

from dioscuri.spectra import pspline
from dioscuri.spectra.clipping import FEWEST_KNOTS, FEWEST_PIXELS
from dioscuri.spectra.clipping import clip as clip_pixels


def fit_continuum(
    wave: np.ndarray,
    flux: np.ndarray,
    *,
    p: float = 1e-6,
    q: float = 0.5,
    clip: tuple[float, float] = (-1.0, 3.0),
    half_width: float = 30.0,
    n_iterations: int = 3,
    exact: bool = True,
    threads: int = 1,
) -> np.ndarray:
    """Continuum of every spectrum, (S, L) float64 in the units of `flux`, by the iterative smoothing spline.

    `wave` (L,) strictly ascending [Å]; `flux` (S, L), or (L,) for one spectrum. Pixels that are not finite
    are ignored; the spline bridges them, and beyond the outermost pixels kept it goes on as a straight line.
    `p` is the smoothing parameter for λ in Å (1 interpolates, 0 is a straight line), `q` the quantile of the
    residuals from which deviations count, `clip` the accepted deviations [σ], `half_width` [Å] that of the
    bins of the scatter and the largest distance between them, `n_iterations` how often to fit and clip before
    the last fit, `threads` how many spectra to work on at a time. `exact` False: the spline on fewer knots,
    good to ~1e-6 of the continuum; where that carries a pixel over the clipping limit (rare), to about the
    noise of a pixel over 200. It serves smoothing on scales of many pixels; others are done exactly anyway.

    A spectrum with fewer than 11 finite and positive pixels gives a row of NaN. A row's result depends on
    nothing but the row: order, batch and threads change no bit of it.

    Sources: Zhang et al. (2021, ApJS 256, 14) and laspec; for the spline Reinsch (1967) as in de Boor (1978,
    ch. XIV).
    """
    wave = np.ascontiguousarray(wave, dtype=np.float64)
    shape = np.shape(flux)
    if wave.ndim != 1 or len(shape) not in (1, 2) or shape[-1] != len(wave):
        raise ValueError(
            f"continuum: wave {wave.shape} and flux {shape} do not match; accepted: (L,) and (S, L) or (L,)"
        )
    if not np.all(np.isfinite(wave)) or not np.all(np.diff(wave) > 0):
        raise ValueError("continuum: wave must be finite and strictly ascending; sort the spectrum by wavelength first")
    if not (0 < p < 1 and 0 <= q <= 1 and clip[0] < clip[1] and half_width > 0 and n_iterations >= 0 and threads >= 1):
        raise ValueError(
            f"continuum: found {p=}, {q=}, {clip=}, {half_width=}, {n_iterations=}, {threads=}; "
            "accepted: 0 < p < 1, 0 ≤ q ≤ 1, clip[0] < clip[1], half_width > 0, n_iterations ≥ 0, threads ≥ 1"
        )
    rows = np.ascontiguousarray(flux, dtype=np.float64).reshape(-1, len(wave))
    continuum = np.empty_like(rows)
    settings = (float(p), float(q), float(clip[0]), float(clip[1]), float(half_width), int(n_iterations))
    fit_rows = _fit_rows if exact else pspline.fitter(wave, p) or _fit_rows
    if threads == 1:
        fit_rows(wave, rows, continuum, *settings)
    else:
        # The kernel releases the GIL. Unlike numba's own threads, these survive a fork and need no threading
        # layer.
        bounds = np.linspace(0, len(rows), threads + 1).astype(int)
        with ThreadPoolExecutor(threads) as pool:
            parts = [slice(*ends) for ends in pairwise(bounds)]
            list(pool.map(lambda part: fit_rows(wave, rows[part], continuum[part], *settings), parts))
    return continuum.reshape(shape)


def normalise(
    wave: np.ndarray, flux: np.ndarray, sigma: np.ndarray | None = None, **settings
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Flux and its error over the continuum: (flux / continuum, sigma / continuum or None, continuum).

    Shapes as those of `flux`, (S, L) or (L,); `settings` are those of `fit_continuum`. Where the continuum is
    not positive (noise around nothing, an over-subtracted sky) normalised flux and error are NaN.
    """
    continuum = fit_continuum(wave, flux, **settings)
    positive = np.where(continuum > 0, continuum, np.nan)
    return (
        np.asarray(flux, dtype=np.float64) / positive,
        None if sigma is None else np.asarray(sigma, dtype=np.float64) / positive,
        continuum,
    )


@njit(cache=True, nogil=True, error_model="numpy")
def _fit_rows(wave, flux, continuum, p, q, lowest, highest, half_width, n_iterations):
    """Fill the rows of `continuum` (S, L) from those of `flux` (S, L), one spectrum at a time."""
    n = len(wave)
    good = np.empty(n, np.bool_)
    # One by one: rows unpacked from a matrix have a stride that the compiler does not know, and cost twice as much.
    knots, values, fitted, bends, residual = np.empty(n), np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    work = (np.empty(n), np.empty(n), np.empty(n))
    for s in range(len(flux)):
        row, fit = flux[s], continuum[s]
        n_usable = 0
        for i in range(n):
            good[i] = math.isfinite(row[i])
            n_usable += good[i] and row[i] > 0
        if n_usable < FEWEST_PIXELS:
            fit[:] = np.nan
            continue
        for iteration in range(n_iterations + 1):
            n_good = _pack(wave, row, good, knots, values)
            _smoothing_spline(knots, values, n_good, p, fitted, bends, work)
            _evaluate(wave, good, knots, fitted, bends, n_good, p, fit)
            if iteration < n_iterations:
                for i in range(n):
                    residual[i] = row[i] - fit[i]
                clip_pixels(wave, residual, good, q, lowest, highest, half_width, work[0])


@njit(cache=True, nogil=True, error_model="numpy")
def _pack(wave, row, good, knots, values):
    """Copy the good pixels to the front of `knots` and `values`; returns how many there are."""
    n_good = 0
    for i in range(len(wave)):
        n_good += good[i]
    if n_good < FEWEST_KNOTS:
        for i in range(len(wave)):
            good[i] = math.isfinite(row[i])
    j = 0
    for i in range(len(wave)):
        # Written always, kept when good: no branch to mispredict (j never passes i).
        knots[j] = wave[i]
        values[j] = row[i]
        j += good[i]
    return j


@njit(cache=True, nogil=True, error_model="numpy")
def _smoothing_spline(x, y, n, p, fitted, bends, work):
    """Smoothing spline through n points: fills `fitted` with f and `bends` with u = f″ / 6p at the points.

    With Q the second divided differences and R six times the Gram matrix of the hat functions, u solves the
    pentadiagonal system (6 (1 − p) QᵀQ + p R) u = Qᵀy, with u = 0 at both ends, and f = y − 6 (1 − p) Q u.
    It is eliminated as L D Lᵀ in one sweep down; the sweep up substitutes and forms f.
    """
    per_step, lower1, lower2 = work
    stiffness = 6.0 * (1.0 - p)
    for i in range(n - 1):
        per_step[i] = 1.0 / (x[i + 1] - x[i])
    per_step[n - 1] = 0.0

    slope = (y[1] - y[0]) * per_step[0]
    l1 = l2 = next_l2 = 0.0  # L[i, i−1], L[i, i−2], and L[i+1, i−1]
    taken1 = taken2 = next_taken2 = 0.0  # what the rows above take from the pivot of row i, and of row i+1
    fill = 0.0  # what the row above takes from the coupling of rows i and i+1
    right = right_before = 0.0  # right-hand sides of the rows above
    for i in range(n - 2):
        per0, per1, per2 = per_step[i], per_step[i + 1], per_step[i + 2]
        middle0, middle1 = per0 + per1, per1 + per2
        diagonal = stiffness * (per0 * per0 + middle0 * middle0 + per1 * per1) + 2.0 * p * (x[i + 2] - x[i])
        coupling1 = p * (x[i + 2] - x[i + 1]) - stiffness * per1 * (middle0 + middle1)
        coupling2 = stiffness * per1 * per2
        slope_before, slope = slope, (y[i + 2] - y[i + 1]) * per1

        inverse = 1.0 / ((diagonal - taken2) - taken1)
        coupling1 -= fill
        right, right_before = ((slope - slope_before) - l2 * right_before) - l1 * right, right
        # Products of the couplings first: they need not wait for the division, on which the next row waits.
        taken1 = (coupling1 * coupling1) * inverse
        fill = (coupling1 * coupling2) * inverse
        taken2, next_taken2 = next_taken2, (coupling2 * coupling2) * inverse
        l1 = coupling1 * inverse
        l2, next_l2 = next_l2, coupling2 * inverse
        lower1[i] = l1
        lower2[i] = next_l2
        bends[i + 1] = right * inverse

    bends[0] = bends[n - 1] = 0.0
    bend1 = bend2 = 0.0  # of the points i+1 and i+2
    slope_after = 0.0
    for i in range(n - 2, 0, -1):
        bend = (bends[i] - lower2[i - 1] * bend2) - lower1[i - 1] * bend1
        slope = (bend1 - bend) * per_step[i]
        fitted[i + 1] = y[i + 1] - stiffness * (slope_after - slope)
        bends[i] = bend
        slope_after, bend1, bend2 = slope, bend, bend1
    slope = bend1 * per_step[0]
    fitted[1] = y[1] - stiffness * (slope_after - slope)
    fitted[0] = y[0] - stiffness * slope


@njit(cache=True, nogil=True, error_model="numpy")
def _evaluate(wave, good, knots, fitted, bends, n_good, p, out):
    """The spline at every pixel: `fitted` at the knots, the cubic between them, straight lines beyond."""
    last = n_good - 1
    step = knots[1] - knots[0]
    slope_left = (fitted[1] - fitted[0]) / step - p * step * bends[1]
    step = knots[last] - knots[last - 1]
    slope_right = (fitted[last] - fitted[last - 1]) / step + p * step * bends[last - 1]
    j = 0  # knots at or below this pixel
    for i in range(len(wave)):
        if good[i]:
            out[i] = fitted[j]
            j += 1
        elif j == 0:
            out[i] = fitted[0] + slope_left * (wave[i] - knots[0])
        elif j == n_good:
            out[i] = fitted[last] + slope_right * (wave[i] - knots[last])
        else:
            step = knots[j] - knots[j - 1]
            a = (knots[j] - wave[i]) / step
            b = 1.0 - a
            bend = (a * a * a - a) * bends[j - 1] + (b * b * b - b) * bends[j]
            out[i] = a * fitted[j - 1] + b * fitted[j] + p * step * step * bend
