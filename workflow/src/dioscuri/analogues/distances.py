"""Distances between feature vectors: Al-Belmeisi et al. (2023), eqs. 1–5 and 12, exact and in batches.

Every sum is a float64 one over float32 features, so that a ranking is that of `scipy.spatial.distance`; the catalogue
is read from memory once for all queries. Up to some 50 queries at a time these loops are faster than matrix products,
too, which would leave distances of 1e-8 between equal vectors.
"""

import numpy as np
from numba import njit

METRICS = ("cosine", "euclidean", "braycurtis", "canberra", "l1", "combined")
# Terms of a sum may be taken in any order (SIMD); NaN and inf keep their meaning.
REORDERED = {"reassoc", "contract", "nsz", "arcp"}


def pairwise(
    queries: np.ndarray, catalogue: np.ndarray, metric: str, *, literal: bool = False, scale: bool = False
) -> np.ndarray:
    """Distances (Q, N) float64 between queries (Q, F) or (F,) and the members of a catalogue (N, F).

    metric: cosine, euclidean, braycurtis, canberra, l1 (eqs. 1–5) or combined (eq. 12).

    literal: the equations as printed. Eq. 2, called Euclidean, is Σ (|u − v|²)^½ = Σ |u − v|, the L1 distance of
    eq. 5. Eq. 12 divides the *squared* distances by the largest distance, so that the Euclidean term keeps the
    unit of the features and outweighs the cosine one; corrected, each distance is divided by its largest and then
    squared, as the text says ("squared sum of normalised distances").

    scale: features in units of their scatter over the catalogue first (see `scaled`); the paper does not.

    A zero vector has no direction: its cosine distance is 1, to another zero vector 0. Where both components of
    the Canberra distance are zero the term is 0, as in scipy.
    """
    if metric not in METRICS:
        raise ValueError(f"unknown distance '{metric}': use one of {', '.join(METRICS)}")
    queries, catalogue = _matching(queries, catalogue)
    if scale:
        queries, catalogue = scaled(queries, catalogue)
    if metric == "combined":
        cosine = _single(queries, catalogue, "cosine")
        euclidean = _single(queries, catalogue, "l1" if literal else "euclidean")
        return combined(cosine, euclidean, literal=literal)
    if metric == "euclidean" and literal:
        metric = "l1"
    return _single(queries, catalogue, metric)


def scaled(queries: np.ndarray, catalogue: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Queries (Q, F) and catalogue (N, F) float32 with every feature in units of its scatter over the catalogue.

    Otherwise the few features with the largest numbers decide every distance but Canberra's: on unseen systems of the
    toy catalogue, scaled features of the random CNN are the better ones in 13 of 16. The price: faint features weigh
    as much as strong ones, and their noise with them, so that the very same snapshot is found less often. A feature
    that does not vary is left out (0).
    """
    scatter = catalogue.std(axis=0, dtype=np.float64)
    factor = np.divide(1.0, scatter, out=np.zeros_like(scatter), where=scatter > 1e-6 * scatter.max())
    factor = factor.astype(np.float32)
    return queries * factor, catalogue * factor


def combined(cosine: np.ndarray, euclidean: np.ndarray, *, literal: bool = False) -> np.ndarray:
    """Eq. 12 from distances (Q, N) of each query to the *whole* catalogue: the normalisation is its largest one."""
    largest = [np.maximum(d.max(axis=-1, keepdims=True), np.finfo(float).tiny) for d in (cosine, euclidean)]
    if literal:
        return cosine**2 / largest[0] + euclidean**2 / largest[1]
    return (cosine / largest[0]) ** 2 + (euclidean / largest[1]) ** 2


def _single(queries: np.ndarray, catalogue: np.ndarray, metric: str) -> np.ndarray:
    distance = np.empty((len(queries), len(catalogue)))
    LOOPS[metric](queries, catalogue, distance)
    # A feature that is not finite shows in its row or column: looking at the result costs nothing.
    if not np.isfinite(distance).all():
        for name, features in (("queries", queries), ("catalogue", catalogue)):
            bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
            if len(bad):
                raise ValueError(f"{len(bad)} of {len(features)} {name} have non-finite features, first: {bad[:5]}")
    return distance


def _matching(queries: np.ndarray, catalogue: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    queries = np.ascontiguousarray(np.atleast_2d(queries), dtype=np.float32)
    catalogue = np.ascontiguousarray(catalogue, dtype=np.float32)
    if catalogue.ndim != 2 or queries.ndim != 2 or queries.shape[1] != catalogue.shape[1]:
        raise ValueError(
            f"queries {queries.shape} and catalogue {catalogue.shape} do not match; accepted: (Q, F) or (F,) and "
            f"(N, F), features of one network"
        )
    return queries, catalogue


# --- compiled loops ------------------------------------------------------------------------------------------
# Catalogue outside, queries inside: a row of the catalogue is read from memory once for all queries.


@njit(cache=True, fastmath=REORDERED, error_model="numpy")
def _cosine(queries, catalogue, out):
    for j in range(len(catalogue)):
        v = catalogue[j]
        for i in range(len(queries)):
            u = queries[i]
            uv, uu, vv = 0.0, 0.0, 0.0
            for k in range(len(v)):
                a, b = np.float64(u[k]), np.float64(v[k])
                uv += a * b
                uu += a * a
                vv += b * b
            if uu == 0.0 or vv == 0.0:
                out[i, j] = 0.0 if uu == vv else 1.0
            else:
                out[i, j] = 1.0 - uv / np.sqrt(uu * vv)


@njit(cache=True, fastmath=REORDERED, error_model="numpy")
def _euclidean(queries, catalogue, out):
    for j in range(len(catalogue)):
        v = catalogue[j]
        for i in range(len(queries)):
            u = queries[i]
            total = 0.0
            for k in range(len(v)):
                difference = np.float64(u[k]) - np.float64(v[k])
                total += difference * difference
            out[i, j] = np.sqrt(total)


@njit(cache=True, fastmath=REORDERED, error_model="numpy")
def _l1(queries, catalogue, out):
    for j in range(len(catalogue)):
        v = catalogue[j]
        for i in range(len(queries)):
            u = queries[i]
            total = 0.0
            for k in range(len(v)):
                total += abs(np.float64(u[k]) - np.float64(v[k]))
            out[i, j] = total


@njit(cache=True, fastmath=REORDERED, error_model="numpy")
def _braycurtis(queries, catalogue, out):
    for j in range(len(catalogue)):
        v = catalogue[j]
        for i in range(len(queries)):
            u = queries[i]
            over, under = 0.0, 0.0
            for k in range(len(v)):
                a, b = np.float64(u[k]), np.float64(v[k])
                over += abs(a - b)
                under += abs(a + b)
            out[i, j] = over / under if under != 0.0 else 0.0


@njit(cache=True, fastmath=REORDERED, error_model="numpy")
def _canberra(queries, catalogue, out):
    for j in range(len(catalogue)):
        v = catalogue[j]
        for i in range(len(queries)):
            u = queries[i]
            total = 0.0
            for k in range(len(v)):
                a, b = np.float64(u[k]), np.float64(v[k])
                under = abs(a) + abs(b)
                # A select instead of a branch, so that the loop stays vectorised.
                total += abs(a - b) / (under if under > 0.0 else 1.0)
            out[i, j] = total


LOOPS = {"cosine": _cosine, "euclidean": _euclidean, "l1": _l1, "braycurtis": _braycurtis, "canberra": _canberra}
