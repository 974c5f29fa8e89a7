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
CLIP = 4.0  # robust σ of χ² above its median: a star beyond is no single star, or has something beside it
TERMS_PER_STARS = 12  # stars that a term of a polynomial needs
ROUNDS = 3
EM_STEPS = 25
BEGINNING = 0.3  # of the modes' scatter; where it is nought the steps approach it from above
WIDE = 2.0  # prior scatter of the mean amplitudes
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

    def left(self, amplitudes: np.ndarray) -> np.ndarray:
        """χ² per good pixel (S,) with `amplitudes` (S, M)."""
        gain = 2 * (self.slope * amplitudes).sum(1) - np.einsum(
            "sm,smk,sk->s", amplitudes, self.information, amplitudes
        )
        return (self.chi2 - gain) / self.n

    def marginal(self, scatter: np.ndarray) -> np.ndarray:
        """χ² (S,) at the best amplitudes, whose prior has the standard deviations `scatter` (M,)."""
        prior = np.diag(1 / np.maximum(scatter, 1e-6) ** 2)
        return self.chi2 - (
            self.slope * np.linalg.solve(self.information + prior, self.slope[:, :, None])[:, :, 0]
        ).sum(1)


@dataclass(frozen=True)
class PsfErrors:
    """Amplitudes of M modes over a frame: coefficients (T, M) of `terms`, and their scatter (M,) from star to star.

    used: how many stars it comes from.
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

    Stars that fit worse than others, pairs among them, are left out; one in which nothing stands out does little harm.
    """
    while degree > 0 and len(found.n) < TERMS_PER_STARS * (degree + 1) * (degree + 2) / 2:
        degree -= 1
    n_modes = found.slope.shape[1]
    basis = terms(found.x, found.y, degree)
    n_terms = basis.shape[1]
    used = np.ones(len(found.n), bool)
    amplitudes = np.zeros_like(found.slope)
    coefficients = np.zeros((n_terms, n_modes))
    for _ in range(ROUNDS):
        left = found.left(amplitudes)
        middle = np.median(left[used]) if used.any() else 1.0
        used = left < middle + CLIP * 1.4826 * np.median(np.abs(left - middle))
        chosen, information = basis[used], found.information[used]
        normal = np.einsum("st,su,smk->tmuk", chosen, chosen, information, optimize=True)
        normal = normal.reshape(n_terms * n_modes, -1) + np.eye(n_terms * n_modes) / WIDE**2
        right = np.einsum("st,sm->tm", chosen, found.slope[used]).ravel()
        coefficients = np.linalg.solve(normal, right).reshape(n_terms, n_modes)
        amplitudes = basis @ coefficients
    slope = found.slope[used] - np.einsum("smk,sk->sm", found.information[used], amplitudes[used])
    return PsfErrors(coefficients, _scatter(found.information[used], slope), int(used.sum()))


def _scatter(information: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Standard deviations (M,) of amplitudes about their means: by expectation and maximisation."""
    variance = np.full(slope.shape[1], BEGINNING**2)
    for _ in range(EM_STEPS if len(slope) else 0):
        covariance = np.linalg.inv(information + np.diag(1 / variance))
        mean = (covariance @ slope[:, :, None])[:, :, 0]
        variance = np.maximum((mean**2 + np.diagonal(covariance, axis1=1, axis2=2)).mean(0), 1e-8)
    return np.sqrt(variance)
