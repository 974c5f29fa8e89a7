"""Rates of a two-class test with their binomial errors, ROC and recall in bins."""

from dataclasses import dataclass

import numpy as np
from scipy import special

ONE_SIGMA = 0.6826894921370859  # probability content of ±1σ


@dataclass(frozen=True)
class Rates:
    """True and false positive rates at a threshold (Zhang et al. 2022, eqs. 10–11), with intervals."""

    tpr: float
    fpr: float
    tpr_interval: tuple[float, float]
    fpr_interval: tuple[float, float]
    n_positive: int
    n_negative: int


def binomial_interval(
    k: np.ndarray | int, n: np.ndarray | int, level: float = ONE_SIGMA, method: str = "wilson"
) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bound of a rate from k successes in n trials; (0, 1) where n = 0.

    `wilson` (score interval, average coverage near `level`) or `clopper-pearson` (never covers less).
    """
    k, n = np.broadcast_arrays(np.asarray(k, float), np.asarray(n, float))
    if np.any((k < 0) | (k > n)):
        raise ValueError("a binomial count must lie between 0 and the number of trials")
    trials = np.where(n > 0, n, 1.0)
    if method == "wilson":
        z = special.ndtri(0.5 + 0.5 * level)
        rate, scale = k / trials, 1.0 + z**2 / trials
        centre = (rate + 0.5 * z**2 / trials) / scale
        half = z / scale * np.sqrt(rate * (1.0 - rate) / trials + 0.25 * (z / trials) ** 2)
        low, high = np.where(k == 0, 0.0, centre - half), np.where(k == n, 1.0, centre + half)
    elif method == "clopper-pearson":
        tail = 0.5 * (1.0 - level)
        # At k = 0 and k = n one side of the beta quantile does not exist; its limit is the end of the range.
        low = np.where(k == 0, 0.0, special.betaincinv(np.maximum(k, 1), trials - k + 1, tail))
        high = np.where(k == n, 1.0, special.betaincinv(k + 1, np.maximum(trials - k, 1), 1.0 - tail))
    else:
        raise ValueError(f"unknown interval '{method}': use 'wilson' or 'clopper-pearson'")
    return np.where(n > 0, low, 0.0), np.where(n > 0, high, 1.0)


def rates(p: np.ndarray, y: np.ndarray, threshold: float = 0.5, method: str = "wilson") -> Rates:
    """TPR and FPR of probabilities `p` (N,) against classes `y` (N,; 1 = binary): p > threshold counts."""
    p, positive = _checked(p, y)
    found = p > threshold
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    true, false = int((found & positive).sum()), int((found & ~positive).sum())
    return Rates(
        tpr=true / n_positive if n_positive else float("nan"),
        fpr=false / n_negative if n_negative else float("nan"),
        tpr_interval=_as_floats(binomial_interval(true, n_positive, method=method)),
        fpr_interval=_as_floats(binomial_interval(false, n_negative, method=method)),
        n_positive=n_positive,
        n_negative=n_negative,
    )


def roc(p: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The ROC curve: FPR, TPR and thresholds, each (K,), FPR ascending from (0, 0) at the threshold inf.

    p ≥ threshold counts here, tied scores are one step, and points inside a straight piece are left out. A rate
    that has no objects is NaN.
    """
    p, positive = _checked(p, y)
    order = np.argsort(p, kind="stable")[::-1]
    p, positive = p[order], positive[order]
    steps = np.append(np.flatnonzero(np.diff(p)), p.size - 1) if p.size else np.empty(0, int)
    true = np.cumsum(positive)[steps]
    false = 1 + steps - true
    if steps.size > 2:
        corner = np.r_[True, (np.diff(false, 2) != 0) | (np.diff(true, 2) != 0), True]
        steps, true, false = steps[corner], true[corner], false[corner]
    return _shares(false), _shares(true), np.r_[np.inf, p[steps]]


def _shares(counts: np.ndarray) -> np.ndarray:
    """Growing counts (K,) from 0 on, as shares (K + 1,) of the last one."""
    total = counts[-1] if counts.size else 0
    return np.r_[0, counts] / total if total else np.full(counts.size + 1, np.nan)


def auc(p: np.ndarray, y: np.ndarray) -> float:
    """Area under the ROC curve: the probability that a binary scores above a single star; NaN without one of them."""
    fpr, tpr, _ = roc(p, y)
    return float(np.trapezoid(tpr, fpr))


def tpr_at_fpr(p: np.ndarray, y: np.ndarray, fpr: float) -> float:
    """The largest TPR whose FPR does not exceed `fpr`; tied scores are taken together."""
    false_rate, true_rate, _ = roc(p, y)
    return float(true_rate[false_rate <= fpr].max())


def _checked(p: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    p, y = np.asarray(p, float), np.asarray(y)
    if p.shape != y.shape or p.ndim != 1:
        raise ValueError(f"probabilities and classes must be two vectors of one length, found {p.shape} and {y.shape}")
    if not np.isfinite(p).all():
        raise ValueError(
            f"{int((~np.isfinite(p)).sum())} of {len(p)} probabilities are not finite: leave those rows out"
        )
    return p, y.astype(bool)


def _as_floats(interval: tuple[np.ndarray, np.ndarray]) -> tuple[float, float]:
    return float(interval[0]), float(interval[1])
