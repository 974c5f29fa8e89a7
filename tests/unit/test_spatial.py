"""Spatial statistics: the numbers of Wu et al. (2023, §4.3 and §4.4) and what the tests should find or not."""

import numpy as np
import pytest
from scipy.stats import chi2_contingency

from dioscuri.cluster.spatial import (
    angular_size,
    compare_proportions,
    core_and_outside,
    projected_separation,
    proportion,
    radial_test,
)


def test_fractions_of_the_paper():
    binary, single = proportion(8, 102), proportion(10, 1848)
    assert (round(100 * binary.value, 2), round(100 * binary.error, 2)) == (7.84, 2.66)
    assert (round(100 * single.value, 2), round(100 * single.error, 2)) == (0.54, 0.17)


def test_z_test_of_the_paper():
    """6/1222 in the core against 12/728 outside: printed are 0.49 ± 0.2 %, 1.65 ± 0.47 %, Z = 2.58, P = 0.00989."""
    test = compare_proportions((6, 1222), (12, 728))
    assert (round(100 * test.first.value, 2), round(100 * test.first.error, 2)) == (0.49, 0.20)
    assert (round(100 * test.second.value, 2), round(100 * test.second.error, 2)) == (1.65, 0.47)
    assert round(test.z, 3) == 2.585 and round(test.p, 4) == 0.0097
    pearson = chi2_contingency([[6, 1216], [12, 716]], correction=False)
    assert test.z**2 == pytest.approx(pearson.statistic) and test.p == pytest.approx(pearson.pvalue)
    assert test.p < test.exact_p < 0.02
    assert compare_proportions((12, 728), (6, 1222)).z == -test.z


def test_proportions_at_the_ends():
    none = proportion(0, 50)
    assert none.error == 0 and none.low == 0 and 0.01 < none.high < 0.03
    assert compare_proportions((0, 10), (0, 20)).p == 1
    with pytest.raises(ValueError, match="5 of 4"):
        proportion(5, 4)


def test_wilson_interval_covers():
    draws = np.random.default_rng(0).binomial(60, 0.08, 3000)
    intervals = {k: proportion(k, 60) for k in np.unique(draws).tolist()}
    covered = np.mean([intervals[k].low <= 0.08 <= intervals[k].high for k in draws.tolist()])
    assert covered == pytest.approx(0.683, abs=0.08)


def test_core_and_outside():
    distance = np.r_[np.full(1222, 0.3), np.full(728, 0.9)]
    candidate = np.zeros(1950, bool)
    candidate[:6], candidate[-12:] = True, True
    test = core_and_outside(distance, candidate, 0.53)
    assert (test.first.count, test.first.total, test.second.count, test.second.total) == (6, 1222, 12, 728)
    assert round(test.z, 3) == 2.585
    with pytest.raises(ValueError, match="a comparison needs both"):
        core_and_outside(distance, candidate, 2.0)


def test_radial_test_finds_a_difference_and_none():
    rng = np.random.default_rng(8)
    sources = np.sqrt(rng.uniform(0, 1, 2000))
    alike, outer = np.sqrt(rng.uniform(0, 1, 100)), np.sqrt(rng.uniform(0.3, 1, 100))
    none, some = radial_test(alike, sources), radial_test(outer, sources)
    assert none.p > 0.05 and some.p < 1e-6
    assert none.statistic == pytest.approx(_distance(alike, sources)) and some.statistic > 0.25
    # Quantiles of like samples lie on the diagonal; those of the outer one above it.
    assert np.abs(np.diff(none.quantiles, axis=0)).max() < 0.12
    assert np.diff(some.quantiles, axis=0).mean() > 0.08
    for cdf, values in ((some.cdf_candidates, outer), (some.cdf_sources, sources)):
        assert np.all(np.diff(cdf) > 0) and cdf[1, -1] == 1
        assert cdf[1, np.searchsorted(cdf[0], 0.8, "right") - 1] == pytest.approx((values <= 0.8).mean())
    with pytest.raises(ValueError, match="0 candidates"):
        radial_test([], sources)


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    """Largest difference between two cumulative distributions, by its definition."""
    at = np.concatenate([one, other])
    return np.abs((one[:, None] <= at).mean(axis=0) - (other[:, None] <= at).mean(axis=0)).max()


def test_scales_of_the_paper():
    # §4.3: 0.1 to 2 pixels of WFC3 at 1.72 kpc are 7 to 140 au; §4.4: the core of 0.53 pc is 64″.
    low, high = projected_separation([0.1, 2.0], 0.03962, 1720.0)
    assert 6.5 < low < 7.5 and 130 < high < 142
    assert angular_size(0.53, 1720.0) == pytest.approx(63.56, abs=0.01)
