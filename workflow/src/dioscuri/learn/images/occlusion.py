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
    from captum.attr import Occlusion

    device = next(net.parameters()).device
    images = torch.from_numpy(np.ascontiguousarray(channels, np.float32)).to(device)
    if isinstance(net, Backbone):
        images = enlarged(images, net.upscale)
    n_channels, size = images.shape[1], images.shape[-1]
    if not 1 <= stride <= window <= size:
        raise ValueError(f"occlusion: window {window} and stride {stride}; accepted: 1 ≤ stride ≤ window ≤ {size}")

    def probability(views: Tensor) -> Tensor:
        return torch.softmax(net(views), dim=1)

    with exact_arithmetic():
        maps = Occlusion(probability).attribute(
            images,
            sliding_window_shapes=(n_channels, window, window),
            strides=(n_channels, stride, stride),
            baselines=0.0,
            target=BINARY,
            perturbations_per_eval=_WINDOWS_AT_ONCE,
        )
    # All channels of a pixel are hidden together, so that their maps are one and the same.
    return maps[:, 0].cpu().numpy()
