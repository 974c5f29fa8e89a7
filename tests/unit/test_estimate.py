"""Estimates from analogues: quantiles, densities, and the weight of isotropic viewers."""

import numpy as np
import pytest
from scipy.integrate import quad, trapezoid
from scipy.stats import norm

from dioscuri.analogues.estimate import (
    PARAMETERS,
    Parameter,
    available,
    density,
    distributions,
    estimate,
    isotropic_weights,
    with_total_mass,
)

AGE = Parameter("age1", "age", "kyr", "linear")
MASS = Parameter("m1", "mass", "Msun", "log", 1e-3)


def test_estimate_of_a_known_distribution():
    values = np.random.default_rng(0).normal(40, 5, 200_000)
    found = estimate(AGE, values)
    assert found.median == pytest.approx(40, abs=0.05)
    for level, (low, high) in found.intervals.items():
        half = norm.ppf(0.5 + level / 2) * 5
        assert (low, high) == pytest.approx((40 - half, 40 + half), abs=0.1)
    assert found.n == found.n_effective == 200_000


def test_quantiles_do_not_care_for_the_scale():
    """A logarithm is monotonic: median and interval bounds are the same members on both scales."""
    values = np.random.default_rng(1).lognormal(0, 1, 999)
    logarithmic = estimate(MASS, values)
    linear = estimate(Parameter("m1", "mass", "Msun", "linear"), values)
    assert logarithmic.median == pytest.approx(linear.median)
    assert logarithmic.intervals[0.95] == pytest.approx(linear.intervals[0.95])


def test_weights_count_as_copies():
    rng = np.random.default_rng(2)
    values, copies = rng.normal(size=50), rng.integers(0, 4, 50)
    weighted, repeated = estimate(AGE, values, copies.astype(float)), estimate(AGE, np.repeat(values, copies))
    assert weighted.median == repeated.median
    assert weighted.intervals == repeated.intervals
    assert weighted.n == np.sum(copies > 0)
    assert weighted.n_effective == pytest.approx(copies.sum() ** 2 / np.sum(copies**2))


def test_views_of_one_system_are_one():
    values = np.arange(9.0)
    system = np.array(list("aaaabbbbc"))
    assert estimate(AGE, values, system=system).n_effective == pytest.approx(81 / (16 + 16 + 1))
    assert estimate(AGE, np.where(system == "b", np.nan, values), system=system).n_effective == pytest.approx(25 / 17)


def test_unknown_values_are_left_out_and_floors_hold():
    assert estimate(AGE, np.array([np.nan, 3.0, np.nan])).median == 3
    assert estimate(MASS, np.array([0.0, 0.0, 1.0])).median == pytest.approx(1e-3)
    with pytest.raises(ValueError, match="none of 2 analogues"):
        estimate(AGE, np.array([1.0, 2.0]), np.zeros(2))
    with pytest.raises(ValueError, match="two vectors of one length"):
        estimate(AGE, np.arange(3.0), np.ones(2))
    with pytest.raises(ValueError, match="floor above 0"):
        Parameter("m1", "mass", "Msun", "log")


# --- isotropic viewers ---------------------------------------------------------------------------------------


def test_isotropic_weight_is_a_probability_density():
    """∫ p(s | D) ds over 0 … D is 1: every viewer sees some projected separation."""
    total, _ = quad(lambda s: isotropic_weights(np.array([300.0]), s)[0], 1e-6, 300 * (1 - 1e-9), limit=200)
    assert total == pytest.approx(1, abs=1e-4)


def test_isotropic_weight_counts_random_viewers():
    rng = np.random.default_rng(3)
    viewers = rng.normal(size=(400_000, 3))
    viewers /= np.linalg.norm(viewers, axis=1, keepdims=True)
    for separation in (205.0, 400.0, 2000.0):
        projected = separation * np.hypot(viewers[:, 0], viewers[:, 1])
        share = np.mean(np.abs(projected - 200) < 10)
        expected = isotropic_weights(np.array([separation]), 200.0, 10.0)[0] * 20
        assert share == pytest.approx(expected, abs=4 * np.sqrt(expected / len(viewers)))


