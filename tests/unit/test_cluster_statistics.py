"""Chance pairs, fractions, completeness and purity of a list, against numbers counted by hand."""

import numpy as np
import pandas as pd
import pytest

from dioscuri.cluster import statistics as statistics
from dioscuri.cluster.chance_alignments import isolated_pairs

CMD = {
    "kind": "polygons", "blue": "B", "red": "R",
    "ms": [(-1, -20), (0.5, -20), (0.5, 0), (-1, 0)],
    "binary": [(0.5, -20), (3, -20), (3, 0), (0.5, 0)],
}  # fmt: skip


def random_field(n: int = 3000, size: float = 600.0, seed: int = 1) -> pd.DataFrame:
    """Stars at random places with fluxes over a decade; all single."""
    rng = np.random.default_rng(seed)
    red = rng.uniform(-11, -8.5, n)
    return pd.DataFrame({
        "star_id": np.arange(n), "x": rng.uniform(0, size, n), "y": rng.uniform(0, size, n), "mag_R": red,
        "mag_B": red + rng.uniform(0, 1, n), "n_scored": 2, "is_candidate": False,
    })  # fmt: skip


def test_chance_pairs_expected_are_those_that_a_random_field_has():
    """Blends found by merging the stars of random fields, against what the merged list predicts."""
    made, predicted = [], []
    for seed in range(4):
        stars = random_field(seed=seed)
        pairs = isolated_pairs(stars[["x", "y"]].to_numpy(), 2.0)
        flux = 10 ** (-0.4 * stars["mag_R"].to_numpy())
        merged = stars.drop(index=pairs[:, 1]).copy()
        merged.loc[pairs[:, 0], "mag_R"] = -2.5 * np.log10(flux[pairs].sum(axis=1))
        table = statistics.add_chance_probability(merged.reset_index(drop=True), "R", 2.0)
        made.append(len(pairs))
        predicted.append(table["chance_probability"].sum())
    assert np.sum(predicted) == pytest.approx(np.sum(made), rel=0.15)


def test_region_table_counts_and_judges():
    stars = random_field()
    region = np.where(stars["mag_B"] - stars["mag_R"] < 0.5, "ms", "binary")
    stars = stars.assign(region=region, chance_probability=0.001)
    stars.loc[stars.index[region == "binary"][:30], "is_candidate"] = True
    table = statistics.region_table(stars, CMD, 2.0, 0.0, 1.0, seed=1).set_index("region")
    assert table["n_sources"].sum() == len(stars)
    assert table.loc["binary", "n_candidates"] == 30
    assert table.loc["binary", "fraction"] == pytest.approx(30 / (region == "binary").sum())
    np.testing.assert_allclose(table["expected_local"], 0.001 * table["n_sources"], rtol=1e-6)
    # n π s² / 2 × N isolated pairs in all, whichever region their blends fall into.
    expected = 0.5 * len(stars) ** 2 / 600**2 * np.pi * 4 * np.exp(-1.4 * len(stars) / 600**2 * np.pi * 4)
    assert table["expected_scattered"].sum() == pytest.approx(expected, rel=0.1)
    assert table.loc["ms", "probability"] == pytest.approx(1.0)
    half = statistics.region_table(stars, CMD, 2.0, 0.0, 0.5, seed=1).set_index("region")
    np.testing.assert_allclose(half["expected_scattered"], 0.5 * table["expected_scattered"])


def test_distances_from_the_centre():
    place = pd.DataFrame({"ra": [359.9999, 0.0001, 0.0], "dec": [60.0, 60.0, 60.001]})
    np.testing.assert_allclose(statistics.distances(place, (0.0, 60.0)), [0.18, 0.18, 3.6], rtol=1e-6)


def test_core_and_outside_are_the_papers_numbers():
    """6 of 1222 inside and 12 of 728 outside: Z = 2.585, P = 0.0097."""
    distance = np.r_[np.full(1222, 1.0), np.full(728, 10.0)]
    found = np.zeros(1950, bool)
    found[:6] = found[1222:1234] = True
    table = pd.DataFrame({"distance": distance, "is_candidate": found, "n_scored": 1})
    summary = statistics.spatial_summary(table, core_radius=5.0)
    assert summary["z"] == pytest.approx(2.585, abs=5e-4) and summary["p"] == pytest.approx(0.0097, abs=5e-5)
    assert summary["core"]["candidates"] == 6 and summary["outside"]["sources"] == 728


