"""Ridge regression on components with intervals by whole systems, and whether a query belongs to the catalogue."""

import numpy as np
import pytest

from dioscuri.analogues.normal_scores import normal_scores
from dioscuri.analogues.regression import fit, intervals, unseen_quantile

SYSTEMS, VIEWS, FEATURES = 40, 12, 25


def catalogue(seed: int, systems: int = SYSTEMS, own: float = 0.7) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features that follow two parameters, but each system in its own way: views of one are far from independent."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(0).normal(size=(2, FEATURES))
    values = np.repeat(rng.normal(size=(systems, 2)), VIEWS, axis=0)
    quirk = np.repeat(own * rng.normal(size=(systems, FEATURES)), VIEWS, axis=0)
    features = values @ mixing + quirk + 0.1 * rng.normal(size=(len(values), FEATURES))
    return features, values, np.repeat(np.arange(systems), VIEWS).astype(str)


def test_intervals_hold_on_systems_never_seen():
    features, values, system = catalogue(1)
    learnt = fit([features], values, system)
    unseen, truth, _ = catalogue(2, systems=400)
    middle, low68, high68, low95, high95 = intervals(learnt, [unseen])
    assert np.abs(middle - truth).mean() < 0.5 * np.abs(truth).mean()  # it has learnt something
    # 400 independent systems: a share of 0.68 is known to 0.023, the quantile of 40 systems to 0.07.
    assert np.mean((truth >= low68) & (truth <= high68)) == pytest.approx(0.68, abs=0.15)
    assert 0.88 < np.mean((truth >= low95) & (truth <= high95)) < 0.99
    assert learnt.n_systems == SYSTEMS


def test_counting_views_as_independent_would_promise_too_much():
    features, values, system = catalogue(1)
    by_view = fit([features], values, np.arange(len(system)).astype(str)).half_width(0.68)
    assert np.all(by_view < 0.8 * fit([features], values, system).half_width(0.68))


@pytest.mark.parametrize("alike", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("systems", [16, 24])
def test_a_quantile_of_few_systems_holds_elsewhere(alike, systems):
    """Whether errors within a system are independent, alike, or the same: 50 catalogues, 2,000 other systems."""
    rng, views = np.random.default_rng(0), 20

    def errors(n):
        own = np.repeat(rng.normal(size=n), views)
        return np.abs(np.sqrt(alike) * own + np.sqrt(1 - alike) * rng.normal(size=n * views))

    unseen, system = errors(2000), np.repeat(np.arange(systems), views)
    for level, low, high in ((0.68, 0.62, 0.73), (0.95, 0.90, 0.97)):
        held = [np.mean(unseen <= unseen_quantile(errors(systems), system, level)) for _ in range(50)]
        assert low < np.mean(held) < high


def test_normal_scores_of_skewed_and_heaped_values():
    """A third has no disc: one score, one value; the rest keep their quantiles, and come back."""
    rng = np.random.default_rng(0)
    values = np.concatenate([np.zeros(500), np.exp(rng.normal(size=1000))])
    axis = normal_scores(values, np.full(1500, 1 / 1500))
    scores = axis.forward(values)
    assert np.ptp(scores[:500]) == 0 and scores[0] < scores[500:].min()
    assert np.median(scores[500:]) == pytest.approx(0.431, abs=0.05)  # quantile 2/3
    inner = values[500:][(scores[500:] > -0.3) & (scores[500:] < 2)]
    np.testing.assert_allclose(axis.backward(axis.forward(inner)), inner, rtol=1e-9)
    assert axis.backward(np.array([-3.0, -1.0, -0.6])).tolist() == [0, 0, 0]  # no disc is below none
    assert axis.backward(np.array([4.0])) > values.max() / 2  # beyond the catalogue, not stopped at its edge


def test_brightness_counts_beside_many_features():
    """Twenty numbers that know the answer are not lost beside two thousand that do not."""
    _, values, system = catalogue(1)
    rng = np.random.default_rng(5)
    network, brightness = rng.normal(size=(len(values), 2000)), values + 0.1 * rng.normal(size=values.shape)
    alone, both = (np.nanmean(fit(blocks, values, system).errors) for blocks in ([network], [network, brightness]))
    assert both < 0.5 * alone


def test_unknown_values_and_dead_features_are_left_out():
    features, values, system = catalogue(3)
    holes = values.copy()
    holes[::3, 0] = np.nan
    dead = np.concatenate([features, np.ones((len(features), 2))], axis=1)
    learnt = fit([dead], holes, system)
    assert np.isfinite(learnt.predict([dead])).all() and np.isfinite(learnt.half_width(0.95)).all()
    assert np.isnan(learnt.errors[::3, 0]).all() and np.isfinite(learnt.errors[:, 1]).all()
    whole = fit([features], values, system)
    assert np.corrcoef(learnt.predict([dead])[:, 1], whole.predict([features])[:, 1])[0, 1] > 0.999


def test_two_systems_say_nothing_about_a_third():
    features, values, system = catalogue(1, systems=2)
    with pytest.raises(ValueError, match="2 systems in the catalogue; accepted: 3 or more"):
        fit([features], values, system)
