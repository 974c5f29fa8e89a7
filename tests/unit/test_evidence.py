"""Log-odds of two stars: calibrated where classes overlap, written and read back, known with one arm alone."""

import numpy as np
import pytest

from dioscuri.catalogs.evidence import LARGEST_ALONE, Evidence, Logistic, logit, probability
from dioscuri.catalogs.fit_limits import ErrorLaw, FitLimits
from dioscuri.catalogs.pairs import FIT_COLUMNS, LOOK_LOGODDS, fit_flags, frames
from dioscuri.flags import Quality


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
    fits["blue"]["pair_logodds"][5:], fits["red"]["pair_logodds"][:] = -1.0, -1.0
    alone = read.logodds(fits, {arm: np.full(len(y), 8.0) for arm in fits})[5:]
    assert alone.max() == LARGEST_ALONE  # networks whom no fit supports
    assert read.logits(np.array([0.5]), 8.0) == pytest.approx(-np.log(2))
    assert probability(logit(np.array([0.3]))) == pytest.approx(0.3)


def test_a_foreign_file_is_refused(tmp_path):
    (tmp_path / "a.json").write_text('{"schema": "other"}')
    with pytest.raises(ValueError, match="expected schema 'dioscuri/evidence/3'"):
        Evidence.load(tmp_path / "a.json")
    with pytest.raises(ValueError, match="no such file; expected an evidence file"):
        Evidence.load(tmp_path / "absent.json")


def test_frames_are_those_of_the_blue_arm_where_it_is_there():
    columns = {"vs_B": [10.0, 10.0, np.nan, np.nan], "vs_R": [20.0] * 4, "v1_B": [-50.0] * 4, "v1_R": [-60.0] * 4}
    high, low = LOOK_LOGODDS + 1, LOOK_LOGODDS - 1
    columns |= {"pair_logodds_B": [high, low, np.nan, np.nan], "pair_logodds_R": [low, high, high, low]}
    columns = {name: np.array(values) for name, values in columns.items()}
    found = frames(columns, ["blue", "red"])
    np.testing.assert_array_equal(found["frame"], [-50.0, 10.0, -60.0, 20.0])
    np.testing.assert_array_equal(found["pair_frame"], [1, 0, 1, 0])
    np.testing.assert_array_equal(frames(columns, ["red"])["frame"], [20.0, -60.0, -60.0, 20.0])


def test_true_errors_third_stars_and_misfits_are_learnt_from_mocks():
    """Stated errors are three times too small, and residuals grow with S/N as misfits of lines do."""
    rng = np.random.default_rng(4)
    n = 8000
    y, dv = np.arange(n) % 2, rng.choice([-1, 1], n) * rng.uniform(60, 200, n)
    error, sigma = rng.uniform(0.2, 3, n), 1 / rng.uniform(10, 100, n)
    fits = {name: np.full(n, 0.5) for name in FIT_COLUMNS}
    fits |= {"vs_err": error, "v1_err": error, "v2_err": 2 * error, "pair_logodds": np.where(y, 5.0, -5.0)}
    fits |= {"vs": rng.normal(0, np.hypot(3 * error, 2)), "v1": rng.normal(0, 3 * error)}
    fits["v2"] = dv + rng.normal(0, 6 * error)
    fits["dchi2_third"] = rng.exponential(10, n)
    fits["residual"] = np.sqrt(0.9 + (0.003 / sigma) ** 2 * rng.uniform(0, 1, n))
    limits = FitLimits.measured(fits, y, np.zeros(n), dv, sigma, offset=2.0)
    found = limits.errors(fits, sigma)
    plain = error > 1  # where the zero points' 2 km/s do not hide them
    for name, of in (("vs_err", 3), ("v1_err", 3), ("v2_err", 6)):
        np.testing.assert_allclose((found[name] / (of * error))[plain], 1, atol=0.3)
    assert limits.third == pytest.approx(10 * np.log(200), rel=0.1)
    assert (limits.unlike(fits["residual"], sigma) > 1).mean() == pytest.approx(0.01, abs=0.01)


def test_flags_say_third_star_foreign_spectrum_and_frame():
    law = ErrorLaw(1.0, 0.0, 0.0, 1.0, 0.0)
    limits = FitLimits(law, law, third=100.0, unlike_noise=1.0, unlike_lines=0.0)
    fits = {"dchi2_third": np.array([150.0, 150.0, 50.0, np.nan]), "pair_logodds": np.array([5.0, -5.0, 5.0, np.nan])}
    fits["unlike"] = np.array([0.5, 2.0, 0.5, np.nan])
    flags = fit_flags(fits, np.array([1.0, 0, 0, 0]), limits)
    wanted = [Quality.THIRD_PEAK | Quality.FIT_FRAME, Quality.UNLIKE_TEMPLATES, 0, 0]
    assert flags.tolist() == [int(bits) for bits in wanted]
