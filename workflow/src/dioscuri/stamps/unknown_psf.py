"""The likelihood ratio of two stars against one where the PSF is known only as one of a bank: its errors fitted along.

A finite bank cannot be summed over: few of its members come near a given PSF. Its principal components can: each has
a Gaussian amplitude of unit prior variance, found for every hypothesis with flux and photocentre, and integrated over.
"""

import dataclasses

import numpy as np
from numba import njit

from dioscuri.psf.effective import Psf
from dioscuri.psf.render import SIZE, add_star, add_star_slopes
from dioscuri.stamps.likelihood import fit_position, log_likelihood, pixels, start
from dioscuri.stamps.mocks import Law, Renderer
from dioscuri.stamps.optimum import BATCH, STEPS, Prior

N_MODES = 12  # they hold 99.6 % of the variance of the bank `robust`


class UnknownPsf:
    """PSFs (members) of which the `modes` (M, n, n) are not known: each has a Gaussian amplitude of unit variance."""

    def __init__(self, psf: Psf, modes: np.ndarray) -> None:
        self.n_modes = len(modes)
        self.renderer = Renderer(psf)
        self._modes = Renderer(dataclasses.replace(psf, samples=modes, parameters={})).phases if len(modes) else None

    def phases(self, member: int) -> np.ndarray:
        """Spline coefficients of a member, then of its standard deviations along the modes."""
        one = self.renderer.phases[member : member + 1]
        return one if self._modes is None else np.concatenate([one, self._modes])


def unknown_of(bank: Psf, n_modes: int = N_MODES) -> tuple[UnknownPsf, float]:
    """The mean of a bank of PSFs with the first principal components of its errors, and their share of the variance.

    Errors are those about what an observer assumes (parameter `assumed`), at its first place; else about the mean.
    """
    about = bank.parameters.get("assumed", np.zeros(bank.n_members)).astype(int)
    errors = bank.samples - bank.samples[about]
    mean = errors.mean(axis=0)
    deviations = (errors - mean).reshape(bank.n_members, -1) / np.sqrt(bank.n_members)
    _, scale, shapes = np.linalg.svd(deviations, full_matrices=False)
    n_modes = min(n_modes, int(np.sum(scale > 1e-9)))
    explained = float((scale[:n_modes] ** 2).sum() / max((scale**2).sum(), 1e-300))
    modes = (scale[:, None] * shapes)[:n_modes].reshape(-1, *mean.shape)
    return UnknownPsf(dataclasses.replace(bank.member(0), samples=bank.samples[:1] + mean), modes), explained


def log_bayes_factor_unknown(stamps: np.ndarray, variance, psf: UnknownPsf, law: Law, member=0) -> np.ndarray:
    """ln of the Bayes factor (B,) of a pair of `law` against a single star, both marginalised over the PSF.

    `stamps`, `variance` and `member` as in `optimum.fit_single`. For `photocentre_random` alone: with the primary on
    the centre it is the place that gives a pair away, whatever the PSF.
    """
    if law.placement != "photocentre_random":
        raise ValueError(f"law: placement is '{law.placement}'; accepted with an unknown PSF: photocentre_random")
    counts, background, good = pixels(stamps, variance)
    prior, members = Prior(law), psf.renderer.members(member, len(counts))
    log_bf = np.empty(len(counts))
    for one in np.unique(members):
        phases, rows = psf.phases(int(one)), np.flatnonzero(members == one)
        for first in range(0, len(rows), BATCH):
            part = rows[first : first + BATCH]
            single = np.empty(len(part))
            nodes = np.empty((len(single), len(prior.sep), len(prior.angle), len(prior.share)))
            _weigh(
                phases, psf.renderer.n_samples, counts[part], background[part], good[part],
                prior.sep, prior.angle, prior.share, single, nodes,
            )  # fmt: skip
            log_bf[part] = prior.mean_over_law(nodes)[0] - single
    return log_bf


@njit(cache=True, nogil=True)
def _weigh(phases, n, counts, background, good, sep, angle, share, single, nodes):
    n_parameters = 3 + len(phases) - 1
    layers, here = np.empty((3, SIZE, SIZE)), np.empty(3)
    design, information = np.empty((n_parameters, SIZE, SIZE)), np.empty((n_parameters, n_parameters))
    for b in range(len(counts)):
        data = counts[b], background[b], good[b]
        start(*data, here)
        fit_position(phases[0], n, *data, 0.0, 0.0, 0.0, STEPS, here, layers)
        single[b] = _evidence(phases, n, *data, 0.0, 0.0, 0.0, here, layers, design, information)
        for i in range(len(sep)):
            for j in range(len(angle)):
                dx, dy = sep[i] * np.cos(angle[j]), sep[i] * np.sin(angle[j])
                for k in range(len(share)):
                    nodes[b, i, j, k] = _evidence(phases, n, *data, dx, dy, share[k], here, layers, design, information)


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _evidence(phases, n, counts, background, good, dx, dy, share, place, layers, design, information):
    # ln of the likelihood of two stars at a fixed separation, integrated over flux, place and the amplitudes of the
    # components around `place` (3), the best single star: one Gauss–Newton step, as in `optimum`.
    flux, x, y = place[0], place[1], place[2]
    x1, y1, x2, y2 = x - share * dx, y - share * dy, x + (1.0 - share) * dx, y + (1.0 - share) * dy
    layers[:] = 0.0
    add_star_slopes(phases[0], n, x1, y1, 1.0 - share, layers)
    if share > 0.0:
        add_star_slopes(phases[0], n, x2, y2, share, layers)
    design[0] = layers[0]
    design[1], design[2] = flux * layers[1], flux * layers[2]
    design[3:] = 0.0
    for k in range(1, len(phases)):
        add_star(phases[k], n, x1, y1, flux * (1.0 - share), design[2 + k])
        if share > 0.0:
            add_star(phases[k], n, x2, y2, flux * share, design[2 + k])
    columns = design.reshape(len(design), -1)
    model = columns[0]
    value = log_likelihood(counts, background, good, model, flux)
    mean = np.maximum(flux * model + background, 1e-9)
    weight = good / mean
    weighted = columns * weight
    slope = weighted @ (counts - mean)
    information[:] = weighted @ columns.T
    for k in range(3, len(design)):
        information[k, k] += 1.0
    # Cholesky: the determinant and the gain of the step in one go.
    factor = np.linalg.cholesky(information)
    half = np.linalg.solve(factor, slope)
    value += 0.5 * np.sum(half * half)
    for k in range(len(design)):
        value -= np.log(factor[k, k])
    return value
