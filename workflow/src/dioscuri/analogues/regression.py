"""Parameters by kernel ridge regression on components of features, with intervals that hold on unseen systems.

The nearest images are views of few systems: counting them as independent makes intervals too narrow. Here every
system counts once: the penalty and the intervals come from predicting each system from all the others (split
conformal prediction with whole systems as the unit; Lei et al. 2018, JASA 113, 1094).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import linalg

FEWEST_SYSTEMS = 3  # with fewer nothing is known about unseen ones
COMPONENTS = 30  # at most; never more than a third of the images
PASSES = 3  # of subspace iteration, which finds them
LANDMARKS = 256  # images whose kernels stand for those of all (Nyström): memory and time grow with N alone
PENALTIES = np.logspace(-2.5, 2.5, 11)  # in units of one image
FLAT = 1e-6  # of the largest: what varies less says nothing


@dataclass(frozen=True)
class Regression:
    """What was learnt from features (N, F) about values (N, P), and how far off it is for systems not yet seen.

    penalty (P,): chosen by system. errors: |prediction − truth| of every image (N, P), its system left out, NaN where
    the truth is unknown. system (N,).
    """

    reduction: "Reduction"
    kernel: "Kernel"
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
        """Values (Q, P) of features (Q, F); far from all images, those of the mean image."""
        return self.kernel(self.reduction(features)) @ self.weights + self.offset

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
    reduction = reduce(features, max(1, min(n_components, len(features) // 3)))
    components = reduction(features)
    kernel = kernel_of(components)
    design = kernel(components)
    n_parameters = values.shape[1]
    offset, weights = np.full(n_parameters, np.nan), np.zeros((design.shape[1], n_parameters))
    penalty, errors = np.full(n_parameters, np.nan), np.full(values.shape, np.nan)
    complete = np.isfinite(values).all()
    for columns in [slice(None)] if complete else [slice(p, p + 1) for p in range(n_parameters)]:
        use = np.isfinite(values[:, columns]).all(axis=1)
        if use.any():
            solved = _solved(design[use], values[use][:, columns], each[use])
            offset[columns], weights[:, columns], penalty[columns] = solved[:3]
            errors[use, columns] = solved[3]
    return Regression(reduction, kernel, offset, weights, penalty, errors, np.asarray(system))


def _solved(x: np.ndarray, y: np.ndarray, each: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Offsets (P,), weights (M, P), penalties (P,) and errors (N, P) of left-out systems, of y (N, P) by x (N, M)."""
    names = np.unique(each)
    own = {k: _sums(x[each == k], y[each == k]) for k in names}
    total = _Sums(*(np.sum([part[i] for part in own.values()], axis=0) for i in range(len(_Sums._fields))))
    errors = np.empty((len(PENALTIES), *y.shape))
    for k in names:
        test = each == k
        rest = _Sums(*(whole - part for whole, part in zip(total, own[k])))
        for a, (offset, weights) in enumerate(_ridges(rest)):
            errors[a, test] = np.abs(x[test] @ weights + offset - y[test])
    by_system = np.stack([errors[:, each == k].mean(axis=1) for k in names])  # every system counts alike
    best = by_system.mean(axis=0).argmin(axis=0)  # (P,)
    everything, columns = _ridges(total), np.arange(y.shape[1])
    offset = np.array([everything[best[p]][0][p] for p in columns])
    weights = np.stack([everything[best[p]][1][:, p] for p in columns], axis=1)
    return offset, weights, PENALTIES[best], np.stack([errors[best[p], :, p] for p in columns], axis=1)


class _Sums(NamedTuple):
    """Number, sums (M,) and (P,), and sums of products (M, M) and (M, P)."""

    n: np.ndarray
    x: np.ndarray
    y: np.ndarray
    xx: np.ndarray
    xy: np.ndarray


def _sums(x: np.ndarray, y: np.ndarray) -> _Sums:
    return _Sums(np.array(float(len(x))), x.sum(axis=0), y.sum(axis=0), x.T @ x, x.T @ y)


def _ridges(sums: _Sums) -> list[tuple[np.ndarray, np.ndarray]]:
    """Offsets (P,) and weights (M, P) of centred ridge regression, for every penalty."""
    mean_x, mean_y = sums.x / sums.n, sums.y / sums.n
    eigenvalues, axes = linalg.eigh(sums.xx - sums.n * np.outer(mean_x, mean_x))
    projected = axes.T @ (sums.xy - sums.n * np.outer(mean_x, mean_y))
    found = []
    for penalty in PENALTIES:
        weights = axes @ (projected / (np.clip(eigenvalues, 0, None) + penalty)[:, None])
        found.append((mean_y - mean_x @ weights, weights))
    return found


@dataclass(frozen=True)
class Kernel:
    """Gaussian kernels about `centres` (M, C), of squared width `width`, made orthonormal by `whitening` (M, M')."""

    centres: np.ndarray
    width: float
    whitening: np.ndarray

    def __call__(self, components: np.ndarray) -> np.ndarray:
        """The kernel features (N, M') of components (N, C)."""
        return _gaussian(components, self.centres, self.width) @ self.whitening


def kernel_of(components: np.ndarray) -> Kernel:
    """Kernels as wide as images are apart (mean square), about images evenly drawn from components (N, C)."""
    centres = components[:: max(1, len(components) // LANDMARKS)][:LANDMARKS]
    width = 2 * float(components.var(axis=0).sum()) or 1.0
    eigenvalues, axes = linalg.eigh(_gaussian(centres, centres, width))
    use = eigenvalues > FLAT * eigenvalues[-1]
    return Kernel(centres, width, axes[:, use] / np.sqrt(eigenvalues[use]))


def _gaussian(a: np.ndarray, b: np.ndarray, width: float) -> np.ndarray:
    square = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return np.exp(-np.clip(square, 0, None) / width)


@dataclass(frozen=True)
class Reduction:
    """Features (…, F) in units of their scatter, on the leading components (F, C) of all images."""

    centre: np.ndarray
    scale: np.ndarray
    components: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Components (N, C) float64 of features (N, F)."""
        standard = (np.asarray(features, np.float32) - self.centre) / self.scale
        return (standard @ self.components).astype(np.float64)


def reduce(features: np.ndarray, n: int) -> Reduction:
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


def quantile_by_system(errors: np.ndarray, system: np.ndarray, level: float, *, raised: bool = True) -> float:
    """Quantile of errors (N,) in which every system counts alike; `raised` for the finite number of *systems*."""
    use = np.isfinite(errors)
    if not use.any():
        return np.nan
    _, each, counts = np.unique(np.asarray(system)[use], return_inverse=True, return_counts=True)
    wanted = min(level * (1 + raised / len(counts)), 1.0)
    order = np.argsort(errors[use])
    share = np.cumsum(1 / counts[each[order]]) / len(counts)
    return float(errors[use][order][min(np.searchsorted(share, wanted - 1e-12), len(order) - 1)])


def intervals(regression: Regression, features: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Median and bounds (1 + 2L, Q, P) of features (Q, F): estimate, then low and high of each level."""
    middle = regression.predict(features)
    bounds = [middle + side * regression.half_width(level) for level in levels for side in (-1, 1)]
    return np.stack([middle, *bounds])
