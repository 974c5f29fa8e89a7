"""Kernels of the fit of two stars: all on the correlations of one spectrum with narrow templates, no pixels."""

import math

import numpy as np
from numba import njit

LIMB_DARKENING = 0.6
FRACTIONS = 16  # tabulated shifts within one cell of velocity, between which weights are interpolated
VSINI_STEP = 4.0  # km/s between tabulated rotation kernels
FEWEST_TAPS = 1e-6  # weights below this share are left out of the sums


def rotation_weights(step_kms: float, vsini_max: float, vsini_floor: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights that turn narrow templates on a grid of shifts into one that rotates and lies between the shifts.

    Returns (V, FRACTIONS + 1, 2h + 1) weights of the cells −h … h for v sin i of 0, VSINI_STEP, … `vsini_max` [km/s]
    and shifts of 0 … 1 cell of `step_kms`, and (V,) how many cells on either side matter. The kernel is that of a
    rotating sphere (Gray 2005, eq. 18.14), each of its points shared out by cubic interpolation; templates
    themselves rotate at `vsini_floor`.
    """
    vsini = np.arange(0.0, vsini_max + VSINI_STEP, VSINI_STEP)
    reach = int(np.ceil(vsini[-1] / step_kms)) + 3
    weights = np.zeros((len(vsini), FRACTIONS + 1, 2 * reach + 1))
    for i, value in enumerate(vsini):
        width = math.sqrt(max(value**2 - vsini_floor**2, 0.0)) / step_kms
        n_points = 2 * math.ceil(3 * width) + 1
        u = (np.arange(n_points) + 0.5) / n_points * 2 - 1
        profile = 2 * (1 - LIMB_DARKENING) * np.sqrt(1 - u**2) + 0.5 * np.pi * LIMB_DARKENING * (1 - u**2)
        profile /= profile.sum()
        for f in range(FRACTIONS + 1):
            place = u * width + f / FRACTIONS if n_points > 1 else np.array([f / FRACTIONS])
            left = np.floor(place).astype(int)
            t = place - left
            taps = (
                (-1, t * (t - 1) * (2 - t) / 6),
                (0, (t + 1) * (t - 1) * (t - 2) / 2),
                (1, t * (t + 1) * (2 - t) / 2),
                (2, t * (t + 1) * (t - 1) / 6),
            )  # Lagrange's cubic
            for offset, share in taps:
                np.add.at(weights[i, f], left + offset + reach, profile * share)
    matters = np.abs(weights).max(axis=1) > FEWEST_TAPS
    cells = np.abs(np.arange(-reach, reach + 1))
    return weights, np.array([cells[row].max() for row in matters])


@njit(cache=True, nogil=True, error_model="numpy")
def place_star(table, reaches, place, vsini, weights):
    """Fill `weights` with those of a star at `place` [cells] of `vsini` [km/s]; returns the first cell and how many."""
    whole = int(math.floor(place))
    at = (place - whole) * FRACTIONS
    f = min(int(at), FRACTIONS - 1)
    s = vsini / VSINI_STEP
    i = min(int(s), table.shape[0] - 2)
    a, b = at - f, s - i
    reach = max(reaches[i], reaches[i + 1])
    middle = table.shape[2] // 2
    n = 2 * reach + 1
    for k in range(n):
        m = middle - reach + k
        slow = (1 - a) * table[i, f, m] + a * table[i, f + 1, m]
        fast = (1 - a) * table[i + 1, f, m] + a * table[i + 1, f + 1, m]
        weights[k] = (1 - b) * slow + b * fast
    return whole - reach, n


@njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
def _dot(ccf, first, n, weights):
    total = 0.0
    for k in range(n):
        total += weights[k] * ccf[first + k]
    return total


@njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
def _product(gram, first1, n1, weights1, first2, n2, weights2):
    """Scalar product of two placed stars; `gram` (K, K) that of their templates at all shifts."""
    total = 0.0
    for i in range(n1):
        row = gram[first1 + i]
        part = 0.0
        for k in range(n2):
            part += weights2[k] * row[first2 + k]
        total += weights1[i] * part
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _pair_power(c1, n1, c2, n2, g):
    """What two templates with free amplitudes take off χ²; 0 where an amplitude is not positive or they are alike."""
    det = n1 * n2 - g * g
    if det < 1e-4 * n1 * n2:
        return 0.0, 0.0, 0.0
    x1, x2 = (n2 * c1 - g * c2) / det, (n1 * c2 - g * c1) / det
    if x1 <= 0 or x2 <= 0:
        return 0.0, x1, x2
    return c1 * x1 + c2 * x2, x1, x2


# --- one star -----------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True, error_model="numpy")
def correlate_bank(ccf, table, reaches, bank_vsini, reach, bank, scratch):
    """Correlations `bank` (J, T, 2 reach + 1) of one spectrum with rotating templates at whole cells −reach … reach."""
    middle = ccf.shape[1] // 2
    for j in range(len(bank_vsini)):
        first, n = place_star(table, reaches, 0.0, bank_vsini[j], scratch)
        for t in range(ccf.shape[0]):
            for v in range(2 * reach + 1):
                bank[j, t, v] = _dot(ccf[t], middle + v - reach + first, n, scratch)


@njit(cache=True, nogil=True, error_model="numpy")
def load(star, s, ccf, gram, table, reaches, weights, span, product):
    """Weights, span of cells, correlation and squared norm of star `s`: (label, place, v sin i) in star[s]."""
    t = int(star[s, 0])
    first, n = place_star(table, reaches, star[s, 1] + ccf.shape[1] // 2, star[s, 2], weights[s])
    span[s, 0], span[s, 1] = first, n
    product[s, 0] = _dot(ccf[t], first, n, weights[s])
    product[s, 1] = _product(gram[t, t], first, n, weights[s], first, n, weights[s])


@njit(cache=True, nogil=True, error_model="numpy")
def power_of(n_stars, star, gram, weights, span, product, x):
    """What one or two loaded stars with free positive amplitudes `x` take off χ²."""
    if n_stars == 1:
        x[0] = product[0, 0] / product[0, 1]
        return product[0, 0] * x[0] if x[0] > 0 else 0.0
    block = gram[int(star[0, 0]), int(star[1, 0])]
    g = _product(block, span[0, 0], span[0, 1], weights[0], span[1, 0], span[1, 1], weights[1])
    power, x[0], x[1] = _pair_power(product[0, 0], product[0, 1], product[1, 0], product[1, 1], g)
    return power


@njit(cache=True, nogil=True, error_model="numpy")
def polish(n_stars, star, power, sweeps, reach, apart, ccf, gram, table, reaches, weights, span, product, x):
    """Refine place and v sin i of one or two stars by parabolas along each in turn, in place; returns the power.

    `apart` [cells]: two stars stay at least this far from each other.
    """
    fastest = (table.shape[0] - 1) * VSINI_STEP - 1e-6
    steps = (0.5, 30.0)  # cells, km/s: what the search leaves open
    shrink = 1.0
    for _ in range(sweeps):
        for s in range(n_stars):
            for k in (1, 2):
                here = star[s, k]
                h = steps[k - 1] * shrink
                low_end, high_end = (-float(reach), float(reach)) if k == 1 else (0.0, fastest)
                if k == 1 and n_stars == 2:
                    other = star[1 - s, 1]
                    if here < other:
                        high_end = min(high_end, other - apart)
                    else:
                        low_end = max(low_end, other + apart)
                trial = (max(here - h, low_end), min(here + h, high_end))
                value = np.empty(2)
                for side in range(2):
                    star[s, k] = trial[side]
                    load(star, s, ccf, gram, table, reaches, weights, span, product)
                    value[side] = power_of(n_stars, star, gram, weights, span, product, x)
                best, place = power, here
                for side in range(2):
                    if value[side] > best:
                        best, place = value[side], trial[side]
                left, right = here - trial[0], trial[1] - here
                if left > 0 and right > 0:
                    slope_left, slope_right = (power - value[0]) / left, (value[1] - power) / right
                    bend = (slope_right - slope_left) / (left + right)  # half of the second derivative
                    if bend < 0:
                        slope = (slope_left * right + slope_right * left) / (left + right)
                        there = max(low_end, min(high_end, here - 0.5 * slope / bend))
                        if abs(there - here) < 2 * h:
                            star[s, k] = there
                            load(star, s, ccf, gram, table, reaches, weights, span, product)
                            new = power_of(n_stars, star, gram, weights, span, product, x)
                            if new > best:
                                best, place = new, there
                star[s, k] = place
                power = best
                load(star, s, ccf, gram, table, reaches, weights, span, product)
        shrink *= 0.6
    return power_of(n_stars, star, gram, weights, span, product, x)


@njit(cache=True, nogil=True, error_model="numpy")
def fit_single(
    ccf, gram, table, reaches, bank_vsini, bank, bank_norm, reach, n_polished, weights, span, product, star, order
):
    """The best single star into star[0] (label, place [cells], v sin i); returns its power.

    ccf (T, K); gram (T, T, K, K); bank_norm (J, T, V): squared norms belonging to `bank`. The `n_polished` best labels
    are refined; `order` (T,) gets the labels, best first.
    """
    n_labels = ccf.shape[0]
    powers, where = np.zeros(n_labels), np.zeros((n_labels, 2), np.int64)
    for j in range(len(bank_vsini)):
        for t in range(n_labels):
            for v in range(2 * reach + 1):
                c = bank[j, t, v]
                if c > 0 and c * c > powers[t] * bank_norm[j, t, v]:
                    powers[t] = c * c / bank_norm[j, t, v]
                    where[t, 0], where[t, 1] = j, v
    order[:] = np.argsort(-powers)
    best, trial, x = 0.0, np.empty((2, 3)), np.empty(2)
    for rank in range(min(n_polished, n_labels)):
        t = order[rank]
        if powers[t] <= 0:
            break
        trial[0, 0], trial[0, 1], trial[0, 2] = t, where[t, 1] - reach, bank_vsini[where[t, 0]]
        load(trial, 0, ccf, gram, table, reaches, weights, span, product)
        power = power_of(1, trial, gram, weights, span, product, x)
        power = polish(1, trial, power, 7, reach, 0.0, ccf, gram, table, reaches, weights, span, product, x)
        if power > best:
            best = power
            star[0] = trial[0]
    return best


# --- two stars ----------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
def search_pairs(bank, bank_norm, bank_product, label, stride, apart, star):
    """The best pair of stars of one label on the grid of whole cells, into `star` (2, 3): label, cell, v sin i.

    bank_product (J, J, 2 V − 1): scalar products of that label's rotating templates by lag, those of the middle: what
    enters and leaves at the ends of the spectrum is left to the polishing. Every `stride`-th cell is tried.
    """
    n_vsini, n_cells = bank.shape[0], bank.shape[2]
    best = 0.0
    for j in range(n_vsini):
        for k in range(j, n_vsini):
            for v in range(0, n_cells, stride):
                c1, n1 = bank[j, label, v], bank_norm[j, label, v]
                if c1 <= 0:
                    continue
                for w in range(0, n_cells, stride):
                    lag = w - v
                    if abs(lag) < apart:
                        continue
                    c2, n2 = bank[k, label, w], bank_norm[k, label, w]
                    g = bank_product[j, k, lag + n_cells - 1]
                    a, b = n2 * c1 - g * c2, n1 * c2 - g * c1
                    det = n1 * n2 - g * g
                    if a > 0 and b > 0 and c1 * a + c2 * b > best * det and det > 1e-3 * n1 * n2:
                        best = (c1 * a + c2 * b) / det
                        star[0, 0], star[0, 1], star[0, 2] = label, v, j
                        star[1, 0], star[1, 1], star[1, 2] = label, w, k
    return best


@njit(cache=True, nogil=True, error_model="numpy")
def relabel(star, power, ccf, gram, table, reaches, weights, span, product, x):
    """Take for each of two stars in turn the label that serves best, in place; returns the power."""
    for s in range(2):
        best_label = star[s, 0]
        for t in range(ccf.shape[0]):
            star[s, 0] = t
            load(star, s, ccf, gram, table, reaches, weights, span, product)
            new = power_of(2, star, gram, weights, span, product, x)
            if new > power:
                power, best_label = new, t
        star[s, 0] = best_label
        load(star, s, ccf, gram, table, reaches, weights, span, product)
    return power


@njit(cache=True, nogil=True, error_model="numpy")
def fit_pair(
    ccf, gram, table, reaches, bank_vsini, bank, bank_norm, bank_product, reach, stride, apart, order, n_labels,
    weights, span, product, star, x,
):  # fmt: skip
    """The best two stars into `star` (2, 3) and their amplitudes into `x`; returns their power.

    Starts from the best pair of each of the `n_labels` first labels of `order`, at least `apart` cells from each other.
    """
    best, trial, y = 0.0, np.empty((2, 3)), np.empty(2)
    for rank in range(min(n_labels, len(order))):
        t = order[rank]
        if search_pairs(bank, bank_norm, bank_product[t], t, stride, apart, trial) <= 0:
            continue
        for s in range(2):
            trial[s, 1] -= reach
            trial[s, 2] = bank_vsini[int(trial[s, 2])]
            load(trial, s, ccf, gram, table, reaches, weights, span, product)
        power = power_of(2, trial, gram, weights, span, product, y)
        power = relabel(trial, power, ccf, gram, table, reaches, weights, span, product, y)
        power = polish(2, trial, power, 4, reach, apart, ccf, gram, table, reaches, weights, span, product, y)
        if power > best:
            best = power
            star[:] = trial
    if best <= 0:
        return 0.0
    for s in range(2):
        load(star, s, ccf, gram, table, reaches, weights, span, product)
    best = relabel(star, best, ccf, gram, table, reaches, weights, span, product, x)
    return polish(2, star, best, 7, reach, apart, ccf, gram, table, reaches, weights, span, product, x)


@njit(cache=True, nogil=True, error_model="numpy")
def velocity_errors(n_stars, star, power, reach, ccf, gram, table, reaches, weights, span, product, covariance):
    """Covariance [cells²] of the places for unit noise, from the curvature of the power.

    NaN where it has no maximum.
    """
    h, x = 0.4, np.empty(2)
    value = np.zeros((3, 3))
    value[1, 1] = power
    start = (star[0, 1], star[1, 1] if n_stars == 2 else 0.0)
    for i in range(3):
        for k in range(3):
            if (i == 1 and k == 1) or (n_stars == 1 and k != 1):
                continue
            star[0, 1] = start[0] + (i - 1) * h
            load(star, 0, ccf, gram, table, reaches, weights, span, product)
            if n_stars == 2:
                star[1, 1] = start[1] + (k - 1) * h
                load(star, 1, ccf, gram, table, reaches, weights, span, product)
            value[i, k] = power_of(n_stars, star, gram, weights, span, product, x)
    for s in range(n_stars):
        star[s, 1] = start[s]
        load(star, s, ccf, gram, table, reaches, weights, span, product)
    # χ² = const − power; the covariance is that of a parabola in it.
    a = -(value[0, 1] - 2 * power + value[2, 1]) / h**2 / 2
    covariance[:] = np.nan
    if n_stars == 1:
        if a > 0:
            covariance[0, 0] = 1 / a
        return
    b = -(value[1, 0] - 2 * power + value[1, 2]) / h**2 / 2
    c = -(value[2, 2] - value[2, 0] - value[0, 2] + value[0, 0]) / (4 * h**2) / 2
    det = a * b - c * c
    if a > 0 and b > 0 and det > 0:
        covariance[0, 0], covariance[1, 1], covariance[0, 1] = b / det, a / det, -c / det


@njit(cache=True, nogil=True, error_model="numpy")
def third_power(star, x, ccf, gram, bank_vsini, table, reaches, reach, apart, weights, span, scratch):
    """How much a third star of either label, at least `apart` cells from both, takes off χ² besides the pair."""
    middle = ccf.shape[1] // 2
    best = 0.0
    rest = np.empty(ccf.shape[1])
    for s in range(2):
        t = int(star[s, 0])
        for k in range(len(rest)):
            rest[k] = ccf[t, k]
            for u in range(2):
                block = gram[t, int(star[u, 0])]
                for i in range(span[u, 1]):
                    rest[k] -= x[u] * weights[u, i] * block[k, span[u, 0] + i]
        for j in range(2):
            first, n = place_star(table, reaches, 0.0, bank_vsini[j], scratch)
            for v in range(-reach, reach + 1):
                if abs(v - star[0, 1]) < apart or abs(v - star[1, 1]) < apart:
                    continue
                c = _dot(rest, middle + v + first, n, scratch)
                if c > 0:
                    at = middle + v + first
                    best = max(best, c * c / _product(gram[t, t], at, n, scratch, at, n, scratch))
    return best
