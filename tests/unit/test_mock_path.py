"""Mocks on the path of observations: taken to rest by the meter, fitted, seen in the frame of the fits."""

from dataclasses import replace

import h5py
import numpy as np
import pytest

from dioscuri.arms import C_KMS, Arm
from dioscuri.catalogs.evidence import logit
from dioscuri.evaluation.mock_evidence import joint_logodds, scores_of_mocks
from dioscuri.evaluation.mock_path import Observer, calibrated_fits, read_seen_fits, write_seen
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
    """In place of the networks: p tells a pair only where its primary stands at rest and another star elsewhere."""

    def mean_probability(self, flux, penalties):
        at_rest, *beside = (star(ARM.wave, v) - 1 for v in (0.0, -80.0, 80.0))
        like = np.array([[np.corrcoef(row, at_rest)[0, 1]] for row in flux.astype(float)])
        rest = flux - at_rest / 2
        other = np.array([[np.corrcoef(row, star)[0, 1] for star in beside] for row in rest])
        found = np.minimum(like[:, 0], 2 * other.max(axis=1))
        return {penalty: np.where(found > 0.6, 0.99, 0.01).astype("f4") for penalty in penalties}


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
    labels |= {"v1": np.zeros(N_PAIRS), "dv": np.full(N_PAIRS, 80.0)}
    with mock_shard(path, N_PAIRS, tuple(labels), {"blue": ARM.n_pixels}, {}) as writer:
        writer.append(labels, {"blue": tuple(values.astype("f2") for values in spectra)})
    return path


def test_a_pushed_mock_comes_back_to_rest(observer):
    flux = np.repeat((star(ARM.wave) - 1)[None], 3, axis=0).astype(np.float16)
    push = np.array([-40.0, 0.0, 25.0])
    rest, sigma, rv = observer.measured("blue", flux, np.full_like(flux, 0.02), push)
    np.testing.assert_allclose(rv, 0.0, atol=0.5)  # in the mock's own frame
    np.testing.assert_allclose(rest[:, 50:-50], flux[:, 50:-50], atol=0.01)
    assert (sigma > 0.019).all()


def test_twins_are_seen_in_the_frame_of_the_fit(observer, shard, tmp_path):
    """The meter puts them in the middle, where no network finds two stars; singles stay where they were."""
    sure = calibrated_fits([shard], observer, penalty=16.0, n_pairs=N_PAIRS, seed=3)
    weightless = replace(sure.pair["blue"], weights=0 * sure.pair["blue"].weights)
    blind = replace(sure, pair={"blue": weightless})  # log-odds that never suffice for a look from the primary
    seen, table = {}, {}
    for name, evidence in (("blind", blind), ("sure", sure)):
        seen[name], table[name] = tmp_path / f"{name}.h5", tmp_path / f"{name}.parquet"
        write_seen(shard, observer, evidence, seen[name], table[name], seed=3)
    found = read_seen_fits([table["sure"]])
    twins = found["y"] == 1
    p = {name: scores_of_mocks([path], {"blue": Oracle()}, 16.0)["p_B"] for name, path in seen.items()}
    assert (p["sure"][twins] > 0.5).mean() > 0.9 and not (p["blind"][twins] > 0.5).any()
    assert not (p["sure"][~twins] > 0.5).any()
    assert (found["pair_frame"] == twins).mean() > 0.95
    with h5py.File(shard) as made, h5py.File(seen["sure"]) as moved:
        assert np.array_equal(made["labels/dv"][:], moved["labels/dv"][:])
        assert np.abs(made["blue/single"][:, 100:-100] - moved["blue/single"][:, 100:-100]).mean() < 0.02


def test_networks_and_fits_are_joined(observer, shard, tmp_path):
    evidence = calibrated_fits([shard], observer, penalty=16.0, n_pairs=N_PAIRS, seed=3)
    write_seen(shard, observer, evidence, tmp_path / "seen.h5", tmp_path / "seen.parquet", seed=3)
    fits = read_seen_fits([tmp_path / "seen.parquet"])
    p = scores_of_mocks([tmp_path / "seen.h5"], {"blue": Oracle()}, 16.0)
    columns = {name.removesuffix("_B"): values for name, values in fits.items()}
    joined = evidence.joined({"blue": columns}, fits["y"], {"blue": logit(p["p_B"])})
    logodds = joint_logodds(joined, fits, p)
    assert np.median(logodds[fits["y"] == 1]) > 2 > -2 > np.median(logodds[fits["y"] == 0])
