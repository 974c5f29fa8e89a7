"""What stars tell about a PSF that is nearly right: how it changes over a frame, and how much it is wrong beyond that.

The PSF's error is a sum of few modes, those of the telescope's optics. Flux and place of a star follow its PSF: their
share is projected out of its pixels, and what is left is linear in the modes' amplitudes. These are polynomials in
the star's position; what scatters about them is the error that a search for second stars has to reckon with.
"""

from dataclasses import dataclass

import numpy as np

from dioscuri.psf.effective import Psf
from dioscuri.stamps.likelihood import pixels
from dioscuri.stamps.mocks import Renderer
from dioscuri.stamps.optimum import fit_single

STEP = 0.05  # px, of the slopes of a star's image
CLIP = 10.0  # times the median χ²: a star beyond is not even looked at in the first round
STARS_PER_TERM = 8
ROUNDS = 3
EM_STEPS = 12
BEGINNING = 0.15  # of the modes' scatter, in σ of the field's; those that stars cannot see keep it
STRANGE, STRANGE_SHARE = 2.0, 0.2  # scatter of what is no single star, and how many there may be
WIDE, NARROWER = 2.0, 0.6  # prior scatter of the amplitudes' coefficients, and how it falls from degree to degree
_BATCH = 512


@dataclass(frozen=True)
class Leftovers:
    """What the PSF of S stars leaves in their pixels, in M modes.

    information (S, M, M) and slope (S, M) of ln L with respect to the amplitudes, flux and place following; chi2 (S,)
    of the star without them, n (S,) its good pixels; x, y (S,): position in the frame, each in −1 … 1.
    """

    information: np.ndarray
    slope: np.ndarray
    chi2: np.ndarray
    n: np.ndarray
    x: np.ndarray
    y: np.ndarray

    def marginal(self, scatter: np.ndarray) -> np.ndarray:
        """χ² (S,) at the best amplitudes, whose prior has the standard deviations `scatter` (M,)."""
        prior = np.diag(1 / np.maximum(scatter, 1e-6) ** 2)
        return self.chi2 - (
            self.slope * np.linalg.solve(self.information + prior, self.slope[:, :, None])[:, :, 0]
        ).sum(1)


