"""Parameters by kernel ridge regression on components of features, with intervals that hold on unseen systems.

What is learnt are normal scores: medians and intervals of the parameters themselves, also of skewed and heaped ones,
and no value that they cannot have. Brightness in apertures counts beside the features of a network: networks tell
shapes better than fluxes.

The nearest images are views of few systems: counting them as independent makes intervals too narrow. Here every
system counts once: the penalty and the intervals come from predicting each system from all the others (conformal
prediction with whole systems as the unit, see `unseen_quantile`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import linalg

from dioscuri.analogues.estimate import LEVELS
from dioscuri.analogues.normal_scores import NormalScores, normal_scores

FEWEST_SYSTEMS = 3  # with fewer nothing is known about unseen ones
COMPONENTS = 30  # at most; never more than a third of the images
WIDTH = 5.0  # squared, of kernels, in mean squared distances of images: hardly bent, chosen on systems of no table
PASSES = 3  # of subspace iteration, which finds them
LANDMARKS = 256  # images whose kernels stand for those of all (Nyström): memory and time grow with N alone
PENALTIES = np.logspace(-2.5, 2.5, 11)  # in units of one image
FLAT = 1e-6  # of the largest: what varies less says nothing


Blocks = Sequence[np.ndarray]  # features (N, F), (N, F'), … of the same images, which count alike


@dataclass(frozen=True)
class Regression:
    """What was learnt from blocks of features of N images about P parameters, and how far off it is elsewhere.

    axes: P of them, to normal scores. penalty (P,): chosen by system. errors: |prediction − truth| in normal scores of
    every image (N, P), its system left out, NaN where the truth is unknown. system (N,).
    """

    reductions: "list[Reduction]"
    kernel: "Kernel"
    axes: list[NormalScores | None]
    offset: np.ndarray
    weights: np.ndarray
    penalty: np.ndarray
    errors: np.ndarray
    system: np.ndarray

    @property
    def n_systems(self) -> int:
        """Independent systems behind every interval."""
        return len(np.unique(self.system))

    def predict(self, blocks: Blocks) -> np.ndarray:
        """Normal scores (Q, P) of blocks of features (Q, F); far from all images, those of the mean image."""
        return self.kernel(_components(self.reductions, blocks)) @ self.weights + self.offset

    def half_width(self, level: float) -> np.ndarray:
        """Half-widths (P,) in normal scores of intervals that hold an unseen system with probability `level`."""
        return np.array([unseen_quantile(column, self.system, level) for column in self.errors.T])

    def values(self, scores: np.ndarray) -> np.ndarray:
        """Values (…, P) of normal scores (…, P); NaN for parameters that nothing is known of."""
        columns = [np.full(one.shape, np.nan) if axis is None else axis.backward(one)
                   for axis, one in zip(self.axes, np.moveaxis(scores, -1, 0))]  # fmt: skip
        return np.stack(columns, axis=-1)


def fit(blocks: Blocks, values: np.ndarray, system: np.ndarray, n_components: int = COMPONENTS) -> Regression:
    """Learn values (N, P), NaN where unknown, from blocks of features (N, F) of images of `system` (N,).

    ValueError with fewer than 3 systems: then nothing is known about unseen ones.
    """
    names, each = np.unique(system, return_inverse=True)
    if len(names) < FEWEST_SYSTEMS:
        raise ValueError(
            f"{len(names)} systems in the catalogue; accepted: {FEWEST_SYSTEMS} or more, to tell how far off they are"
        )
    values = np.asarray(values, dtype=np.float64)
    axes = [_axis(column, each) for column in values.T]
    scores = np.stack([column if axis is None else axis.forward(column) for axis, column in zip(axes, values.T)], 1)
    reductions = [reduce(features, max(1, min(n_components, len(features) // 3))) for features in blocks]
    components = _components(reductions, blocks)
    kernel = kernel_of(components)
    design = kernel(components)
    n_parameters = values.shape[1]
    offset, weights = np.full(n_parameters, np.nan), np.zeros((design.shape[1], n_parameters))
    penalty, errors = np.full(n_parameters, np.nan), np.full(values.shape, np.nan)
    complete = np.isfinite(values).all()
    for columns in [slice(None)] if complete else [slice(p, p + 1) for p in range(n_parameters)]:
        use = np.isfinite(values[:, columns]).all(axis=1)
        if use.any():
            solved = _solved(design[use], scores[use][:, columns], each[use])
            offset[columns], weights[:, columns], penalty[columns] = solved[:3]
            errors[use, columns] = solved[3]
    return Regression(reductions, kernel, axes, offset, weights, penalty, errors, np.asarray(system))


def _axis(values: np.ndarray, each: np.ndarray) -> NormalScores | None:
    """The normal scores of values (N,) in which systems `each` (N,) count alike; None where nothing is known."""
    use = np.isfinite(values)
    if not use.any():
        return None
    counts = np.bincount(each[use])
    return normal_scores(values[use], 1 / (counts[each[use]] * (counts > 0).sum()))


def _components(reductions: "list[Reduction]", blocks: Blocks) -> np.ndarray:
    """Components (N, C) of all blocks, side by side, every block with the same scatter."""
    if len(blocks) != len(reductions):
        raise ValueError(f"{len(blocks)} blocks of features, but {len(reductions)} were learnt from")
    return np.concatenate([reduction(features) / reduction.size for reduction, features in zip(reductions, blocks)], 1)


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
    """Kernels `WIDTH` times as wide as images are apart, about images evenly drawn from components (N, C)."""
    centres = components[:: max(1, len(components) // LANDMARKS)][:LANDMARKS]
    width = 2 * WIDTH * float(components.var(axis=0).sum()) or 1.0
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
    size: float  # root mean square of all components together

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Components (N, C) float64 of features (N, F)."""
        standard = (np.asarray(features, np.float32) - self.centre) / self.scale
        return (standard @ self.components).astype(np.float64)


