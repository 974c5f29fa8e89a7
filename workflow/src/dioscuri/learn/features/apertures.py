"""The baseline that every feature network must beat: brightness in apertures and rings, no convolution at all."""

from itertools import pairwise

import torch
from torch import Tensor

from dioscuri.learn.features.frozen import FeatureNetwork, checked

APERTURES = "apertures"
RINGS = (0.0, 0.06, 0.125, 0.25, 0.5, 1.0)  # outer radii in half the width of the image
PROFILE = 12  # steps of the radial profile, evenly to the edge
# Where the catalogue lays its two stars, above and below the middle, in half the width of the image.
STARS = 0.125
STAR_RADIUS = 0.05


class Apertures(FeatureNetwork):
    """The stretched image in 20 numbers a channel: five rings, both stars' places, a radial profile, and the peak."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.channels, self.cells = channels, 1
        self.n_features = channels * (len(RINGS) + PROFILE + 2)
        self.description = {"name": APERTURES, "channels": channels}

    def forward(self, images: Tensor) -> Tensor:
        images = checked(images, (self.channels,))
        masks = self._masks(images.shape[-2], images.shape[-1]).to(images)
        means = torch.einsum("bchw,mhw->bcm", images, masks)
        return torch.cat([means, images.amax((-2, -1))[..., None]], dim=-1).flatten(1)

    @staticmethod
    def _masks(height: int, width: int) -> Tensor:
        """Weights (19, H, W) of the means: five rings, the primary's place (up) and the secondary's, the profile."""
        y = (2 * torch.arange(height) + 1 - height)[:, None] / height
        x = (2 * torch.arange(width) + 1 - width)[None, :] / width
        radius = torch.hypot(x.expand(height, width), y.expand(height, width))
        inside = [(radius >= low) & (radius < high) for low, high in pairwise(RINGS)]
        inside += [torch.hypot(x, y - place) < STAR_RADIUS for place in (STARS, -STARS)]
        step = (radius * PROFILE).long()
        inside += [step == k for k in range(PROFILE)]
        masks = torch.stack(inside).float()
        return masks / masks.sum((1, 2), keepdim=True).clamp_min(1.0)
