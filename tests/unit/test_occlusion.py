"""Occlusion maps: against covering the windows by hand, and on networks whose reasons are known."""

import numpy as np
import pytest
import torch
from torch import nn

from dioscuri.learn.images.backbones import build
from dioscuri.learn.images.occlusion import attribution


class OnePixel(nn.Module):
    """Its logit for a binary is five times pixel (4, 9) of the first channel."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(5.0))

    def forward(self, channels: torch.Tensor) -> torch.Tensor:
        logit = self.scale * channels[:, 0, 4, 9]
        return torch.stack([torch.zeros_like(logit), logit], dim=1)


def test_only_windows_over_the_decisive_pixel_count() -> None:
    channels = np.full((2, 2, 14, 14), 0.5, np.float32)
    channels[1, 0, 4, 9] = -0.5  # in the second stamp the pixel speaks against a binary
    maps = attribution(OnePixel(), channels, window=3, stride=1)
    assert maps.shape == (2, 14, 14)
    fall = 1 / (1 + np.exp(-2.5)) - 0.5
    np.testing.assert_allclose(maps[:, 4, 9], [fall, -fall], rtol=1e-5)
    rows, columns = np.nonzero(maps[0])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (2, 6, 7, 11)


def test_equal_to_covering_by_hand() -> None:
    torch.manual_seed(3)
    net = build({"architecture": "compact"}, 3).eval()
    channels = np.random.default_rng(0).normal(0, 1, (2, 3, 14, 14)).astype(np.float32)

    def probability(images: np.ndarray) -> np.ndarray:
        return torch.softmax(net(torch.from_numpy(images)), 1)[:, 1].detach().numpy()

    falls, times, before = np.zeros((2, 14, 14)), np.zeros((14, 14)), probability(channels)
    for row in range(0, 11, 2):
        for column in range(0, 11, 2):
            window = (..., slice(row, row + 4), slice(column, column + 4))
            covered = channels.copy()
            covered[window] = 0.0
            falls[window] += (before - probability(covered))[:, None, None]
            times[window] += 1
    np.testing.assert_allclose(attribution(net, channels, window=4, stride=2), falls / times, atol=1e-6)


def test_maps_of_a_backbone_have_the_pixels_it_sees() -> None:
    net = build({"architecture": "resnet34", "upscale": 56}, 1).eval()
    maps = attribution(net, np.random.default_rng(0).random((1, 1, 14, 14)), window=28, stride=28)
    assert maps.shape == (1, 56, 56)
    assert len(np.unique(maps)) == 4


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="window 15 and stride 1; accepted: 1 ≤ stride ≤ window ≤ 14"):
        attribution(OnePixel(), np.zeros((1, 1, 14, 14)), 15, 1)
