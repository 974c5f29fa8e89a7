"""Reliability of probabilities that are right and wrong by construction, and the shift by a penalty."""

import numpy as np
import pytest
from scipy.special import expit, logit

from dioscuri.learn import calibration


@pytest.fixture
def world() -> tuple[np.ndarray, np.ndarray]:
    """True probabilities and classes drawn from them."""
    rng = np.random.default_rng(0)
    p = expit(rng.normal(0, 2, 200_000))
    return p, rng.random(len(p)) < p


def test_true_probabilities_are_reliable(world: tuple) -> None:
    curve = calibration.reliability(*world)
    assert curve.weight.sum() == pytest.approx(200_000)
    assert curve.expected_error < 0.004
    np.testing.assert_allclose(curve.predicted, curve.observed, atol=0.02)


@pytest.mark.parametrize("penalty", [8.0, 32.0])
def test_shifted_probabilities_are_reliable_under_their_penalty(world: tuple, penalty: float) -> None:
    p, y = world
    shifted = calibration.shift_probability(p, 1.0, penalty)
    assert calibration.reliability(shifted, y, penalty).expected_error < 0.004
    assert calibration.reliability(shifted, y).expected_error > 0.1
    assert calibration.reliability(p, y, penalty).expected_error > 0.1


def test_overconfidence_is_measured() -> None:
    """p = 0.9 for all, of which 60 % are binaries: the expected error is 0.3."""
    curve = calibration.reliability(np.full(1000, 0.9), np.arange(1000) < 600)
    assert curve.expected_error == pytest.approx(0.3)
    assert np.isnan(curve.predicted[:9]).all()


def test_edges_of_probability_have_a_bin() -> None:
    curve = calibration.reliability(np.array([0.0, 1.0]), np.array([0, 1]), n_bins=4)
    np.testing.assert_array_equal(curve.weight, [1, 0, 0, 1])
    assert curve.expected_error == 0.0


def test_shift_of_logit_and_probability_agree() -> None:
    p = np.array([0.01, 0.3, 0.5, 0.999])
    expected = expit(calibration.shift_logit(logit(p), 2.0, 32.0))
    np.testing.assert_allclose(calibration.shift_probability(p, 2.0, 32.0), expected, rtol=1e-12)
    np.testing.assert_allclose(calibration.shift_logit(0.0, 1.0, 16.0), -np.log(16))
    np.testing.assert_array_equal(calibration.shift_probability(np.array([0.0, 1.0]), 1.0, 16.0), [0.0, 1.0])
    np.testing.assert_allclose(calibration.shift_probability(expected, 32.0, 2.0), p, rtol=1e-12)
