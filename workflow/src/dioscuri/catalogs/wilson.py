"""Mass ratio and systemic velocity of a double-lined binary from velocities alone (Wilson 1941, ApJ 93, 29)."""

from dataclasses import dataclass

import numpy as np

Q_GRID = np.geomspace(0.05, 20.0, 2401)  # m2/m1 on which the posterior is laid out
CLEARLY = 9.0  # χ² by which a swap of the two names must pay


@dataclass(frozen=True)
class Wilson:
    """q = m2/m1 and γ [km/s] with their 68 % errors from `n` epochs; `chi2` of n − 2 degrees of freedom.

    `swapped` (n,) bool: epochs at which the names of the stars were exchanged; `weights` (2401,): posterior on Q_GRID.
    """

    q: float
    q_err: float
    gamma: float
    gamma_err: float
    n: int
    chi2: float
    swapped: np.ndarray
    weights: np.ndarray

    def samples(self, n: int, seed: int = 0) -> np.ndarray:
        """Mass ratios drawn from the posterior, (n,)."""
        return np.random.default_rng(seed).choice(Q_GRID, n, p=self.weights)


def wilson(v1: np.ndarray, v2: np.ndarray, err1: np.ndarray, err2: np.ndarray, swap: bool = True) -> Wilson:
    """Fit v1 = γ (1 + q) − q v2 [km/s], (N,) each, N ≥ 2, errors in both; a flat prior in ln q.

    With `swap`, epochs whose stars fit clearly better the other way round are turned: of near twins a spectrum does
    not say which is which. Errors are those of the posterior, larger by √(χ²/(N − 2)) where that exceeds one.
    """
    v = np.stack([v1, v2]).astype(float)
    error = np.stack([err1, err2]).astype(float)
    turned = np.zeros(v.shape[1], bool)
    if swap:
        turned = _names(v, error)
        v, error = np.where(turned, v[::-1], v), np.where(turned, error[::-1], error)
    chi2, gamma, precision = _profile(v, error, Q_GRID)
    best = int(np.argmin(chi2))
    scale = max(1.0, chi2[best] / max(v.shape[1] - 2, 1))
    # Marginal over γ; Σ ln of the variances belongs to errors in both coordinates.
    spread = np.log(error[0][:, None] ** 2 + Q_GRID**2 * error[1][:, None] ** 2).sum(axis=0)
    log_p = (
        -0.5 * (chi2 - chi2[best]) / scale
        - 0.5 * spread
        - 0.5 * np.log(precision)
        + 0.5 * v.shape[1] * np.log1p(Q_GRID**2)
    )
    weights = np.exp(log_p - log_p.max())
    weights /= weights.sum()
    low, middle, high = np.interp([0.16, 0.5, 0.84], np.cumsum(weights), Q_GRID)
    mean = float(weights @ gamma)
    variance = float(weights @ ((gamma - mean) ** 2 + scale / precision))
    return Wilson(
        q=float(middle),
        q_err=float(0.5 * (high - low)),
        gamma=mean,
        gamma_err=float(np.sqrt(variance)),
        n=v.shape[1],
        chi2=float(chi2[best]),
        swapped=turned,
        weights=weights,
    )


def _profile(v: np.ndarray, error: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """χ², best γ and its inverse variance for each q; `v`, `error` (2, N)."""
    weight = 1 / (error[0][:, None] ** 2 + q**2 * error[1][:, None] ** 2)
    total = v[0][:, None] + q * v[1][:, None]
    gamma = (weight * total).sum(axis=0) / ((1 + q) * weight.sum(axis=0))
    chi2 = (weight * (total - (1 + q) * gamma) ** 2).sum(axis=0)
    return chi2, gamma, (1 + q) ** 2 * weight.sum(axis=0)


def _names(v: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Which epochs to turn, (N,) bool: from each start (as given; the faster star always first) towards less χ²."""
    starts = [np.zeros(v.shape[1], bool), v[0] > v[1], v[0] < v[1]]
    found = []
    for turned in starts:
        for _ in range(10):
            straight, other = np.where(turned, v[::-1], v), np.where(turned, v, v[::-1])
            e_straight, e_other = np.where(turned, error[::-1], error), np.where(turned, error, error[::-1])
            chi2, gamma, _ = _profile(straight, e_straight, Q_GRID)
            best = int(np.argmin(chi2))
            gain = _misfit(straight, e_straight, Q_GRID[best], gamma[best]) - _misfit(
                other, e_other, Q_GRID[best], gamma[best]
            )
            if not (gain > CLEARLY).any():
                break
            turned = turned ^ (gain > CLEARLY)
        found.append((chi2[best] + (0 if not turned.any() else CLEARLY), turned))
    turned = min(found, key=lambda one: one[0])[1]
    return ~turned if turned.sum() > 0.5 * len(turned) else turned


def _misfit(v: np.ndarray, error: np.ndarray, q: float, gamma: float) -> np.ndarray:
    return (v[0] + q * v[1] - (1 + q) * gamma) ** 2 / (error[0] ** 2 + q**2 * error[1] ** 2)
