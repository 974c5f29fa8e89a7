"""Random views of images, a whole batch at a time on its device: the five augmentations of Wu et al. (2023, §2.3)."""

from collections.abc import Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

# Name → strength where none is given. rotation: degrees; zoom: largest factor; warp: largest change of scale
# from the middle to a border; brightness_contrast: largest share.
STRENGTHS = {
    "dihedral": 1.0,  # one of the eight turns and mirror images, pixel by pixel
    "flip": 1.0,  # 1. along rows, along columns, or both; pixel by pixel
    "rotation": 30.0,  # 2.
    "zoom": 1.5,  # 3.
    "warp": 0.2,  # 4.
    "brightness_contrast": 0.2,  # 5.
    "brightness": 0.2,  # alone, as in the authors' code
}
_GEOMETRIC = ("rotation", "zoom", "warp")


class Augmentation:
    """Changes each image of a batch (B, C, H, H) at random: by name, with the usual or given strengths.

    Rotation, zoom and warp are one resampling: they change pixel noise and the PSF itself, and zoom even the
    separation of a pair. `dihedral` and `flip` only move pixels. Images in [0, 1] for brightness_contrast, which
    changes the log-odds of a pixel: log-odds × contrast + brightness.
    `size`: pixels a side of the result; enlarging and the resampling are then one and the same step.
    """

    def __init__(self, names: Sequence[str] | Mapping[str, float] = (), size: int | None = None):
        strengths = dict(names) if isinstance(names, Mapping) else {name: STRENGTHS.get(name, 0.0) for name in names}
        unknown = [name for name in strengths if name not in STRENGTHS]
        if unknown:
            raise ValueError(f"unknown augmentation(s) {', '.join(unknown)}; accepted: {', '.join(STRENGTHS)}")
        if strengths.get("zoom", 1.0) < 1.0 or not 0.0 <= strengths.get("warp", 0.0) < 0.5:
            raise ValueError(f"augmentation: zoom is at least 1 and warp in [0, 0.5), found {strengths}")
        if not all(0.0 <= strengths.get(name, 0.0) < 1.0 for name in ("brightness_contrast", "brightness")):
            raise ValueError(f"augmentation: brightness and contrast are shares in [0, 1), found {strengths}")
        self.strengths, self.size = strengths, size

    def __call__(self, images: Tensor) -> Tensor:
        """The images (B, C, H, H) in random views, (B, C, size, size)."""
        if "dihedral" in self.strengths:
            images = _mirrored(_turned(images))
        elif "flip" in self.strengths:
            images = _mirrored(images)
        if any(name in self.strengths for name in _GEOMETRIC):
            images = resampled(images, self._homographies(images), self.size or images.shape[-1])
        elif self.size is not None and self.size != images.shape[-1]:
            images = enlarged(images, self.size)
        for name in ("brightness_contrast", "brightness"):
            if name in self.strengths:
                images = self._relit(images, self.strengths[name], contrast=name == "brightness_contrast")
        return images

    def _homographies(self, images: Tensor) -> Tensor:
        """Where each image is looked at, (B, 3, 3): perspective after zoom after rotation."""
        n, device = len(images), images.device
        angle = torch.deg2rad(_symmetric(n, self.strengths.get("rotation", 0.0), device))
        zoom = 1.0 + (self.strengths.get("zoom", 1.0) - 1.0) * torch.rand(n, device=device)
        matrix = torch.zeros(n, 3, 3, device=device)
        matrix[:, 0, 0] = matrix[:, 1, 1] = torch.cos(angle) / zoom
        matrix[:, 0, 1] = torch.sin(angle) / zoom
        matrix[:, 1, 0] = -matrix[:, 0, 1]
        for axis in (0, 1):
            matrix[:, 2, axis] = _symmetric(n, self.strengths.get("warp", 0.0), device)
        matrix[:, 2, 2] = 1.0
        return matrix

    def _relit(self, images: Tensor, share: float, contrast: bool) -> Tensor:
        shape, device = (len(images), 1, 1, 1), images.device
        middle = 0.5 * (1.0 + _symmetric(len(images), share, device)).view(shape)
        log_odds = torch.logit(images.clamp(0.0, 1.0), eps=1e-3)
        if contrast:
            factor = torch.exp(_symmetric(len(images), 1.0, device) * -torch.log1p(torch.tensor(-share)))
            log_odds = log_odds * factor.view(shape)
        return torch.sigmoid(log_odds + torch.logit(middle))


def enlarged(images: Tensor, size: int) -> Tensor:
    """Images (B, C, H, H) resampled bilinearly to `size` pixels a side."""
    return F.interpolate(images, (size, size), mode="bilinear", align_corners=False)


def resampled(images: Tensor, homographies: Tensor, size: int) -> Tensor:
    """Images (B, C, H, H) seen through `homographies` (B, 3, 3), bilinear, (B, C, size, size).

    A homography takes a pixel of the result to the place in the image that it shows; in both x and y run from
    −1 to 1 between the outer borders. Beyond the border the image is mirrored.
    """
    centres = (2.0 * torch.arange(size, device=images.device) + 1.0) / size - 1.0
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    pixels = torch.stack([x, y, torch.ones_like(x)], dim=-1).view(1, -1, 3)
    x, y, scale = (pixels @ homographies.mT).unbind(-1)
    grid = torch.stack([x / scale, y / scale], dim=-1).view(-1, size, size, 2)
    return F.grid_sample(images, grid.to(images.dtype), "bilinear", "reflection", align_corners=False)


def symmetries(images: Tensor) -> Iterator[Tensor]:
    """The eight turns and mirror images of a batch (B, C, H, H): the views of test-time augmentation."""
    for turned in (images, images.mT):
        for rows in (turned, turned.flip(-2)):
            yield rows
            yield rows.flip(-1)


def _turned(images: Tensor) -> Tensor:
    return torch.where(_coins(images), images.mT, images)


def _mirrored(images: Tensor) -> Tensor:
    for axis in (-1, -2):
        images = torch.where(_coins(images), images.flip(axis), images)
    return images


def _coins(images: Tensor) -> Tensor:
    return torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5


def _symmetric(n: int, limit: float, device: torch.device) -> Tensor:
    """Uniform numbers (n,) in (−limit, limit)."""
    return limit * (2.0 * torch.rand(n, device=device) - 1.0)
