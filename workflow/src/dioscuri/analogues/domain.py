"""Is a map like anything in the catalogue? Its distance to the members beside those between systems."""

from dataclasses import dataclass

import numpy as np

from dioscuri.analogues.distances import pairwise
from dioscuri.analogues.regression import quantile_by_system

SAMPLE = 400  # members that say how far systems are from each other
LEVEL = 0.95  # of members, which must be nearer to other systems than what counts as far
MARGIN = 1.6  # an unseen system may lie outside of those simulated: with 1.25, 6 % of unseen images were called far
MEMBERS = 4000  # a larger catalogue is thinned evenly; nearest distances hardly change


@dataclass(frozen=True)
class Domain:
    """nearest: distance of the query to the nearest member. apart (S,): of members to those of other systems; limit:
    `MARGIN` times what `LEVEL` of them stay below, every system counting alike: single wild members do not set it."""

    nearest: float
    apart: np.ndarray
    limit: float

    @property
    def known(self) -> bool:
        """Whether the query is no farther from the catalogue than its systems are from each other."""
        return self.nearest <= self.limit

    @property
    def share(self) -> float:
        """Share of members at least as far from other systems as the query."""
        return float(np.mean(self.apart >= self.nearest))

    @property
    def status(self) -> str:
        """ "ok", or why no estimate from this catalogue means anything for the query."""
        if self.known:
            return "ok"
        return (
            f"far from every model: nearest at {self.nearest:.3g}, systems of the catalogue are "
            f"{np.median(self.apart):.3g} apart, at most {self.limit:.3g} is accepted"
        )


def domain(query: np.ndarray, members: np.ndarray, system: np.ndarray, *, scale: bool = True, seed: int = 0) -> Domain:
    """Where features (F,) of a query lie beside features (N, F) of members of `system` (N,); ≥ 2 systems."""
    return domains(query[None], members, system, scale=scale, seed=seed)[0]


def domains(
    queries: np.ndarray, members: np.ndarray, system: np.ndarray, *, scale: bool = True, seed: int = 0
) -> list[Domain]:
    """The same of queries (Q, F)."""
    system = np.asarray(system)
    if len(np.unique(system)) < 2:
        raise ValueError("a catalogue of one system cannot tell how far apart systems are; accepted: 2 or more")
    thin = slice(None, None, max(1, len(members) // MEMBERS))
    nearest = pairwise(queries, members, "euclidean", scale=scale).min(axis=1)
    rng = np.random.Generator(np.random.Philox(key=[seed, 4]))
    rows = np.sort(rng.permutation(len(members))[:SAMPLE])
    between = pairwise(members[rows], members, "euclidean", scale=scale)[:, thin]
    between[system[rows][:, None] == system[thin][None]] = np.inf
    apart = between.min(axis=1)
    limit = MARGIN * quantile_by_system(apart, system[rows], LEVEL)
    return [Domain(float(one), apart, limit) for one in nearest]