def reduce(features: np.ndarray, n: int, scale: bool = True) -> Reduction:
    """The `n` leading components of features (N, F) in units of their scatter, or as they are; memory of one copy in
    float32.

    By subspace iteration (Halko, Martinsson & Tropp 2011), the same in every run.
    """
    features = np.asarray(features, np.float32)
    centre = features.mean(axis=0, dtype=np.float64).astype(np.float32)
    scatter = features.std(axis=0, dtype=np.float64).astype(np.float32)
    unit = np.where(scatter > FLAT * scatter.max(), scatter, np.float32(np.inf)) if scale else np.ones_like(scatter)
    n = max(1, min(n, len(features), features.shape[1]))
    standard = (features - centre) / unit
    rng = np.random.Generator(np.random.Philox(key=[0, 5]))
    basis = rng.standard_normal((features.shape[1], min(n + 10, features.shape[1])), np.float32)
    for _ in range(PASSES):
        basis = linalg.qr(standard.T @ (standard @ basis), mode="economic")[0]
    _, lengths, axes = linalg.svd(standard @ basis, full_matrices=False)
    size = float(np.sqrt(np.sum(lengths[:n].astype(float) ** 2) / len(features))) or 1.0
    return Reduction(centre, unit, (basis @ axes.T)[:, :n], size)


def quantile_by_system(errors: np.ndarray, system: np.ndarray, level: float) -> float:
    """Quantile of errors (N,) in which every system counts alike, NaN without any; unknown ones (NaN) do not count."""
    use = np.isfinite(errors)
    if not use.any():
        return np.nan
    found, weight, _ = _sorted(errors[use], np.asarray(system)[use])
    return float(found[min(int(np.searchsorted(np.cumsum(weight), level - 1e-12)), len(found) - 1)])


def unseen_quantile(errors: np.ndarray, system: np.ndarray, level: float) -> float:
    """What an error of a system that had no part in it stays below with probability `level`; errors (N,) ≥ 0.

    How often a quantile of few systems holds elsewhere depends on how alike the errors within a system are: between
    `level` (unlike) and level · n / (n + 1) (all the same). So it is tried out: each error has a rank among those of
    the *other* systems, and the `level` quantile of these ranks is the rank whose threshold held, system by system
    left out, at `level` (conformal prediction by groups, Dunn, Wasserman & Ramdas 2023, JASA 118, 2491; their level
    set by the jackknife). The largest error where systems are too few to tell.
    """
    use = np.isfinite(errors)
    if not use.any():
        return np.nan
    found, weight, each = _sorted(errors[use], np.asarray(system)[use])
    n, share = each.max() + 1, np.cumsum(weight)
    if n < FEWEST_SYSTEMS:
        return float(found[-1])
    own = np.empty(len(found))
    for k in range(n):
        mine = each == k
        own[mine] = np.arange(mine.sum()) / mine.sum()
    rank = (n * (share - weight) - own) / (n - 1)  # among the others: the share of them below
    order = np.argsort(rank, kind="stable")
    wanted = np.interp(level, np.cumsum(weight[order]), rank[order])
    return float(np.interp(wanted, share - 0.5 * weight, found))


def _sorted(errors: np.ndarray, system: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Errors in order, their weights (N,), with which every system counts alike and all make 1, and their systems."""
    _, each, counts = np.unique(system, return_inverse=True, return_counts=True)
    order = np.argsort(errors, kind="stable")
    return errors[order], 1 / (counts[each[order]] * len(counts)), each[order]


def intervals(regression: Regression, blocks: Blocks, levels: Sequence[float] = LEVELS) -> np.ndarray:
    """Median and bounds (1 + 2L, Q, P) of blocks of features (Q, F): estimate, then low and high of each level."""
    middle = regression.predict(blocks)
    bounds = [middle + side * regression.half_width(level) for level in levels for side in (-1, 1)]
    return regression.values(np.stack([middle, *bounds]))


def regressed(blocks: Blocks, values: np.ndarray, system: np.ndarray, asked: Blocks) -> np.ndarray:
    """`intervals` of what is `asked` for, learnt from blocks of features and values (N, P) of `system` (N,)."""
    return intervals(fit(blocks, values, system), asked)
