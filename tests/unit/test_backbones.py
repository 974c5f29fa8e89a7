"""Networks: what their heads are made of, where weights come from, and what they refuse."""

import socket
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from dioscuri.learn.images import backbones
from dioscuri.learn.images.backbones import Backbone, Compact, build


@pytest.fixture(scope="module")
def resnet() -> Backbone:
    torch.manual_seed(0)
    return build({"architecture": "resnet34", "upscale": 64}, 1).eval()


def test_compact_sees_positions_and_not_the_border() -> None:
    torch.manual_seed(1)
    net = build({"architecture": "compact"}, 3).eval()
    images = torch.rand(5, 3, 14, 14)
    logits = net(images)
    assert logits.shape == (5, 2)
    moved = net(images.roll(1, dims=-1))
    assert (logits - moved).abs().max() > 1e-3
    images[:, :, :2] = images[:, :, -2:] = images[..., :2] = images[..., -2:] = 7.0
    assert torch.equal(net(images), logits)
    assert sum(parameter.numel() for parameter in net.parameters()) < 150_000


def test_head_has_two_dense_blocks_and_two_more_batchnorms(resnet: Backbone) -> None:
    kinds = [type(layer) for layer in resnet.head]
    assert kinds == [nn.BatchNorm1d, nn.Dropout, nn.Linear, nn.ReLU, nn.BatchNorm1d, nn.Dropout, nn.Linear]
    assert resnet.head[0].num_features == 512
    assert resnet.head[-1].out_features == 2


def test_the_authors_head_pools_twice_and_ends_in_a_batchnorm() -> None:
    net = build({"architecture": "resnet34", "upscale": 32, "head": "authors"}, 1)
    kinds = [type(layer).__name__ for layer in net.head]
    assert kinds == ["BatchNorm1d", "Dropout", "Linear", "ReLU", "BatchNorm1d", "Dropout", "Linear", "BatchNorm1d"]
    assert (net.head[0].num_features, net.head[2].bias, net.head[-1].momentum) == (1024, None, 0.01)
    assert net(torch.rand(4, 1, 14, 14)).shape == (4, 2)
    with pytest.raises(ValueError, match="unknown head 'x'; accepted: paper, authors"):
        build({"architecture": "resnet34", "head": "x"}, 1)


def test_efficientnet_b3_has_its_published_size() -> None:
    net = build({"architecture": "efficientnet_b3"}, 1)
    # Tan & Le (2019), table 2: 12 M parameters with the 1536 × 1000 classifier, which is left out here.
    n_features = sum(parameter.numel() for parameter in net.features.parameters()) + 1536 * 1000 + 1000
    assert n_features == pytest.approx(12.2e6, rel=0.01)
    assert net.upscale == 224
    assert net.head[0].num_features == 1536


def test_backbone_enlarges_stamps_and_takes_enlarged_ones(resnet: Backbone) -> None:
    stamps = torch.rand(2, 1, 14, 14)
    with torch.inference_mode():
        torch.testing.assert_close(resnet(stamps), resnet(backbones.enlarged(stamps, 64)))
        assert (resnet(stamps) - resnet(1 - stamps)).abs().max() > 1e-4


def test_frozen_backbone_trains_its_head_and_batchnorms_alone(resnet: Backbone) -> None:
    resnet.freeze(True)
    norms = {id(p) for m in resnet.features.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters()}
    assert {id(p) for p in resnet.features.parameters() if p.requires_grad} == norms
    assert all(p.requires_grad for p in resnet.head.parameters())
    resnet.freeze(False)
    assert all(p.requires_grad for p in resnet.parameters())


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_from_a_file(resnet: Backbone, tmp_path: Path, suffix: str) -> None:
    state = {name: value.contiguous() for name, value in resnet.features.state_dict().items()}
    state["fc.weight"] = torch.zeros(1000, 512)  # the classifier of the published file is not wanted
    path = tmp_path / f"weights{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    net = build({"architecture": "resnet34", "weights": str(path)}, 1)
    assert net.pretrained and not resnet.pretrained
    assert all(torch.equal(value, state[name]) for name, value in net.features.state_dict().items())


def test_wrong_or_missing_weights_are_named(resnet: Backbone, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file of weights; accepted: none, hub, or the path"):
        build({"architecture": "resnet34", "weights": str(tmp_path / "absent.pth")}, 1)
    save_file({"conv1.weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"other.safetensors: not the weights of resnet34"):
        build({"architecture": "resnet34", "weights": str(tmp_path / "other.safetensors")}, 1)


@pytest.mark.parametrize("offline", ["1", ""])
def test_hub_without_network_says_so_at_once(offline: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        monkeypatch.setenv("HF_HUB_OFFLINE", offline)
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{unused.getsockname()[1]}")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        started = time.monotonic()
        with pytest.raises(ConnectionError, match=r"not in the cache .*`dioscuri download-weights`"):
            build({"architecture": "resnet34", "weights": "hub"}, 1)
    assert time.monotonic() - started < 5


def test_hub_weights_in_the_cache_are_used_offline(
    resnet: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    path = tmp_path / "model.safetensors"
    save_file({name: value.contiguous() for name, value in resnet.features.state_dict().items()}, path)
    asked = []
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *what: asked.append(what) or str(path))
    net = build({"architecture": "resnet34", "weights": "hub"}, 1)
    assert asked == [("timm/resnet34.a1_in1k", "model.safetensors")]
    assert torch.equal(net.features.conv1.weight, resnet.features.conv1.weight)


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="unknown architecture 'vgg'; accepted: compact, efficientnet_b3, resnet34"):
        build({"architecture": "vgg"}, 1)
    with pytest.raises(ValueError, match=r"compact: unknown network setting\(s\) upscale; accepted: channels, dense"):
        build({"architecture": "compact", "upscale": 224}, 3)
    with pytest.raises(ValueError, match="resnet34 takes one image per stamp, found 3 channels"):
        build({"architecture": "resnet34"}, 3)
    with pytest.raises(ValueError, match="crop 5 leaves 4 pixels, too few for 3 convolutions"):
        Compact(3, crop=5)
    with pytest.raises(ValueError, match="upscale 8 is below the 14 pixels"):
        build({"architecture": "resnet34", "upscale": 8}, 1)
