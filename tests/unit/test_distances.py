"""Distances between features: against scipy, closed forms, and the equations as printed."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from dioscuri.analogues import distances
from dioscuri.analogues.distances import pairwise

SCIPY = {
    "cosine": "cosine",
    "euclidean": "euclidean",
    "braycurtis": "braycurtis",
    "canberra": "canberra",
    "l1": "cityblock",
}


@pytest.fixture(scope="module")
def features() -> tuple[np.ndarray, np.ndarray]:
    """Features as a network gives them: most positive, many exactly 0."""
    rng = np.random.default_rng(0)
    everything = rng.normal(0.5, 1, (1240, 33)).astype(np.float32)
    everything[rng.random(everything.shape) < 0.3] = 0
    return everything[:20], everything[20:]


@pytest.mark.parametrize("metric", SCIPY)
def test_distances_are_scipys(features, metric):
    queries, catalogue = features
    expected = cdist(queries.astype(float), catalogue.astype(float), SCIPY[metric])
    np.testing.assert_allclose(pairwise(queries, catalogue, metric), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("metric", [*SCIPY, "combined"])
def test_an_image_is_its_own_nearest_member(features, metric):
    _, catalogue = features
    found = pairwise(catalogue[:40], catalogue, metric)
    np.testing.assert_array_equal(found.argmin(axis=1), np.arange(40))
    assert np.all(np.diagonal(found) < 1e-12)


def test_one_query_is_a_row_of_many(features):
    queries, catalogue = features
    for metric in ("cosine", "euclidean"):
        one, many = pairwise(queries[3], catalogue, metric), pairwise(queries, catalogue, metric)
        np.testing.assert_array_equal(one[0], many[3])


def test_equation_2_as_printed_is_the_l1_distance(features):
    queries, catalogue = features
    literal = pairwise(queries, catalogue, "euclidean", literal=True)
    np.testing.assert_allclose(literal, cdist(queries, catalogue, "cityblock"), rtol=1e-6)
    assert not np.allclose(literal, pairwise(queries, catalogue, "euclidean"))


def test_equation_12_by_hand():
    # Cosine distances of (1, 0) to these: 0, 1, 1 − 1/√2; Euclidean 3, √5, 1; L1 3, 3, 1.
    catalogue = np.array([[4.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    cosine, euclidean, l1 = np.array([0, 1, 1 - 0.5**0.5]), np.array([3, 5**0.5, 1]), np.array([3, 3, 1])
    query = np.array([1.0, 0.0])
    np.testing.assert_allclose(pairwise(query, catalogue, "combined")[0], cosine**2 + (euclidean / 3) ** 2)
    literal = pairwise(query, catalogue, "combined", literal=True)[0]
    np.testing.assert_allclose(literal, cosine**2 + l1**2 / 3)


def test_corrected_equation_12_knows_no_unit_and_the_printed_one_does(features):
    queries, catalogue = features
    corrected = [pairwise(queries * f, catalogue * f, "combined") for f in (1, 10)]
    np.testing.assert_allclose(*corrected, rtol=1e-5)
    literal = [pairwise(queries * f, catalogue * f, "combined", literal=True) for f in (1, 10)]
    assert np.median(literal[1] / literal[0]) > 5


def test_zero_vectors():
    catalogue = np.array([[0.0, 0.0], [1.0, 2.0]])
    for metric, expected in (("cosine", [0, 1]), ("canberra", [0, 2]), ("braycurtis", [0, 1])):
        np.testing.assert_array_equal(pairwise(np.zeros(2), catalogue, metric)[0], expected)


def test_scaled_features_weigh_alike(features):
    queries, catalogue = features[0].copy(), features[1].copy()
    queries[:, 0], catalogue[:, 0] = 1000 * queries[:, 0], 1000 * catalogue[:, 0]
    queries[:, 1], catalogue[:, 1] = 7, 5  # never varies in the catalogue: must not decide
    scaled_queries, scaled = distances.scaled(queries, catalogue)
    varying = np.arange(33) != 1
    np.testing.assert_allclose(scaled.std(axis=0)[varying], 1, rtol=1e-4)
    assert np.all(scaled_queries[:, 1] == 0)
    one, other = distances.scaled(features[0][:, varying], features[1][:, varying])
    expected = pairwise(one, other, "euclidean")
    np.testing.assert_allclose(pairwise(scaled_queries, scaled, "euclidean"), expected, rtol=1e-4)
    np.testing.assert_allclose(pairwise(queries, catalogue, "euclidean", scale=True), expected, rtol=1e-4)


@pytest.mark.parametrize("metric", SCIPY)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_not_finite_are_named(features, metric, bad):
    queries, catalogue = features[0], features[1].copy()
    catalogue[7, 3] = bad
    with np.errstate(invalid="ignore"), pytest.raises(ValueError, match=r"1 of 1220 catalogue .* first: \[7\]"):
        pairwise(queries, catalogue, metric)


def test_wrong_arguments(features):
    queries, catalogue = features
    with pytest.raises(ValueError, match="unknown distance 'manhattan': use one of cosine"):
        pairwise(queries, catalogue, "manhattan")
    with pytest.raises(ValueError, match="do not match"):
        pairwise(queries[:, :5], catalogue, "l1")
