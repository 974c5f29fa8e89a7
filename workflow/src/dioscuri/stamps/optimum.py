"""The best that anyone can do on a stamp: the likelihood ratio of two stars against one, with the PSF known.

The Bayes factor integrates over everything that is not known: flux and photocentre (in the Gaussian
approximation around their best values, which is excellent at these S/N), separation, position angle and flux
ratio (over their law). A classifier that ranks by it has the highest accuracy possible on stamps of that law.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from scipy import fft
from scipy.interpolate import BarycentricInterpolator
from scipy.special import logsumexp

from dioscuri.stamps.likelihood import draw_pair, fit_flux, fit_position, pixels, start
from dioscuri.stamps.mocks import CENTRE, SIZE, Law, Renderer

STEPS = 20  # at most, of a fit of one star; four or five are usual
_FINE_POINTS = 30_000  # of the prior grid on which the likelihood is summed
BATCH = 32  # stamps whose fine grids are held at a time


@dataclass(frozen=True)
class SingleFit:
    """One star fitted to each of B stamps: `flux` [electrons], `x`, `y` [pixels, 0-based centres], `chi2`, all (B,).

    `residual` (B, SIZE, SIZE) float32: data − fit in units of the expected noise, 0 in bad pixels.
    `log_likelihood` (B,): up to a constant of the data.
    """

    flux: np.ndarray
    x: np.ndarray
    y: np.ndarray
    chi2: np.ndarray
    residual: np.ndarray
    log_likelihood: np.ndarray


def fit_single(stamps: np.ndarray, variance, renderer: Renderer, member=0) -> SingleFit:
    """Fit flux and position of one star to background-subtracted `stamps` (B, SIZE, SIZE) [electrons].

    `variance` [e²] of the background, without the star's own photons: a number, or an array that broadcasts to
    the stamps, infinite in bad pixels. `member`: the PSF's member, a number or (B,).
    """
    counts, background, good = pixels(stamps, variance)
    n = len(counts)
    place, chi2, value = np.empty((n, 3)), np.empty(n), np.empty(n)
    residual = np.empty((n, SIZE, SIZE), np.float32)
    _fit_singles(
        renderer.phases, renderer.n_samples, renderer.members(member, n), counts, background, good,
        place, chi2, value, residual.reshape(n, SIZE * SIZE),
    )  # fmt: skip
    return SingleFit(place[:, 0], place[:, 1], place[:, 2], chi2, residual, value)


def log_bayes_factor(
    stamps: np.ndarray, variance, renderer: Renderer, law: Law, *, member=0, members=None
) -> tuple[np.ndarray, np.ndarray]:
    """ln of the Bayes factor, and of the generalised likelihood ratio, of a pair of `law` against a single star.

    `stamps`, `variance` and `member` as in `fit_single`; `members`: instead of a known PSF, a few members of a
    bank that are equally likely, over which both hypotheses are summed. Both results are (B,). Classes equally
    frequent, the best decision is "pair" where the first is positive. The second compares the best pair within
    the law with the best single star and needs no law but its limits.

    With `photocentre_random` flux and photocentre are free; with `primary_centred` the brighter star, or the
    single one, is known to stand on the stamp's centre, and only the flux is free.
    """
    counts, background, good = pixels(stamps, variance)
    prior = Prior(law)
    n = len(counts)
    if members is None:
        columns = [renderer.members(member, n)]
    else:
        columns = [renderer.members(one, n) for one in np.atleast_1d(members)]
    single, pair = np.empty((len(columns), n)), np.empty((len(columns), n))
    single_peak, pair_peak = np.empty_like(single), np.empty_like(pair)
    for k, column in enumerate(columns):
        for first in range(0, n, BATCH):
            part = slice(first, first + BATCH)
            data = column[part], counts[part], background[part], good[part]
            single[k, part], pair[k, part], single_peak[k, part], pair_peak[k, part] = prior.weigh(renderer, *data)
    log_bf = logsumexp(pair, axis=0) - logsumexp(single, axis=0)
    return log_bf, pair_peak.max(axis=0) - single_peak.max(axis=0)


class Prior:
    """A law's separations, position angles and flux ratios, as two grids.

    ln L is as smooth as the PSF, however sharply L itself peaks: it is computed on a coarse grid (polynomials in
    separation and share of flux, harmonics in angle), interpolated to a fine one and summed there.
    """

    def __init__(self, law: Law) -> None:
        self.centred = law.placement == "primary_centred"
        equal = law.flux_ratio == "equal"
        # A pair of equals looks the same from both sides, unless the place tells which star is which.
        self.half_circle = equal and not self.centred
        n_sep = max(6, int(np.ceil(3.5 * law.sep_max)))
        n_angle = max(8, int(np.ceil((4 if self.half_circle else 5) * law.sep_max)))
        self.sep = chebyshev(law.sep_min, law.sep_max, n_sep)
        turn = np.pi if self.half_circle else 2 * np.pi
        self.angle = turn * np.arange(n_angle) / n_angle
        least = law.flux_ratio_min
        self.share = np.array([0.5]) if equal else chebyshev(least / (1 + least), 0.5, 6)
        self.fine_angle = turn * np.arange(4 * n_angle) / (4 * n_angle)
        ratio = np.ones(1) if equal else least + (1 - least) * _midpoints(30)
        self.fine_share = ratio / (1 + ratio)
        if law.separation == "grid":
            self.fine_sep = law.sep_grid
        else:
            n_fine = _FINE_POINTS // (len(self.fine_angle) * len(self.fine_share))
            self.fine_sep = law.sep_min + (law.sep_max - law.sep_min) * _midpoints(min(max(n_fine, 20), 160))
        self._from_sep = interpolation(self.sep, self.fine_sep).astype(np.float32)
        self._from_angle = between_angles(n_angle).astype(np.float32)
        self._from_share = interpolation(self.share, self.fine_share).astype(np.float32)

    def weigh(self, renderer: Renderer, member, counts, background, good) -> tuple[np.ndarray, ...]:
        """ln of the evidence of one star and of a pair, then the peaks of their ln L, all (B,)."""
        n = len(counts)
        place, single, single_peak = np.empty((n, 3)), np.empty(n), np.empty(n)
        nodes = np.empty((n, len(self.sep), len(self.angle), len(self.share)))
        _weigh(
            renderer.phases, renderer.n_samples, member, counts, background, good, self.centred,
            self.sep, self.angle, self.share, place, single, single_peak, nodes,
        )  # fmt: skip
        pair, best = self.mean_over_law(nodes)
        i, j, k = np.unravel_index(best, (len(self.fine_sep), len(self.fine_angle), len(self.fine_share)))
        pair_peak = np.empty(n)
        _peaks(
            renderer.phases, renderer.n_samples, member, counts, background, good, self.centred,
            self.fine_sep[i], self.fine_angle[j], self.fine_share[k], place, pair_peak,
        )  # fmt: skip
        return single, pair, single_peak, pair_peak

    def mean_over_law(self, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """ln of the mean of exp(`nodes`) (B, s, a, w) over the law, and the best node of the fine grid, both (B,)."""
        n = len(nodes)
        # Single precision is enough for what lies below the highest node, and twice as quick.
        top = nodes.reshape(n, -1).max(axis=1)
        fine = self._interpolate((nodes - top[:, None, None, None]).astype(np.float32)).reshape(n, -1)
        best = np.argmax(fine, axis=1)
        peak = fine[np.arange(n), best]
        return top + peak + np.log(np.exp(fine - peak[:, None]).mean(axis=1)), best

    def _interpolate(self, nodes: np.ndarray) -> np.ndarray:
        """Values on the coarse grid (B, s, a, w) to those on the fine one (B, S, A, W), axis by axis."""
        n, n_sep, n_angle, n_share = nodes.shape
        values = self._from_sep @ nodes.reshape(n, n_sep, n_angle * n_share)
        values = self._from_angle @ values.reshape(n, -1, n_angle, n_share)
        return values @ self._from_share.T


def _midpoints(n: int) -> np.ndarray:
    """The middles of n equal parts of (0, 1)."""
    return (np.arange(n) + 0.5) / n


def chebyshev(low: float, high: float, n: int) -> np.ndarray:
    """n nodes from `low` to `high` through which polynomials may be laid safely; one if the limits agree."""
    if high <= low:
        return np.array([low])
    return 0.5 * (low + high) - 0.5 * (high - low) * np.cos(np.pi * np.arange(n) / (n - 1))


def between_angles(n: int) -> np.ndarray:
    """The matrix (4n, n) that evaluates at 4n angles of a turn the Fourier series through values at n of them.

    What scipy.signal.resample makes of np.eye(n); but scipy.signal imports scipy.stats, as long as a small job takes.
    """
    series = fft.rfft(np.eye(n))
    if n % 2 == 0:
        series[:, -1] /= 2
    return (4 * fft.irfft(series, 4 * n)).T


def interpolation(nodes: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The matrix (points, nodes) that evaluates at `points` the polynomial through values at `nodes`."""
    if len(nodes) == 1:
        return np.ones((len(points), 1))
    return BarycentricInterpolator(nodes, np.eye(len(nodes)), rng=0)(points)


