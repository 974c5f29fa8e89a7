"""The classical bound: is a spectrum better fitted by two stars than by one? Δχ², mass ratio and its error.

Single stars and pairs of one age are polynomials of their labels in the space of `compressed` components; both are
fitted by Gauss–Newton steps, all spectra at once. How broad lines are is free in both: neither a fast rotator nor a
fibre of low resolving power is a second star.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement
from typing import Any

import h5py
import numpy as np

from dioscuri import io
from dioscuri.reading import reading

SCHEMA = "dioscuri/pair_fit/1"
LABELS = ("teff", "logg", "feh", "spread", "q")  # spread: see lrs_frame.excess_spread
CENTRE = np.array([5000.0, 4.55, -0.2, 0.0, 0.75])
SCALE = np.array([600.0, 0.15, 0.35, 0.4, 0.2])
DEGREES = {4: 4, 5: 5}  # of the polynomials of one star (four labels) and of a pair
SPREAD_COSTS = 3, 2  # degrees that the spread of lines and its square leave to the other labels
SPREAD_SIGMA = 0.2  # 1σ of the prior of the spread: fibres differ by a tenth in R
STARTS = (0.55, 0.75, 0.9)  # mass ratios from which the pair is fitted
STEPS, LONGEST = 9, 0.6  # Gauss–Newton steps, and how far one may go in units of SCALE
BLOCK = 512  # spectra at once


# What a dwarf of the sample is, and how far it may be from the temperature of a velocity template.
PRIOR_LOGG, PRIOR_FEH = 4.58, -0.15
PRIOR_SIGMA = (350.0, 0.12, 0.35)


def dwarf_prior(teff: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Teff, log g and [Fe/H] from which fits begin, of a template's `teff` (S,) [K], and their 1σ, each (S, 3)."""
    n = len(teff)
    return np.stack([teff, np.full(n, PRIOR_LOGG), np.full(n, PRIOR_FEH)], axis=1), np.tile(PRIOR_SIGMA, (n, 1))


@dataclass(frozen=True)
class Fits:
    """Fits of S spectra, all (S,): Teff [K], log g and [Fe/H] of the better fit's primary, χ² of both fits, and of the
    pair the mass ratio and its 1σ error; `single` (S, 3) labels of the single-star fit."""

    teff: np.ndarray
    logg: np.ndarray
    feh: np.ndarray
    q: np.ndarray
    q_err: np.ndarray
    chi2_single: np.ndarray
    chi2_pair: np.ndarray
    single: np.ndarray

    @property
    def dchi2(self) -> np.ndarray:
        """How much better two stars fit than one, (S,)."""
        return self.chi2_single - self.chi2_pair


@dataclass(frozen=True)
class PairFitter:
    """Polynomials of one star and of two, and what they leave.

    `one` (T1, K), `two` (T2, K) coefficients; `scatter` (K, K) covariance of noise-free mocks about them plus that of
    `systematics`; `low`, `high` (5,) range of the labels it was made from.
    """

    one: np.ndarray
    two: np.ndarray
    scatter: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @cached_property
    def _basis(self) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues and vectors of the scatter: in their frame the noise of every spectrum is diagonal."""
        values, vectors = np.linalg.eigh(self.scatter.astype(float))
        return np.maximum(values, 0.0), vectors

    def model(self, labels: np.ndarray) -> np.ndarray:
        """Components (S, K) of single stars (S, 4) or of pairs (S, 5)."""
        coefficients = self.one if labels.shape[1] == 4 else self.two
        return polynomial(_scaled(labels), DEGREES[labels.shape[1]]) @ coefficients

    def fit(self, x: np.ndarray, snrg: np.ndarray, prior: np.ndarray, prior_sigma: np.ndarray) -> Fits:
        """Fit components `x` (S, K) at S/N_g `snrg` (S,); `prior` (S, 3): Teff, log g, [Fe/H], and its 1σ."""
        sigma = np.broadcast_to(np.asarray(prior_sigma, float), prior.shape)
        parts = [slice(i, i + BLOCK) for i in range(0, len(x), BLOCK)]
        pieces = [self._fit_block(x[p], snrg[p], prior[p], sigma[p]) for p in parts]
        if not pieces:
            pieces = [(*np.empty((7, 0)), np.empty((0, 3)))]
        names = ("teff", "logg", "feh", "q", "q_err", "chi2_single", "chi2_pair", "single")
        return Fits(**dict(zip(names, map(np.concatenate, zip(*pieces)))))

    def _fit_block(self, x, snrg, prior, sigma) -> tuple[np.ndarray, ...]:
        values, vectors = self._basis
        weight = 1.0 / np.sqrt(1.0 / snrg[:, None] ** 2 + values)
        data = x @ vectors
        centre = np.append(np.clip(prior, self.low[:3], self.high[:3]), np.zeros((len(x), 1)), axis=1)
        centre = _scaled(centre)
        width = np.append(sigma, np.full((len(x), 1), SPREAD_SIGMA), axis=1) / SCALE[:4]
        chi1, one, _ = self._descend(self.one @ vectors, data, weight, centre, width)
        chi2 = np.full(len(x), np.inf)
        two, error = np.zeros((len(x), 5)), np.zeros(len(x))
        wide = np.concatenate([width, np.full((len(x), 1), 2.0)], axis=1)
        for start in STARTS:
            begin = np.concatenate([one, np.full((len(x), 1), (start - CENTRE[4]) / SCALE[4])], axis=1)
            origin = np.concatenate([centre, begin[:, 4:]], axis=1)
            chi, labels, q_error = self._descend(self.two @ vectors, data, weight, origin, wide, begin)
            better = chi < chi2
            chi2, two = np.where(better, chi, chi2), np.where(better[:, None], labels, two)
            error = np.where(better, q_error, error)
        single, pair = (one * SCALE[:4] + CENTRE[:4])[:, :3], two * SCALE + CENTRE
        best = np.where((chi2 < chi1 - 4.0)[:, None], pair[:, :3], single)
        return best[:, 0], best[:, 1], best[:, 2], pair[:, 4], error, chi1, chi2, single

    def _descend(self, coefficients, data, weight, centre, width, begin=None) -> tuple[np.ndarray, ...]:
        """χ² with the prior's share, labels in units of SCALE, and the error of the last label in its own units."""
        k = centre.shape[1]
        low, high = ((limit[:k] - CENTRE[:k]) / SCALE[:k] for limit in (self.low, self.high))
        p = (centre if begin is None else begin).copy()
        degree = DEGREES[k]
        for _ in range(STEPS):
            model, slopes = _with_slopes(p, degree, coefficients)
            jacobian = slopes * weight[:, None, :]
            residual = (data - model) * weight
            hessian = jacobian @ jacobian.transpose(0, 2, 1)
            hessian[:, range(k), range(k)] += width**-2.0
            gradient = (jacobian @ residual[..., None])[..., 0] - (p - centre) / width**2
            step = np.linalg.solve(hessian, gradient[..., None])[..., 0]
            p = np.clip(p + np.clip(step, -LONGEST, LONGEST), low, high)
        residual = (data - polynomial(p, degree) @ coefficients) * weight
        chi2 = (residual**2).sum(1) + (((p - centre) / width) ** 2)[:, :4].sum(1)
        return chi2, p, np.sqrt(np.linalg.inv(hessian)[:, -1, -1]) * SCALE[k - 1]

    def save(self, path: str | os.PathLike, provenance: Mapping[str, Any] | None = None) -> None:
        """Write one HDF5 file, whole or not at all."""
        with io.atomic(path) as temporary, h5py.File(temporary, "w") as stream:
            stream.attrs["schema"] = SCHEMA
            stream.attrs["provenance"] = json.dumps(dict(provenance or {}), default=str)
            for name in ("one", "two", "scatter", "low", "high"):
                stream[name] = getattr(self, name)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "PairFitter":
        """Read a file written by `save`; another kind is an error that names it."""
        with reading(path, "fits of `make_lrs_models`"), io.open_shard(path, SCHEMA) as stream:
            return cls(**{name: stream[name][:] for name in ("one", "two", "scatter", "low", "high")})


