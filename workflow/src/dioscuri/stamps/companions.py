"""Where the second star is: separation, position angle and flux ratio of candidates, with their uncertainties."""

from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from numba import njit

from dioscuri.stamps.likelihood import draw_pair, fit_flux, fit_position, pixels
from dioscuri.stamps.mocks import SIZE, Law, Renderer
from dioscuri.stamps.optimum import chebyshev, fit_single, interpolation

ANY_PAIR = Law(flux_ratio="uniform")
_NODES = (8, 12, 7)  # separations, angles, shares of flux at which ln L is computed in a box
_FINE = (60, 60, 60)  # cells to which it is interpolated
_DEPTH = 12.0  # ln L below the maximum that a box still holds: a ten-thousandth of the probability lies deeper
# And this share of the range of ln L, for what interpolation misses in a wide box; less from round to round.
_SLACK, _LESS_SLACK = 0.02, 0.3
_ROUNDS = 12
_UNCHANGED = 0.7  # a box whose sides all stay longer than this share is final
_MOST_RATIO_MIN = 0.8
_QUANTILES = np.array([0.158655, 0.5, 0.841345])  # −1 σ, median, +1 σ of a normal distribution


@dataclass(frozen=True)
class PairFit:
    """The second stars of B candidates; every field (B,).

    `sep` [pixels], `flux_ratio` (fainter to brighter): medians of the posterior, with `_low` and `_high` its 16th
    and 84th percentiles. Below half a pixel the two are degenerate, only share × (1 − share) × sep² is measured,
    and the intervals say so. `position_angle` [radians from +x towards +y, in (−π, π]] of the fainter star seen
    from the brighter, `position_angle_err` its rms scatter about the axis of the pair, and `opposite` the
    probability that the fainter star lies on the other side, ½ for equals. `flux` [electrons] of both stars,
    its 1 σ error, `x`, `y` of the photocentre [pixels] and `delta_chi2` = 2 Δln L against one star: at the
    best pair. `chi2` and `residual` (B, SIZE, SIZE) float32 [σ] are what that pair leaves, as in `SingleFit`.
    """

    sep: np.ndarray
    sep_low: np.ndarray
    sep_high: np.ndarray
    flux_ratio: np.ndarray
    flux_ratio_low: np.ndarray
    flux_ratio_high: np.ndarray
    position_angle: np.ndarray
    position_angle_err: np.ndarray
    opposite: np.ndarray
    flux: np.ndarray
    flux_err: np.ndarray
    x: np.ndarray
    y: np.ndarray
    delta_chi2: np.ndarray
    chi2: np.ndarray
    residual: np.ndarray


def fit_pair(stamps: np.ndarray, variance, renderer: Renderer, *, member=0, law: Law = ANY_PAIR) -> PairFit:
    """Fit two stars to each of `stamps` (B, SIZE, SIZE) [electrons].

    `variance` and `member` as in `optimum.fit_single`. The prior is that of `law`: separations uniform between its
    limits, flux ratios uniform above its limit (whatever it says of equals), all position angles; flux and
    photocentre are free. The posterior is computed on a grid over a box in separation, angle and share of
    flux that shrinks onto what the data allow: there is no start to choose and no second maximum to miss.
    """
    if law.flux_ratio_min > _MOST_RATIO_MIN:
        raise ValueError(
            f"companions: flux_ratio_min is {law.flux_ratio_min:g}; accepted: up to {_MOST_RATIO_MIN:g}, the cells "
            "of the posterior are no finer"
        )
    single = fit_single(stamps, variance, renderer, member)
    counts, background, good = pixels(stamps, variance)
    members = renderer.members(member, len(counts))
    rows = np.empty((len(counts), len(fields(PairFit)) - 1))
    residual = np.empty((len(counts), SIZE, SIZE), np.float32)
    for b, k in enumerate(members):
        place = np.array([single.flux[b], single.x[b], single.y[b]])
        stamp = _Stamp(renderer.phases[k], renderer.n_samples, counts[b], background[b], good[b])
        rows[b] = _fit_one(stamp, place, single.log_likelihood[b], law, residual[b])
    names = [field.name for field in fields(PairFit)]
    return PairFit(**dict(zip(names, (*rows.T, residual))))


