"""Whether a probability means what it says, and how a penalty moves it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Reliability:
    """A reliability curve over bins of probability, all (K,) except the sums; NaN in an empty bin.

    `predicted`: weighted mean probability; `observed`: weighted share of binaries; `weight`: sum of weights.
    `expected_error`: Σ weight |predicted − observed| / Σ weight, the expected calibration error.
    """

    edges: np.ndarray
    predicted: np.ndarray
    observed: np.ndarray
    weight: np.ndarray
    expected_error: float


def reliability(p: np.ndarray, y: np.ndarray, penalty: float = 1.0, n_bins: int = 10) -> Reliability:
    """The reliability curve of `p` (N,) against classes `y` (N,), in `n_bins` equal bins.

    A network trained with penalty Λ answers for a world in which each negative occurs Λ times (eq. 7): with
    `penalty=Λ` negatives are weighted so, and a perfect model lies on the diagonal whatever its Λ.
    """
    p, positive = np.asarray(p, float), np.asarray(y).astype(bool)
    edges = np.linspace(0.0, 1.0, n_bins + 1)
    which = np.clip((p * n_bins).astype(int), 0, n_bins - 1)
    weights = np.where(positive, 1.0, penalty)
    total = np.bincount(which, weights, n_bins)
    predicted, observed = (
        np.divide(np.bincount(which, weights * values, n_bins), total, out=np.full(n_bins, np.nan), where=total > 0)
        for values in (p, positive)
    )
    filled = total > 0
    error = np.sum(total[filled] * np.abs(predicted - observed)[filled]) / total.sum()
    return Reliability(edges, predicted, observed, total, float(error))


def nearest_penalty(trained: Sequence[float], wanted: float) -> float:
    """The trained Λ closest to the wanted one in ratio: whose logits are to be shifted."""
    return min(trained, key=lambda value: abs(np.log(value / wanted)))


def shift_logit(logit: np.ndarray, from_penalty: float, to_penalty: float) -> np.ndarray:
    """The logit that the optimal model of another penalty would give: logit_Λ = logit_1 − ln Λ.

    Follows from eq. 7, whose minimum at each spectrum is p = f / (f + Λ (1 − f)), f the share of binaries
    there.
    """
    return logit - np.log(to_penalty / from_penalty)


def shift_probability(p: np.ndarray, from_penalty: float, to_penalty: float) -> np.ndarray:
    """`shift_logit` on probabilities: p / (p + r (1 − p)), r = to_penalty / from_penalty."""
    p, ratio = np.asarray(p), to_penalty / from_penalty
    return p / (p + ratio * (1.0 - p))
