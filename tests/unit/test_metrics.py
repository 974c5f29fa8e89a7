"""Rates and their errors against scipy's binomial tests, ROC against the Mann–Whitney statistic."""

import numpy as np
import pytest
from scipy import stats

from dioscuri.learn import metrics

COUNTS = [(0, 10), (1, 10), (3, 10), (10, 10), (7, 40000), (39990, 40000)]


@pytest.mark.parametrize(("k", "n"), COUNTS)
@pytest.mark.parametrize("level", [metrics.ONE_SIGMA, 0.95])
@pytest.mark.parametrize(("method", "oracle"), [("wilson", "wilson"), ("clopper-pearson", "exact")])
def test_intervals_equal_scipys(k: int, n: int, level: float, method: str, oracle: str) -> None:
    low, high = metrics.binomial_interval(k, n, level, method)
    expected = stats.binomtest(k, n).proportion_ci(level, oracle)
    assert float(low) == pytest.approx(expected.low, abs=1e-10)
    assert float(high) == pytest.approx(expected.high, abs=1e-10)


def test_intervals_work_on_arrays_and_without_trials() -> None:
    low, high = metrics.binomial_interval(np.array([0, 5]), np.array([0, 10]))
    assert (low[0], high[0]) == (0.0, 1.0)
    assert low[1] == pytest.approx(1 - high[1])
    with pytest.raises(ValueError, match="between 0 and the number of trials"):
        metrics.binomial_interval(3, 2)
    with pytest.raises(ValueError, match="unknown interval 'wald'"):
        metrics.binomial_interval(1, 2, method="wald")


def test_one_sigma_interval_covers_two_thirds() -> None:
    k = np.random.default_rng(0).binomial(400, 0.3, 20000)
    low, high = metrics.binomial_interval(k, 400)
    covered = np.mean((low <= 0.3) & (high >= 0.3))
    assert covered == pytest.approx(metrics.ONE_SIGMA, abs=0.03)  # discreteness, not sampling


def test_rates_count_strictly_above_the_threshold() -> None:
    p = np.array([0.9, 0.5, 0.2, 0.6, 0.5, 0.1])
    y = np.array([1, 1, 1, 0, 0, 0])
    found = metrics.rates(p, y)
    assert (found.tpr, found.fpr, found.n_positive, found.n_negative) == (1 / 3, 1 / 3, 3, 3)
    assert found.tpr_interval == pytest.approx(tuple(map(float, metrics.binomial_interval(1, 3))))
    only_positives = metrics.rates(p[:3], y[:3])
    assert np.isnan(only_positives.fpr)
    assert only_positives.fpr_interval == (0.0, 1.0)


def test_auc_is_the_chance_that_a_binary_scores_higher() -> None:
    rng = np.random.default_rng(1)
    p = np.r_[rng.normal(0, 1, 300), rng.normal(1, 1, 200)].round(1)  # with ties
    y = np.r_[np.zeros(300), np.ones(200)]
    u = stats.mannwhitneyu(p[y == 1], p[y == 0]).statistic
    assert metrics.auc(p, y) == pytest.approx(u / (300 * 200))
    fpr, tpr, _ = metrics.roc(p, y)
    assert np.trapezoid(tpr, fpr) == pytest.approx(metrics.auc(p, y))


def test_tpr_at_fpr_never_exceeds_the_rate() -> None:
    p = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2])
    y = np.array([1, 1, 0, 1, 0, 1, 0, 0])
    assert metrics.tpr_at_fpr(p, y, 0.0) == 0.5
    assert metrics.tpr_at_fpr(p, y, 0.24) == 0.5
    assert metrics.tpr_at_fpr(p, y, 0.25) == 0.75
    assert metrics.tpr_at_fpr(p, y, 1.0) == 1.0


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="1 of 2 probabilities are not finite"):
        metrics.rates([0.1, np.nan], [0, 1])
    with pytest.raises(ValueError, match=r"found \(2,\) and \(3,\)"):
        metrics.auc([0.1, 0.2], [0, 1, 1])
