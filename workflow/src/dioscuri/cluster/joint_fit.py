"""PSF photometry of crowded stars: groups fitted jointly, all other stars subtracted, until nothing moves."""

from dataclasses import dataclass

import numpy as np
from numba import njit
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from dioscuri.cluster.scene import Scene
from dioscuri.psf.render import add_star

ROUNDS = 12  # of subtracting everybody else and fitting again; fewer when nothing moves
SETTLED = 0.01  # px, and of a flux's error: less movement is none
MAX_STEP = 0.5  # px a round
REACH = 1.5  # px that a fit may move away from the detection
LARGEST_GROUP = 25
DELTA = 0.01  # px: the PSF is smooth over tenths of a pixel


@dataclass(frozen=True)
class Fit:
    """S stars: `x`, `y` [px], `flux` [e-] and their errors; all (S,).

    `chi2` per degree of freedom within the fit radius; `qfit`: Σ|residual| / flux there and `cfit`: residual
    of the central pixel / flux, as photutils and Anderson define them; `n_pixels` in the fit and `n_masked`
    missing from it (flagged or off the frame); `group_size`.
    """

    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    x_err: np.ndarray
    y_err: np.ndarray
    flux_err: np.ndarray
    chi2: np.ndarray
    qfit: np.ndarray
    cfit: np.ndarray
    n_pixels: np.ndarray
    n_masked: np.ndarray
    group_size: np.ndarray


def fit_stars(
    image: np.ndarray,
    floor: np.ndarray,
    scene: Scene,
    x: np.ndarray,
    y: np.ndarray,
    flux: np.ndarray,
    radius: np.ndarray,
    *,
    link: float = 4.0,
    psf_error: float = 0.0,
) -> Fit:
    """Fit x, y and flux of all stars (S,) of a background-subtracted `image` (H, W) [e-].

    `floor` (H, W) [e²] is the variance of a pixel without stars, infinite where it is of no use; the variance of
    the fit adds the photons of the model (not of the data, which would bias faint stars low) and
    (psf_error × model)². Each star is fitted within its `radius` (S,) [px]; stars closer than `link` px to each
    other form a group whose 3n parameters are solved for together (Gauss–Newton).
    """
    start = np.c_[x, y].astype(float)
    if lost := int((~np.isfinite(start)).any(axis=1).sum()):
        raise ValueError(f"photometry: {lost} of {len(start)} stars have positions that are not finite; leave them out")
    state = np.c_[start, np.maximum(flux, 1.0)].astype(float)
    order, bounds = groups(start, link)
    inverse = np.where(np.isfinite(floor), 1.0, 0.0)
    safe_floor = np.where(np.isfinite(floor), floor, 1.0)
    data = np.where(np.isfinite(floor), image, 0.0)
    errors, quality = np.full((len(state), 3), np.nan), np.zeros((len(state), 5))
    model = np.zeros(image.shape)
    scene.paint(model, *state.T)
    for round_ in range(ROUNDS):
        before = state.copy()
        members, shares = scene.shares(state[:, 0], state[:, 1])
        _step(
            data, inverse, safe_floor, model, scene.phases, scene.n_samples, members, shares, order, bounds,
            radius, start, state, errors, quality, psf_error,
        )  # fmt: skip
        change = np.abs(state - before)
        moved = (change[:, :2].max(1) > SETTLED) | (change[:, 2] > np.maximum(SETTLED * errors[:, 2], 0.01))
        if round_ and not moved.any():
            break
        scene.paint(model, *(before[moved] * [1, 1, -1]).T)
        scene.paint(model, *state[moved].T)
        state[~moved] = before[~moved]  # what is not painted has not happened
    sizes = np.diff(bounds)
    group_size = np.empty(len(state), np.int64)
    group_size[order] = np.repeat(sizes, sizes)
    x, y, flux = state.T.copy()
    x_err, y_err, flux_err = errors.T.copy()
    chi2, qfit, cfit, n_pixels, n_masked = quality.T.copy()
    return Fit(
        x, y, flux, x_err, y_err, flux_err, chi2, qfit, cfit, n_pixels.astype(int), n_masked.astype(int), group_size
    )


def groups(positions: np.ndarray, link: float, largest: int = LARGEST_GROUP) -> tuple[np.ndarray, np.ndarray]:
    """Friends of friends closer than `link` px: star indices group by group, and where each group begins (G + 1,).

    Where a group would have more than `largest` stars, its own link is shortened until none has.
    """
    parts: list[np.ndarray] = []
    waiting = [(np.arange(len(positions)), link)]
    while waiting:
        members, reach = waiting.pop()
        pairs = cKDTree(positions[members]).query_pairs(reach, output_type="ndarray")
        n = len(members)
        graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
        label = connected_components(graph, directed=False)[1]
        order = np.argsort(label, kind="stable")
        for group in np.split(members[order], np.flatnonzero(np.diff(label[order])) + 1):
            if len(group) > largest and reach > 0.1:
                waiting.append((group, 0.8 * reach))
            elif len(group):
                parts.append(group)
    parts.sort(key=lambda group: group[0])
    order = np.concatenate(parts) if parts else np.empty(0, np.int64)
    return order.astype(np.int64), np.cumsum([0, *map(len, parts)]).astype(np.int64)


