"""Fits one star and two stars to normalised spectra: velocities, v sin i, light ratio, and how much two serve better.

A model star is a narrow template, rotated and shifted: a weighted sum of that template at a grid of shifts. The
least-squares fit of one or two of them therefore needs nothing of a spectrum but its correlations with the templates at
all shifts, one matrix product for many spectra; everything after that (`double_lines_kernels`) is done on a few
hundred numbers.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numba import njit
from scipy.interpolate import CubicSpline

from dioscuri.arms import C_KMS, Arm
from dioscuri.spectra import double_lines_kernels as kernels
from dioscuri.spectra.velocity import Templates

STEP_KMS = 10.0  # between shifts: a quarter of the resolution element at R = 7500
VELOCITY_MAX = 400.0  # km/s, of either star against the frame of the spectrum
VSINI_MAX = 500.0  # km/s: as fast as the paper draws them
BANK_VSINI = np.array([0.0, 45.0, 90.0, 160.0, 270.0, 420.0])  # km/s; where the search starts: of one star,
PAIR_BANK = 4  # and, up to this entry, of two
APART_KMS = 30.0  # two stars closer than this are one: at R = 7500 their lines are
BATCH = 64  # spectra in one product; always this many, so that a result never depends on its company
SMOOTH_TERMS = 10  # Legendre polynomials that are taken out of spectra and templates alike: false continuum
NATIVE_KMS = 7.0  # LAMOST's detector pixel, whose noise is independent


@dataclass(frozen=True)
class DoubleLines:
    """Fits of S spectra, all (S,); velocities [km/s] in the frame of the spectra. NaN rows: not fitted.

    One star: `vs`, `vs_err`, `vsini`, `teff`. Two: `v1`, `v2` (1 has more light), `v1_err`, `v2_err`, `vsini1`,
    `vsini2` [km/s], `teff1`, `teff2` [K, of the templates], `light_ratio` 2 : 1 with `light_ratio_err` (of line
    strengths: of light where both have the lines of their templates). `dchi2` = N ln(χ²₁ / χ²₂), N independent pixels;
    `dchi2_third` the same for a third star beside the two; `residual` rms of the pair's residuals over that expected of
    the noise (NaN without σ).
    """

    vs: np.ndarray
    vs_err: np.ndarray
    vsini: np.ndarray
    teff: np.ndarray
    v1: np.ndarray
    v1_err: np.ndarray
    v2: np.ndarray
    v2_err: np.ndarray
    vsini1: np.ndarray
    vsini2: np.ndarray
    teff1: np.ndarray
    teff2: np.ndarray
    light_ratio: np.ndarray
    light_ratio_err: np.ndarray
    dchi2: np.ndarray
    dchi2_third: np.ndarray
    residual: np.ndarray


class DoubleLineFitter:
    """Fits one and two stars in one arm. Setting up takes seconds, a spectrum half a millisecond."""

    def __init__(self, templates: Templates, arm: Arm) -> None:
        self.arm = arm
        narrow = templates.vsini == templates.vsini.min()
        self.teff = np.asarray(templates.teff, float)[narrow]
        self._table, self._reaches = kernels.rotation_weights(STEP_KMS, VSINI_MAX, float(templates.vsini.min()))
        self._reach = int(VELOCITY_MAX // STEP_KMS)
        self._middle = self._reach + self._table.shape[2] // 2 + 2
        shifted = self._shifted(templates, narrow)
        self._smooth, _ = np.linalg.qr(np.polynomial.legendre.legvander(np.linspace(-1, 1, arm.n_pixels), SMOOTH_TERMS))
        flat = shifted.reshape(-1, arm.n_pixels)
        flat -= (flat @ self._smooth) @ self._smooth.T
        self._templates = flat.astype(np.float32).T.copy()
        n_labels, n_shifts = shifted.shape[:2]
        gram = (flat @ flat.T).reshape(n_labels, n_shifts, n_labels, n_shifts)
        self._gram = np.ascontiguousarray(gram.transpose(0, 2, 1, 3))
        self._norm, self._product = _bank_products(self._gram, self._table, self._reaches, BANK_VSINI, self._reach)
        pixel = C_KMS * np.log(arm.wave_max / arm.wave_min) / arm.n_pixels
        self._noise_factor = NATIVE_KMS / pixel  # noise that matters over that of a pixel: neighbours share theirs

    def fit(self, flux: np.ndarray, sigma: np.ndarray | None = None) -> DoubleLines:
        """Fit S spectra: normalised flux − 1 on the arm's grid, (S, L), and its error.

        A non-finite row is not fitted.
        """
        if flux.ndim != 2 or flux.shape[1] != self.arm.n_pixels:
            raise ValueError(f"pair fit: the {self.arm.name} arm takes (S, {self.arm.n_pixels}), found {flux.shape}")
        table = np.full((len(flux), 17), np.nan)
        for rows, spectra, power in self._batches(flux):
            correlations = (spectra @ self._templates).astype(np.float64)[: len(rows)]
            variance = np.full(len(rows), np.nan)
            if sigma is not None:
                variance = self._noise_factor * np.mean(np.square(sigma[rows], dtype=np.float64), axis=1)
            table[rows] = _fit_rows(
                correlations.reshape(len(rows), len(self.teff), -1), power, variance,
                self.arm.n_pixels / self._noise_factor / 1.5, self._noise_factor, self._gram, self._table,
                self._reaches, BANK_VSINI, self._norm, self._product, self._reach, APART_KMS / STEP_KMS,
            )  # fmt: skip
        return self._fits(table)

    def _batches(self, flux: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Row numbers (≤ BATCH,), spectra (BATCH, L) float32 padded with zeros, and the squared norm of each."""
        usable = np.flatnonzero(np.isfinite(flux).all(axis=1))
        for first in range(0, len(usable), BATCH):
            rows = usable[first : first + BATCH]
            spectra = np.zeros((BATCH, self.arm.n_pixels), np.float32)
            spectra[: len(rows)] = flux[rows]
            smooth = self._smooth.astype(np.float32)
            rest = spectra - (spectra @ smooth) @ smooth.T
            yield rows, spectra, np.sum(np.square(rest, dtype=np.float64), axis=1)[: len(rows)]

    def _shifted(self, templates: Templates, narrow: np.ndarray) -> np.ndarray:
        """Templates − 1 at every shift, (T, K, L); beyond its ends a template is continuum."""
        spline = CubicSpline(np.log(templates.wave), templates.flux[narrow] - 1.0, axis=1, extrapolate=False)
        shifts = np.arange(-self._middle, self._middle + 1) * STEP_KMS / C_KMS
        return np.stack([np.nan_to_num(spline(np.log(self.arm.wave) - shift)) for shift in shifts], axis=1)

    def _fits(self, table: np.ndarray) -> DoubleLines:
        columns = dict(zip(DoubleLines.__dataclass_fields__, table.T.copy(), strict=True))
        for name in ("teff", "teff1", "teff2"):
            label = columns[name]
            known = np.isfinite(label)
            label[known] = self.teff[label[known].astype(int)]
        for name in ("vs", "v1", "v2"):
            columns[name] = C_KMS * np.expm1(columns[name] * STEP_KMS / C_KMS)
        for name in ("vs_err", "v1_err", "v2_err"):
            columns[name] *= STEP_KMS
        return DoubleLines(**columns)


