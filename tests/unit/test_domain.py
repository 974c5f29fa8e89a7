"""Is a query like anything in a catalogue? Unseen systems are, strangers are not, by brightness or by structure."""

import numpy as np
import pytest

from dioscuri.analogues.domain import LEVEL, domain, domains

VIEWS, FEATURES, APERTURES = 12, 60, 12


def catalogue(seed: int, systems: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Features and brightness that follow four parameters; every system has quirks of its own, views are alike."""
    rng, law = np.random.default_rng(seed), np.random.default_rng(0)
    values = np.repeat(rng.normal(size=(systems, 4)), VIEWS, axis=0) + 0.3 * rng.normal(size=(systems * VIEWS, 4))
    blocks = []
    for width in (FEATURES, APERTURES):
        quirk = np.repeat(0.3 * rng.normal(size=(systems, width)), VIEWS, axis=0)
        noise = 0.1 * rng.normal(size=(len(values), width))
        blocks.append((values @ law.normal(size=(4, width)) + quirk + noise).astype(np.float32))
    return blocks, np.repeat(np.arange(systems), VIEWS).astype(str)


def test_most_images_of_unseen_systems_are_known():
    """As many as promised: 12 catalogues of 16 systems, 60 unseen ones each."""
    unseen, _ = catalogue(99, 60)
    known = [[one.known for one in domains(unseen, *catalogue(seed, 16))] for seed in range(12)]
    assert LEVEL - 0.03 < np.mean(known) < 0.995


@pytest.mark.parametrize("block", [0, 1])
def test_a_stranger_in_one_of_both_is_told(block):
    """Each part as a member has it, but the one not as the others: correlations are broken, sizes are usual."""
    members, system = catalogue(1, 16)
    query = [part[:1].copy() for part in catalogue(2, 1)[0]]
    assert domain(query, members, system).status == "ok"
    query[block] = members[block].mean(axis=0) + np.random.default_rng(3).permutation(query[block][0])[None]
    found = domain(query, members, system)
    assert not found.known and found.share < 1 - LEVEL and "far from every model" in found.status


def test_one_block_serves_for_both_and_what_never_varies_is_no_reason():
    (features, _), system = catalogue(1, 8)
    features = np.concatenate([features, np.ones((len(features), 3), np.float32)], axis=1)
    assert domain([features[:1]], [features], system).known
    assert not domain([features[:1] + 50], [features], system).known
    same = np.ones_like(features)
    assert domain([same[:1]], [same], system).known


def test_few_systems_are_no_ground_for_ok():
    """The odd one of four makes far what is accepted: said, and still told where it is farther than that."""
    members, system = catalogue(1, 4)
    query = [part[:1] for part in catalogue(2, 1)[0]]
    assert "4 systems, too few to tell" in domain(query, members, system).status
    assert "far from every model" in domain([part + 100 for part in query], members, system).status


def test_one_system_says_nothing_about_others():
    members, system = catalogue(1, 1)
    with pytest.raises(ValueError, match="a catalogue of one system"):
        domain(members, members, system)
