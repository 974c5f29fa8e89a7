"""Mocks on the path of observations: taken to rest by the meter, fitted, looked at in the frames of the fits."""

import numpy as np
import pytest

from dioscuri.arms import C_KMS, Arm
from dioscuri.evaluation.mock_path import Observer, calibrate, observe_mocks
from dioscuri.shards import mock_shard
from dioscuri.spectra.velocity import Templates

ARM = Arm("blue", 5000.0, 5300.0, 3347, 7500.0)
N_PAIRS = 40


def star(wave, rv=0.0):
    """Normalised flux of a made-up star of 150 lines of 17 km/s."""
    rng = np.random.default_rng(7)
    centres, depths = rng.uniform(4980, 5320, 150), rng.exponential(0.15, 150)
    distance = (np.log(wave)[:, None] - np.log(centres) - rv / C_KMS) * C_KMS / 17.0
    return 1 - np.minimum((depths * np.exp(-0.5 * distance**2)).sum(1), 0.9)


class Oracle:
    """In place of the networks: p tells a pair only where its primary stands at rest, as trained networks do."""

    def percentiles(self, flux, sigma, keys, arm_index, *, penalties, n_draws):
        primary = star(ARM.wave) - 1
        at_rest = np.array([np.corrcoef(row, primary)[0, 1] for row in flux.astype(float)])
        p = np.where((keys % 2 == 1) & (at_rest > 0.6), 0.99, 0.01)
        return {penalty: np.repeat(p[:, None], 5, axis=1).astype("f4") for penalty in penalties}


@pytest.fixture(scope="module")
def observer():
    wave = np.exp(np.arange(np.log(4985.0), np.log(5315.0), 4.0 / C_KMS))
    return Observer({"blue": (ARM, Templates(wave, star(wave)[None], np.array([5800.0]), np.zeros(1)))})


@pytest.fixture(scope="module")
def shard(tmp_path_factory):
    """Twins of Δv 80 km/s and their primaries at rest, S/N 30."""
    rng, path = np.random.default_rng(1), tmp_path_factory.mktemp("mocks") / "shard.h5"
    single, other = star(ARM.wave) - 1, star(ARM.wave, 80.0) - 1
    noise = rng.normal(0, 1 / 30, (2, N_PAIRS, ARM.n_pixels))
    light = rng.uniform(0.85, 1, (N_PAIRS, 1))
    spectra = (single + noise[0], (single + light * other) / (1 + light) + noise[1])
    labels = {"pair_id": np.arange(N_PAIRS), "snr": np.full(N_PAIRS, 30.0)}
    with mock_shard(path, N_PAIRS, tuple(labels), {"blue": ARM.n_pixels}, {}) as writer:
        writer.append(labels, {"blue": tuple(values.astype("f2") for values in spectra)})
    return path


def test_a_pushed_mock_comes_back_to_rest(observer):
    flux = np.repeat((star(ARM.wave) - 1)[None], 3, axis=0).astype(np.float16)
    push = np.array([-40.0, 0.0, 25.0])
    rest, sigma, rv, peak = observer.measured("blue", flux, np.full_like(flux, 0.02), push)
    np.testing.assert_allclose(rv, 0.0, atol=0.5)  # in the mock's own frame
    np.testing.assert_allclose(rest[:, 50:-50], flux[:, 50:-50], atol=0.01)
    assert (sigma > 0.019).all() and (peak < 0.5).all()


def test_twins_are_found_in_the_frame_of_the_fit_alone(observer, shard):
    path = {"penalty": 16.0, "draws": 1, "seed": 3}
    evidence = calibrate([shard], observer, {"blue": Oracle()}, n_pairs=N_PAIRS, **path)
    blind = observe_mocks([shard], observer, {"blue": Oracle()}, None, **path)
    seen = observe_mocks([shard], observer, {"blue": Oracle()}, evidence, **path)
    twins = seen["y"] == 1
    assert (seen["p_rest_B"][twins] > 0.5).all() and not (blind["p_B"][twins] > 0.5).any()
    assert (seen["p_B"][twins] > 0.5).mean() > 0.9 and not (seen["p_B"][~twins] > 0.5).any()
    assert seen["logodds"][twins].min() > seen["logodds"][~twins].max()
    few = observe_mocks([shard], observer, {}, None, n_pairs=5, **path)
    assert few["y"].tolist() == [0] * 5 + [1] * 5 and "p_B" not in few
