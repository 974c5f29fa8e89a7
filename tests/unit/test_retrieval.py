"""Ranks, cuts and votes."""

import numpy as np
import pytest

from dioscuri.analogues.retrieval import consensus, distinct, quantile_cut, rank, select, sigma_cut, standardised


def test_ranking_is_nearest_first_and_keeps_the_order_of_equals():
    ranking = rank(np.array([3.0, 1.0, 2.0, 1.0]))
    np.testing.assert_array_equal(ranking.member, [1, 3, 2, 0])
    np.testing.assert_array_equal(ranking.distance, [1, 1, 2, 3])
    assert ranking.z.mean() == pytest.approx(0, abs=1e-12) and ranking.z.std() == pytest.approx(1)
    np.testing.assert_array_equal(rank(np.array([3.0, 1.0, 2.0, 1.0]), k=2).member, [1, 3])


def test_both_cuts_agree_on_normal_distances():
    distance = np.random.default_rng(0).normal(10, 2, 100_000)
    two_sigma, quantile = sigma_cut(distance), quantile_cut(distance)
    assert len(quantile) == 2280
    assert len(two_sigma) == pytest.approx(2275, abs=4 * 2275**0.5)
    np.testing.assert_array_equal(two_sigma[:2000], quantile[:2000])
    assert distance[two_sigma].max() < distance.mean() - 2 * distance.std()


def test_sigma_cut_selects_nobody_from_skewed_distances():
    """Distances pile up at the far end: this is why the quantile is the default."""
    distance = 1 - 0.1 * np.random.default_rng(0).gamma(1.0, 1.0, 5000)
    skewed = -distance
    assert len(sigma_cut(skewed)) == 0
    assert len(sigma_cut(skewed, minimum=10)) == 10
    np.testing.assert_array_equal(sigma_cut(skewed, minimum=10), np.argsort(skewed, kind="stable")[:10])
    assert len(quantile_cut(skewed)) == 114


def test_minimum_never_exceeds_the_catalogue():
    assert len(select(np.arange(4.0), "quantile", share=0.5, minimum=10)) == 4
    assert len(select(np.arange(4.0), "sigma", n_sigma=9, minimum=3)) == 3


def test_standardised_distances_per_query():
    z = standardised(np.array([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0], [5.0, 5.0, 5.0]]))
    np.testing.assert_allclose(z[0], z[1])
    np.testing.assert_array_equal(z[2], 0)


def test_consensus_votes_by_rank():
    votes = {("vgg16", "l1"): np.array([1.0, 2.0, 3.0, 4.0]), ("vgg19", "cosine"): np.array([400.0, 1.0, 2.0, 3.0])}
    found = consensus(votes)
    np.testing.assert_allclose(found, [(1 + 4) / 8, (2 + 1) / 8, (3 + 2) / 8, (4 + 3) / 8])
    monotone = {name: np.exp(distance / 100) for name, distance in votes.items()}
    np.testing.assert_array_equal(consensus(monotone), found)
    with pytest.raises(ValueError, match="different catalogues"):
        consensus({"a": np.arange(3.0), "b": np.arange(4.0)})
    with pytest.raises(ValueError, match="at least one"):
        consensus({})


def test_distinct_takes_the_best_of_each_group():
    snapshot = np.array(["a", "a", "b", "c", "b"])
    np.testing.assert_array_equal(distinct(np.array([4, 1, 2, 0, 3]), snapshot), [4, 1, 3])


@pytest.mark.parametrize("distance", [np.array([]), np.array([1.0, np.nan]), np.ones((2, 3))])
def test_a_ranking_needs_finite_distances_of_one_query(distance):
    with pytest.raises(ValueError, match="finite distances"):
        rank(distance)


def test_unknown_cut_and_share():
    with pytest.raises(ValueError, match="unknown cut 'best': use one of sigma, quantile"):
        select(np.arange(3.0), "best")
    with pytest.raises(ValueError, match="share"):
        quantile_cut(np.arange(3.0), share=0)
