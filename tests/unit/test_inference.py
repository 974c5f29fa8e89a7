"""Model files, and percentiles that depend on nothing but the spectrum itself."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from dioscuri.learn import noise
from dioscuri.learn.spectra import inference
from dioscuri.learn.spectra import models as model_files
from dioscuri.learn.spectra.inference import Ensemble
from dioscuri.learn.spectra.networks import SpectrumCNN, build

N_PIXELS = 600
GRID = {"wave_min": 5000.0, "wave_max": 5054.0, "n_pixels": N_PIXELS, "resolution": 7500.0}
NETWORK = {"channels": [4, 8], "kernels": [7, 7], "strides": [4, 4], "dense": [20], "dropout": 0.3}


def a_model(penalty: float, seed: int, arm: str = "blue") -> inference.Model:
    """A network with random weights, and BatchNorm statistics as training on flux − 1 leaves them."""
    torch.manual_seed(1000 * seed + int(penalty))
    net = build(NETWORK, N_PIXELS)
    net.train()
    with torch.no_grad():
        for _ in range(30):
            net(0.1 * torch.randn(64, N_PIXELS))
        net.dense[-1].weight *= 4.0  # spreads the probabilities over (0, 1)
    info = {
        "schema": model_files.MODEL_SCHEMA,
        "arm": arm,
        "network": NETWORK,
        "penalty": penalty,
        "seed": seed,
        "grid": GRID,
        "version": "0.1.0",
    }
    return net.eval(), info


@pytest.fixture(scope="module")
def models() -> list[inference.Model]:
    return [a_model(penalty, seed) for penalty in (8.0, 16.0) for seed in (0, 1, 2)]


@pytest.fixture(scope="module")
def spectra() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """flux, sigma and keys of 45 spectra: more than two passes."""
    rng = np.random.default_rng(0)
    flux = rng.normal(0, 0.1, (45, N_PIXELS)).astype(np.float16)
    sigma = rng.uniform(0.01, 0.1, (45, N_PIXELS)).astype(np.float16)
    return flux, sigma, rng.integers(0, 2**63 - 1, 45)


def test_percentiles_equal_the_formulae_written_out(models: list, spectra: tuple) -> None:
    flux, sigma, keys = spectra
    result = Ensemble(models, "cpu").percentiles(flux, sigma, keys, 1, n_draws=7, seed=3)
    assert list(result) == [8.0, 16.0]
    draws = noise.normals(keys, 7, N_PIXELS, seed=3, stream=1)
    for penalty, table in result.items():
        nets = [net for net, info in models if info["penalty"] == penalty]
        for s in range(0, 45, 9):
            p = [torch.sigmoid(net(torch.from_numpy(flux[s].astype(np.float32) + sigma[s] * draws[s]))) for net in nets]
            expected = np.percentile(torch.stack(p).detach().numpy(), [0, 16, 50, 84, 100])
            np.testing.assert_allclose(table[s], expected, atol=2e-6)
    assert 0.05 < np.median(result[8.0][:, 2]) < 0.95  # the comparison is not made of zeros and ones


def test_results_are_the_same_bits_in_any_order_shard_and_company(models: list, spectra: tuple) -> None:
    ensemble = Ensemble(models, "cpu")
    whole = ensemble.percentiles(*spectra, 0)
    order = np.random.default_rng(1).permutation(45)
    shuffled = ensemble.percentiles(*(array[order] for array in spectra), 0)
    for penalty, table in whole.items():
        np.testing.assert_array_equal(shuffled[penalty], table[order])
        for part in (slice(0, 1), slice(1, 20), slice(20, 45)):
            alone = ensemble.percentiles(*(array[part] for array in spectra), 0, penalties=[penalty])
            np.testing.assert_array_equal(alone[penalty], table[part])
    fewer = Ensemble(models[3:], "cpu").percentiles(*spectra, 0)
    np.testing.assert_array_equal(fewer[16.0], whole[16.0])


def test_noise_depends_on_seed_arm_and_key(models: list, spectra: tuple) -> None:
    flux, sigma, keys = (array[:3] for array in spectra)
    ensemble = Ensemble(models[:1], "cpu")
    base = ensemble.percentiles(flux, sigma, keys, 0)[8.0]
    for other in (
        ensemble.percentiles(flux, sigma, keys, 1)[8.0],
        ensemble.percentiles(flux, sigma, keys, 0, seed=1)[8.0],
        ensemble.percentiles(flux, sigma, keys + 1, 0)[8.0],
    ):
        assert (other != base).any()
        np.testing.assert_allclose(other[:, 2], base[:, 2], atol=0.3)


def test_without_noise_the_draws_are_the_probability_itself(models: list, spectra: tuple) -> None:
    flux, sigma, keys = spectra
    ensemble = Ensemble(models[:1], "cpu")
    table = ensemble.percentiles(flux, np.zeros_like(sigma), keys, 0)[8.0]
    p = ensemble.probabilities(flux)[8.0]
    np.testing.assert_allclose(table, np.repeat(p, 5, axis=1), atol=1e-6)


def test_masked_rows_are_nan_and_disturb_nobody(models: list, spectra: tuple) -> None:
    flux, sigma, keys = (array.copy() for array in spectra)
    ensemble = Ensemble(models[:2], "cpu")
    clean = ensemble.percentiles(flux, sigma, keys, 0)[8.0]
    flux[4] = np.nan
    sigma[7, 100] = np.inf
    table = ensemble.percentiles(flux, sigma, keys, 0)[8.0]
    masked = np.isin(np.arange(45), [4, 7])
    assert np.isnan(table[masked]).all()
    np.testing.assert_array_equal(table[~masked], clean[~masked])
    assert np.isnan(ensemble.probabilities(flux)[8.0][4]).all()
    nothing = ensemble.percentiles(np.full_like(flux, np.nan), sigma, keys, 0)[8.0]
    assert np.isnan(nothing).all()


def test_penalties_without_models_are_shifted_on_request(models: list, spectra: tuple) -> None:
    ensemble = Ensemble(models, "cpu")
    trained = ensemble.percentiles(*spectra, 0)
    shifted = ensemble.percentiles(*spectra, 0, penalties=[16, 32], shift_from=8)
    np.testing.assert_array_equal(shifted[16.0], trained[16.0])
    p0 = trained[8.0][:, [0, 4]].astype(float)  # minimum and maximum are single draws: no interpolation
    np.testing.assert_allclose(shifted[32.0][:, [0, 4]], p0 / (p0 + 4 * (1 - p0)), rtol=1e-4)
    with pytest.raises(ValueError, match="no models of penalty 32; trained penalties: 8, 16"):
        ensemble.percentiles(*spectra, 0, penalties=[32])
    with pytest.raises(ValueError, match="no models of penalty 1 to shift from"):
        ensemble.percentiles(*spectra, 0, penalties=[32], shift_from=1)


def test_ensembles_of_different_arms_are_refused(models: list, spectra: tuple) -> None:
    with pytest.raises(ValueError, match="differ in arm: blue and red"):
        Ensemble([models[0], a_model(8.0, 1, arm="red")])
    with pytest.raises(ValueError, match="at least one model"):
        Ensemble([])
    with pytest.raises(ValueError, match=r"blue models take spectra \(S, 600\), found \(45, 599\)"):
        Ensemble(models).percentiles(spectra[0][:, 1:], spectra[1], spectra[2], 0)
    with pytest.raises(ValueError, match="do not belong together"):
        Ensemble(models).percentiles(spectra[0], spectra[1][1:], spectra[2], 0)


# --- files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 0.0), (torch.float16, 5e-3)])
def test_released_models_give_the_same_probabilities(
    models: list, spectra: tuple, tmp_path: Path, dtype: torch.dtype, tolerance: float
) -> None:
    path = tmp_path / "blue.safetensors"
    model_files.save_released(path, models, dtype)
    loaded = model_files.load_released(path, arm="blue")
    assert [info for _, info in loaded] == [info for _, info in models]
    before = Ensemble(models, "cpu").percentiles(*spectra, 0)
    after = Ensemble(loaded, "cpu").percentiles(*spectra, 0)
    for penalty, table in before.items():
        np.testing.assert_allclose(after[penalty], table, rtol=0, atol=tolerance)
    weights = sum(p.numel() for net, _ in models for p in net.parameters())
    assert path.stat().st_size < 1.3 * weights * dtype.itemsize + 8000


def test_released_files_are_reproducible_bytes(models: list, tmp_path: Path) -> None:
    for name in ("a", "b"):
        model_files.save_released(tmp_path / name, models)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_other_arms_and_schemas_are_refused(models: list, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "blue.safetensors"
    model_files.save_released(path, models)
    with pytest.raises(ValueError, match="a model of the blue arm, asked for the red arm"):
        model_files.load_released(path, arm="red")
    foreign, old = tmp_path / "foreign.safetensors", tmp_path / "old.safetensors"
    save_file({"x": torch.zeros(1)}, foreign)
    with pytest.raises(ValueError, match="expected schema 'dioscuri/models/1', found 'none'"):
        model_files.load_released(foreign)
    save_file(
        {"x": torch.zeros(1)},
        old,
        {"dioscuri": json.dumps({"schema": "dioscuri/models/0", "version": "0.0.1"})},
    )
    with pytest.raises(ValueError, match=r"found 'dioscuri/models/0' .written by version 0.0.1"):
        model_files.load_released(old)
    junk = tmp_path / "junk.safetensors"
    junk.write_bytes(b"SIMPLE  =                    T")
    with pytest.raises(ValueError, match="not a safetensors file of released models"):
        model_files.load_released(junk)
    with pytest.raises(FileNotFoundError, match="no such file of released models"):
        model_files.load_released(tmp_path / "absent")


def test_checkpoints_that_are_not_ours_are_refused(models: list, tmp_path: Path) -> None:
    net, info = models[0]
    path = tmp_path / "model.ckpt"
    state = {f"net.{name}": value for name, value in net.state_dict().items()}
    torch.save({"state_dict": state, "model": info}, path)
    loaded, found = model_files.load_model(tmp_path, arm="blue")
    assert found == info
    assert isinstance(loaded, SpectrumCNN)
    assert not loaded.training
    with pytest.raises(ValueError, match="a model of the blue arm, asked for the red arm"):
        model_files.load_model(path, arm="red")
    torch.save({"state_dict": state, "model": info | {"schema": "dioscuri/model/9"}}, path)
    with pytest.raises(ValueError, match="expected schema 'dioscuri/model/1', found 'dioscuri/model/9'"):
        model_files.load_model(path)
    for junk in (b"", b"not a checkpoint", b"PK\x03\x04 truncated"):
        path.write_bytes(junk)
        with pytest.raises(ValueError, match=r"not a model.ckpt of dioscuri"):
            model_files.load_model(path)
    torch.save({"state_dict": state}, path)
    with pytest.raises(ValueError, match=r"not a model.ckpt of dioscuri"):
        model_files.load_model(path)
    torch.save(Path("pickled objects are code"), path)
    with pytest.raises(ValueError, match=r"not a model.ckpt of dioscuri"):
        model_files.load_model(path)
    with pytest.raises(FileNotFoundError, match="no such model"):
        model_files.load_model(tmp_path / "absent")
