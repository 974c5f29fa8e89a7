"""Log-odds of two stars: calibrated where classes overlap, written and read back, known with one arm alone."""

import numpy as np
import pytest

from dioscuri.catalogs.evidence import Evidence, Logistic, logit, probability
from dioscuri.catalogs.pairs import FIT_COLUMNS, LOOK_LOGODDS, frames


def test_a_regression_finds_the_log_odds_of_two_gaussians():
    rng = np.random.default_rng(1)
    n, distance = 20_000, 1.5
    y = np.arange(n) % 4 == 0  # a quarter: log-odds are for equal shares all the same
    x = rng.normal(0, 1, (n, 2)) + distance * y[:, None] * [1, 0]
    model = Logistic.fitted(x, y)
    exact = distance * x[:, 0] - distance**2 / 2
    assert np.abs(model(x) - exact).max() < 0.35
    assert np.median(np.abs(model(x) - exact)) < 0.06


def made_up(rng, y):
    """Fits of two arms that see the same two velocities in binaries and anything in singles."""
    n = len(y)
    fits = {arm: {name: rng.uniform(0.3, 0.9, n) for name in FIT_COLUMNS} for arm in ("blue", "red")}
    v1, v2 = rng.normal(-40, 5, n), rng.normal(60, 5, n)
    for fit in fits.values():
        fit["dchi2"] = rng.exponential(40, n) * (1 + 2 * y)
        fit["v1"] = np.where(y, v1 + rng.normal(0, 3, n), rng.uniform(-300, 300, n))
        fit["v2"] = np.where(y, v2 + rng.normal(0, 3, n), rng.uniform(-300, 300, n))
    return fits


def test_arms_that_agree_say_more_and_one_arm_still_says_something(tmp_path):
    rng = np.random.default_rng(2)
    y = np.arange(3000) % 2 == 1
    fits = made_up(rng, y)
    logits = {arm: rng.normal(0, 1, len(y)) + y for arm in fits}
    pair = Evidence.of_fits(fits, y, 16.0)
    for arm, fit in fits.items():
        fit["pair_logodds"] = pair.pair_logodds(arm, fit)
    evidence = pair.joined(fits, y, logits)
    evidence.save(tmp_path / "evidence.json")
    read = Evidence.load(tmp_path / "evidence.json")
    both = read.logodds(fits, logits)
    np.testing.assert_allclose(both, evidence.logodds(fits, logits))
    one = read.logodds({"blue": fits["blue"]}, {"blue": logits["blue"]})
    assert np.mean((both > 0) == y) > np.mean((one > 0) == y) + 0.05
    fits["red"]["pair_logodds"][:10] = np.nan
    missing = read.logodds(fits, logits)
    np.testing.assert_allclose(missing[:10], one[:10])
    fits["blue"]["pair_logodds"][:5] = np.nan
    assert np.isnan(read.logodds(fits, logits)[:5]).all()
    assert read.logits(np.array([0.5]), 8.0) == pytest.approx(-np.log(2))
    assert probability(logit(np.array([0.3]))) == pytest.approx(0.3)


def test_a_foreign_file_is_refused(tmp_path):
    (tmp_path / "a.json").write_text('{"schema": "other"}')
    with pytest.raises(ValueError, match="expected schema 'dioscuri/evidence/1'"):
        Evidence.load(tmp_path / "a.json")
    with pytest.raises(ValueError, match="no evidence file"):
        Evidence.load(tmp_path / "absent.json")


def test_frames_are_those_of_the_blue_arm_where_it_is_there():
    columns = {"vs_B": [10.0, 10.0, np.nan, np.nan], "vs_R": [20.0] * 4, "v1_B": [-50.0] * 4, "v1_R": [-60.0] * 4}
    high, low = LOOK_LOGODDS + 1, LOOK_LOGODDS - 1
    columns |= {"pair_logodds_B": [high, low, np.nan, np.nan], "pair_logodds_R": [low, high, high, low]}
    columns = {name: np.array(values) for name, values in columns.items()}
    found = frames(columns, ["blue", "red"])
    np.testing.assert_array_equal(found["frame_one"], [10.0, 10.0, 20.0, 20.0])
    np.testing.assert_array_equal(found["frame_two"], [-50.0, np.nan, -60.0, np.nan])
    np.testing.assert_array_equal(frames(columns, ["red"])["frame_one"], [20.0] * 4)
