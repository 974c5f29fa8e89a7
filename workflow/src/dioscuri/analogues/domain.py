"""Is a map like anything in the catalogue? How unlike its members it is, beside images of systems that were left out.

Two things are asked, each of principal components of the members alone: how far is the nearest member by brightness in
apertures, in units of their scatter, and how much of a network's features no member's components can make up (the
residual of Jackson & Mudholkar 1979, Technometrics 21, 341). What counts as far is told by the catalogue itself: every
system is asked as if it were a query, with the others as the catalogue, and `LEVEL` of such images are accepted.
"""

from dataclasses import dataclass

import numpy as np

from dioscuri.analogues.distances import pairwise
from dioscuri.analogues.regression import Blocks, quantile_by_system, reduce, unseen_quantile

LEVEL = 0.97  # of images of systems that the catalogue does not hold are to be accepted
WITHIN = 7  # components of brightness, in which the nearest member is looked for
FAINT = 0.02  # of the scatter of the first; what varies less (of velocities most) differs by how a map was interpolated
OUTSIDE = 20  # components of features; what they leave is what no member has
MEMBERS = 2000  # a larger catalogue is thinned evenly
FEW = 8  # systems; of fewer, one odd one decides what is far


@dataclass(frozen=True)
class Domain:
    """far: how unlike the catalogue the query is, in units of what is accepted. unseen (N,): the same of members,
    each by the other ones of n_systems alone."""

    far: float
    unseen: np.ndarray
    n_systems: int

    @property
    def known(self) -> bool:
        """Whether the query is no more unlike the catalogue than its systems are unlike each other."""
        return self.far <= 1

    @property
    def share(self) -> float:
        """Share of members at least as unlike the other systems as the query is unlike all."""
        return float(np.mean(self.unseen >= self.far))

    @property
    def status(self) -> str:
        """ "ok", or why no estimate from this catalogue means anything, or may mean nothing, for the query."""
        if self.known:
            few = f"the catalogue has {self.n_systems} systems, too few to tell what is unlike them: {FEW} or more can"
            return "ok" if self.n_systems >= FEW else few
        return (
            f"far from every model: {self.far:.3g} times as unlike the catalogue as what {LEVEL:.0%} of the images of "
            "unseen systems stay below"
        )


def domain(query: Blocks, members: Blocks, system: np.ndarray) -> Domain:
    """Where a query lies, by blocks of features (1, F) of it and (N, F) of members of `system` (N,); ≥ 2 systems.

    Blocks as `FeatureTable` has them: features of a network and brightness in apertures, or brightness alone.
    """
    return domains(query, members, system)[0]


def domains(queries: Blocks, members: Blocks, system: np.ndarray) -> list[Domain]:
    """The same of queries, blocks of (Q, F)."""
    thin = slice(None, None, max(1, -(-len(members[0]) // MEMBERS)))
    members, system = [block[thin] for block in members], np.asarray(system)[thin]
    names = np.unique(system)
    if len(names) < 2:
        raise ValueError("a catalogue of one system cannot tell how unlike systems are; accepted: 2 or more")
    unseen = np.empty((len(system), min(2, len(members))))
    for name in names:
        own = system == name
        unseen[own] = _unlike([block[own] for block in members], [block[~own] for block in members])
    unit = np.array([quantile_by_system(column, system, LEVEL) for column in unseen.T])
    unit[unit == 0] = 1.0  # images that are all alike
    larger = np.max(unseen / unit, axis=1)
    limit = unseen_quantile(larger, system, LEVEL) or 1.0
    asked = np.max(_unlike(queries, members) / unit, axis=1)
    return [Domain(float(one / limit), larger / limit, len(names)) for one in asked]


def _unlike(asked: Blocks, members: Blocks) -> np.ndarray:
    """Distance to the nearest member by brightness, and what components of features leave: (A, 2), or (A, 1)."""
    found = [_nearest(asked[-1], members[-1])]
    if len(members) > 1:
        found.append(_outside(asked[0], members[0]))
    return np.stack(found, axis=1)


def _nearest(asked: np.ndarray, members: np.ndarray) -> np.ndarray:
    reduction = reduce(members, WITHIN, scale=False)
    known = reduction(members)
    scatter = known.std(axis=0)
    use = scatter >= FAINT * scatter.max()
    return pairwise(reduction(asked)[:, use], known[:, use], "euclidean", scale=True).min(axis=1)


def _outside(asked: np.ndarray, members: np.ndarray) -> np.ndarray:
    reduction = reduce(members, OUTSIDE, scale=False)
    whole = np.sum((np.asarray(asked, np.float64) - reduction.centre) ** 2, axis=1)
    return np.sqrt(np.clip(whole - np.sum(reduction(asked) ** 2, axis=1), 0, None))
