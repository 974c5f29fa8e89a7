"""The population against Table 1 of Zhang et al. 2022, and its invariance under sharding."""

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

from dioscuri.stars.population import CUTS, LABELS, LAWS, draw_pairs, primary_mass
from dioscuri.stars.tracks import LOG_AGE, LOG_TEFF, load_tracks

LIMITS = {"teff": (4000.0, 8000.0), "logg": (1.0, 5.0), "feh": (-2.0, 0.5), "afe": (-0.5, 0.7)}


@pytest.fixture(scope="module")
def tracks():
    return load_tracks()


@pytest.fixture(scope="module")
def paper(tracks):
    return draw_pairs(20_000, 7, tracks, LIMITS)


@pytest.mark.parametrize("law", LAWS)
def test_a_library_with_one_abundance_gives_stars_of_that_abundance(tracks, law):
    """Continuous draws would never hit it: solar-scaled libraries are common."""
    pairs = draw_pairs(200, 7, tracks, {**LIMITS, "feh": (0.0, 0.0), "afe": (0.0, 0.0)}, law=law)
    assert np.all(pairs.columns["feh"] == 0) and np.all(pairs.columns["afe"] == 0)
    # The same stars as the tracks have at that metallicity.
    again = tracks.evaluate(pairs.columns["m1"], pairs.columns["eep1"], 0.0)
    np.testing.assert_allclose(10 ** again[:, LOG_TEFF], pairs.columns["teff1"], rtol=1e-12)


def test_primary_masses_follow_table_1():
    def density(m):
        return 1.0 if m < 1 else m**-2.35

    total = quad(density, 0.1, 2.0, points=[1.0])[0]
    for quantile in (0.0, 0.2, 0.6, 0.7, 0.9, 0.999):
        m = float(primary_mass(np.array(quantile)))
        assert quad(density, 0.1, m, points=[min(1.0, m)])[0] / total == pytest.approx(quantile, abs=1e-9)
    assert primary_mass(np.array([0.0, 1.0])) == pytest.approx([0.1, 2.0])


def test_exactly_n_pairs_with_all_labels(paper):
    assert len(paper) == 20_000
    assert tuple(paper.columns) == LABELS
    assert all(np.isfinite(values).all() and values.shape == (20_000,) for values in paper.columns.values())
    assert paper.columns["pair_id"].dtype == np.int64
    assert (np.diff(paper.columns["pair_id"]) > 0).all()


def test_columns_that_no_cut_touches_follow_table_1(paper):
    """Each against its distribution in Table 1 (Kolmogorov–Smirnov; the seed is fixed)."""
    laws = {
        "afe": stats.uniform(-0.5, 1.2),
        "vsini1": stats.uniform(0, 500),
        "vsini2": stats.uniform(0, 500),
        "v1": stats.norm(0, 5),
        "dv": stats.uniform(-500, 1000),
        "snr": stats.uniform(5, 95),
    }
    for name, law in laws.items():
        assert stats.kstest(paper.columns[name], law.cdf).pvalue > 1e-3, name
    assert abs(np.corrcoef(paper.columns["vsini1"], paper.columns["vsini2"])[0, 1]) < 0.03


def test_bounds_and_limits(paper):
    c = paper.columns
    for name, (low, high) in {"m1": (0.1, 2), "q": (0.01, 1), "feh": (-2, 0.5), "eep1": (202, 605)}.items():
        assert low <= c[name].min() <= c[name].max() <= high
    for name in ("teff", "logg"):
        for star in "12":
            assert LIMITS[name][0] <= c[name + star].min() <= c[name + star].max() <= LIMITS[name][1]
    assert (c["radius2"] < 200).all()


def test_stars_of_a_pair_are_coeval_and_gravity_is_newtonian(paper, tracks):
    c = paper.columns
    secondary = tracks.evaluate(c["m1"] * c["q"], c["eep2"], c["feh"])
    np.testing.assert_allclose(secondary[:, LOG_AGE], c["log_age"], atol=1e-9)
    logg = 4.438 + np.log10(c["m1"] * c["q"]) - 2 * np.log10(c["radius2"])
    np.testing.assert_allclose(c["logg2"], logg, atol=0.01)  # interpolation between mass nodes


def test_counts_descend_to_n(paper):
    counts = list(paper.counts.values())
    assert tuple(paper.counts) == CUTS
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == 20_000
    assert paper.counts["young_enough"] == paper.counts["age_reachable"]  # the paper cuts no age
    # A quarter survives with 4000–8000 K; the paper keeps 38 % with MIST and a library from 3500 K.
    assert counts[-1] / counts[0] == pytest.approx(0.252, abs=0.01)