class _Stamp(NamedTuple):
    """The PSF and the data of one stamp, as the loops take them."""

    phases: np.ndarray
    n_samples: int
    counts: np.ndarray
    background: np.ndarray
    good: np.ndarray


def _fit_one(stamp: _Stamp, place: np.ndarray, single: float, law: Law, residual: np.ndarray) -> tuple[float, ...]:
    """The fields of `PairFit` for one stamp; `place` and ln L `single` are those of the best single star.

    `residual` (SIZE, SIZE) is filled.
    """
    box = np.array([[0.0, law.sep_max], [-np.pi / 2, np.pi / 2], [0.0, 1.0]])
    slack = _SLACK
    for turn in range(_ROUNDS):
        middles, values = _explore(stamp, box, place, law.sep_max)
        prior = _prior(middles[0][:, None], middles[2], law)[:, None, :]
        values = np.where(prior > 0, values, -np.inf)
        values -= values.max()
        best = np.unravel_index(np.argmax(values), values.shape)
        elongation, angle, side = (middle[k] for middle, k in zip(middles, best))
        sep, share = _pair(elongation, side, law.sep_max)
        peak = _settle(*stamp, sep * np.cos(angle), sep * np.sin(angle), share, place)
        if turn == 0:  # the half circle turns until the best angle lies in its middle
            box[1] += angle
            continue
        spared = -slack * values.min(where=prior > 0, initial=0)
        smaller = _shrink(box, middles, values > -_DEPTH - spared)
        if spared < 1 and np.all(np.ptp(smaller, axis=1) > _UNCHANGED * np.ptp(box, axis=1)):
            break
        box, slack = smaller, slack * _LESS_SLACK
    model = np.empty((SIZE, SIZE))
    draw_pair(*stamp[:2], place[1], place[2], sep * np.cos(angle), sep * np.sin(angle), share, model)
    _, _, information = fit_flux(*stamp[2:], model.ravel(), place[0])
    mean = place[0] * model.ravel() + stamp.background
    left = stamp.good * (stamp.counts - mean) / np.sqrt(np.maximum(mean, stamp.background))
    residual[:] = left.reshape(SIZE, SIZE)
    summary = _summary(middles, np.exp(values) * prior, law.sep_max)
    return (*summary, place[0], information**-0.5, place[1], place[2], 2 * (peak - single), float(left @ left))


def _pair(elongation, side, sep_max: float):
    """Separation and share of flux of the second star at coordinates of the box.

    Small separations show only as the stamp's elongation, ρ = 2 sep √(w (1 − w)) with w the share: ρ = sep of equals.
    At one ρ, `side` v runs from a faint second star at sep_max (v = 0) over equals at ρ (v = ½) to a faint first
    star (v = 1): with angles on half a circle every pair occurs once, and equals have one maximum, not two.
    In between w = sin²(πu/2) and ρ = sep sin πu.
    """
    least = np.arcsin(np.clip(elongation / sep_max, 0, 1)) / np.pi
    u = least + side * (1 - 2 * least)
    sine = np.sin(np.pi * u)
    sep = np.divide(elongation, sine, out=np.zeros(np.broadcast(elongation, sine).shape), where=sine > 1e-12)
    return sep, np.sin(0.5 * np.pi * u) ** 2


def _prior(elongation, side, law: Law) -> np.ndarray:
    """Prior density in the coordinates of `_pair` of pairs with uniform separations, angles and flux ratios.

    d sep dq = (1 − 2 u_least) / sin πu · (π/2) sin πu / (1 − w)² dρ dv, w the share of the fainter star.
    """
    sep, share = _pair(elongation, side, law.sep_max)
    brighter = np.maximum(share, 1 - share)
    allowed = (sep >= law.sep_min) & (1 / brighter - 1 >= law.flux_ratio_min)
    return np.where(allowed, (1 - 2 / np.pi * np.arcsin(np.clip(elongation / law.sep_max, 0, 1))) / brighter**2, 0.0)


