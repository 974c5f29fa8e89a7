"""Ranking a catalogue of 45,000 images exactly: ours beside scipy's cdist."""

import json
import sys

import numpy as np
from scipy.spatial.distance import cdist

from dioscuri.analogues.distances import pairwise
from inference import median_seconds, row

N_IMAGES, N_FEATURES = 45_000, 1024  # Al-Belmeisi et al. (2023): all images of one observable, DenseNet121's features
N_QUERIES = 16
SCIPY = {
    "cosine": "cosine",
    "euclidean": "euclidean",
    "braycurtis": "braycurtis",
    "canberra": "canberra",
    "l1": "cityblock",
}


def rows() -> list[dict]:
    """One mapping per comparison: name, ours, published, unit, ratio. One thread."""
    rng = np.random.default_rng(0)
    catalogue, queries = (_features(rng, n) for n in (N_IMAGES, N_QUERIES))
    table = []
    for metric, name in SCIPY.items():
        table.append(_compared(f"{metric}, one query", queries[:1], catalogue, metric, name, 3))
    for metric, name in SCIPY.items():
        table.append(_compared(f"{metric}, {N_QUERIES} queries", queries, catalogue, metric, name, 1))
    return table


def _features(rng: np.random.Generator, n: int) -> np.ndarray:
    """Features (n, F) float32 as a network with ReLUs gives them: skewed, and a third of them exactly zero."""
    features = rng.gamma(1.0, 1.0, (n, N_FEATURES)).astype(np.float32)
    features[rng.random(features.shape, np.float32) < 0.3] = 0
    return features


def _compared(title: str, queries: np.ndarray, catalogue: np.ndarray, metric: str, name: str, repeats: int) -> dict:
    ours, scipys = pairwise(queries, catalogue, metric), cdist(queries, catalogue, name)
    same = np.array_equal(ours.argsort(kind="stable"), scipys.argsort(kind="stable"))
    seconds = median_seconds(
        {
            "ours": lambda: pairwise(queries, catalogue, metric),
            "scipy": lambda: cdist(queries, catalogue, name),
        },
        repeats,
    )
    n = len(queries) * len(catalogue) / 1e6
    return {
        **row(f"distances to 45,000 images: {title}", n / seconds["ours"], n / seconds["scipy"], "M pairs/s"),
        "same ranking": same,
        "largest relative difference": float(np.max(np.abs(ours / scipys - 1))),
    }


if __name__ == "__main__":
    json.dump(rows(), sys.stdout, indent=2)