@njit(cache=True, nogil=True, error_model="numpy")
def _bank_products(gram, table, reaches, bank_vsini, reach):
    """Squared norms (J, T, V) and scalar products by lag (T, J, J, 2 V − 1) of rotating templates at whole cells."""
    n_labels, n_shifts, n_cells = gram.shape[0], gram.shape[2], 2 * reach + 1
    middle = n_shifts // 2
    norm = np.empty((len(bank_vsini), n_labels, n_cells))
    product = np.zeros((n_labels, len(bank_vsini), len(bank_vsini), 2 * n_cells - 1))
    a, b = np.empty(table.shape[2]), np.empty(table.shape[2])
    for j in range(len(bank_vsini)):
        first, n = kernels.place_star(table, reaches, 0.0, bank_vsini[j], a)
        for t in range(n_labels):
            for v in range(n_cells):
                at = middle + v - reach + first
                norm[j, t, v] = kernels._product(gram[t, t], at, n, a, at, n, a)
            for k in range(len(bank_vsini)):
                other, m = kernels.place_star(table, reaches, 0.0, bank_vsini[k], b)
                for lag in range(-2 * reach, 2 * reach + 1):
                    # Both stars as near the middle as the lag allows.
                    left = -lag // 2
                    at, to = middle + left + first, middle + left + lag + other
                    product[t, j, k, lag + n_cells - 1] = kernels._product(gram[t, t], at, n, a, to, m, b)
    return norm, product