def test_chance_pairs_do_not_count_as_a_difference_of_bound_ones():
    """5 % of the stars are bound pairs everywhere; blends add 10 % in the core: no difference without them."""
    distance = np.r_[np.full(1000, 1.0), np.full(1000, 10.0)]
    found = np.zeros(2000, bool)
    found[:150] = found[1000:1050] = True
    chance = np.where(distance < 5, 0.2, 0.0)  # of which the search finds half
    table = pd.DataFrame({"distance": distance, "is_candidate": found, "n_scored": 1, "chance_probability": chance})
    summary = statistics.spatial_summary(table, core_radius=5.0, completeness=0.5)
    assert summary["z"] < -5
    assert summary["core"]["expected"] == pytest.approx(100)
    assert summary["core"]["bound"] == pytest.approx(0.05) and summary["outside"]["bound"] == pytest.approx(0.05)
    assert summary["core"]["bound_error"] == pytest.approx(150**0.5 / 1000)
    assert summary["z_bound"] == pytest.approx(0, abs=1e-9)


def test_a_field_without_a_core_or_candidates_has_no_tests():
    table = pd.DataFrame({"distance": [3.0, 4.0], "is_candidate": False, "n_scored": 1})
    summary = statistics.spatial_summary(table, core_radius=1.0)
    assert "z" not in summary and "ks_p" not in summary and summary["n_candidates"] == 0


def test_truth_table_by_hand():
    table = pd.DataFrame({
        "n_scored": [1] * 8 + [0],
        "true_kind": ["wide"] * 4 + ["chance", "single", "single", "tight", "wide"],
        "true_sep": [0.3, 0.7, 0.7, 1.7, 0, 0, 0, 0.01, 1.0],
        "true_flux_ratio": [0.5, 0.5, 0.9, 1.0, 0, 0, 0, 0.5, 0.5],
        "is_candidate": [False, True, True, True, True, True, False, False, False],
        "log_bf_true": [-1.0, 5, 5, 5, 5, -1, -1, -1, 5],
    })  # fmt: skip
    rows = statistics.truth_table(table)
    whole = rows[rows["sep_low"].isna()].set_index("quantity")
    assert whole.loc["completeness", ["n", "n_found"]].tolist() == [4, 3]
    assert whole.loc["optimum_completeness", "n_found"] == 3
    assert whole.loc["purity", ["n", "n_found"]].tolist() == [5, 3]
    assert whole.loc["purity_with_chance", "n_found"] == 4
    assert whole.loc["false_positives", ["n", "n_found"]].tolist() == [3, 1]
    assert whole.loc["random", "rate"] == 0.5
    cells = rows[(rows["quantity"] == "completeness") & rows["sep_low"].notna()]
    assert cells["n"].sum() == 4
    cell = cells[(cells["sep_low"] == 1.5) & (cells["ratio_low"] == 0.6)].iloc[0]
    assert (cell["n"], cell["rate"]) == (1, 1.0) and cell["low"] < 0.6


def test_artificial_stars_that_were_not_detected_count_as_missed():
    table = pd.DataFrame({
        "true_is_binary": [True, True, False, False], "true_sep": [1.2, 1.2, 0, 0], "true_flux_ratio": [0.5, 0.5, 0, 0],
        "is_candidate": [True, False, False, False], "log_bf": [9.0, np.nan, -3, -3],
    })  # fmt: skip
    rows = statistics.artificial_table(table)
    whole = rows[rows["sep_low"].isna()].set_index("kind")
    assert whole.loc["pair", "rate"] == 0.5 and whole.loc["single", "rate"] == 0.0
    assert whole.loc["single", "high"] > 0.2


def test_sources_are_identified_by_most_of_their_exposures():
    truth = pd.DataFrame({
        "star_id": [0, 1, 2, 3], "kind": ["wide", "single", "single", "wide"], "sep": [0.05, 0, 0, 0.2],
        "sky_angle": [10.0, 0, 0, 0], "flux_ratio_R": [0.5, 0, 0, 0.5], "in_core": [True, False, False, False],
        "n_neighbours": [0, 1, 1, 0], "neighbour_flux_ratio": [0.5, 0.5, 0.001, 0.5],
    })  # fmt: skip
    places = pd.DataFrame({"star_id": [0, 1, 2, 3], "x": [10.0, 50, 90, 130], "y": 10.0, "flux": 100.0})
    exposures = pd.concat([places.assign(exposure=name, extension=1) for name in "abc"], ignore_index=True)
    seen = exposures.assign(star_id=exposures["star_id"] + 100).drop(index=[3])
    known = statistics.identify(seen, exposures, truth, "R", 0.05).set_index("star_id")
    assert known["truth_id"].to_dict() == {100: 0, 101: 1, 102: 2, 103: 3}
    # Pairs beyond the range that is searched are none; neighbours count where they are bright enough.
    assert known["true_kind"].tolist() == ["wide", "chance", "single", "tight"]
    assert known.loc[100, "true_sep"] == pytest.approx(1.0)
