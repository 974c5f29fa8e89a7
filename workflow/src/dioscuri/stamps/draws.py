"""Uniform numbers and Poisson counts whose every value depends only on (seed, stream, star, pixel)."""

import math

import numpy as np
from numba import njit

from dioscuri.learn.noise import philox

_WORD = 0xFFFFFFFF
_TO_UNIT = 1.0 / 4294967296  # 32 random bits → (0, 1)
_INVERSION_BELOW = 12.0  # mean counts: below it inversion of one uniform is quicker than rejection
_INVERSE = 1.0 / np.maximum(np.arange(128.0), 1.0)
_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)
_LOG_FACTORIAL = np.array([math.lgamma(k + 1.0) for k in range(128)])

_u4 = np.uint32


def uniforms(keys: np.ndarray, n_columns: int, seed: int, stream: int) -> np.ndarray:
    """Uniform numbers in (0, 1), (S, n_columns) float64, of stars with integer `keys` (S,); 32 bits each."""
    n_blocks = -(-n_columns // 4)
    values = np.empty((len(keys), 4 * n_blocks))
    _uniforms(values, np.ascontiguousarray(keys, np.int64), _u4(seed), _u4(stream))
    return values[:, :n_columns]


def poisson(mean: np.ndarray, keys: np.ndarray, seed: int, stream: int) -> np.ndarray:
    """Poisson counts float32 of the shape of `mean` (S, ...), for stars with `keys` (S,).

    The counts of a pixel do not change with the stars asked for. Exact sampling: inversion for small means,
    transformed rejection (Hörmann 1993, Insurance: Math. & Econ. 12, 39) for the others. Negative means count
    as zero.
    """
    flat = np.ascontiguousarray(mean, float).reshape(len(mean), -1)
    counts = np.empty(flat.shape, np.float32)
    _poisson(counts, flat, np.ascontiguousarray(keys, np.int64), _u4(seed), _u4(stream))
    return counts.reshape(np.shape(mean))


@njit(cache=True, nogil=True)
def _uniforms(values, keys, seed, stream):
    for s in range(len(keys)):
        low, high = _u4(keys[s] & _WORD), _u4((keys[s] >> 32) & _WORD)
        _fill(values[s], low, high, seed, stream)


@njit(inline="always")
def _fill(row, low, high, seed, stream):
    # Uniform numbers of one star; the length of `row` is a multiple of 4.
    for first in range(0, len(row), 4):
        word0, word1, word2, word3 = philox(_u4(first), _u4(0), low, high, seed, stream)
        row[first] = (word0 + 0.5) * _TO_UNIT
        row[first + 1] = (word1 + 0.5) * _TO_UNIT
        row[first + 2] = (word2 + 0.5) * _TO_UNIT
        row[first + 3] = (word3 + 0.5) * _TO_UNIT


@njit(cache=True, nogil=True, error_model="numpy")
def _poisson(counts, mean, keys, seed, stream):
    n_stars, n_pixels = mean.shape
    uniform = np.empty(-(-n_pixels // 4) * 4)
    where, small, wanted = np.empty(n_pixels, np.int64), np.empty(n_pixels), np.empty(n_pixels)
    share, total, count = np.empty(n_pixels), np.empty(n_pixels), np.empty(n_pixels, np.int64)
    for s in range(n_stars):
        low, high = _u4(keys[s] & _WORD), _u4((keys[s] >> 32) & _WORD)
        _fill(uniform, low, high, seed, stream)
        n = 0
        for p in range(n_pixels):
            if mean[s, p] >= _INVERSION_BELOW:
                counts[s, p] = _by_rejection(mean[s, p], p, low, high, seed, stream)
            else:
                where[n], small[n], wanted[n] = p, max(mean[s, p], 0.0), uniform[p]
                n += 1
        for i in range(n):
            share[i] = math.exp(-small[i])
            total[i] = share[i]
            count[i] = 0
        # All the faint pixels climb their distributions together: without branches the loop is vectorised.
        k, n_below = 0, 1
        while n_below > 0 and k < 100:
            k += 1
            n_below = 0
            for i in range(n):
                below = 1 if wanted[i] > total[i] else 0
                count[i] += below
                n_below += below
                share[i] *= small[i] * _INVERSE[k]
                total[i] += share[i]
        for i in range(n):
            counts[s, where[i]] = count[i]


@njit(inline="always")
def _by_rejection(mean, pixel, low, high, seed, stream):
    # Names as in Hörmann's algorithm PTRS.
    b = 0.931 + 2.53 * math.sqrt(mean)
    a = -0.059 + 0.02483 * b
    count = math.floor(mean)  # if all attempts failed, which does not happen: each succeeds in nine of ten cases
    for attempt in range(1, 100):
        word0, word1, _, _ = philox(_u4(pixel), _u4(attempt), low, high, seed, stream)
        u, v = (word0 + 0.5) * _TO_UNIT - 0.5, (word1 + 0.5) * _TO_UNIT
        us = 0.5 - abs(u)
        k = math.floor((2.0 * a / us + b) * u + mean + 0.43)
        if us >= 0.07 and v <= 0.9277 - 3.6224 / (b - 2.0):
            count = k
            break
        if k < 0 or (us < 0.013 and v > us):
            continue
        hat = math.log(v * (1.1239 + 1.1328 / (b - 3.4)) / (a / (us * us) + b))
        if hat <= k * math.log(mean) - mean - _log_factorial(k):
            count = k
            break
    return count


@njit(inline="always")
def _log_factorial(k):
    if k < 128:
        return _LOG_FACTORIAL[int(k)]
    z = k + 1.0  # Stirling's series, good to 1e-15 here
    series = (1.0 - (1.0 - 2.0 / (7.0 * z * z)) / (30.0 * z * z)) / (12.0 * z)
    return (z - 0.5) * math.log(z) - z + _HALF_LOG_2PI + series
