"""Chance alignments: simulations against closed forms and the paper, densities at edges, blends by brightness."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from dioscuri.cluster.chance_alignments import (
    blend_probability,
    chance_probability,
    expected_pairs,
    expected_share,
    isolated_pairs,
    local_density,
    scattered_pairs,
    simulated_share,
    write_chance_alignments,
)


def test_isolated_pairs_are_groups_of_two():
    positions = np.random.default_rng(3).uniform(0, 40, (1200, 2))
    pairs = isolated_pairs(positions, 0.6)
    links = cKDTree(positions).query_pairs(0.6, output_type="ndarray")
    graph = coo_matrix((np.ones(len(links)), links.T), shape=(1200, 1200))
    label = connected_components(graph, directed=False)[1]
    groups = np.flatnonzero(np.bincount(label) == 2)
    assert len(groups) > 50 and (np.bincount(label) > 2).sum() > 50
    assert {tuple(sorted(pair)) for pair in pairs} == {tuple(np.flatnonzero(label == group)) for group in groups}


def test_periodic_box_has_no_edges():
    positions = np.array([[0.05, 5.0], [9.95, 5.0], [3.0, 0.0], [3.0, 9.99], [7.0, 7.0]])
    assert len(isolated_pairs(positions, 0.2, box=10.0)) == 2
    assert len(isolated_pairs(positions, 0.2)) == 0
    assert isolated_pairs(positions[:1], 0.2).shape == (0, 2)


@pytest.mark.parametrize(("density", "printed"), [(1e7, 0.025), (1e6, 0.003)])
def test_share_of_the_paper(density, printed):
    """§2.1: about 2.5 % at 1e7 stars per square degree within 0.15″, below 0.3 % at 1e6."""
    shares = simulated_share(density, 0.15, runs=4, n_stars=50_000, seed=2)
    expected = expected_share(density, 0.15)
    error = np.sqrt(expected / 50_000 / 4)
    assert shares.mean() == pytest.approx(expected, abs=3.5 * error)
    assert shares.std(ddof=1) == pytest.approx(np.sqrt(expected / 50_000), rel=1.3)
    if density == 1e7:
        assert expected == pytest.approx(printed, abs=0.0005)
    else:
        assert expected < printed


def test_first_order_is_the_limit_of_few_stars():
    assert expected_share(1e4, 0.15) == pytest.approx(0.5 * np.pi * 1e4 / 3600**2 * 0.15**2, rel=1e-3)
    # ½ n ∫ 2πr exp(−n A) dr lies between the first order with A = 2πθ² and with A = πθ².
    x = np.pi * 1e7 / 3600**2 * 0.15**2
    assert 0.5 * x * np.exp(-2 * x) < expected_share(1e7, 0.15) < 0.5 * x * np.exp(-x)


def test_table_of_the_figure(tmp_path: Path):
    write_chance_alignments(tmp_path / "chance.csv", radius=0.15, densities=[2e6, 8e6], runs=3, seed=1, n_stars=20_000)
    table = pd.read_csv(tmp_path / "chance.csv")
    assert list(table) == ["density", "radius", "share", "error", "expected", "first_order"]
    assert np.all(np.abs(table["share"] - table["expected"]) < 4 * np.sqrt(table["expected"] / 60_000))
    assert table["share"][1] > 3 * table["share"][0]
    again = simulated_share(2e6, 0.15, runs=3, n_stars=20_000, seed=1)
    assert table["share"][0] == pytest.approx(again.mean(), rel=1e-12)


@pytest.mark.parametrize("options", [{"neighbours": 30}, {"radius": 40.0}])
def test_local_density_is_unbiased_up_to_the_edges(options):
    rng = np.random.default_rng(5)
    bounds = (100.0, 1100.0, -50.0, 550.0)
    x, y = rng.uniform(100, 1100, 6000), rng.uniform(-50, 550, 6000)
    density = local_density(x, y, bounds, **options)
    corner = (x < 130) | (x > 1070) | (y < -20) | (y > 520)
    assert density[corner].mean() == pytest.approx(0.01, rel=0.04)
    assert density[~corner].mean() == pytest.approx(0.01, rel=0.03)
    assert density.std() / density.mean() < 1.4 / np.sqrt(28)
    # Circles cut by the frame would hold too few stars, were the frame not known.
    assert local_density(x, y, **options)[corner].mean() < 0.9 * density[corner].mean()


def test_local_density_follows_a_cluster():
    radius = 100 * np.sqrt(np.random.default_rng(1).uniform(0, 1, 8000) ** 2)  # density ∝ 1/r
    angle = np.random.default_rng(2).uniform(0, 2 * np.pi, 8000)
    density = local_density(radius * np.cos(angle), radius * np.sin(angle), neighbours=25)
    for low, high in ((5, 10), (20, 30), (60, 80)):
        ring = (radius > low) & (radius < high)
        truth = 8000 / (2 * np.pi * 100 * radius[ring])
        assert np.median(density[ring] / truth) == pytest.approx(1, abs=0.08)
    with pytest.raises(ValueError, match="neighbours of 3 stars"):
        local_density([0, 1, 2], [0, 1, 2], neighbours=5)


def test_chance_probability_is_poissons():
    n, theta = 0.004, 3.0
    assert chance_probability(n, theta) == pytest.approx(1 - np.exp(-n * np.pi * theta**2))
    assert chance_probability(n, theta, theta) == 0


def test_blends_are_those_that_scattering_makes():
    """Blend probabilities, by brightness, against moving all stars at random and looking what falls together."""
    rng = np.random.default_rng(4)
    x, y = rng.uniform(0, 600, (2, 5000))
    flux = np.exp(rng.normal(6, 1, 5000))
    sep, least = 1.5, 0.2
    probability = blend_probability(flux, local_density(x, y, (0, 600, 0, 600)), flux, sep, 0.1, least)

    def brightness(total: np.ndarray) -> np.ndarray:
        return np.where(total[:, 0] > np.exp(7), "bright", np.where(total[:, 0] > np.exp(6), "middle", "faint"))

    found = scattered_pairs(
        x, y, flux, brightness,
        sep_max=sep, sep_min=0.1, flux_ratio_min=least, spread=30.0, bounds=(0, 600, 0, 600), runs=40, seed=1,
    )  # fmt: skip
    region = brightness(flux[:, None])
    # A third star within the separation takes a pair from the scattered ones.
    alone = np.exp(-5000 / 600**2 * 1.5 * np.pi * sep**2)
    for name, counts in found.items():
        expected = probability[region == name].sum() * alone
        assert counts.mean() == pytest.approx(expected, rel=0.15, abs=4 * np.sqrt(expected / 40))
        assert counts.std() == pytest.approx(np.sqrt(expected), rel=0.5)
    per_star = {name: probability[region == name].mean() for name in found}
    assert per_star["bright"] > 2 * per_star["faint"]  # blends add up to bright sources


def test_scattering_breaks_true_pairs_and_stays_inside():
    rng = np.random.default_rng(4)
    x, y = np.repeat(rng.uniform(0, 1000, (2, 300)), 2, axis=1)
    x = x + np.tile([0.0, 0.5], 300)  # 300 true pairs
    found = scattered_pairs(
        x, y, np.ones(600), lambda total: np.full(len(total), "all"),
        sep_max=1.0, spread=40.0, bounds=(0, 1000, 0, 1000), runs=50, seed=3,
    )  # fmt: skip
    assert found["all"].mean() == pytest.approx(600**2 / 2 * np.pi / 1000**2, abs=0.6)


def test_expected_pairs_of_the_paper():
    """§4.3: at 0.3 % the binary sequence (102 sources) has 0.3 ± 0.6 chance pairs, the single one (1848) 5.6 ± 2.4."""
    region = np.r_[np.full(102, "binary"), np.full(1848, "ms")]
    candidate = np.zeros(1950, bool)
    candidate[:8], candidate[102:112] = True, True
    binary, single = expected_pairs(np.full(1950, 0.00303), region, candidate)
    assert (binary.region, binary.n_sources, binary.observed) == ("binary", 102, 8)
    assert (round(binary.expected, 1), round(binary.error, 1)) == (0.3, 0.6)
    assert (round(single.expected, 1), round(single.error, 1), single.observed) == (5.6, 2.4, 10)
    assert binary.probability < 1e-7  # eight are not chance
    assert 0.03 < single.probability < 0.1  # ten may be
