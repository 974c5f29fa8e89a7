"""The network: sizes, errors, and the exactness of its folded form."""

import numpy as np
import pytest
import torch
from torch import nn

from dioscuri.learn.spectra import networks
from dioscuri.learn.spectra.blocks import BlockedCNN


def trained_looking(seed: int = 0, **settings) -> networks.SpectrumCNN:
    """A network whose BatchNorm statistics and affine weights are not the initial ones."""
    torch.manual_seed(seed)
    net = networks.SpectrumCNN(**settings)
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean, 0.0, 0.1)
            nn.init.uniform_(layer.running_var, 0.3, 2.0)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0.0, 0.3)
    return net.eval()


def test_reference_network_has_its_known_size() -> None:
    net = networks.SpectrumCNN(3347)
    assert networks.feature_lengths(3347, (8, 16, 32), (7, 7, 7), (4, 4, 4)) == [836, 208, 51]
    # By hand: convolutions 8·7·836 + 16·8·7·208 + 32·16·7·51, dense 32·51·120 + 120·84 + 84.
    by_hand = 46816 + 186368 + 182784 + 195840 + 10080 + 84
    assert networks.multiply_adds(net) == by_hand
    assert 2 * by_hand == pytest.approx(1.24e6, rel=0.01)
    assert sum(p.numel() for p in net.parameters()) == pytest.approx(0.21e6, rel=0.02)


def test_layers_follow_the_paper() -> None:
    net = networks.SpectrumCNN(400, channels=(4, 8), kernels=(5, 5), strides=(2, 2), dense=(16,), dropout=0.1)
    kinds = [type(layer).__name__ for layer in (*net.convolutions, *net.dense)]
    assert kinds == ["Conv2d", "BatchNorm2d", "LeakyReLU"] * 2 + [
        "Linear",
        "BatchNorm1d",
        "LeakyReLU",
        "Dropout",
        "Linear",
    ]
    assert all(layer.negative_slope == 0.01 for layer in net.modules() if isinstance(layer, nn.LeakyReLU))
    assert net(torch.zeros(3, 400)).shape == (3,)


def test_convolution_runs_along_the_spectrum() -> None:
    """The row-image form is a plain 1-D convolution network: the same numbers as `conv1d` gives."""
    net = trained_looking(n_pixels=300, channels=(4, 6), kernels=(7, 5), strides=(3, 2), dense=(10,))
    flux = torch.randn(5, 300)
    x = flux[:, None]
    for convolution, norm, leak in zip(*[iter(net.convolutions)] * 3):
        x = nn.functional.conv1d(x, convolution.weight[:, :, 0], convolution.bias, convolution.stride[1])
        x = nn.functional.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
        x = nn.functional.leaky_relu(x, leak.negative_slope)
    expected = net.dense(x.transpose(1, 2).flatten(1))[:, 0]
    torch.testing.assert_close(net(flux), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"kernels": (9, 7, 5), "strides": (2, 2, 2)}, {"dense": ()}])
def test_folding_is_exact(settings: dict) -> None:
    net = trained_looking(n_pixels=3347, **settings)
    flux = 0.1 * torch.randn(16, 3347)
    fast = networks.folded(net)
    assert not any(isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d | nn.Dropout) for m in fast.modules())
    torch.testing.assert_close(fast(flux), net(flux), rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(not BlockedCNN.works(), reason="this torch has no convolutions with activations")
@pytest.mark.parametrize(
    "settings",
    [
        {"n_pixels": 3347},
        {"n_pixels": 3509, "kernels": (9, 7, 5), "strides": (2, 2, 2)},
        {"n_pixels": 400},  # an odd number of positions
        {"n_pixels": 301, "channels": (4, 6), "kernels": (7, 5), "strides": (3, 2), "dense": ()},
        {"n_pixels": 300, "channels": (20,), "kernels": (3,), "strides": (5,)},
    ],
)
def test_blocks_are_exact_whatever_stands_at_the_end_of_their_rows(settings: dict) -> None:
    net = trained_looking(**settings)
    flux = 0.1 * torch.randn(6, net.n_pixels)
    with torch.no_grad():
        fast, expected = BlockedCNN(net), net(flux)
        torch.testing.assert_close(fast(flux), expected, rtol=1e-5, atol=1e-5)
        longer = torch.cat([flux, torch.full((6, 40), 9.0)], dim=1)[:, : max(fast.width, net.n_pixels)]
        torch.testing.assert_close(fast(longer), expected, rtol=1e-5, atol=1e-5)


def test_folding_leaves_the_original_alone() -> None:
    net = trained_looking(n_pixels=200)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    networks.folded(net)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_exhausted_spectrum_is_explained() -> None:
    with pytest.raises(ValueError, match=r"convolution 3 has a kernel of 7 pixels, but only 3 .* 64 are left"):
        networks.SpectrumCNN(64)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"channels": (8, 16)}, "one entry per convolution, found 2, 3 and 3"),
        ({"strides": (4, 0, 4)}, "convolution 2: kernel 7 and stride 0"),
        ({"dropout": 1.5}, "dropout is a probability"),
        ({"chanels": (8, 16, 32)}, "unknown network setting.*chanels; accepted: channels"),
    ],
)
def test_wrong_settings_are_named(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        networks.build(settings, 3347)


def test_first_training_steps_fit_a_line_depth() -> None:
    """A few steps on spectra that differ in one line lower the loss: gradients reach every layer."""
    torch.manual_seed(1)
    net = networks.SpectrumCNN(200, channels=(4, 4), kernels=(5, 5), strides=(2, 2), dense=(8,), dropout=0.0)
    y = torch.from_numpy(np.repeat([0.0, 1.0], 32)).float()
    flux = 0.02 * torch.randn(64, 200)
    flux[:, 90:110] -= 0.2 * y[:, None]
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(net(flux), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for name, p in net.named_parameters() if "weight" in name)
