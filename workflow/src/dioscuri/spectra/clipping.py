"""Clipping of a continuum fit: the pixels whose residuals stick out of the scatter around them."""

import math

import numpy as np
from numba import njit

# With fewer finite and positive pixels than this there is no continuum (laspec's own limit).
FEWEST_PIXELS = 11
# When clipping leaves fewer pixels than a cubic has coefficients, all finite pixels come back.
FEWEST_KNOTS = 4
# The quantile is found by bisection until this few values are left, which are then sorted.
FEW_ENOUGH_TO_SORT = 64


@njit(cache=True, nogil=True, error_model="numpy")
def clip(wave, residual, good, q, lowest, highest, half_width, scratch):
    """Drop from `good` (L,) the pixels whose residual deviates too much, in units of the scatter around them.

    The scatter is the standard deviation of the good residuals within `half_width` of bin centres that span
    the finite pixels evenly, and is interpolated linearly between them. A bin without good pixels, or without
    scatter, keeps nothing.
    """
    first, last = 0, len(wave) - 1
    while first < last and not math.isfinite(residual[first]):
        first += 1
    while first < last and not math.isfinite(residual[last]):
        last -= 1
    if first == last:  # nothing to measure a scatter from
        good[:] = False
        return
    level = _level(residual[first : last + 1], q, scratch)

    n_bins = math.ceil((wave[last] - wave[first]) / half_width) + 1
    centres = np.linspace(wave[first], wave[last], n_bins)
    starts = np.searchsorted(wave, centres - half_width)
    stops = np.searchsorted(wave, centres + half_width, side="right")
    scatter = np.empty(n_bins)
    for b in range(n_bins):
        scatter[b] = _spread(residual[starts[b] : stops[b]], good[starts[b] : stops[b]], level)

    knots = np.searchsorted(wave, centres)
    knots[-1] = last + 1
    for b in range(n_bins - 1):
        near = slice(knots[b], knots[b + 1])
        rise = (scatter[b + 1] - scatter[b]) / (centres[b + 1] - centres[b])
        _judge(wave[near], residual[near], good[near], level, lowest, highest, centres[b], scatter[b], rise)


@njit(cache=True, nogil=True, error_model="numpy")
def _level(residual, q, scratch):
    """Quantile of the finite residuals."""
    n = 0
    for i in range(len(residual)):
        n += math.isfinite(residual[i])
    if n == len(residual):
        return quantile(residual, q)
    n = 0
    for i in range(len(residual)):
        # Written always, kept when finite: no branch to mispredict (n never passes i).
        scratch[n] = residual[i]
        n += math.isfinite(residual[i])
    return quantile(scratch[:n], q)


@njit(cache=True, nogil=True, error_model="numpy")
def _judge(wave, residual, good, level, lowest, highest, centre, scatter, rise):
    """`clip` between two bin centres: σ there is `scatter` + `rise` · (λ − `centre`)."""
    for i in range(len(wave)):
        sigma = scatter + rise * (wave[i] - centre)
        deviation = residual[i] - level
        good[i] &= (deviation > lowest * sigma) & (deviation < highest * sigma)


# Sums in any order (reassoc): the compiler may then add four numbers at a time.
@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "nsz"})
def _spread(residual, good, level):
    """Standard deviation of the good residuals."""
    count, total, squares = 0, 0.0, 0.0
    for i in range(len(residual)):
        deviation = residual[i] - level if good[i] else 0.0
        count += good[i]
        total += deviation
        squares += deviation * deviation
    mean = total / count
    return math.sqrt(max(squares / count - mean * mean, 0.0))


@njit(cache=True, nogil=True, error_model="numpy")
def quantile(values, q):
    """np.quantile(values, q) of finite values: a few counting passes, then a sort of what is left."""
    n = len(values)
    rank = int(q * (n - 1))
    fraction = q * (n - 1) - rank
    smallest, largest = _ends(values)
    # The values of ranks `rank` and `rank + 1` are above `low`, below which there are `n_below`, and not
    # above `high`.
    low, high = np.nextafter(smallest, -np.inf), largest
    n_below, n_above = 0, 0
    while n - n_below - n_above > FEW_ENOUGH_TO_SORT:
        middle = low + 0.5 * (high - low)
        if not low < middle < high:
            break
        n_up_to = 0
        for i in range(n):
            n_up_to += values[i] <= middle
        if n_up_to >= rank + 2:
            high, n_above = middle, n - n_up_to
        elif n_up_to <= rank:
            low, n_below = middle, n_up_to
        else:
            break
    inside = np.empty(n - n_below - n_above + 1)
    n_inside = 0
    for i in range(n):
        inside[n_inside] = values[i]  # the room of one more than there are takes what comes after the last
        n_inside += (values[i] > low) & (values[i] <= high)
    inside = np.sort(inside[:n_inside])
    value = inside[rank - n_below]
    if fraction > 0:
        value += fraction * (inside[rank + 1 - n_below] - value)
    return value


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"nnan", "nsz"})
def _ends(values):
    """Smallest and largest of finite values."""
    smallest, largest = values[0], values[0]
    for i in range(len(values)):
        smallest = min(smallest, values[i])
        largest = max(largest, values[i])
    return smallest, largest
