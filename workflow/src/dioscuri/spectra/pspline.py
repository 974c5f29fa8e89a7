"""The smoothing spline of `continuum` on few knots: a penalised B-spline, for mocks by the hundred thousand."""

import math
from collections.abc import Callable

import numpy as np
from numba import njit

from dioscuri.spectra.clipping import FEWEST_KNOTS, FEWEST_PIXELS, clip

# Polynomial coefficients, constant first, of the four cubic B-splines that live on an interval of unit length.
BASIS = np.array([[1, -3, 3, -1], [4, 0, -6, 3], [1, 3, 3, -3], [0, 0, 0, 1]]) / 6
# Knots per smoothing length: five or six Å for the continuum of the mocks.
KNOTS_PER_LENGTH = 3.5
# With fewer pixels between knots than this, nothing is saved.
FEWEST_PER_KNOT = 6


def fitter(wave: np.ndarray, p: float) -> Callable[..., None] | None:
    """What fills rows of continua, f(wave, flux, continuum, p, q, lowest, highest, half_width, n_iterations).

    `wave` (L,) ascending; `p` as in `continuum.fit_continuum`. None where the spline bends on so small a scale
    that it needs (nearly) a knot per pixel.
    """
    n_intervals = round(KNOTS_PER_LENGTH * (wave[-1] - wave[0]) / smoothing_length(wave, p))
    if n_intervals < 1 or len(wave) < FEWEST_PER_KNOT * n_intervals:
        return None
    spacing = (wave[-1] - wave[0]) / n_intervals
    place = (wave - wave[0]) / spacing
    interval = np.minimum(place.astype(np.int64), n_intervals - 1)
    edges = np.searchsorted(interval, np.arange(n_intervals + 1))
    splines = np.ascontiguousarray(BASIS @ np.vander(place - interval, 4, increasing=True).T)
    roughness = (1 - p) * roughness_bands(n_intervals, spacing)

    def fit_rows(wave: np.ndarray, flux: np.ndarray, continuum: np.ndarray, *settings: float) -> None:
        _fit_rows(wave, flux, continuum, edges, splines, roughness, *settings)

    return fit_rows


def smoothing_length(wave: np.ndarray, p: float) -> float:
    """The scale [Å] on which the smoothing spline bends: fourth root of its two terms' ratio per pixel."""
    step = (wave[-1] - wave[0]) / (len(wave) - 1)
    return ((1 - p) / p * step) ** 0.25


def roughness_bands(n_intervals: int, spacing: float) -> np.ndarray:
    """∫ B″ᵢ B″ⱼ dλ of the n + 3 B-splines on n intervals: [i, d] is that of i and i − d, (n + 3, 4)."""
    t, weight = np.polynomial.legendre.leggauss(2)  # exact for the squares of straight lines
    t, weight = (t + 1) / 2, weight / 2
    second = 2 * BASIS[:, 2:3] + 6 * BASIS[:, 3:4] * t
    gram = (second * weight) @ second.T / spacing**3
    bands = np.zeros((n_intervals + 3, 4))
    for i in range(4):
        for j in range(i + 1):
            bands[i : i + n_intervals, i - j] += gram[i, j]
    return bands