@njit(cache=True, nogil=True, error_model="numpy")
def _fit_rows(
    correlations, power, variance, n_independent, noise_factor, gram, table, reaches, bank_vsini, bank_norm,
    bank_product, reach, apart,
):  # fmt: skip
    """Columns of DoubleLines, (S, 17): places and their errors in cells, labels for temperatures."""
    n_spectra, n_labels = correlations.shape[:2]
    out = np.full((n_spectra, 17), np.nan)
    width = table.shape[2]
    weights, scratch = np.empty((2, width)), np.empty(width)
    span, product = np.empty((2, 2), np.int64), np.empty((2, 2))
    star, x, order = np.empty((2, 3)), np.empty(2), np.empty(n_labels, np.int64)
    bank = np.empty(bank_norm.shape)
    covariance = np.empty((2, 2))
    for s in range(n_spectra):
        ccf = correlations[s]
        if not power[s] > 0:
            continue
        kernels.correlate_bank(ccf, table, reaches, bank_vsini, reach, bank, scratch)
        one = kernels.fit_single(
            ccf, gram, table, reaches, bank_vsini, bank, bank_norm, reach, 3, weights, span, product, star, order
        )
        if one <= 0:
            continue
        noise = variance[s]
        kernels.load(star, 0, ccf, gram, table, reaches, weights, span, product)
        kernels.velocity_errors(1, star, one, reach, ccf, gram, table, reaches, weights, span, product, covariance)
        left_one = max(power[s] - one, 1e-6 * power[s])
        if not noise > 0:
            noise = left_one / n_independent
        out[s, 0], out[s, 1], out[s, 2], out[s, 3] = (
            star[0, 1],
            np.sqrt(noise * covariance[0, 0]),
            star[0, 2],
            star[0, 0],
        )
        two = kernels.fit_pair(
            ccf, gram, table, reaches, bank_vsini, bank[:PAIR_BANK], bank_norm, bank_product, reach, 2, apart, order, 3,
            weights, span, product, star, x,
        )  # fmt: skip
        if two <= 0:
            out[s, 14] = 0.0
            continue
        left = max(power[s] - two, 1e-6 * power[s])
        kernels.velocity_errors(2, star, two, reach, ccf, gram, table, reaches, weights, span, product, covariance)
        g = kernels._product(
            gram[int(star[0, 0]), int(star[1, 0])],
            span[0, 0],
            span[0, 1],
            weights[0],
            span[1, 0],
            span[1, 1],
            weights[1],
        )
        det = product[0, 1] * product[1, 1] - g * g
        a, b = (0, 1) if x[0] >= x[1] else (1, 0)
        ratio = x[b] / x[a]
        spread = product[1 - b, 1] / det + ratio**2 * product[1 - a, 1] / det + 2 * ratio * g / det
        out[s, 4], out[s, 5] = star[a, 1], np.sqrt(noise * covariance[a, a])
        out[s, 6], out[s, 7] = star[b, 1], np.sqrt(noise * covariance[b, b])
        out[s, 8], out[s, 9] = star[a, 2], star[b, 2]
        out[s, 10], out[s, 11] = star[a, 0], star[b, 0]
        out[s, 12], out[s, 13] = ratio, np.sqrt(noise * spread) / x[a]
        out[s, 14] = n_independent * np.log(max(left_one / left, 1.0))
        third = kernels.third_power(
            star, x, ccf, gram, bank_vsini, table, reaches, reach, apart + 1, weights, span, scratch
        )
        out[s, 15] = n_independent * np.log(left / max(left - third, 1e-3 * left))
        if variance[s] > 0:
            out[s, 16] = np.sqrt(left / n_independent / variance[s])
    return out