def make_fitter(
    x: np.ndarray, stars: Mapping[str, np.ndarray], systematics: np.ndarray, q_min: float = 0.4
) -> PairFitter:
    """The fitter of noise-free mocks: components `x` (N, K) of systems with teff1, logg1, feh, spread, q (0: single).

    Pairs of q < `q_min` serve neither polynomial: they look like singles and are none.
    """
    labels = np.stack([stars[name] for name in ("teff1", "logg1", "feh", "spread", "q")], axis=1).astype(float)
    single, pair = stars["q"] == 0, stars["q"] > q_min
    coefficients, left = [], []
    for rows, k in ((single, 4), (pair, 5)):
        terms = polynomial(_scaled(labels[rows, :k]), DEGREES[k])
        solution, *_ = np.linalg.lstsq(terms, x[rows].astype(float), rcond=None)
        coefficients.append(solution)
        left.append(x[rows] - terms @ solution)
    low, high = np.percentile(labels[single | pair, :4], [0.1, 99.9], axis=0)
    scatter = np.cov(left[0].T) + systematics
    one, two = coefficients
    return PairFitter(one, two, scatter, np.append(low, q_min), np.append(high, 1.0))


def _scaled(labels: np.ndarray) -> np.ndarray:
    k = labels.shape[1]
    return (labels - CENTRE[:k]) / SCALE[:k]


def _powers(n_labels: int, degree: int) -> np.ndarray:
    """Exponents (T, k) of all monomials up to `degree`; of the spread, the fourth label, linear and square ones with
    few others."""
    terms = [np.zeros(n_labels, int)]
    for d in range(1, degree + 1):
        terms += [np.bincount(c, minlength=n_labels) for c in combinations_with_replacement(range(n_labels), d)]
    spread = np.array([term[3] for term in terms])
    cost = np.select([spread == 0, spread == 1, spread == 2], [0, *SPREAD_COSTS], degree + 1)
    return np.array(terms)[np.sum(terms, axis=1) - spread <= degree - cost]


def polynomial(p: np.ndarray, degree: int) -> np.ndarray:
    """All monomials of `p` (S, k) that take part up to `degree`, (S, T)."""
    table = np.stack([p**d for d in range(degree + 1)], axis=2)  # (S, k, degree + 1)
    powers = _powers(p.shape[1], degree)
    out = np.ones((len(p), len(powers)))
    for label in range(p.shape[1]):
        out *= table[:, label, powers[:, label]]
    return out


def _with_slopes(p: np.ndarray, degree: int, coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The model (S, K) at `p` (S, k) and its derivatives (S, k, K), in one matrix product."""
    k = p.shape[1]
    powers = _powers(k, degree)
    table = np.stack([p**d for d in range(degree + 1)], axis=2)
    factors = [table[:, label, powers[:, label]] for label in range(k)]
    terms = [np.prod(factors, axis=0)]
    for label in range(k):
        slope = powers[:, label] * table[:, label, np.maximum(powers[:, label] - 1, 0)]
        terms.append(np.prod([slope if j == label else factors[j] for j in range(k)], axis=0))
    values = np.concatenate(terms) @ coefficients
    parts = values.reshape(k + 1, len(p), -1)
    return parts[0], parts[1:].transpose(1, 0, 2)
