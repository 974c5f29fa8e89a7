"""Probabilities that mean what they say: a smooth map from what an ensemble answers to the share that is true.

The log-odds of the answer go through a cubic (Platt 1999 has a line): training with smoothed labels (Wu et al. 2023,
eq. 3) bends them, and steeply so where it holds the answer away from 0 and 1.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize

from dioscuri.io import read_json, write_json
from dioscuri.seals import content_digest

CALIBRATION_SCHEMA = "dioscuri/calibration/1"
ORDER = 3


@dataclass(frozen=True)
class Calibration:
    """A map of probabilities: `coefficients` of the powers 0 … 3 of logit p, fitted to `n` objects.

    `low`, `high`: the answers among those objects; beyond them the map stays where it ends. The result stays within
    1/(n + 2) of 0 and 1: more cannot be learnt from n objects.
    """

    coefficients: tuple[float, ...]
    low: float
    high: float
    n: int

    def __call__(self, p: np.ndarray) -> np.ndarray:
        """The calibrated probability, (N,) float32, of answers `p` (N,); NaN stays NaN."""
        x = _logit(np.clip(np.asarray(p, float), self.low, self.high))
        odds = np.polynomial.polynomial.polyval(x, self.coefficients)
        edge = 1.0 / (self.n + 2)
        return np.clip(1.0 / (1.0 + np.exp(-odds)), edge, 1.0 - edge).astype(np.float32)


def fit(p: np.ndarray, y: np.ndarray) -> Calibration:
    """The most likely Calibration of answers `p` (N,) for classes `y` (N,); it keeps the order of answers."""
    p, y = np.asarray(p, float), np.asarray(y).astype(bool)
    if len(p) != len(y) or y.all() or not y.any():
        raise ValueError(f"calibration: found {len(p)} answers, {int(y.sum())} positives of {len(y)}; it needs both")
    x = _logit(p)
    grid = np.linspace(x.min(), x.max(), 200)
    for order in range(ORDER, 0, -1):  # a lower one where the higher would not rise everywhere
        powers = np.vander(x, order + 1, increasing=True)
        found = minimize(_loss, np.eye(order + 1)[1], args=(powers, y), jac=True, method="BFGS").x
        if (np.diff(np.polynomial.polynomial.polyval(grid, found)) > 0).all():
            return Calibration(tuple(map(float, found)), float(p.min()), float(p.max()), len(p))
    raise ValueError("calibration: higher answers are not more often right; these networks have learnt nothing")


def _loss(coefficients: np.ndarray, powers: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean log loss [nat] of log-odds powers @ coefficients, and its gradient."""
    odds = powers @ coefficients
    rest = 1.0 / (1.0 + np.exp(-odds)) - y
    return float(np.mean(np.logaddexp(0.0, odds) - y * odds)), powers.T @ rest / len(y)


def write(
    path: str | os.PathLike, calibration: Calibration, models: Iterable[str | os.PathLike], report: Mapping
) -> None:
    """Write a calibration with the digests of the model files that it belongs to, and how reliable it is (JSON)."""
    write_json(
        path,
        {
            "schema": CALIBRATION_SCHEMA,
            **asdict(calibration),
            "networks": [content_digest(path) for path in models],
            "report": report,
        },
        sealed=True,
    )


def read(path: str | os.PathLike, models: Iterable[str | os.PathLike]) -> Calibration:
    """The calibration of `models`; one of other networks, or of other weights, is a ValueError."""
    content = read_json(path, "a calibration of image networks (rule calibrate_images makes it)")
    if content.get("schema") != CALIBRATION_SCHEMA:
        raise ValueError(f"{path}: expected schema '{CALIBRATION_SCHEMA}', found '{content.get('schema')}'")
    if sorted(map(str, content.get("networks", ()))) != sorted(content_digest(path) for path in models):
        raise ValueError(f"{path}: this calibration belongs to other networks; make it again (rule calibrate_images)")
    try:
        found = Calibration(
            tuple(map(float, content["coefficients"])), float(content["low"]), float(content["high"]), int(content["n"])
        )
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: no calibration of image networks; make it again (rule calibrate_images)") from error
    if not (np.isfinite(found.coefficients).all() and 0 <= found.low < found.high <= 1 and found.n > 0):
        raise ValueError(f"{path}: its numbers are no calibration; make it again (rule calibrate_images)")
    return found


def table(p: np.ndarray, y: np.ndarray, n_bins: int = 12) -> dict[str, Any]:
    """How reliable `p` (N,) is for classes `y` (N,): bins of equal numbers with errors and counts, and summary numbers.

    `chi2`: Σ ((observed − predicted)/σ)² over the bins, σ binomial at the prediction; about the number of bins where
    `p` means what it says. `expected_error`: mean |observed − predicted|; `log_loss` in nat.
    """
    p, y = np.asarray(p, float), np.asarray(y).astype(float)
    parts = np.array_split(np.argsort(p, kind="stable"), n_bins)
    predicted = np.array([p[part].mean() for part in parts])
    observed = np.array([y[part].mean() for part in parts])
    counts = np.array([len(part) for part in parts])
    sigma = np.sqrt(np.maximum(predicted * (1 - predicted), 1e-12) / counts)
    clipped = np.clip(p, 1e-7, 1 - 1e-7)
    return {
        "predicted": predicted, "observed": observed, "error": sigma, "count": counts,
        "chi2": float((((observed - predicted) / sigma) ** 2).sum()), "bins": n_bins,
        "expected_error": float((counts * np.abs(observed - predicted)).sum() / len(p)),
        "log_loss": float(-np.mean(y * np.log(clipped) + (1 - y) * np.log1p(-clipped))),
    }  # fmt: skip


def _logit(p: np.ndarray) -> np.ndarray:
    p = np.clip(p, 1e-7, 1.0 - 1e-7)
    return np.log(p) - np.log1p(-p)
