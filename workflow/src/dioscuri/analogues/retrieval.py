"""From distances to a ranked list: ranks, the cuts that choose analogues, and votes of several rankings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata

# A normal distribution has this share below −2σ: the quantile that the paper's cut means.
TWO_SIGMA_SHARE = 0.0228


@dataclass(frozen=True)
class Ranking:
    """The members of a catalogue in order of similarity, nearest first: all (K,)."""

    member: np.ndarray  # row in the catalogue
    distance: np.ndarray
    z: np.ndarray  # distance in units of the catalogue's scatter about its mean


def rank(distance: np.ndarray, k: int | None = None) -> Ranking:
    """Rank the members of a catalogue by their distances (N,) to one query; the `k` nearest, or all.

    Equal distances keep the order of the catalogue, so that a ranking is reproducible.
    """
    distance = _one_query(distance)
    order = np.argsort(distance, kind="stable")[:k]
    return Ranking(order, distance[order], standardised(distance)[order])


def standardised(distance: np.ndarray) -> np.ndarray:
    """Distances (…, N) shifted to zero mean and scaled to unit variance over the catalogue (Fig. 5)."""
    distance = np.asarray(distance, dtype=float)
    scatter = distance.std(axis=-1, keepdims=True)
    return (distance - distance.mean(axis=-1, keepdims=True)) / np.where(scatter > 0, scatter, 1.0)


def sigma_cut(distance: np.ndarray, n_sigma: float = 2.0, minimum: int = 0) -> np.ndarray:
    """Rows of the members nearer than the mean by more than `n_sigma` standard deviations, nearest first (§3.2).

    Distances crowd towards the far end as a rule, so that −2σ may lie below the nearest member: the paper's cut
    then selects nothing. At least the `minimum` nearest members are returned.
    """
    distance = _one_query(distance)
    return _nearest(distance, max(int(np.sum(standardised(distance) < -n_sigma)), minimum))


def quantile_cut(distance: np.ndarray, share: float = TWO_SIGMA_SHARE, minimum: int = 10) -> np.ndarray:
    """Rows of the nearest `share` of the members, at least `minimum`, nearest first.

    The share below −2σ of a normal distribution, whatever the distances are distributed like.
    """
    if not 0 < share <= 1:
        raise ValueError(f"the share of members to keep must lie in (0, 1], found {share}")
    distance = _one_query(distance)
    return _nearest(distance, max(int(np.ceil(share * len(distance))), minimum))


CUTS: dict[str, Callable[..., np.ndarray]] = {"sigma": sigma_cut, "quantile": quantile_cut}


def select(distance: np.ndarray, cut: str = "quantile", **settings: float) -> np.ndarray:
    """Rows of the analogues by a named cut: `sigma` (n_sigma, minimum) or `quantile` (share, minimum)."""
    if cut not in CUTS:
        raise ValueError(f"unknown cut '{cut}': use one of {', '.join(CUTS)}")
    return CUTS[cut](distance, **settings)


def consensus(distances: Mapping[Any, np.ndarray]) -> np.ndarray:
    """Mean fractional rank (N,) of each member over several rankings, e.g. networks × metrics; small is similar.

    Ranks, because distances of different networks and metrics have neither a unit nor a distribution in common.
    """
    if not distances:
        raise ValueError("a consensus needs the distances of at least one network and metric")
    ranks = [rankdata(_one_query(distance)) / len(distance) for distance in distances.values()]
    if len({len(one) for one in ranks}) > 1:
        lengths = ", ".join(f"{name}: {len(distance)}" for name, distance in distances.items())
        raise ValueError(f"rankings of different catalogues cannot vote together: {lengths}")
    return np.mean(ranks, axis=0)


def distinct(members: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Of ranked `members` (K,), the best one of each group (N,), e.g. snapshot: eight views of one are one find."""
    _, first = np.unique(np.asarray(group)[members], return_index=True, axis=0)
    return np.asarray(members)[np.sort(first)]


def _nearest(distance: np.ndarray, n: int) -> np.ndarray:
    return np.argsort(distance, kind="stable")[: min(n, len(distance))]


def _one_query(distance: np.ndarray) -> np.ndarray:
    distance = np.asarray(distance, dtype=float)
    if distance.ndim != 1 or not len(distance) or not np.isfinite(distance).all():
        raise ValueError(f"a ranking needs finite distances (N,) of one query, found shape {distance.shape}")
    return distance
