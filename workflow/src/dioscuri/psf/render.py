"""The inner loops that lay a point source on a pixel grid: cubic B-splines on an oversampled effective PSF.

With an integer oversampling all pixels of a stamp see the source at one sub-sample phase, so that 16 weights
serve them all. The spline coefficients are kept phase by phase: then neighbouring pixels are neighbours in memory.
Unsigned indices spare numba the look for negative ones, and one fixed size of stamp lets the compiler prove
that values and slopes lie apart in memory: each is worth a factor of two.
"""

import math

import numpy as np
from numba import njit
from scipy.ndimage import spline_filter

SIZE = 14  # pixels a side of a stamp (Wu et al. 2023, §2.2)

_u8 = np.uint64
_ALONG_X = _u8(SIZE * SIZE)  # where the slopes lie behind the values
_ALONG_Y = _u8(2 * SIZE * SIZE)


def spline_phases(samples: np.ndarray, oversampling: int) -> np.ndarray:
    """Spline coefficients of effective PSFs `samples` (K, n, n), phase by phase: (K, o, o, m, m), o oversampling.

    Coefficient (r, c) of a PSF lies at [r % o, c % o, r // o, c // o]; m = ⌈n / o⌉, zeros fill the last rows.
    """
    n = samples.shape[-1]
    m = -(-n // oversampling)
    padded = np.zeros((len(samples), m * oversampling, m * oversampling))
    for k, one in enumerate(samples):
        padded[k, :n, :n] = spline_filter(np.asarray(one, float), order=3, mode="mirror")
    split = padded.reshape(len(samples), m, oversampling, m, oversampling)
    return np.ascontiguousarray(split.transpose(0, 2, 4, 1, 3))


@njit(inline="always")
def _weights(t, value, slope):
    # The four cubic B-splines that reach a point, and their derivatives, at fraction t between two samples.
    u = 1.0 - t
    value[0] = u * u * u / 6.0
    value[1] = (4.0 - 6.0 * t * t + 3.0 * t * t * t) / 6.0
    value[2] = (4.0 - 6.0 * u * u + 3.0 * u * u * u) / 6.0
    value[3] = t * t * t / 6.0
    slope[0] = -0.5 * u * u
    slope[1] = -2.0 * t + 1.5 * t * t
    slope[2] = 2.0 * u - 1.5 * u * u
    slope[3] = 0.5 * t * t


@njit(inline="always")
def _axis(position, o, n, size, jump, weight, slope, tap):
    # Along one axis: weights of the four samples around every pixel, where the phases of the four begin, and
    # the pixels (first, last + 1) that find all four on the PSF. `jump`: coefficients from phase to phase.
    offset = n // 2 - position * o
    sample = int(math.floor(offset))
    _weights(offset - sample, weight, slope)
    sample -= 1
    for k in range(4):
        tap[k] = (sample + k) % o * jump + (sample + k) // o
    first = max(0, -(sample // o))
    return first, max(first, min(size, (n - 4 - sample) // o + 1))


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def add_star(phases, n, x, y, flux, image):
    """Add a star of `flux` at (x, y) [pixels, 0-based centres] to `image` (H, W); `n` samples a side."""
    o, m = phases.shape[0], phases.shape[2]
    coefficient, pixel = phases.reshape(-1), image.reshape(-1)
    wx, wy, slope = np.empty(4), np.empty(4), np.empty(4)
    tap_x, tap_y = np.empty(4, np.int64), np.empty(4, np.int64)
    left, right = _axis(x, o, n, image.shape[1], m * m, wx, slope, tap_x)
    bottom, top = _axis(y, o, n, image.shape[0], o * m, wy, slope, tap_y)
    width = _u8(right - left)
    for a in range(4):
        w = flux * wy[a]
        w0, w1, w2, w3 = w * wx[0], w * wx[1], w * wx[2], w * wx[3]
        for i in range(bottom, top):
            row = (tap_y[a] + i) * m + left
            r0, r1, r2, r3 = _u8(row + tap_x[0]), _u8(row + tap_x[1]), _u8(row + tap_x[2]), _u8(row + tap_x[3])
            out = _u8(i * image.shape[1] + left)
            for j in range(width):
                pixel[out + j] += (
                    w0 * coefficient[r0 + j]
                    + w1 * coefficient[r1 + j]
                    + w2 * coefficient[r2 + j]
                    + w3 * coefficient[r3 + j]
                )


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def add_star_slopes(phases, n, x, y, flux, layers):
    """Add a star to `layers` (3, SIZE, SIZE): its image and the derivatives of that with respect to x and y."""
    o, m = phases.shape[0], phases.shape[2]
    coefficient, pixel = phases.reshape(-1), layers.reshape(-1)
    wx, wy, dx, dy = np.empty(4), np.empty(4), np.empty(4), np.empty(4)
    tap_x, tap_y = np.empty(4, np.int64), np.empty(4, np.int64)
    left, right = _axis(x, o, n, SIZE, m * m, wx, dx, tap_x)
    bottom, top = _axis(y, o, n, SIZE, o * m, wy, dy, tap_y)
    width = _u8(right - left)
    w0, w1, w2, w3 = wx[0], wx[1], wx[2], wx[3]
    d0, d1, d2, d3 = dx[0], dx[1], dx[2], dx[3]
    for a in range(4):
        value, across, upward = flux * wy[a], -flux * o * wy[a], -flux * o * dy[a]
        for i in range(bottom, top):
            row = (tap_y[a] + i) * m + left
            r0, r1, r2, r3 = _u8(row + tap_x[0]), _u8(row + tap_x[1]), _u8(row + tap_x[2]), _u8(row + tap_x[3])
            out = _u8(i * SIZE + left)
            for j in range(width):
                s0, s1 = coefficient[r0 + j], coefficient[r1 + j]
                s2, s3 = coefficient[r2 + j], coefficient[r3 + j]
                along = w0 * s0 + w1 * s1 + w2 * s2 + w3 * s3
                pixel[out + j] += value * along
                pixel[out + j + _ALONG_X] += across * (d0 * s0 + d1 * s1 + d2 * s2 + d3 * s3)
                pixel[out + j + _ALONG_Y] += upward * along


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def add_stars(phases, n, member, x, y, flux, images):
    """Add one star to each of `images` (B, H, W); a star without flux is passed over."""
    for b in range(len(x)):
        if flux[b] != 0.0:
            add_star(phases[member[b]], n, x[b], y[b], flux[b], images[b])
