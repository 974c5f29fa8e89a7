"""Networks that tell one star from two: the compact one, and pretrained backbones with the paper's head."""

import os
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dioscuri.learn.images.augmentation import enlarged

SIZE = 14  # pixels a side of a stamp
N_CLASSES = 2  # single star, binary
TIMM_NETWORKS = ("efficientnet_b3", "resnet34")
ARCHITECTURES = ("compact", *TIMM_NETWORKS)
HEADS = ("paper", "authors")
_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


class Compact(nn.Module):
    """A small convolutional network on the pixels as they are.

    Input (B, C, 14, 14), output logits (B, 2) of single star and binary. Layers: the border of `crop` pixels is
    left out (it is sky), unpadded 3 × 3 convolutions, the last one with stride 2, one dense layer. Pixels are
    never pooled: the flux of a pixel means something only beside its position.
    """

    def __init__(
        self,
        n_channels: int,
        channels: Sequence[int] = (32, 48, 64),
        dense: int = 128,
        dropout: float = 0.1,
        crop: int = 2,
    ):
        super().__init__()
        side = SIZE - 2 * crop
        if crop < 0 or side < 2 * len(channels) + 1 or not channels:
            raise ValueError(
                f"compact network: crop {crop} leaves {side} pixels, too few for {len(channels)} convolutions"
            )
        self.crop = crop
        layers: list[nn.Module] = []
        for k, (n_in, n_out) in enumerate(zip((n_channels, *channels[:-1]), channels)):
            last = k == len(channels) - 1
            layers += [nn.Conv2d(n_in, n_out, 3, stride=2 if last else 1, padding=1 if last else 0, bias=False)]
            layers += [nn.BatchNorm2d(n_out), nn.ReLU(inplace=True)]
            side = (side - 1) // 2 + 1 if last else side - 2
        self.convolutions = nn.Sequential(*layers)
        self.dense = nn.Sequential(
            nn.Linear(channels[-1] * side**2, dense, bias=False),
            nn.BatchNorm1d(dense),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(dense, N_CLASSES),
        )
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, channels: Tensor) -> Tensor:
        """Logits (B, 2) of channels (B, C, 14, 14)."""
        inside = slice(self.crop, SIZE - self.crop)
        images = channels[:, :, inside, inside].contiguous(memory_format=torch.channels_last)
        # Channels innermost, as they lie in memory: flattening costs no copy.
        return self.dense(self.convolutions(images).permute(0, 2, 3, 1).flatten(1))

    def freeze(self, frozen: bool) -> None:
        """Nothing here is pretrained: there is nothing to freeze."""


class ConcatenatedPool(nn.Module):
    """Maximum and mean of every channel, (B, C, H, W) → (B, 2 C)."""

    def forward(self, features: Tensor) -> Tensor:
        """Maxima first."""
        return torch.cat([features.amax(dim=(2, 3)), features.mean(dim=(2, 3))], dim=1)


class Backbone(nn.Module):
    """A network of timm with the head of Wu et al. (2023, §2.4).

    pooling → BatchNorm → dropout → dense (512) → ReLU → BatchNorm → dropout → dense (2): two fully connected
    blocks, and the two additional BatchNorms after the pooling and before the output. `head` "authors": that of
    their published code, which is fastai's: maximum and mean are pooled side by side, dense layers have no biases,
    and a BatchNorm follows the last of them. The softmax is taken outside, where it is wanted. Input: one image in
    [0, 1] per stamp, (B, 1, 14, 14) or enlarged already.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        architecture: str,
        upscale: int = 224,
        hidden: int = 512,
        dropout: Sequence[float] = (0.25, 0.5),
        weights: str = "none",
        head: str = "paper",
    ):
        super().__init__()
        import timm

        if head not in HEADS:
            raise ValueError(f"{architecture}: unknown head '{head}'; accepted: {', '.join(HEADS)}")

        if upscale < SIZE:
            raise ValueError(f"{architecture}: upscale {upscale} is below the {SIZE} pixels of a stamp")
        self.upscale = upscale
        self.pretrained = weights != "none"
        features: Any = timm.create_model(architecture, pretrained=False, num_classes=0)
        cfg, n_features = features.pretrained_cfg, features.num_features
        if weights == "hub":
            features.load_state_dict(_hub_weights(architecture, cfg))
        elif self.pretrained:
            _load_file(features, Path(weights), cfg)
        self.features = features
        theirs = head == "authors"
        if theirs:
            features.global_pool = ConcatenatedPool()
            n_features *= 2
        self.head = nn.Sequential(
            nn.BatchNorm1d(n_features),
            nn.Dropout(dropout[0]),
            nn.Linear(n_features, hidden, bias=not theirs),
            nn.ReLU(inplace=True),
            nn.BatchNorm1d(hidden),
            nn.Dropout(dropout[1]),
            nn.Linear(hidden, N_CLASSES, bias=not theirs),
            *([nn.BatchNorm1d(N_CLASSES, momentum=0.01)] if theirs else []),
        )
        if theirs:
            for layer in self.head:
                if isinstance(layer, nn.Linear):
                    nn.init.kaiming_normal_(layer.weight)
        for name in ("mean", "std"):
            values = torch.tensor(cfg.get(name, _IMAGENET[name])).view(1, 3, 1, 1)
            self.register_buffer(name, values, persistent=False)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, 2) of images (B, 1, H, W) in [0, 1], enlarged to `upscale` pixels where they are not yet."""
        if images.shape[-1] != self.upscale:
            images = enlarged(images, self.upscale)
        colours = ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        return self.head(self.features(colours))

    def freeze(self, frozen: bool) -> None:
        """Keep the pretrained layers as they are, or let them learn; their BatchNorms always learn.

        Stamps look nothing like photographs: with the statistics of those the new head would see no contrast.
        """
        for module in self.features.modules():
            learns = not frozen or isinstance(module, nn.modules.batchnorm._BatchNorm)
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad_(learns)


