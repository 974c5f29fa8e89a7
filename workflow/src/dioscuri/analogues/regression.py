"""Parameters from features by ridge regression on principal components, with intervals that hold on unseen systems.

The nearest images are views of few systems: counting them as independent makes intervals too narrow. Here every
system counts once: the penalty and the intervals come from predicting each system from all the others (split
conformal prediction with whole systems as the unit; Lei et al. 2018, JASA 113, 1094).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import linalg

FEWEST_SYSTEMS = 3  # with fewer nothing is known about unseen ones
COMPONENTS = 30  # at most; never more than a third of the images
KEPT = 128  # leading components of all images, within which those without one system are sought: 10⁴ times cheaper
PASSES = 3  # of subspace iteration, which finds them
PENALTIES = np.logspace(-1, 4, 11)  # in units of one image, for components of unit leading variance
FLAT = 1e-6  # of the largest scatter: a feature that varies less says nothing


@dataclass(frozen=True)
class Regression:
    """What was learnt from features (N, F) about values (N, P), and how far off it is for systems not yet seen.

    penalty (P,): chosen by system. errors: |prediction − truth| of every image (N, P), its system left out, NaN where
    the truth is unknown. system (N,).
    """

    reduction: "Reduction"
    components: np.ndarray
    offset: np.ndarray
    weights: np.ndarray
    penalty: np.ndarray
    errors: np.ndarray
    system: np.ndarray

    @property
    def n_systems(self) -> int:
        """Independent systems behind every interval."""
        return len(np.unique(self.system))

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Values (Q, P) of features (Q, F)."""
        return self.reduction(features) @ self.components @ self.weights + self.offset

    def half_width(self, level: float) -> np.ndarray:
        """Half-widths (P,) of intervals that hold the truth of an unseen system with probability `level`."""
        return np.array([quantile_by_system(column, self.system, level) for column in self.errors.T])


