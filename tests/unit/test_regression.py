"""Ridge regression on components with intervals by whole systems, and whether a query belongs to the catalogue."""

import numpy as np
import pytest

from dioscuri.analogues.domain import domain
from dioscuri.analogues.regression import fit, intervals

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
    learnt = fit(features, values, system)
    unseen, truth, _ = catalogue(2, systems=400)
    middle, low68, high68, low95, high95 = intervals(learnt, unseen, (0.68, 0.95))
    assert np.abs(middle - truth).mean() < 0.5 * np.abs(truth).mean()  # it has learnt something
    # 400 independent systems: a share of 0.68 is known to 0.023, the quantile of 40 systems to 0.07.
    assert np.mean((truth >= low68) & (truth <= high68)) == pytest.approx(0.68, abs=0.15)
    assert np.mean((truth >= low95) & (truth <= high95)) > 0.88
    assert learnt.n_systems == SYSTEMS


def test_counting_views_as_independent_would_promise_too_much():
    features, values, system = catalogue(1)
    by_view = fit(features, values, np.arange(len(system)).astype(str)).half_width(0.68)
    assert np.all(by_view < 0.8 * fit(features, values, system).half_width(0.68))


def test_unknown_values_and_dead_features_are_left_out():
    features, values, system = catalogue(3)
    holes = values.copy()
    holes[::3, 0] = np.nan
    dead = np.concatenate([features, np.ones((len(features), 2))], axis=1)
    learnt = fit(dead, holes, system)
    assert np.isfinite(learnt.predict(dead)).all() and np.isfinite(learnt.half_width(0.95)).all()
    assert np.isnan(learnt.errors[::3, 0]).all() and np.isfinite(learnt.errors[:, 1]).all()
    whole = fit(features, values, system)
    assert np.corrcoef(learnt.predict(dead)[:, 1], whole.predict(features)[:, 1])[0, 1] > 0.999


def test_two_systems_say_nothing_about_a_third():
    features, values, system = catalogue(1, systems=2)
    with pytest.raises(ValueError, match="2 systems in the catalogue; accepted: 3 or more"):
        fit(features, values, system)


def test_members_of_unseen_systems_are_known_and_strangers_are_not():
    features, _, system = (np.asarray(one, dtype=None) for one in catalogue(1))
    features = features.astype(np.float32)
    unseen = catalogue(5, systems=60)[0].astype(np.float32)[::VIEWS]
    known = [domain(query, features, system).known for query in unseen]
    assert np.mean(known) >= 0.95
    stranger = domain(np.full(FEATURES, 20, np.float32), features, system)
    assert not stranger.known and stranger.share == 0 and "far from every model: nearest at" in stranger.status
    with pytest.raises(ValueError, match="a catalogue of one system"):
        domain(features[0], features, np.zeros(len(features)))