@njit(cache=True, nogil=True)
def _fit_singles(phases, n, member, counts, background, good, place, chi2, value, residual):
    layers = np.empty((3, SIZE, SIZE))
    for b in range(len(counts)):
        psf = phases[member[b]]
        start(counts[b], background[b], good[b], place[b])
        value[b], _ = fit_position(psf, n, counts[b], background[b], good[b], 0.0, 0.0, 0.0, STEPS, place[b], layers)
        draw_pair(psf, n, place[b, 1], place[b, 2], 0.0, 0.0, 0.0, layers[0])
        model = layers[0].reshape(-1)
        chi2[b] = 0.0
        for p in range(len(model)):
            mean = max(place[b, 0] * model[p] + background[b, p], background[b, p])
            deviation = good[b, p] * (counts[b, p] - place[b, 0] * model[p] - background[b, p]) / np.sqrt(mean)
            residual[b, p] = deviation
            chi2[b] += deviation * deviation


@njit(cache=True, nogil=True)
def _weigh(
    phases, n, member, counts, background, good, centred, sep, angle, share, place, single, single_peak, nodes
):  # fmt: skip
    layers, try_place = np.empty((3, SIZE, SIZE)), np.empty(3)
    for b in range(len(counts)):
        psf, here = phases[member[b]], place[b]
        data = counts[b], background[b], good[b]
        start(*data, here)
        peak, log_information = fit_position(psf, n, *data, 0.0, 0.0, 0.0, STEPS, here, layers)
        if centred:
            peak, log_information = _centred(psf, n, *data, 0.0, 0.0, 0.0, here, layers[0])
        single[b], single_peak[b] = peak - 0.5 * log_information, peak
        for i in range(len(sep)):
            for j in range(len(angle)):
                dx, dy = sep[i] * np.cos(angle[j]), sep[i] * np.sin(angle[j])
                for k in range(len(share)):
                    if share[k] == 0.0:
                        nodes[b, i, j, k] = single[b]
                        continue
                    if centred:
                        peak, log_information = _centred(psf, n, *data, dx, dy, share[k], here, layers[0])
                    else:
                        # One step from the single star's place is enough: errors of ln L stay below 0.01.
                        try_place[:] = here
                        peak, log_information = fit_position(psf, n, *data, dx, dy, share[k], 1, try_place, layers)
                    nodes[b, i, j, k] = peak - 0.5 * log_information


@njit(cache=True, nogil=True)
def _peaks(phases, n, member, counts, background, good, centred, sep, angle, share, place, peak):
    layers, try_place = np.empty((3, SIZE, SIZE)), np.empty(3)
    for b in range(len(counts)):
        psf, data = phases[member[b]], (counts[b], background[b], good[b])
        dx, dy = sep[b] * np.cos(angle[b]), sep[b] * np.sin(angle[b])
        try_place[:] = place[b]
        if centred:
            peak[b], _ = _centred(psf, n, *data, dx, dy, share[b], try_place, layers[0])
        else:
            peak[b], _ = fit_position(psf, n, *data, dx, dy, share[b], 3, try_place, layers)


@njit(cache=True, nogil=True)
def _centred(psf, n, counts, background, good, dx, dy, share, place, model):
    # ln L at the best flux, and ln of the information on it, with the brighter star on the stamp's centre.
    draw_pair(psf, n, CENTRE + share * dx, CENTRE + share * dy, dx, dy, share, model)
    _, peak, information = fit_flux(counts, background, good, model.reshape(-1), place[0])
    return peak, np.log(information)
