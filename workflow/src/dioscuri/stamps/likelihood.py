"""The likelihood of a stamp under one star or two, maximised over flux and position: the inner loops of all fits.

The data are electrons after background subtraction, d, with variance v of the background in every pixel. Then
d + v behaves as a Poisson count with mean F·m + v (the right mean and variance, and the right skewness where
photons dominate), and ln L = Σ (d + v) ln(F m + v) − (F m + v) up to a constant of the data.
"""

import math

import numpy as np
from numba import njit

from dioscuri.psf.render import SIZE, add_star, add_star_slopes

LEAST_VARIANCE = 0.01  # e²; keeps the logarithm finite where neither star nor background shines
_LONGEST_STEP = 0.5  # pixels in one step of a fit
_LEAST_FLUX = 1.0  # electrons
_LN2 = math.log(2.0)

_i8, _f8 = np.int64, np.float64


def pixels(stamps: np.ndarray, variance) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the loops take: counts d + v, background variance v and good (1 or 0), each (B, SIZE²) float64.

    `stamps` (B, SIZE, SIZE) [electrons]; `variance` [e²] of the background, without the source's own photons: a
    number, or an array that broadcasts to the stamps, infinite in bad pixels. Pixels that are not finite are bad.
    """
    stamps = np.asarray(stamps, float)
    if stamps.ndim != 3 or stamps.shape[1:] != (SIZE, SIZE):
        raise ValueError(f"stamps of shape {stamps.shape}; accepted: (B, {SIZE}, {SIZE})")
    variance = np.asarray(variance, float)
    if np.any(np.isnan(variance)) or np.any(variance < 0):
        raise ValueError("the background variance has values that are negative or NaN; bad pixels are marked by inf")
    variance = np.broadcast_to(variance, stamps.shape)
    good = np.isfinite(stamps) & np.isfinite(variance)
    background = np.maximum(np.where(good, variance, 1.0), LEAST_VARIANCE)
    counts = np.where(good, stamps, 0.0) + background
    flat = (len(stamps), SIZE * SIZE)
    return counts.reshape(flat), background.reshape(flat), good.astype(float).reshape(flat)


@njit(inline="always")
def _log(x):
    # ln x of a positive number: exponent and mantissa apart, then the series of artanh (error below 1e-12).
    # Written out because LLVM vectorises this and not the call of libm: the likelihood is four times quicker.
    bits = _f8(x).view(_i8)
    exponent = _i8((bits >> _i8(52)) | _i8(0x4330000000000000)).view(_f8) - 4503599627371519.0
    mantissa = _i8((bits & _i8(0xFFFFFFFFFFFFF)) | _i8(0x3FF0000000000000)).view(_f8)
    upper = mantissa > 1.4142135623730951
    mantissa = 0.5 * mantissa if upper else mantissa
    exponent = exponent + 1.0 if upper else exponent
    z = (mantissa - 1.0) / (mantissa + 1.0)
    z2 = z * z
    series = 1 / 7 + z2 * (1 / 9 + z2 * (1 / 11 + z2 / 13))
    series = 1 + z2 * (1 / 3 + z2 * (1 / 5 + z2 * series))
    return exponent * _LN2 + 2.0 * z * series


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def log_likelihood(counts, background, good, model, flux):
    """ln L of `flux` × `model`, both over SIZE² pixels."""
    total = 0.0
    for p in range(counts.size):
        mean = max(flux * model[p] + background[p], 1e-9)
        total += good[p] * (counts[p] * _log(mean) - mean)
    return total


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def fit_flux(counts, background, good, model, flux):
    """Best flux of a fixed `model` (SIZE²): flux, ln L there, and the information on the flux, −d²ln L/dF²."""
    information = 1.0
    for _ in range(4):
        slope, information = 0.0, 1e-300
        for p in range(counts.size):
            mean = max(flux * model[p] + background[p], 1e-9)
            weighted = good[p] * model[p] / mean
            slope += weighted * (counts[p] - mean)
            information += weighted * model[p]
        step = slope / information
        flux = max(flux + step, _LEAST_FLUX)
        if abs(step) < 1e-4 * flux:
            break
    return flux, log_likelihood(counts, background, good, model, flux), information


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _expand(counts, background, good, layers, flux, sums):
    # ln L at `flux`, and into `sums` its slopes (3) and Fisher information (6) in flux, x and y.
    model, across, upward = layers[0].reshape(-1), layers[1].reshape(-1), layers[2].reshape(-1)
    total, g0, g1, g2 = 0.0, 0.0, 0.0, 0.0
    h00, h01, h02, h11, h12, h22 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for p in range(counts.size):
        m, x, y = model[p], across[p], upward[p]
        mean = max(flux * m + background[p], 1e-9)
        weight = good[p] / mean
        excess = (counts[p] - mean) * weight
        total += good[p] * (counts[p] * _log(mean) - mean)
        g0 += m * excess
        g1 += x * excess
        g2 += y * excess
        wm, wx = weight * m, weight * x
        h00 += wm * m
        h01 += wm * x
        h02 += wm * y
        h11 += wx * x
        h12 += wx * y
        h22 += weight * y * y
    sums[0], sums[1], sums[2] = g0, flux * g1, flux * g2
    sums[3], sums[4], sums[5] = h00, flux * h01, flux * h02
    sums[6], sums[7], sums[8] = flux * flux * h11, flux * flux * h12, flux * flux * h22
    return total


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def fit_position(phases, n, counts, background, good, dx, dy, share, steps, place, layers):
    """Maximise ln L over flux and photocentre for two stars at fixed separation (dx, dy) [pixels].

    `share` of the flux is in the second star; 0 makes it one star. `place` (3): flux, x, y, the start and, on
    return, the solution after at most `steps` Gauss–Newton steps. Returns ln L at the maximum and the
    logarithm of the determinant of the information on (flux, x, y). `layers` (3, SIZE, SIZE) is work space.

    The last expansion is not followed by a step: the maximum is that of its parabola.
    """
    sums = np.empty(9)
    maximum, determinant = 0.0, 1.0
    for _ in range(steps):
        flux, x, y = place[0], place[1], place[2]
        layers[:] = 0.0
        add_star_slopes(phases, n, x - share * dx, y - share * dy, 1.0 - share, layers)
        if share > 0.0:
            add_star_slopes(phases, n, x + (1.0 - share) * dx, y + (1.0 - share) * dy, share, layers)
        value = _expand(counts, background, good, layers, flux, sums)
        g0, g1, g2, a, b, c, d, e, f = sums
        c00, c01, c02 = d * f - e * e, c * e - b * f, b * e - c * d
        c11, c12, c22 = a * f - c * c, b * c - a * e, a * d - b * b
        determinant = max(a * c00 + b * c01 + c * c02, 1e-300)
        s0 = (c00 * g0 + c01 * g1 + c02 * g2) / determinant
        s1 = (c01 * g0 + c11 * g1 + c12 * g2) / determinant
        s2 = (c02 * g0 + c12 * g1 + c22 * g2) / determinant
        gain = 0.5 * (g0 * s0 + g1 * s1 + g2 * s2)
        maximum = value + gain
        place[0] = max(flux + s0, _LEAST_FLUX)
        place[1] = min(max(x + min(max(s1, -_LONGEST_STEP), _LONGEST_STEP), 0.0), SIZE - 1.0)
        place[2] = min(max(y + min(max(s2, -_LONGEST_STEP), _LONGEST_STEP), 0.0), SIZE - 1.0)
        if gain < 1e-4:
            break
    return maximum, math.log(determinant)


@njit(cache=True, nogil=True, error_model="numpy")
def start(counts, background, good, place):
    """Where a fit begins: the brightest 3 × 3 pixels near the middle and the centroid of the 5 × 5 around them."""
    best, row, column = -1e300, SIZE // 2, SIZE // 2
    for i in range(3, SIZE - 3):
        for j in range(3, SIZE - 3):
            total = 0.0
            for k in range(i - 1, i + 2):
                for m in range(j - 1, j + 2):
                    p = k * SIZE + m
                    total += good[p] * (counts[p] - background[p])
            if total > best:
                best, row, column = total, i, j
    flux, x, y = 1e-300, 0.0, 0.0
    for i in range(row - 2, row + 3):
        for j in range(column - 2, column + 3):
            p = i * SIZE + j
            light = good[p] * max(counts[p] - background[p], 0.0)
            flux += light
            x += light * j
            y += light * i
    place[0] = max(1.1 * flux, _LEAST_FLUX)  # the wings hold about a tenth
    if flux > 1.0:
        place[1], place[2] = x / flux, y / flux
    else:
        place[1], place[2] = float(column), float(row)


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def draw_pair(phases, n, x, y, dx, dy, share, model):
    """Two stars of unit flux in total with photocentre (x, y) into `model` (SIZE, SIZE), which is cleared first."""
    model[:] = 0.0
    add_star(phases, n, x - share * dx, y - share * dy, 1.0 - share, model)
    if share > 0.0:
        add_star(phases, n, x + (1.0 - share) * dx, y + (1.0 - share) * dy, share, model)