@dataclass(frozen=True)
class PsfErrors:
    """Amplitudes of M modes over a frame: coefficients (T, M) of `terms`, and their scatter (M,) from star to star.

    used: how many stars it comes from, by their weights.
    """

    coefficients: np.ndarray
    scatter: np.ndarray
    used: int

    def amplitudes(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """(S, M) at positions in −1 … 1."""
        return terms(x, y, self.degree) @ self.coefficients

    @property
    def degree(self) -> int:
        """Of the polynomials."""
        return int(round((np.sqrt(8 * len(self.coefficients) + 1) - 3) / 2))


def terms(x: np.ndarray, y: np.ndarray, degree: int) -> np.ndarray:
    """All products of Legendre polynomials in x and y (S,) up to `degree` in total, (S, T); T = (d + 1)(d + 2) / 2."""
    along, up = np.polynomial.legendre.legvander(x, degree), np.polynomial.legendre.legvander(y, degree)
    return np.stack([along[:, i] * up[:, j] for i in range(degree + 1) for j in range(degree + 1 - i)], 1)


def leftovers(
    stamps: np.ndarray, variance: np.ndarray, renderer: Renderer, member, modes: Psf, x: np.ndarray, y: np.ndarray
) -> Leftovers:
    """What `stamps` (S, SIZE, SIZE) [e-] with `variance` hold beyond the best star of the PSF's `member` (S,).

    modes: M of them, as members with an amplitude of one; x, y (S,): position in the frame, each in −1 … 1.
    """
    painter = Renderer(modes)
    member = renderer.members(member, len(stamps))
    parts = [slice(first, first + _BATCH) for first in range(0, len(stamps), _BATCH)]
    found = [_of_batch(stamps[part], variance[part], renderer, member[part], painter) for part in parts]
    information, slope, chi2, n = (np.concatenate(values) for values in zip(*found))
    return Leftovers(information, slope, chi2, n, np.asarray(x, float), np.asarray(y, float))


def _of_batch(stamps, variance, renderer, member, painter):
    single = fit_single(stamps, variance, renderer, member)
    counts, background, good = pixels(stamps, variance)

    def image(x, y, painter=renderer, member=member):
        return painter.render(x, y, single.flux, member).reshape(len(stamps), -1)

    star = image(single.x, single.y)
    columns = [star / single.flux[:, None]]
    for dx, dy in ((STEP, 0.0), (0.0, STEP)):
        ahead, behind = (image(single.x + side * dx, single.y + side * dy) for side in (1, -1))
        columns.append((ahead - behind) / (2 * STEP))
    columns += [image(single.x, single.y, painter, k) for k in range(painter.n_members)]
    design = np.stack(columns, 1)  # (S, 3 + M, pixels)
    mean = np.maximum(star + background, 1e-9)
    weight = good / mean
    residual = counts - mean
    weighted = design * weight[:, None]
    normal = weighted @ design.transpose(0, 2, 1)
    slope = (weighted @ residual[:, :, None])[:, :, 0]
    # Flux and place (the first three) follow the amplitudes: Schur complement.
    own, cross = normal[:, :3, :3] + 1e-12 * np.eye(3), normal[:, :3, 3:]
    follow = np.linalg.solve(own, np.concatenate([cross, slope[:, :3, None]], 2))
    information = normal[:, 3:, 3:] - cross.transpose(0, 2, 1) @ follow[:, :, :-1]
    projected = slope[:, 3:] - (cross.transpose(0, 2, 1) @ follow[:, :, -1:])[:, :, 0]
    chi2 = (weight * residual**2).sum(1) - (slope[:, :3] * follow[:, :, -1]).sum(1)
    return information, projected, chi2, good.sum(1)


def measure_errors(found: Leftovers, degree: int) -> PsfErrors:
    """The PSF's errors from the stars of a frame; fewer terms than `degree` has where there are few stars.

    Some of the stars are pairs, or have something beside them: what they leave is like modes of far larger
    amplitudes (`STRANGE`), and each star counts by its probability not to be one of them.
    """
    while degree > 0 and len(found.n) < STARS_PER_TERM * (degree + 1) * (degree + 2) / 2:
        degree -= 1
    n_modes = found.slope.shape[1]
    basis = terms(found.x, found.y, degree)
    n_terms = basis.shape[1]
    orders = np.array([i + j for i in range(degree + 1) for j in range(degree + 1 - i)])
    prior = (WIDE * NARROWER**orders) ** -2.0
    weight = (found.chi2 / found.n < CLIP * np.median(found.chi2 / found.n)).astype(float) if len(basis) else np.ones(0)
    variance = np.full(n_modes, BEGINNING**2)
    coefficients = np.zeros((n_terms, n_modes))
    for _ in range(ROUNDS):
        # A star's amplitudes scatter about the polynomials: what it says of them counts the less.
        shrunk = np.linalg.inv(np.eye(n_modes) + found.information * variance[None, None, :])
        information, slope = shrunk @ found.information, (shrunk @ found.slope[:, :, None])[:, :, 0]
        normal = np.einsum("s,st,su,smk->tmuk", weight, basis, basis, information, optimize=True)
        normal = normal.reshape(n_terms * n_modes, -1) + np.diag(np.repeat(prior, n_modes))
        right = np.einsum("s,st,sm->tm", weight, basis, slope).ravel()
        coefficients = np.linalg.solve(normal, right).reshape(n_terms, n_modes)
        rest = found.slope - np.einsum("smk,sk->sm", found.information, basis @ coefficients)
        variance, weight = _scatter(found.information, rest, variance)
    return PsfErrors(coefficients, np.sqrt(variance), int(round(weight.sum())))


def _scatter(information: np.ndarray, slope: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Variances (M,) of amplitudes about their means, and the weights (S,) of the stars: expectation, maximisation."""
    strange = _evidence(information, slope, variance + STRANGE**2)[0] + np.log(STRANGE_SHARE)
    weight = np.ones(len(slope))
    for _ in range(EM_STEPS if len(slope) else 0):
        usual, mean, spread = _evidence(information, slope, variance)
        weight = 1 / (1 + np.exp(np.clip(strange - usual - np.log(1 - STRANGE_SHARE), -50, 50)))
        second = mean**2 + spread
        variance = np.maximum((weight[:, None] * second).sum(0) / max(weight.sum(), 1e-9), 1e-8)
    return variance, weight


def _evidence(information: np.ndarray, slope: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, ...]:
    """ln L (S,) with amplitudes of `variance` (M,) integrated over, and their posterior means and variances (S, M)."""
    covariance = np.linalg.inv(information + np.diag(1 / variance))
    mean = (covariance @ slope[:, :, None])[:, :, 0]
    value = 0.5 * (slope * mean).sum(1) + 0.5 * np.linalg.slogdet(covariance)[1] - 0.5 * np.log(variance).sum()
    return value, mean, np.diagonal(covariance, axis1=1, axis2=2)