@njit(cache=True)
def _slopes(phases, n_samples, members, shares, x, y, value, slope_x, slope_y):
    # A star of unit flux on three empty windows: its image, and central differences of it in x and in y.
    for c in range(len(members)):
        one, share = phases[members[c]], shares[c]
        if share != 0.0:
            add_star(one, n_samples, x, y, share, value)
            for sign in (-1.0, 1.0):
                add_star(one, n_samples, x + sign * DELTA, y, sign * share / (2.0 * DELTA), slope_x)
                add_star(one, n_samples, x, y + sign * DELTA, sign * share / (2.0 * DELTA), slope_y)


@njit(cache=True)
def _step(
    data, inverse, floor, model, phases, n_samples, members, shares, order, bounds,
    radius, start, state, errors, quality, psf_error,
):  # fmt: skip
    """One Gauss–Newton step of every group against the data less all stars outside it; changes the last four."""
    height, width = data.shape
    for g in range(len(bounds) - 1):
        stars = order[bounds[g] : bounds[g + 1]]
        n = len(stars)
        left, right, low, high = width, 0, height, 0
        for s in stars:
            left = min(left, int(state[s, 0] - radius[s]))
            right = max(right, int(state[s, 0] + radius[s]) + 2)
            low = min(low, int(state[s, 1] - radius[s]))
            high = max(high, int(state[s, 1] + radius[s]) + 2)
        left, right, low, high = max(left, 0), min(right, width), max(low, 0), min(high, height)
        if right - left < 2 or high - low < 2:
            continue
        shape = (n, high - low, right - left)
        value, slope_x, slope_y = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        for k in range(n):
            s = stars[k]
            _slopes(
                phases, n_samples, members[s], shares[s], state[s, 0] - left, state[s, 1] - low,
                value[k], slope_x[k], slope_y[k],
            )  # fmt: skip
        normal, gradient = np.zeros((3 * n, 3 * n)), np.zeros(3 * n)
        row = np.empty(3 * n)
        own = np.zeros((n, 5))  # Σ r²/var, Σ |r|, central residual, pixels used, pixels missing
        for i in range(low, high):
            for j in range(left, right):
                inside = False
                for k in range(n):
                    if (j - state[stars[k], 0]) ** 2 + (i - state[stars[k], 1]) ** 2 <= radius[stars[k]] ** 2:
                        inside = True
                if not inside:
                    continue
                expected = max(model[i, j], 0.0)
                variance = floor[i, j] + expected + (psf_error * expected) ** 2
                weight = inverse[i, j] / variance
                residual = data[i, j] - model[i, j]
                for k in range(n):
                    s = stars[k]
                    if (j - state[s, 0]) ** 2 + (i - state[s, 1]) ** 2 <= radius[s] ** 2:
                        own[k, 0] += residual * residual * weight
                        own[k, 1] += abs(residual) * inverse[i, j]
                        own[k, 3] += inverse[i, j]
                        own[k, 4] += 1.0 - inverse[i, j]
                        if abs(j - state[s, 0]) <= 0.5 and abs(i - state[s, 1]) <= 0.5:
                            own[k, 2] = residual * inverse[i, j]
                    row[3 * k] = state[s, 2] * slope_x[k, i - low, j - left]
                    row[3 * k + 1] = state[s, 2] * slope_y[k, i - low, j - left]
                    row[3 * k + 2] = value[k, i - low, j - left]
                for a in range(3 * n):
                    wa = weight * row[a]
                    if wa != 0.0:
                        gradient[a] += wa * residual
                        for b in range(a + 1):
                            normal[a, b] += wa * row[b]
        for a in range(3 * n):
            # A weak prior (a pixel on positions, a millionfold error on fluxes) keeps dark or masked stars solvable.
            normal[a, a] = normal[a, a] * (1.0 + 1e-12) + (1.0 if a % 3 < 2 else 1e-12)
            for b in range(a):
                normal[b, a] = normal[a, b]
        covariance = np.linalg.inv(normal)
        step = covariance @ gradient
        fading = np.zeros(n, np.bool_)
        for k in range(n):
            fading[k] = step[3 * k + 2] < -0.9 * state[stars[k], 2]
        if fading.any() and not fading.all():
            # What the others gain from a negative star they must not have: they step as if it stood still.
            for k in range(n):
                if fading[k]:
                    normal[3 * k : 3 * k + 3, :] = 0.0
                    normal[:, 3 * k : 3 * k + 3] = 0.0
                    for a in range(3 * k, 3 * k + 3):
                        normal[a, a] = 1.0
                        gradient[a] = 0.0
            kept = np.linalg.solve(normal, gradient)
            for k in range(n):
                if not fading[k]:
                    step[3 * k : 3 * k + 3] = kept[3 * k : 3 * k + 3]
        for k in range(n):
            s = stars[k]
            for axis in range(2):
                errors[s, axis] = np.sqrt(max(covariance[3 * k + axis, 3 * k + axis], 0.0))
                moved = state[s, axis] + min(max(step[3 * k + axis], -MAX_STEP), MAX_STEP)
                state[s, axis] = min(max(moved, start[s, axis] - REACH), start[s, axis] + REACH)
            errors[s, 2] = np.sqrt(max(covariance[3 * k + 2, 3 * k + 2], 0.0))
            # A flux may not vanish between two rounds: without any, its position has no meaning.
            state[s, 2] = max(state[s, 2] + step[3 * k + 2], 0.1 * state[s, 2], 1e-3)
            quality[s, 0] = own[k, 0] / max(own[k, 3] - 3.0, 1.0)
            quality[s, 1] = own[k, 1] / state[s, 2]
            quality[s, 2] = own[k, 2] / state[s, 2]
            quality[s, 3], quality[s, 4] = own[k, 3], own[k, 4]