def test_with_the_limits_of_atlas9_as_many_survive_as_in_the_paper(paper, tracks):
    """Zhang et al. keep 38 %; the embedded library begins at 4000 K, where theirs begins at 3500 K."""
    accepted = {}
    for name, teff_min in (("ours", 4000.0), ("theirs", 3500.0)):
        counts = draw_pairs(20_000, 7, tracks, {**LIMITS, "teff": (teff_min, 8000.0)}).counts
        accepted[name] = 20_000 / counts["candidates"]
    assert accepted["theirs"] == pytest.approx(0.38, abs=0.015)
    assert accepted["ours"] == pytest.approx(0.25, abs=0.01)


def test_any_sharding_gives_the_same_pairs_and_counts(paper, tracks):
    edges = [0, 1, 777, 4321, 4322, 13_000, 20_000]
    shards = [draw_pairs(b - a, 7, tracks, LIMITS, start=a) for a, b in pairwise(edges)]
    for name in LABELS:
        np.testing.assert_array_equal(np.concatenate([s.columns[name] for s in shards]), paper.columns[name])
    assert {cut: sum(s.counts[cut] for s in shards) for cut in CUTS} == paper.counts


def test_a_candidate_is_itself_under_other_limits(paper, tracks):
    wider = draw_pairs(20_000, 7, tracks, {**LIMITS, "teff": (3500.0, 9000.0)})
    _, ours, theirs = np.intersect1d(paper.columns["pair_id"], wider.columns["pair_id"], return_indices=True)
    assert ours.size > 5000
    for name in LABELS:
        np.testing.assert_array_equal(paper.columns[name][ours], wider.columns[name][theirs])


def test_seeds_differ(paper, tracks):
    other = draw_pairs(100, 8, tracks, LIMITS)
    assert not np.isin(other.columns["m1"], paper.columns["m1"]).any()


def test_survey_law_has_slow_rotators_and_the_same_stars(paper, tracks):
    survey = draw_pairs(20_000, 7, tracks, LIMITS, law="survey")
    for name in ("pair_id", "m1", "teff2", "v1", "dv", "snr"):
        np.testing.assert_array_equal(survey.columns[name], paper.columns[name])
    both_slow = (survey.columns["vsini1"] < 50) & (survey.columns["vsini2"] < 50)
    expected = 0.5 * (1 - np.exp(-50 / 15)) ** 2 + 0.5 * 0.1**2
    assert both_slow.mean() == pytest.approx(expected, abs=4 * np.sqrt(0.25 / 20_000))
    unchanged = survey.columns["vsini1"] == paper.columns["vsini1"]
    assert unchanged.mean() == pytest.approx(0.5, abs=0.015)
    np.testing.assert_array_equal(unchanged, survey.columns["vsini2"] == paper.columns["vsini2"])


def test_close_velocities_of_the_survey_law(tracks):
    survey = draw_pairs(20_000, 7, tracks, LIMITS, law="survey", close_dv_fraction=0.4, close_dv_max=100.0)
    assert (np.abs(survey.columns["dv"]) < 100).mean() == pytest.approx(0.4 + 0.6 * 0.2, abs=0.015)


def test_paper_law_knows_no_settings_of_the_survey(paper, tracks):
    same = draw_pairs(50, 7, tracks, LIMITS, slow_rotator_fraction=1.0, close_dv_fraction=1.0)
    for name in LABELS:
        np.testing.assert_array_equal(same.columns[name], paper.columns[name][:50])


def test_age_cut_is_counted(tracks):
    young = draw_pairs(5000, 7, tracks, LIMITS, max_age_gyr=13.8)
    assert young.columns["log_age"].max() <= np.log10(13.8e9)
    assert young.counts["young_enough"] < 0.75 * young.counts["age_reachable"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"law": "salpeter"}, "found 'salpeter'; accepted: paper, survey"),
        ({"limits": {"Teff": (1, 2)}}, "unknown .*Teff"),
        ({"n": 0}, "accepted: n ≥ 1"),
        ({"start": -1}, "start ≥ 0"),
        (
            {"limits": {"teff": (50_000.0, 60_000.0)}},
            "only 0 of .* candidates survive.*'primary_in_library': 0",
        ),
    ],
)
def test_impossible_requests_say_why(tracks, changes, message):
    with pytest.raises(ValueError, match=message):
        draw_pairs(**{"n": 10, "seed": 0, "tracks": tracks, "limits": LIMITS, **changes})


def test_imports_on_a_bare_machine():
    """Neither tracks nor populations need more than NumPy, Numba and h5py at import."""
    heavy = "{'pandas', 'astropy', 'isochrones', 'torch', 'pydantic', 'snakemake'}"
    program = f"import sys, dioscuri.stars.population; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