def test_isotropic_weight_with_and_without_tolerance():
    separation = np.array([100.0, 250.0, 1000.0])
    exact, averaged = isotropic_weights(separation, 200.0), isotropic_weights(separation, 200.0, 0.5)
    assert exact[0] == averaged[0] == 0  # closer than it looks: impossible
    np.testing.assert_allclose(exact[1:], 200 / (separation[1:] * np.sqrt(separation[1:] ** 2 - 200**2)))
    np.testing.assert_allclose(averaged, exact, rtol=1e-4)
    assert np.isfinite(isotropic_weights(np.array([200.0]), 200.0, 5.0)).all()  # where the density diverges
    for wrong in ((0.0, 0.0), (200.0, 200.0), (200.0, -1.0)):
        with pytest.raises(ValueError, match="projected separation above 0"):
            isotropic_weights(separation, *wrong)


# --- histograms and densities ----------------------------------------------------------------------------------


def test_networks_count_alike_in_a_stack():
    rng = np.random.default_rng(4)
    values = {"vgg16": rng.normal(30, 3, 400), "vgg19": rng.normal(50, 3, 40)}
    found = distributions(AGE, values, bins=30)
    for histogram in found.histograms.values():
        assert histogram.sum() == pytest.approx(0.5)
    assert trapezoid(found.stacked, found.grid) == pytest.approx(1, abs=0.03)  # broad kernels reach beyond the axis
    below = found.grid < 40
    assert trapezoid(found.stacked[below], found.grid[below]) == pytest.approx(0.5, abs=0.02)
    assert found.grid[np.argmax(found.densities["vgg19"])] == pytest.approx(50, abs=2)
    assert len(found.edges) == 31 and found.edges[0] >= 0


def test_densities_on_a_logarithmic_axis_integrate_over_decades():
    values = {"vgg16": np.random.default_rng(5).lognormal(0, 0.5, 300)}
    found = distributions(MASS, values)
    assert trapezoid(found.densities["vgg16"], np.log10(found.grid)) == pytest.approx(1, abs=0.01)


def test_weights_move_the_density():
    values = np.concatenate([np.full(90, 1.0), np.full(10, 3.0)]) + np.random.default_rng(6).normal(0, 0.05, 100)
    weights = np.where(values > 2, 9.0, 1.0)
    grid = np.linspace(0, 4, 401)
    found = density(grid, values, weights, 0.01)
    assert trapezoid(found[grid > 2], grid[grid > 2]) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("values", [np.array([5.0]), np.full(20, 5.0), np.zeros(20)])
def test_analogues_that_agree_still_have_a_density(values):
    """One analogue, or all with one value (no disc): scipy's estimator alone would raise."""
    found = distributions(Parameter("disc_size1", "disc", "AU", "linear"), {"vgg16": values})
    assert np.isfinite(found.stacked).all()
    assert found.grid[np.argmax(found.stacked)] == pytest.approx(values[0], abs=0.05)
    assert found.histograms["vgg16"].sum() == pytest.approx(1)


def test_limits_and_values_beyond_them():
    found = distributions(AGE, {"vgg16": np.array([5.0, 10.0, 99.0])}, limits=(0.0, 20.0), bins=4)
    np.testing.assert_allclose(found.edges, [0, 5, 10, 15, 20])
    np.testing.assert_allclose(found.histograms["vgg16"], [0, 1 / 3, 1 / 3, 1 / 3])
    with pytest.raises(ValueError, match="no analogues"):
        distributions(AGE, {})


def test_parameters_that_a_catalogue_has():
    metadata = with_total_mass({"m1": np.array([1.0]), "m2": np.array([0.5]), "age1": np.array([30.0])})
    assert metadata["m_total"][0] == 1.5
    assert [parameter.column for parameter in available(metadata)] == ["age1", "m1", "m2", "m_total"]
    assert "m_total" not in with_total_mass({"m1": np.array([1.0])})
    assert len({parameter.column for parameter in PARAMETERS}) == len(PARAMETERS)