def _explore(stamp: _Stamp, box: np.ndarray, place: np.ndarray, sep_max: float) -> tuple[list[np.ndarray], np.ndarray]:
    """The middles of the fine cells of `box` (3, 2) along each axis, and ln L there."""
    nodes = [chebyshev(low, high, k) for (low, high), k in zip(box, _NODES)]
    sep, share = _pair(nodes[0][:, None], nodes[2], sep_max)
    values = np.empty(_NODES)
    _evaluate(*stamp, sep, nodes[1], share, place, values)
    middles = [low + (high - low) * (np.arange(k) + 0.5) / k for (low, high), k in zip(box, _FINE)]
    for axis in range(3):
        values = np.moveaxis(np.tensordot(interpolation(nodes[axis], middles[axis]), values, (1, axis)), 0, axis)
    return middles, values


def _shrink(box: np.ndarray, middles: list[np.ndarray], inside: np.ndarray) -> np.ndarray:
    """The part of `box` around the cells `inside`, with one to spare on every side."""
    smaller = box.copy()
    for axis, middle in enumerate(middles):
        cells = np.flatnonzero(inside.any(axis=tuple(k for k in range(3) if k != axis)))
        cell = middle[1] - middle[0]
        smaller[axis, 0] = max(box[axis, 0], middle[cells[0]] - 1.5 * cell)
        smaller[axis, 1] = min(box[axis, 1], middle[cells[-1]] + 1.5 * cell)
    return smaller


def _summary(middles: list[np.ndarray], probability: np.ndarray, sep_max: float) -> tuple[float, ...]:
    """The first nine fields of `PairFit` from the probabilities of the fine cells."""
    probability = probability / probability.sum()
    sep, share = _pair(middles[0][:, None], middles[2], sep_max)
    ratio = np.minimum(share, 1 - share) / np.maximum(share, 1 - share)
    of_pair, of_angle = probability.sum(axis=1), probability.sum(axis=(0, 2))
    sep_low, sep_median, sep_high = _quantiles(sep, of_pair)
    ratio_low, ratio_median, ratio_high = _quantiles(ratio, of_pair)
    axis = (of_angle * middles[1]).sum()
    scatter = np.sqrt((of_angle * (middles[1] - axis) ** 2).sum())
    beyond = of_pair[share > 0.5].sum()  # the star at that angle is the brighter one
    towards = axis + np.pi * (beyond > 0.5)
    return (
        sep_median, sep_low, sep_high, ratio_median, ratio_low, ratio_high,
        np.pi - (np.pi - towards) % (2 * np.pi), scatter, min(beyond, 1 - beyond),
    )  # fmt: skip


def _quantiles(values: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """The 16th, 50th and 84th percentiles of `values` that have `probability`."""
    order = np.argsort(values, axis=None)
    shares = probability.ravel()[order]
    return np.interp(_QUANTILES, np.cumsum(shares) - 0.5 * shares, values.ravel()[order])


@njit(cache=True, nogil=True)
def _evaluate(phases, n, counts, background, good, sep, angle, share, place, values):
    # ln L, maximised over and weighted with the width in flux and photocentre, at every node.
    layers, here = np.empty((3, SIZE, SIZE)), np.empty(3)
    for i in range(len(sep)):
        for j in range(len(angle)):
            for k in range(sep.shape[1]):
                dx, dy = sep[i, k] * np.cos(angle[j]), sep[i, k] * np.sin(angle[j])
                here[:] = place
                peak, log_information = fit_position(
                    phases, n, counts, background, good, dx, dy, share[i, k], 1, here, layers
                )
                values[i, j, k] = peak - 0.5 * log_information


@njit(cache=True, nogil=True)
def _settle(phases, n, counts, background, good, dx, dy, share, place):
    # `place` becomes the best flux and photocentre for this pair; ln L there.
    layers = np.empty((3, SIZE, SIZE))
    peak, _ = fit_position(phases, n, counts, background, good, dx, dy, share, 20, place, layers)
    return peak