def build(network: Mapping[str, Any], n_channels: int) -> Compact | Backbone:
    """The network of a settings mapping such as model.json's `network`; unknown keys are an error.

    architecture: compact (channels, dense, dropout, crop) or one of timm's: efficientnet_b3, resnet34 (upscale,
    hidden, dropout, head: paper or authors, weights: none, hub or a file). `n_channels`: channels of the rendering.
    """
    settings = dict(network)
    architecture = settings.pop("architecture", None)
    if architecture not in ARCHITECTURES:
        raise ValueError(f"unknown architecture '{architecture}'; accepted: {', '.join(ARCHITECTURES)}")
    compact = architecture == "compact"
    accepted = (
        ("channels", "dense", "dropout", "crop") if compact else ("upscale", "hidden", "dropout", "weights", "head")
    )
    unknown = sorted(set(settings) - set(accepted))
    if unknown:
        raise ValueError(
            f"{architecture}: unknown network setting(s) {', '.join(unknown)}; accepted: {', '.join(accepted)}"
        )
    if compact:
        return Compact(n_channels, **settings)
    if n_channels != 1:
        raise ValueError(
            f"{architecture} takes one image per stamp, found {n_channels} channels: use one of the renderings rgb_*"
        )
    return Backbone(architecture, **settings)


# --- pretrained weights -------------------------------------------------------------------------------------


def _load_file(features: nn.Module, path: Path, cfg: Mapping[str, Any]) -> None:
    """Weights of a file (.safetensors, or a torch file of tensors alone) that timm or torchvision wrote."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of weights; accepted: none, hub, or the path of a file")
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        state = load_file(path)
    else:
        state = torch.load(path, map_location="cpu", weights_only=True)
    try:
        features.load_state_dict(_without_classifier(state, cfg))
    except RuntimeError as error:
        raise ValueError(f"{path}: not the weights of {cfg.get('architecture')}: {error}") from error


def _without_classifier(state: Mapping[str, Tensor], cfg: Mapping[str, Any]) -> dict[str, Tensor]:
    classifier = f"{cfg.get('classifier', 'classifier')}."
    return {name: value for name, value in state.items() if not name.startswith(classifier)}


def _hub_weights(architecture: str, cfg: Mapping[str, Any]) -> dict[str, Tensor]:
    """The published weights, from the hub's cache or the hub; without network an error at once."""
    import huggingface_hub
    from huggingface_hub.constants import ENDPOINT
    from safetensors.torch import load_file

    repository, name = cfg["hf_hub_id"], "model.safetensors"
    cached = huggingface_hub.try_to_load_from_cache(repository, name)
    if not isinstance(cached, str):
        # The hub's own client tries again and again for most of a minute before it says so.
        if os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "TRUE", "YES", "ON") or not _answers(ENDPOINT):
            raise ConnectionError(
                f"the weights of {architecture} ({repository}) are not in the cache and {ENDPOINT} cannot be reached: "
                "fetch them where there is a network (`dioscuri download-weights`), or set `weights: none`"
            )
        cached = huggingface_hub.hf_hub_download(repository, name)
    return _without_classifier(load_file(cached), cfg)


def _answers(address: str) -> bool:
    """Whether a server answers within seconds, be it with an error."""
    try:
        urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True
