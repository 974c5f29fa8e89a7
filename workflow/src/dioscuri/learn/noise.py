"""Gaussian noise whose every value depends only on (seed, stream, spectrum key, draw, pixel).

Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") is a block cipher on
counters: no state, no order, so any shard, batch or worker makes the same numbers. Counter = (block of four
pixels, draw, low and high word of the spectrum's key); cipher key = (seed, stream). Box–Muller turns the
words into normals.
"""

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from torch import Tensor

_WORD = 0xFFFFFFFF
_M0, _M1 = 0xD2511F53, 0xCD9E8D57  # Philox multipliers
_W0, _W1 = 0x9E3779B9, 0xBB67AE85  # Weyl increments of the key: golden ratio, √3 − 1
_ROUNDS = 10
_TO_UNIT = 1.0 / 16777216  # 24 random bits → (0, 1)
_TWO_PI = 6.283185307179586

_f4, _i4, _u4, _u8 = np.float32, np.int32, np.uint32, np.uint64


def normals(keys: np.ndarray, n_draws: int, n_pixels: int, seed: int, stream: int = 0) -> np.ndarray:
    """Standard normals (S, D, L) float32 for spectra with integer `keys` (S,), on the CPU.

    `seed` and `stream` (the arm, say) are integers in [0, 2³²). Resolution 24 bits: |value| < 5.9.
    The value of a pixel does not change with the number of draws, pixels or spectra asked for.
    """
    seed, stream = _checked_word("seed", seed), _checked_word("stream", stream)
    keys = np.ascontiguousarray(keys, dtype=np.int64)
    values = np.empty((len(keys), n_draws, 4 * -(-n_pixels // 4)), np.float32)
    _fill(values, keys, _u4(seed), _u4(stream))
    return values[..., :n_pixels]


def noisy(
    mean: np.ndarray, error: np.ndarray, keys: np.ndarray, n_draws: int, width: int, seed: int, stream: int = 0
) -> np.ndarray:
    """mean + error × `normals`, (S, D, width) float32, zeros beyond the pixels of `mean` and `error` (S, L)."""
    seed, stream = _checked_word("seed", seed), _checked_word("stream", stream)
    short = 4 * -(-width // 4) - mean.shape[1]
    at, by = (np.pad(array.astype(np.float32), ((0, 0), (0, short))) for array in (mean, error))
    values = np.empty((len(keys), n_draws, width + (-width) % 4), np.float32)
    _fill_noisy(values, at, by, np.ascontiguousarray(keys, dtype=np.int64), _u4(seed), _u4(stream))
    return values[..., :width]


def torch_normals(keys: "Tensor", n_draws: int, n_pixels: int, seed: int, stream: int = 0) -> "Tensor":
    """`normals` on the device of `keys` (S,) int64; the two agree to float32 rounding (a few 1e-6)."""
    import torch  # here, because the jobs that only need `normals` start a second sooner without

    seed, stream = _checked_word("seed", seed), _checked_word("stream", stream)
    n_blocks = -(-n_pixels // 4)
    shape = (len(keys), n_draws, n_blocks)
    block = torch.arange(n_blocks, device=keys.device).expand(shape)
    draw = torch.arange(n_draws, device=keys.device)[:, None].expand(shape)
    key = keys[:, None, None].expand(shape)
    words = torch_philox(block, draw, key & _WORD, (key >> 32) & _WORD, seed, stream)
    uniform = [((word >> 8).float() + 0.5) * _TO_UNIT for word in words]
    parts = []
    for radial, angular in (uniform[:2], uniform[2:]):
        radius, angle = torch.sqrt(-2.0 * torch.log(radial)), _TWO_PI * angular
        parts += [radius * torch.cos(angle), radius * torch.sin(angle)]
    return torch.stack(parts, dim=-1).flatten(2)[..., :n_pixels]


def torch_philox(c0: "Tensor", c1: "Tensor", c2: "Tensor", c3: "Tensor", k0: int, k1: int) -> "tuple[Tensor, ...]":
    """Philox4x32-10 on int64 tensors that hold 32-bit words; four tensors of words."""
    for _ in range(_ROUNDS):
        high0, low0 = _product(c0, _M0)
        high1, low1 = _product(c2, _M1)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + _W0) & _WORD, (k1 + _W1) & _WORD
    return c0, c1, c2, c3


def _product(word: "Tensor", multiplier: int) -> "tuple[Tensor, Tensor]":
    # The 64-bit product wraps in int64, but its bits are right; the mask undoes the sign of the shift.
    product = word * multiplier
    return (product >> 32) & _WORD, product & _WORD


def _checked_word(name: str, value: int) -> int:
    if not 0 <= int(value) <= _WORD:
        raise ValueError(f"noise {name} must lie in [0, 2^32), found {value}")
    return int(value)


@njit(inline="always")
def philox(c0, c1, c2, c3, k0, k1):
    """Philox4x32-10 on four uint32 counter words and two uint32 key words."""
    for _ in range(_ROUNDS):
        product0, product1 = _u8(c0) * _u8(_M0), _u8(c2) * _u8(_M1)
        c0, c1 = _u4(product1 >> _u8(32)) ^ c1 ^ k0, _u4(product1)
        c2, c3 = _u4(product0 >> _u8(32)) ^ c3 ^ k1, _u4(product0)
        k0, k1 = _u4(k0 + _u4(_W0)), _u4(k1 + _u4(_W1))
    return c0, c1, c2, c3


@njit(inline="always")
def _log_unit(word):
    # ln((k + ½)/2²⁴) of a 24-bit k: exponent and mantissa apart, Cephes' logf polynomial on [√½, √2].
    # Written out, because LLVM vectorises this loop but not calls of libm (×4).
    bits = _f4(_f4(_i4(word >> _u4(8))) + _f4(0.5)).view(np.int32)
    exponent = _f4((bits >> _i4(23)) - _i4(127 + 24))
    mantissa = np.int32((bits & _i4(0x7FFFFF)) | _i4(0x3F800000)).view(np.float32)
    upper = mantissa > _f4(1.41421356)
    z = (_f4(0.5) * mantissa if upper else mantissa) - _f4(1.0)
    exponent = exponent + _f4(1.0) if upper else exponent
    p = _f4(7.0376836292e-2)
    p = p * z + _f4(-1.1514610310e-1)
    p = p * z + _f4(1.1676998740e-1)
    p = p * z + _f4(-1.2420140846e-1)
    p = p * z + _f4(1.4249322787e-1)
    p = p * z + _f4(-1.6668057665e-1)
    p = p * z + _f4(2.0000714765e-1)
    p = p * z + _f4(-2.4999993993e-1)
    p = p * z + _f4(3.3333331174e-1)
    return (z * z * z * p - _f4(0.5) * z * z) + z + exponent * _f4(0.6931471805599453)


@njit(inline="always")
def _box_muller(radial, angular):
    # Two normals of two words. The angle is split exactly into the nearest quadrant and a rest within ±1/8
    # turn, where Cephes' sinf and cosf polynomials hold.
    radius = np.sqrt(_f4(-2.0) * _log_unit(radial))
    k = angular >> _u4(8)
    quadrant = (k + _u4(1 << 21)) >> _u4(22)
    rest = _f4(_i4(k) - _i4(quadrant << _u4(22))) + _f4(0.5)
    t = rest * _f4(_TWO_PI * _TO_UNIT)
    t2 = t * t
    sine = ((_f4(-1.9515295891e-4) * t2 + _f4(8.3321608736e-3)) * t2 + _f4(-1.6666654611e-1)) * t2 * t + t
    cosine = (_f4(2.443315711809948e-5) * t2 + _f4(-1.388731625493765e-3)) * t2 + _f4(4.166664568298827e-2)
    cosine = cosine * t2 * t2 - _f4(0.5) * t2 + _f4(1.0)
    swapped = (quadrant & _u4(1)) != _u4(0)
    x = sine if swapped else cosine
    y = cosine if swapped else sine
    x = -x if ((quadrant + _u4(1)) & _u4(2)) != _u4(0) else x
    y = -y if (quadrant & _u4(2)) != _u4(0) else y
    return radius * x, radius * y


@njit(inline="always")
def _four_normals(block, draw, low, high, seed, stream):
    word0, word1, word2, word3 = philox(_u4(block), _u4(draw), low, high, seed, stream)
    normal0, normal1 = _box_muller(word0, word1)
    normal2, normal3 = _box_muller(word2, word3)
    return normal0, normal1, normal2, normal3


@njit(cache=True, nogil=True, error_model="numpy")
def _fill(values, keys, seed, stream):
    n_spectra, n_draws, n_pixels = values.shape
    for s in range(n_spectra):
        low, high = _u4(keys[s] & 0xFFFFFFFF), _u4((keys[s] >> 32) & 0xFFFFFFFF)
        for d in range(n_draws):
            row = values[s, d]
            for b in range(n_pixels // 4):
                normal0, normal1, normal2, normal3 = _four_normals(b, d, low, high, seed, stream)
                row[4 * b] = normal0
                row[4 * b + 1] = normal1
                row[4 * b + 2] = normal2
                row[4 * b + 3] = normal3


@njit(cache=True, nogil=True, error_model="numpy")
def _fill_noisy(values, mean, error, keys, seed, stream):
    n_spectra, n_draws, n_pixels = values.shape
    for s in range(n_spectra):
        low, high = _u4(keys[s] & 0xFFFFFFFF), _u4((keys[s] >> 32) & 0xFFFFFFFF)
        at, by = mean[s], error[s]
        for d in range(n_draws):
            row = values[s, d]
            for b in range(n_pixels // 4):
                normal0, normal1, normal2, normal3 = _four_normals(b, d, low, high, seed, stream)
                row[4 * b] = at[4 * b] + by[4 * b] * normal0
                row[4 * b + 1] = at[4 * b + 1] + by[4 * b + 1] * normal1
                row[4 * b + 2] = at[4 * b + 2] + by[4 * b + 2] * normal2
                row[4 * b + 3] = at[4 * b + 3] + by[4 * b + 3] * normal3
