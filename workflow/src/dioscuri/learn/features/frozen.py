"""What all frozen feature networks share: their shape, scaling of images, and checks of what they are given."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn


class FeatureNetwork(nn.Module):
    """A frozen network: images (B, C, H, W) in [0, 1] → features (B, F) float32.

    n_features: F. cells: how many consecutive features belong to one channel of the network. description: what makes
    the same network again, for provenance.
    """

    n_features: int
    cells: int
    description: dict[str, Any]

    def freeze(self) -> "FeatureNetwork":
        """Switch gradients and everything random off."""
        return self.requires_grad_(False).eval()


def scaled(images: Tensor, size: int | None) -> Tensor:
    """Images (B, C, H, W) at size × size pixels by cubic interpolation, smoothed before where they shrink."""
    if size is None or images.shape[-2:] == (size, size):
        return images
    return F.interpolate(images, (size, size), mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)


def checked(images: Tensor, channels: tuple[int, ...]) -> Tensor:
    if images.ndim != 4 or images.shape[1] not in channels:
        accepted = " or ".join(str(n) for n in channels)
        raise ValueError(f"feature networks take images (B, C, H, W) with C = {accepted}, found {tuple(images.shape)}")
    return images.float()
