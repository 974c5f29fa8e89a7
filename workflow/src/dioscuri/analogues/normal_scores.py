"""Parameters as normal scores: the axis on which the values of a catalogue are normal, however skewed or heaped."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

NODES = 40  # quantiles that describe a distribution; values beyond the outermost two go on as straight lines


@dataclass(frozen=True)
class NormalScores:
    """Between values and their normal scores: `values` (K,) are the quantiles of `scores` (K,), both in order.

    A heap of equal values (no disc) has one score, the mean of its range, and every score of the range is that value.
    """

    values: np.ndarray
    scores: np.ndarray

    def forward(self, values: np.ndarray) -> np.ndarray:
        """Scores of values, of any shape; NaN stays."""
        distinct, each, counts = np.unique(self.values, return_inverse=True, return_counts=True)
        return _extended(values, distinct, np.bincount(each, self.scores) / counts)

    def backward(self, scores: np.ndarray) -> np.ndarray:
        """Values of scores: a quantile stays that quantile, so that the middle of an interval is a median."""
        return _extended(scores, self.scores, self.values)


def normal_scores(values: np.ndarray, weights: np.ndarray) -> NormalScores:
    """The scores of values (N,) that count with `weights` (N,), positive, with the sum 1."""
    order = np.argsort(values, kind="stable")
    share = (np.arange(NODES) + 0.5) / NODES
    middle = np.cumsum(weights[order]) - 0.5 * weights[order]
    return NormalScores(np.interp(share, middle, values[order]), ndtri(share))


def _extended(x: np.ndarray, known: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Interpolation that goes on beyond both ends as steeply as between the outermost three of K points."""
    inside = np.interp(x, known, found)
    if len(known) < 3:
        return inside
    first, last = (np.diff(found[[a, b]]) / np.diff(known[[a, b]]) for a, b in ((0, 2), (-3, -1)))
    return inside + first * np.minimum(x - known[0], 0) + last * np.maximum(x - known[-1], 0)