@njit(cache=True, nogil=True, error_model="numpy")
def _fit_rows(wave, flux, continuum, edges, splines, roughness, p, q, lowest, highest, half_width, n_iterations):
    """Fill the rows of `continuum` (S, L) from those of `flux` (S, L), one spectrum at a time."""
    n = len(wave)
    good = np.empty(n, np.bool_)
    weight, weighted, residual, scratch = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    bands, coefficients = np.empty_like(roughness), np.empty(len(roughness))
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
            n_good = 0
            for i in range(n):
                n_good += good[i]
            if n_good < FEWEST_KNOTS:
                for i in range(n):
                    good[i] = math.isfinite(row[i])
            for i in range(n):
                weight[i] = good[i]
                weighted[i] = row[i] if good[i] else 0.0
            bands[:] = roughness
            coefficients[:] = 0.0
            for j in range(len(edges) - 1):
                near = slice(edges[j], edges[j + 1])
                b0, b1, b2, b3 = splines[0][near], splines[1][near], splines[2][near], splines[3][near]
                _add_interval(b0, b1, b2, b3, weight[near], weighted[near], p, bands[j:], coefficients[j:])
            _solve(bands, coefficients)
            for j in range(len(edges) - 1):
                near = slice(edges[j], edges[j + 1])
                b0, b1, b2, b3 = splines[0][near], splines[1][near], splines[2][near], splines[3][near]
                _combine(b0, b1, b2, b3, coefficients[j:], fit[near])
            if iteration < n_iterations:
                for i in range(n):
                    residual[i] = row[i] - fit[i]
                clip(wave, residual, good, q, lowest, highest, half_width, scratch)


# Sums in any order (reassoc): the compiler may then add four numbers at a time.
@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "nsz", "contract"})
def _add_interval(b0, b1, b2, b3, weight, weighted, p, bands, right):
    """Add p Σ w Bᵢ Bⱼ and p Σ w Bᵢ y of one interval, whose first spline is that of `bands[0]`, `right[0]`."""
    m00 = m11 = m22 = m33 = m10 = m21 = m32 = m20 = m31 = m30 = 0.0
    r0 = r1 = r2 = r3 = 0.0
    for i in range(len(weight)):
        w0, w1, w2 = b0[i] * weight[i], b1[i] * weight[i], b2[i] * weight[i]
        m00 += w0 * b0[i]
        m10 += w0 * b1[i]
        m20 += w0 * b2[i]
        m30 += w0 * b3[i]
        m11 += w1 * b1[i]
        m21 += w1 * b2[i]
        m31 += w1 * b3[i]
        m22 += w2 * b2[i]
        m32 += w2 * b3[i]
        m33 += b3[i] * b3[i] * weight[i]
        r0 += b0[i] * weighted[i]
        r1 += b1[i] * weighted[i]
        r2 += b2[i] * weighted[i]
        r3 += b3[i] * weighted[i]
    for k, (diagonal, sum_) in enumerate(((m00, r0), (m11, r1), (m22, r2), (m33, r3))):
        bands[k, 0] += p * diagonal
        right[k] += p * sum_
    for k, first in enumerate((m10, m21, m32)):
        bands[k + 1, 1] += p * first
    for k, second in enumerate((m20, m31)):
        bands[k + 2, 2] += p * second
    bands[3, 3] += p * m30


@njit(cache=True, nogil=True, error_model="numpy")
def _solve(bands, x):
    """Solve A x = `x` in place, `bands` [i, d] = A[i, i − d] of a positive matrix, by L D Lᵀ."""
    n = len(x)
    scaled = np.empty(4)  # L D of the row
    for i in range(n):
        pivot = bands[i, 0]
        for d in range(min(i, 3), 0, -1):
            scaled[d] = bands[i, d]
            for e in range(d + 1, min(i, 3) + 1):
                scaled[d] -= scaled[e] * bands[i - d, e - d]
            bands[i, d] = scaled[d] * bands[i - d, 0]
            pivot -= scaled[d] * bands[i, d]
            x[i] -= bands[i, d] * x[i - d]
        bands[i, 0] = 1.0 / pivot
    for i in range(n - 1, -1, -1):
        x[i] *= bands[i, 0]
        for d in range(1, min(n - 1 - i, 3) + 1):
            x[i] -= bands[i + d, d] * x[i + d]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _combine(b0, b1, b2, b3, coefficients, out):
    """The spline on the pixels of one interval."""
    c0, c1, c2, c3 = coefficients[0], coefficients[1], coefficients[2], coefficients[3]
    for i in range(len(out)):
        out[i] = c0 * b0[i] + c1 * b1[i] + c2 * b2[i] + c3 * b3[i]
