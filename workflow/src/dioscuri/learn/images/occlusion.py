"""Which pixels a network goes by: occlusion maps (Zeiler & Fergus 2014; Wu et al. 2023, Fig. 5)."""

import numpy as np
import torch
from torch import Tensor, nn

from dioscuri.learn.images.augmentation import enlarged
from dioscuri.learn.images.backbones import Backbone
from dioscuri.learn.passes import exact_arithmetic

BINARY = 1  # the class whose probability is explained
_WINDOWS_AT_ONCE = 16


def attribution(net: nn.Module, channels: np.ndarray, window: int, stride: int) -> np.ndarray:
    """How much the probability of two stars falls when a window around a pixel is hidden, (B, H, W) float32.

    channels: (B, C, 14, 14) of the network's rendering. The map has the pixels that the network sees: those of
    the stamp for the compact one, `upscale` for a backbone, whose image is enlarged before it is covered.
    window, stride: side and step [those pixels] of the hidden square, which is 0 in every channel (sky, or no
    residual); a pixel gets the mean over all windows that hide it. Positive: the pixel speaks for a binary.
    """
    device = next(net.parameters()).device
    images = torch.from_numpy(np.ascontiguousarray(channels, np.float32)).to(device)
    if isinstance(net, Backbone):
        images = enlarged(images, net.upscale)
    size = images.shape[-1]
    if not 1 <= stride <= window <= size:
        raise ValueError(f"occlusion: window {window} and stride {stride}; accepted: 1 ≤ stride ≤ window ≤ {size}")

    # The last window of a row may stick out: what is left of it is hidden.
    corners = range(0, size - window + stride, stride)
    windows = [(slice(row, row + window), slice(column, column + window)) for column in corners for row in corners]
    fall, hidden = images.new_zeros(len(images), size, size), images.new_zeros(size, size)
    with torch.no_grad(), exact_arithmetic():
        before = _probability(net, images)
        for begin in range(0, len(windows), _WINDOWS_AT_ONCE):
            some = windows[begin : begin + _WINDOWS_AT_ONCE]
            covered = images.repeat(len(some), 1, 1, 1, 1)
            for index, (rows, columns) in enumerate(some):
                covered[index, :, :, rows, columns] = 0.0
            after = _probability(net, covered.flatten(0, 1)).view(len(some), -1)
            for (rows, columns), one in zip(some, after):
                fall[:, rows, columns] += (before - one)[:, None, None]
                hidden[rows, columns] += 1
    return (fall / hidden).cpu().numpy()


def _probability(net: nn.Module, images: Tensor) -> Tensor:
    """The probability (B,) of two stars."""
    return torch.softmax(net(images), dim=1)[:, BINARY]
