"""Compiled look-ups in a grid of tracks, one star at a time: nothing of size N × corners is ever held.

The arrays are those of `tracks.TrackGrid`: axes of [Fe/H] (F,), mass (M,) and EEP (E,); `values`
(F, M, E, C), whose first column is the log age; `log_age` (F, M, E), that column densely packed; `length`
(F, M), EEPs reached.
"""

import numpy as np
from numba import njit

OK, OFF_GRID, UNREACHABLE_AGE, TOO_OLD = range(4)  # explained at `tracks.PairStatus`


@njit(cache=True, inline="always")
def _bracket(axis: np.ndarray, x: float) -> int:
    """Index of the node at or below `x`, at most the last but one; −1 off the axis (NaN too)."""
    if not axis[0] <= x <= axis[-1]:
        return -1
    low, high = 0, axis.size - 1
    while high - low > 1:
        middle = (low + high) // 2
        if axis[middle] <= x:
            low = middle
        else:
            high = middle
    return low


@njit(cache=True, inline="always")
def _locate(feh_axis, mass_axis, length, feh, mass):
    """Lower corner (i, j), fractions (y, x) above it, EEPs reached by all corners that count (0: none)."""
    i, j = _bracket(feh_axis, feh), _bracket(mass_axis, mass)
    if i < 0 or j < 0:
        return 0, 0, 0.0, 0.0, 0
    y = (feh - feh_axis[i]) / (feh_axis[i + 1] - feh_axis[i])
    x = (mass - mass_axis[j]) / (mass_axis[j + 1] - mass_axis[j])
    reach = 1 << 30
    if y < 1 and x < 1:
        reach = min(reach, length[i, j])
    if y < 1 and x > 0:
        reach = min(reach, length[i, j + 1])
    if y > 0 and x < 1:
        reach = min(reach, length[i + 1, j])
    if y > 0 and x > 0:
        reach = min(reach, length[i + 1, j + 1])
    return i, j, y, x, reach


@njit(cache=True, inline="always")
def _blend(corner_00, corner_01, corner_10, corner_11, y, x):
    """Bilinear mean of four corners; a corner without weight may be NaN."""
    low = corner_00 if x == 0 else corner_01 if x == 1 else (1 - x) * corner_00 + x * corner_01
    high = corner_10 if x == 0 else corner_11 if x == 1 else (1 - x) * corner_10 + x * corner_11
    return low if y == 0 else high if y == 1 else (1 - y) * low + y * high


@njit(cache=True, inline="always")
def _age(log_age, i, j, y, x, k):
    return _blend(log_age[i, j, k], log_age[i, j + 1, k], log_age[i + 1, j, k], log_age[i + 1, j + 1, k], y, x)


@njit(cache=True, inline="always")
def _column(values, i, j, y, x, k, c):
    return _blend(values[i, j, k, c], values[i, j + 1, k, c], values[i + 1, j, k, c], values[i + 1, j + 1, k, c], y, x)


@njit(cache=True, inline="always")
def _fill(values, i, j, y, x, position, out):
    """Write all columns at a fractional EEP index into `out`."""
    k = int(position)
    t = position - k
    for c in range(values.shape[3]):
        out[c] = _column(values, i, j, y, x, k, c)
        if t > 0:  # at t = 0 the next EEP may lie past the end of the track
            out[c] = (1 - t) * out[c] + t * _column(values, i, j, y, x, k + 1, c)


@njit(cache=True, inline="always")
def _position_at_age(log_age, i, j, y, x, reach, target):
    """Fractional EEP index at log age `target` on the interpolated track; −1 where it has none."""
    low, high = 0, reach - 1
    before, after = _age(log_age, i, j, y, x, low), _age(log_age, i, j, y, x, high)
    if not before <= target <= after:
        return -1.0
    while high - low > 1:
        middle = (low + high) // 2
        at_middle = _age(log_age, i, j, y, x, middle)
        if at_middle <= target:
            low, before = middle, at_middle
        else:
            high, after = middle, at_middle
    return low + ((target - before) / (after - before) if after > before else 0.0)


@njit(cache=True)
def evaluate(feh_axis, mass_axis, eep_axis, values, log_age, length, mass, eep, feh):
    """All columns (N, C) at initial mass, EEP and [Fe/H]; NaN off the grid."""
    out = np.full((mass.size, values.shape[3]), np.nan)
    for n in range(mass.size):
        i, j, y, x, reach = _locate(feh_axis, mass_axis, length, feh[n], mass[n])
        position = eep[n] - eep_axis[0]
        if 0 <= position <= reach - 1:
            _fill(values, i, j, y, x, position, out[n])
    return out


@njit(cache=True)
def eep_at_age(feh_axis, mass_axis, eep_axis, values, log_age, length, mass, target, feh):
    """EEPs (N,) at initial mass, log age and [Fe/H]; NaN where the track is not."""
    out = np.full(mass.size, np.nan)
    for n in range(mass.size):
        i, j, y, x, reach = _locate(feh_axis, mass_axis, length, feh[n], mass[n])
        if reach > 0:
            position = _position_at_age(log_age, i, j, y, x, reach, target[n])
            if position >= 0:
                out[n] = eep_axis[0] + position
    return out


@njit(cache=True)
def pairs(feh_axis, mass_axis, eep_axis, values, log_age, length, m1, q, feh, eep1, oldest):
    """Primaries and secondaries (N, C + 1), columns and EEP, and the status (N,) of each pair."""
    columns = values.shape[3]
    primary, secondary = np.full((m1.size, columns + 1), np.nan), np.full((m1.size, columns + 1), np.nan)
    status = np.full(m1.size, OFF_GRID, np.uint8)
    for n in range(m1.size):
        i, j, y, x, reach = _locate(feh_axis, mass_axis, length, feh[n], m1[n])
        position = eep1[n] - eep_axis[0]
        if not 0 <= position <= reach - 1:
            continue
        _fill(values, i, j, y, x, position, primary[n])
        primary[n, columns] = eep1[n]
        i, j, y, x, reach = _locate(feh_axis, mass_axis, length, feh[n], q[n] * m1[n])
        if reach == 0:
            continue
        position = _position_at_age(log_age, i, j, y, x, reach, primary[n, 0])
        if position < 0:
            status[n] = UNREACHABLE_AGE
            continue
        _fill(values, i, j, y, x, position, secondary[n])
        secondary[n, columns] = eep_axis[0] + position
        status[n] = TOO_OLD if primary[n, 0] > oldest else OK
    return primary, secondary, status
