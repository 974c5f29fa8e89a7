"""Mass ratios and orbits of binaries whose orbit is known: simulated ones, and KIC 8098300 as predicted."""

import numpy as np
import pytest

from dioscuri.catalogs.orbits import Epochs, fit_orbit
from dioscuri.catalogs.wilson import wilson
from dioscuri.stars.realistic import radial_velocity

ERROR = 2.0  # km/s


def velocities(bjd, period, t0, k1, k2, gamma, ecc=0.0, omega=0.0):
    """Velocities of both stars; `t0` [d] is a passage through periastron, `omega` [rad]."""
    swing = radial_velocity(2 * np.pi * (bjd - t0) / period, np.full(len(bjd), ecc), np.full(len(bjd), omega))
    return gamma + k1 * swing, gamma - k2 * swing


def observed(bjd, v1, v2, rng, light=0.4):
    """Epochs as a survey has them: both stars where they are 40 km/s apart, else their blend."""
    resolved = np.abs(v1 - v2) > 40
    noise = ERROR * rng.normal(size=(3, len(bjd)))
    error = np.full(len(bjd), ERROR)
    blend = (v1 + light * v2) / (1 + light)
    pair = [np.where(resolved, values + noise[k], np.nan) for k, values in enumerate((v1, v2))]
    return Epochs(bjd, pair[0], error, pair[1], error, np.where(resolved, np.nan, blend + noise[2]), error, light)


def dates(rng, n):
    """Nights of two seasons."""
    return 2_458_800 + np.sort(np.concatenate([rng.uniform(0, 60, n - n // 2), rng.uniform(365, 420, n // 2)]))


def test_wilson_recovers_q_and_gamma_with_honest_errors():
    rng = np.random.default_rng(1)
    pulls = []
    for q in (0.5, 0.7, 0.82, 0.95) * 10:
        phase = rng.uniform(0, 2 * np.pi, 6)
        v1, v2 = 12 + 80 * np.sin(phase), 12 - 80 / q * np.sin(phase)
        found = wilson(*(v + ERROR * rng.normal(size=6) for v in (v1, v2)), np.full(6, ERROR), np.full(6, ERROR))
        pulls.append([(found.q - q) / found.q_err, (found.gamma - 12) / found.gamma_err])
    assert np.all(np.abs(np.mean(pulls, axis=0)) < 0.5)
    assert np.all((np.std(pulls, axis=0) > 0.6) & (np.std(pulls, axis=0) < 1.4))


def test_names_of_stars_that_were_exchanged_are_put_right():
    phase = np.array([0.3, 1.2, 2.0, 3.7, 4.9, 5.5])
    v1, v2 = -20 + 70 * np.sin(phase), -20 - 100 * np.sin(phase)
    turned = np.array([False, True, False, False, True, False])
    found = wilson(np.where(turned, v2, v1), np.where(turned, v1, v2), np.full(6, ERROR), np.full(6, ERROR))
    assert found.swapped.tolist() == turned.tolist()
    assert found.q == pytest.approx(0.7, abs=0.03)


def test_epochs_of_one_phase_leave_q_open():
    """Four exposures of one night say nothing of γ, and so little of q."""
    v1, v2 = np.array([-63.0, -62.8, -61.8, -62.9]), np.array([62.0, 61.4, 55.1, 53.1])
    found = wilson(v1, v2, np.full(4, 3.0), np.full(4, 3.0))
    assert np.std(np.log(found.samples(1000))) > 0.5


@pytest.mark.parametrize(("period", "ecc"), [(1.7, 0.0), (4.306, 0.0), (11.3, 0.35)])
def test_an_orbit_of_ten_epochs_is_found(period, ecc):
    rng = np.random.default_rng(int(period * 10))
    bjd = dates(rng, 12)
    v1, v2 = velocities(bjd, period, 2_458_801.3, 70, 85, -7.4, ecc, 1.0)
    epochs = observed(bjd, v1, v2, rng)
    first = wilson(*(getattr(epochs, name)[epochs.resolved] for name in ("v1", "v2", "err1", "err2")))
    orbit = fit_orbit(epochs, first.samples(200, seed=1))
    periods = [orbit.period, *(one for one, _ in orbit.aliases)]
    assert np.min(np.abs(np.array(periods) / period - 1)) < 0.003
    assert orbit.period == pytest.approx(period, rel=0.003)
    assert orbit.k1 == pytest.approx(70, abs=max(4 * orbit.k1_err, 4))
    assert orbit.gamma == pytest.approx(-7.4, abs=max(4 * orbit.gamma_err, 2))
    assert orbit.q == pytest.approx(70 / 85, abs=max(4 * orbit.q_err, 0.04))
    assert orbit.ecc == pytest.approx(ecc, abs=0.12)


def test_periods_that_the_nights_cannot_tell_apart_are_listed():
    """Always at midnight, 1/P and 1 − 1/P give the same velocities."""
    rng = np.random.default_rng(3)
    bjd = 2_458_800.5 + np.array([0.0, 1.0, 2.0, 4.0, 9.0, 30.0, 31.0])
    v1, v2 = velocities(bjd, 3.1, 2_458_801.3, 70, 85, 0)
    orbit = fit_orbit(observed(bjd, v1, v2, rng), np.array([0.8, 0.82, 0.84]))
    periods = np.array([orbit.period, *(period for period, _ in orbit.aliases)])
    for period in (3.1, 1 / (1 - 1 / 3.1)):
        assert np.min(np.abs(periods / period - 1)) < 0.005
    assert orbit.share + sum(share for _, share in orbit.aliases) == pytest.approx(1, abs=0.06)


def test_too_few_dates_are_refused_and_repeated_ones_do_not_count():
    bjd = np.repeat(2_458_800.0 + np.arange(5), 2)
    v = np.zeros(10)
    epochs = Epochs(bjd, v, v + 1, v, v + 1, np.full(10, np.nan), v + 1, 0.3)
    with pytest.raises(ValueError, match="an orbit needs 6 dates, found 5"):
        fit_orbit(epochs, np.array([0.8]))


def test_kic8098300_with_the_period_of_its_eclipses(real_data):
    """Four resolved exposures of one night, seven blends: the eclipses' period makes a mass ratio of them."""
    import pandas as pd

    table = pd.read_csv(real_data / "kic8098300_mrs_expected.csv", comment="#")
    table = table[table["label"] != "no_signal"]
    rng = np.random.default_rng(5)
    bjd = table["bjd_tdb_mid"].to_numpy()
    epochs = observed(bjd, table["v1_pred_kms"].to_numpy(), table["v2_pred_kms"].to_numpy(), rng, light=0.35)
    orbit = fit_orbit(epochs, np.exp(rng.normal(-0.2, 0.3, 500)), known=(4.30591822192, 2454956.738284576))
    assert orbit.q == pytest.approx(0.823, abs=0.08)
    assert orbit.gamma == pytest.approx(-7.4, abs=4)
    assert orbit.ecc < 0.2