def fit(features: np.ndarray, values: np.ndarray, system: np.ndarray, n_components: int = COMPONENTS) -> Regression:
    """Learn values (N, P), NaN where unknown, from features (N, F) of images of `system` (N,).

    ValueError with fewer than 3 systems: then nothing is known about unseen ones.
    """
    names, each = np.unique(system, return_inverse=True)
    if len(names) < FEWEST_SYSTEMS:
        raise ValueError(
            f"{len(names)} systems in the catalogue; accepted: {FEWEST_SYSTEMS} or more, to tell how far off they are"
        )
    values = np.asarray(values, dtype=np.float64)
    reduction = reduce(features)
    features = reduction(features)
    moments = [_moments(features[each == k]) for k in range(len(names))]
    parts: list[Any] = [sum(each[1:], each[0]) for each in zip(*moments)]
    total = _Moments(*parts)
    n_components = max(1, min(n_components, len(features) // 3, features.shape[1]))
    errors = np.full((len(PENALTIES), *values.shape), np.nan)
    for k, own in enumerate(moments):
        rest, test = each != k, each == k
        others = _Moments(total.n - own.n, total.total - own.total, total.products - own.products)
        basis = _basis(others, n_components)
        known, asked = features[rest] @ basis, features[test] @ basis
        for a, (offset, weights) in enumerate(_ridge(known, values[rest], penalty) for penalty in PENALTIES):
            errors[a, test] = np.abs(asked @ weights + offset - values[test])
    best = np.argmin([_mean_by_system(table**2, each) for table in errors], axis=0)  # (P,)
    columns = np.arange(values.shape[1])
    basis = _basis(total, n_components)
    known = features @ basis
    solved = [_ridge(known, values, penalty) for penalty in PENALTIES]
    offset = np.array([solved[best[p]][0][p] for p in columns])
    weights = np.stack([solved[best[p]][1][:, p] for p in columns], axis=1)
    chosen = np.stack([errors[best[p], :, p] for p in columns], axis=1)
    return Regression(reduction, basis, offset, weights, PENALTIES[best], chosen, np.asarray(system))


@dataclass(frozen=True)
class Reduction:
    """Features (…, F) in units of their scatter, on the leading components (F, K) of all images."""

    centre: np.ndarray
    scale: np.ndarray
    components: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Components (N, K) float64 of features (N, F)."""
        standard = (np.asarray(features, np.float32) - self.centre) / self.scale
        return (standard @ self.components).astype(np.float64)


def reduce(features: np.ndarray, n: int = KEPT) -> Reduction:
    """The `n` leading components of features (N, F) in units of their scatter; memory of one copy in float32.

    By subspace iteration (Halko, Martinsson & Tropp 2011), the same in every run.
    """
    features = np.asarray(features, np.float32)
    centre = features.mean(axis=0, dtype=np.float64).astype(np.float32)
    scatter = features.std(axis=0, dtype=np.float64).astype(np.float32)
    scale = np.where(scatter > FLAT * scatter.max(), scatter, np.float32(np.inf))
    n = max(1, min(n, len(features), features.shape[1]))
    standard = (features - centre) / scale
    rng = np.random.Generator(np.random.Philox(key=[0, 5]))
    basis = rng.standard_normal((features.shape[1], min(n + 10, features.shape[1])), np.float32)
    for _ in range(PASSES):
        basis = linalg.qr(standard.T @ (standard @ basis), mode="economic")[0]
    _, _, axes = linalg.svd(standard @ basis, full_matrices=False)
    return Reduction(centre, scale, (basis @ axes.T)[:, :n])


class _Moments(NamedTuple):
    """Number, sum (K,) and sum of products (K, K) of components."""

    n: float
    total: np.ndarray
    products: np.ndarray


def _moments(features: np.ndarray) -> _Moments:
    return _Moments(float(len(features)), features.sum(axis=0), features.T @ features)


def _basis(moments: _Moments, n_components: int) -> np.ndarray:
    """The leading components (K, C) of some of the systems, in units that give the first unit variance."""
    n, total, products = moments
    centre = total / n
    covariance = products / n - np.outer(centre, centre)
    last = len(centre)
    variance, components = linalg.eigh(covariance, subset_by_index=(last - n_components, last - 1))
    return components[:, ::-1] / np.sqrt(max(variance[-1], np.finfo(float).tiny))


def _ridge(known: np.ndarray, values: np.ndarray, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """Offsets (P,) and weights (C, P) of centred ridge regression; unknown values are left out."""
    offset, weights = np.empty(values.shape[1]), np.empty((known.shape[1], values.shape[1]))
    complete = np.isfinite(values).all()
    for columns in [slice(None)] if complete else [slice(p, p + 1) for p in range(values.shape[1])]:
        use = np.isfinite(values[:, columns]).all(axis=1)
        x, y = known[use], values[use][:, columns]
        if not use.any():
            offset[columns], weights[:, columns] = np.nan, 0.0
            continue
        mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
        normal = (x - mean_x).T @ (x - mean_x) + penalty * np.eye(x.shape[1])
        weights[:, columns] = linalg.solve(normal, (x - mean_x).T @ (y - mean_y), assume_a="pos")
        offset[columns] = mean_y - mean_x @ weights[:, columns]
    return offset, weights


def _mean_by_system(values: np.ndarray, each: np.ndarray) -> np.ndarray:
    """Mean (P,) of (N, P) in which every system counts alike; infinite where nothing is known."""
    known = np.isfinite(values)
    out = []
    for p in range(values.shape[1]):
        use = known[:, p]
        counts = np.bincount(each[use])
        sums = np.bincount(each[use], values[use, p])
        out.append(np.mean(sums[counts > 0] / counts[counts > 0]) if use.any() else np.inf)
    return np.array(out)


def quantile_by_system(errors: np.ndarray, system: np.ndarray, level: float) -> float:
    """Quantile of errors (N,) in which every system counts alike, raised for the finite number of *systems*."""
    use = np.isfinite(errors)
    if not use.any():
        return np.nan
    _, each, counts = np.unique(np.asarray(system)[use], return_inverse=True, return_counts=True)
    wanted = min(level * (1 + 1 / len(counts)), 1.0)
    order = np.argsort(errors[use])
    share = np.cumsum(1 / counts[each[order]]) / len(counts)
    return float(errors[use][order][min(np.searchsorted(share, wanted - 1e-12), len(order) - 1)])


def intervals(regression: Regression, features: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Median and bounds (1 + 2L, Q, P) of features (Q, F): estimate, then low and high of each level."""
    middle = regression.predict(features)
    bounds = [middle + side * regression.half_width(level) for level in levels for side in (-1, 1)]
    return np.stack([middle, *bounds])
