"""Contaminants: the shares asked for, the physics of each kind, and the same pairs in any shard."""

import numpy as np
import pytest

from dioscuri.stars.contaminants import COLUMNS, KINDS, contaminate
from dioscuri.stars.population import LABELS, Population, draw_pairs
from dioscuri.stars.tracks import LOG_AGE, LOG_TEFF, LOGG, load_tracks

LIMITS = {"teff": (4000.0, 8000.0), "logg": (1.0, 5.0), "feh": (-2.0, 0.5), "afe": (-0.5, 0.7)}
SHARES = {"cool_giant": 0.2, "sb1": 0.2, "triple": 0.2, "moonlight": 0.2, "nebular_halpha": 0.1}
N = 1500


@pytest.fixture(scope="module")
def tracks():
    return load_tracks()


@pytest.fixture(scope="module")
def pairs(tracks):
    return draw_pairs(N, 3, tracks, LIMITS)


@pytest.fixture(scope="module")
def mixed(pairs, tracks):
    return contaminate(pairs, SHARES, 3, tracks, LIMITS)


def of_kind(population, name):
    rows = population.columns["kind"] == KINDS.index(name)
    return {column: values[rows] for column, values in population.columns.items()}


def test_no_share_leaves_the_pairs_as_they_are(pairs, tracks):
    assert contaminate(pairs, {}, 3, tracks, LIMITS) is pairs
    assert contaminate(pairs, dict.fromkeys(SHARES, 0.0), 3, tracks, LIMITS) is pairs


def test_shares_are_those_asked_for(mixed):
    assert tuple(mixed.columns) == LABELS + COLUMNS
    for number, name in enumerate(KINDS):
        share = SHARES.get(name, 0.1)
        found = (mixed.columns["kind"] == number).mean()
        assert found == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / N)), name


def test_ordinary_pairs_are_untouched_and_nothing_else_than_the_kind_changes(pairs, mixed):
    ordinary = mixed.columns["kind"] == 0
    for name in LABELS:
        assert np.array_equal(mixed.columns[name][ordinary], pairs.columns[name][ordinary]), name
    for name in ("light2_single", "radius3", "moon_share", "nebular"):
        assert not mixed.columns[name][ordinary].any(), name
    assert not of_kind(mixed, "moonlight")["radius3"].any()
    assert not of_kind(mixed, "triple")["moon_share"].any()


def test_any_shard_has_the_same_contaminants(pairs, mixed, tracks):
    rows = np.random.default_rng(0).permutation(N)[:200]
    some = Population({name: values[rows] for name, values in pairs.columns.items()}, pairs.counts)
    again = contaminate(some, SHARES, 3, tracks, LIMITS)
    for name, values in mixed.columns.items():
        assert np.array_equal(again.columns[name], values[rows]), name
    assert not np.array_equal(contaminate(some, SHARES, 4, tracks, LIMITS).columns["kind"], again.columns["kind"])


def test_cool_giants_are_giants_of_one_age_within_the_limits(mixed, tracks):
    giants = of_kind(mixed, "cool_giant")
    assert ((giants["teff1"] >= 4000) & (giants["teff1"] <= 5000)).all()
    assert ((giants["logg1"] >= 1) & (giants["logg1"] <= 3)).all()
    assert ((giants["teff2"] >= 4000) & (giants["teff2"] <= 8000)).all()
    assert giants["radius1"].min() > 4 and giants["vsini1"].mean() == pytest.approx(5, rel=0.25)
    primary = tracks.evaluate(giants["m1"], giants["eep1"], giants["feh"])
    secondary = tracks.evaluate(giants["m1"] * giants["q"], giants["eep2"], giants["feh"])
    np.testing.assert_allclose(primary[:, LOG_AGE], giants["log_age"])
    np.testing.assert_allclose(secondary[:, LOG_AGE], giants["log_age"], atol=1e-9)
    np.testing.assert_allclose(10 ** primary[:, LOG_TEFF], giants["teff1"])
    np.testing.assert_allclose(secondary[:, LOGG], giants["logg2"])


def test_sb1_secondaries_give_a_few_per_cent_of_the_light_at_most(mixed):
    pairs = of_kind(mixed, "sb1")

    def light(star):  # Planck's law at 5500 Å, by its exponent hc/λk
        return pairs[f"radius{star}"] ** 2 / np.expm1(26159.6 / pairs[f"teff{star}"])

    ratio = pairs["light2_single"] * light(2) / light(1)
    assert (pairs["light2_single"] > 0).all() and (pairs["light2_single"] <= 1).all()
    assert ratio.max() <= 0.03 * 1.001 and np.median(ratio) == pytest.approx(np.sqrt(0.002 * 0.03), rel=0.4)


def test_third_stars_are_in_the_library_and_lighter_than_the_first(mixed, tracks):
    triples = of_kind(mixed, "triple")
    assert ((triples["teff3"] >= 4000) & (triples["teff3"] <= 8000)).all()
    assert ((triples["logg3"] >= 1) & (triples["logg3"] <= 5)).all()
    assert (triples["radius3"] > 0.15).all() and np.abs(triples["dv3"]).max() <= 500
    dwarfs = triples["eep1"] < 400  # among those the heavier is the hotter
    assert (triples["teff3"] < triples["teff1"] * 1.02)[dwarfs].mean() > 0.9


def test_moonlight_lies_at_minus_the_stars_velocity(mixed):
    moon = of_kind(mixed, "moonlight")
    assert ((moon["moon_share"] >= 0.01) & (moon["moon_share"] <= 0.3)).all()
    assert np.std(moon["moon_rv"] - moon["v1"]) == pytest.approx(np.hypot(40, 10), rel=0.15)
    assert (of_kind(mixed, "nebular_halpha")["nebular"] == 1).all()


def test_without_a_giant_within_limits_pairs_stay_ordinary(pairs, tracks, caplog):
    hot = {**LIMITS, "teff": (5500.0, 8000.0)}
    few = Population({name: values[:20] for name, values in pairs.columns.items()}, {})
    made = contaminate(few, {"cool_giant": 1.0}, 3, tracks, hot)
    assert (made.columns["kind"] == 0).all()
    assert "no giant or third star for 20 of 20 pairs" in caplog.text


@pytest.mark.parametrize("shares", [{"cool_giants": 0.1}, {"sb1": -0.1}, {"sb1": 0.6, "triple": 0.6}])
def test_wrong_shares_are_refused(pairs, tracks, shares):
    with pytest.raises(ValueError, match="accepted: shares ≥ 0 of cool_giant, sb1, triple"):
        contaminate(pairs, shares, 3, tracks, LIMITS)
