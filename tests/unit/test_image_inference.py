"""Scoring of images: formulae written out, independence of company, files of ensembles, and refusals."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dioscuri.learn.images import inference as image_inference
from dioscuri.learn.images.backbones import build
from dioscuri.learn.images.inference import Classifier, load_model, load_released, save_released
from dioscuri.learn.images.training import IMAGE_MODEL_SCHEMA

NETWORK = {"architecture": "compact", "channels": [6, 8], "dense": 16, "dropout": 0.1}
CONTEXT = {"survey": "csst", "case": "random_equal", "noise": {"sigma": 0.59, "background": 0.0}}


def a_model(seed: int, **changes: Any) -> image_inference.ImageModel:
    """A network with random weights, and BatchNorm statistics as training leaves them."""
    info = {
        "schema": IMAGE_MODEL_SCHEMA,
        "network": NETWORK,
        "n_channels": 3,
        "rendering": "compact",
        "seed": seed,
        "context": CONTEXT,
        "version": "0.1.0",
    } | changes
    torch.manual_seed(seed)
    net = build(info["network"], info["n_channels"]).train()
    with torch.no_grad():
        for _ in range(30):
            net(torch.randn(64, info["n_channels"], 14, 14))
        net.dense[-1].weight *= 4.0  # spreads the probabilities over (0, 1)
    return net.eval(), info


@pytest.fixture(scope="module")
def models() -> list[image_inference.ImageModel]:
    return [a_model(seed) for seed in (2, 1, 3)]


@pytest.fixture(scope="module")
def channels() -> np.ndarray:
    """More than one pass."""
    return np.random.default_rng(0).normal(0, 1, (300, 3, 14, 14)).astype(np.float32)


def test_probability_is_the_mean_softmax_over_networks_and_the_eight_views(models: list, channels: np.ndarray) -> None:
    some = channels[:7]
    p = Classifier(models, "cpu").probability(some)
    expected = []
    for net, _ in models:
        for k in range(4):
            turned = np.rot90(some, k, axes=(2, 3))
            for view in (turned, turned[:, :, ::-1]):
                logits = net(torch.from_numpy(view.copy())).detach().double()
                expected.append((logits[:, 1].exp() / logits.exp().sum(1)).numpy())
    np.testing.assert_allclose(p, np.mean(expected, axis=0), atol=2e-6)
    assert np.ptp(p) > 0.05
    plain = Classifier(models[:1], "cpu").probability(some, tta=False)
    np.testing.assert_allclose(plain, torch.softmax(models[0][0](torch.from_numpy(some)), 1)[:, 1].detach(), atol=1e-6)


def test_a_turned_stamp_has_the_same_probability(models: list, channels: np.ndarray) -> None:
    classifier = Classifier(models, "cpu")
    turned = np.rot90(channels[:9], axes=(2, 3))
    np.testing.assert_allclose(classifier.probability(turned), classifier.probability(channels[:9]), atol=2e-6)
    moved = abs(classifier.probability(turned, tta=False) - classifier.probability(channels[:9], tta=False))
    assert moved.max() > 1e-3


def test_results_are_the_same_bits_in_any_order_and_company(models: list, channels: np.ndarray) -> None:
    classifier = Classifier(models, "cpu")
    whole = classifier.probability(channels, tta=False)
    order = np.random.default_rng(1).permutation(len(channels))
    np.testing.assert_array_equal(classifier.probability(channels[order], tta=False), whole[order])
    np.testing.assert_array_equal(classifier.probability(channels[17:18], tta=False), whole[17:18])
    shuffled = Classifier(models[::-1], "cpu").probability(channels, tta=False)
    np.testing.assert_array_equal(shuffled, whole)


def test_stamps_that_are_not_finite_are_nan_and_disturb_nobody(models: list, channels: np.ndarray) -> None:
    classifier = Classifier(models, "cpu")
    broken = channels[:20].copy()
    broken[3, 1, 2, 2] = np.inf
    p = classifier.probability(broken, tta=False)
    assert np.isnan(p[3])
    others = np.arange(20) != 3
    np.testing.assert_array_equal(p[others], classifier.probability(channels[:20], tta=False)[others])
    assert len(classifier.probability(channels[:0])) == 0


def test_each_network_by_itself(models: list, channels: np.ndarray) -> None:
    classifier = Classifier(models, "cpu")
    each = classifier.probabilities(channels[:5])
    assert each.shape == (5, 3)
    assert [info["seed"] for info in classifier.infos] == [1, 2, 3]
    alone = Classifier([model for model in models if model[1]["seed"] == 2], "cpu")
    np.testing.assert_array_equal(each[:, 1], alone.probability(channels[:5]))


def test_released_file_keeps_the_ensemble(models: list, channels: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "csst.safetensors"
    save_released(path, models)
    back = Classifier.load(path, "cpu")
    assert (back.rendering, back.context) == ("compact", CONTEXT)
    exact = Classifier(models, "cpu").probability(channels)
    np.testing.assert_allclose(back.probability(channels), exact, atol=2e-3)  # weights are float16
    save_released(path, models, torch.float32)
    np.testing.assert_array_equal(Classifier.load(path, "cpu").probability(channels), exact)


def test_checkpoints_and_their_folders(models: list, channels: np.ndarray, tmp_path: Path) -> None:
    for net, info in models:
        folder = tmp_path / f"seed{info['seed']}"
        folder.mkdir()
        state = {f"net.{name}": value for name, value in net.state_dict().items()}
        torch.save({"state_dict": state, "model": info}, folder / "model.ckpt")
    paths = [tmp_path / "seed1", tmp_path / "seed2" / "model.ckpt", tmp_path / "seed3"]
    expected = Classifier(models, "cpu").probability(channels)
    np.testing.assert_array_equal(Classifier.load(paths, "cpu").probability(channels), expected)


def test_a_backbone_is_loaded_without_the_weights_it_started_from(tmp_path: Path) -> None:
    network = {"architecture": "resnet34", "upscale": 32, "weights": "none"}
    net, info = build(network, 1).eval(), a_model(1, n_channels=3)[1]
    info |= {"network": network | {"weights": "/gone/weights.pth"}, "n_channels": 1, "rendering": "rgb_log"}
    state = {f"net.{name}": value for name, value in net.state_dict().items()}
    torch.save({"state_dict": state, "model": info}, tmp_path / "model.ckpt")
    back, found = load_model(tmp_path)
    assert found == info
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in back.state_dict().items())
    p = Classifier([(back, found)], "cpu").probability(np.random.default_rng(0).random((3, 1, 14, 14)), tta=False)
    assert ((p > 0) & (p < 1)).all()


def test_mistakes_are_named(models: list, channels: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="differ in rendering: compact and rgb_log"):
        Classifier([models[0], a_model(7, rendering="rgb_log")], "cpu")
    with pytest.raises(ValueError, match="differ in context"):
        Classifier([models[0], a_model(7, context={"survey": "hst"})], "cpu")
    with pytest.raises(ValueError, match="at least one model"):
        Classifier([], "cpu")
    with pytest.raises(ValueError, match=r"take 'compact' images \(B, 3, H, W\), found \(300, 1, 14, 14\)"):
        Classifier(models, "cpu").probability(channels[:, :1])
    with pytest.raises(FileNotFoundError, match="no such model"):
        Classifier.load(tmp_path / "absent", "cpu")
    with pytest.raises(FileNotFoundError, match="no such file of released models"):
        load_released(tmp_path / "absent.safetensors")
    torch.save({"state_dict": {}, "model": {"schema": "dioscuri/model/1", "version": "0.1.0"}}, tmp_path / "model.ckpt")
    with pytest.raises(ValueError, match=f"expected schema '{IMAGE_MODEL_SCHEMA}', found 'dioscuri/model/1'"):
        load_model(tmp_path)
    (tmp_path / "text.safetensors").write_text(json.dumps({}))
    with pytest.raises(ValueError, match="not a safetensors file of released models"):
        Classifier.load(tmp_path / "text.safetensors", "cpu")
