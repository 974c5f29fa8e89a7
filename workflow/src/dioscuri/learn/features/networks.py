"""Frozen networks that turn images into feature vectors: the paper's eight by timm, and a random CNN offline.

All take images (B, C, H, W) with values in [0, 1], one channel or three, and give features (B, F) float32. Nothing
here is trained; what a head learns on top is in `triplets`.
"""

import math
import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dioscuri.learn.features.apertures import APERTURES, Apertures
from dioscuri.learn.features.frozen import FeatureNetwork, checked, scaled
from dioscuri.learn.features.lite import LITES, LiteFeatures

# The paper's networks (§2.4.1) and the models of timm that stand for them, with weights from ImageNet-1k alone. Its
# MobileNet is V1 by name, V3 by the reference that it cites: both are here.
TIMM_MODELS = {
    "densenet121": "densenet121.tv_in1k",
    "efficientnet_b7": "tf_efficientnet_b7.aa_in1k",
    "inception_v3": "inception_v3.tf_in1k",
    "mobilenet": "mobilenetv1_100.ra4_e3600_r224_in1k",
    "mobilenet_v3": "mobilenetv3_large_100.ra_in1k",
    "resnetrs200": "resnetrs200.tf_in1k",
    "xception": "legacy_xception.tf_in1k",
    "vgg16": "vgg16.tv_in1k",
    "vgg19": "vgg19.tv_in1k",
}
# Those with a trained head in the paper (§2.4.2).
HEADED = ("efficientnet_b7", "mobilenet", "resnetrs200", "vgg16", "vgg19")
RANDOM_CNN = "random_cnn"
NETWORKS = (RANDOM_CNN, APERTURES, *LITES, *TIMM_MODELS)
SMALLEST, LARGEST = 75, 1024  # InceptionV3 has no map left below 75 pixels
WEIGHT_FILES = (".safetensors", ".bin", ".pth", ".pt")
HUB_TIMEOUT = 5.0  # seconds


def build(
    name: str,
    weights: str | os.PathLike = "hub",
    *,
    size: int | None = None,
    pool: int | None = 1,
    seed: int = 0,
    channels: int = 1,
    **settings: Any,
) -> FeatureNetwork:
    """A frozen feature network by its name in `NETWORKS`.

    weights: `hub` (ImageNet, downloaded once by timm), a file of weights, or `none`: random ones of `seed`. Without
    the file, or without a connection and a copy from an earlier download, an error says so at once.
    size: images are scaled to size × size by cubic interpolation (paper: 224 and 800); the network's own size if
    None, and for `random_cnn` that of the images. pool: the last layer's map is averaged over pool × pool cells (1:
    the mean map, as for Keras' `pooling="avg"`); None leaves it whole, F = channels × height × width.
    `random_cnn` always has the random weights of `seed`; its settings are those of `RandomCNN`. channels: of the
    images, for `random_cnn`.
    """
    if name not in NETWORKS:
        raise ValueError(f"unknown feature network '{name}': use one of {', '.join(NETWORKS)}")
    if size is not None and not SMALLEST <= size <= LARGEST and name != RANDOM_CNN:
        raise ValueError(f"{name}: image size {size} is not within {SMALLEST}–{LARGEST} px; the paper has 224 and 800")
    if name != RANDOM_CNN and settings:
        raise ValueError(f"{name} knows no setting {', '.join(settings)}: these are for {RANDOM_CNN}")
    with torch.random.fork_rng(range(torch.cuda.device_count())):  # the caller's random numbers are his
        torch.manual_seed(seed)
        if name == RANDOM_CNN:
            return RandomCNN(channels=channels, size=size, seed=seed, **settings).freeze()
        if name == APERTURES:
            return Apertures(channels=channels).freeze()
        if name in LITES:
            return LiteFeatures(name, "package" if str(weights) == "hub" else str(weights), seed, size).freeze()
        return TimmFeatures(name, str(weights), size, pool, seed).freeze()


class RandomCNN(FeatureNetwork):
    """A convolutional network with random weights, read out at every level: needs no download, and no training.

    Each level is a strided and a plain 3 × 3 convolution with GELU; its maps give, per channel, their mean and their
    scatter over each of cells × cells parts of the image. Random filters at octave scales are a bank of texture and
    edge detectors; the first levels see discs and bridges, the last the envelope. He initialisation of `seed`, so
    that one seed is one network on every machine. There is no normalisation by layer or batch: with a fixed stretch
    the features keep the absolute brightness.
    """

    def __init__(
        self,
        channels: int = 1,
        widths: Sequence[int] = (16, 32, 64, 128),
        grid: int = 1,
        size: int | None = None,
        seed: int = 0,
    ):
        super().__init__()
        self.channels, self.size, self.grid = channels, size, grid
        levels = []
        for n_in, n_out in zip((channels, *widths), widths):
            convolutions = [nn.Conv2d(n_in, n_out, 3, 2, 1), nn.Conv2d(n_out, n_out, 3, 1, 1)]
            for convolution in convolutions:
                nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
                # Offsets of the order of the input, so that units switch on at different levels of brightness.
                convolution.bias = nn.Parameter(0.3 * torch.randn(n_out))
            levels.append(nn.Sequential(convolutions[0], nn.GELU(), convolutions[1], nn.GELU()))
        self.levels = nn.ModuleList(levels)
        self.cells = 2 * grid**2
        self.n_features = self.cells * sum(widths)
        self.description = {
            "name": RANDOM_CNN,
            "seed": seed,
            "size": size,
            "channels": channels,
            "widths": list(widths),
            "grid": grid,
        }

    def forward(self, images: Tensor) -> Tensor:
        x = scaled(checked(images, (self.channels,)), self.size)
        features = []
        for level in self.levels:
            x = level(x)
            mean = F.adaptive_avg_pool2d(x, self.grid)
            square = F.adaptive_avg_pool2d(x * x, self.grid)
            scatter = (square - mean * mean).clamp_min(0).sqrt()
            features.append(torch.stack([mean, scatter], 2).flatten(1))
        return torch.cat(features, 1)


class TimmFeatures(FeatureNetwork):
    """The last convolutional layer of a network of timm, averaged over cells."""

    mean: Tensor
    std: Tensor
    model: Any

    def __init__(self, name: str, weights: str, size: int | None, pool: int | None, seed: int):
        super().__init__()
        model, cfg = _timm_model(name, weights)
        if hasattr(model, "pre_logits"):
            model.pre_logits = nn.Identity()  # VGG's dense layers: 120 million weights beyond the last map
        self.model, self.size, self.pool = model, size or cfg["input_size"][-1], pool
        self.register_buffer("mean", torch.tensor(cfg["mean"]).reshape(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(cfg["std"]).reshape(1, 3, 1, 1))
        with torch.no_grad():
            self.eval()
            shape = model.forward_features(torch.zeros(1, 3, self.size, self.size)).shape
        self.cells = math.prod(shape[2:]) if pool is None else pool**2
        self.n_features = shape[1] * self.cells
        self.description = {
            "name": name,
            "model": TIMM_MODELS[name],
            "weights": weights,
            "seed": seed if weights == "none" else None,
            "size": self.size,
            "pool": pool,
        }

    def forward(self, images: Tensor) -> Tensor:
        x = scaled(checked(images, (1, 3)), self.size).expand(-1, 3, -1, -1)
        x = self.model.forward_features((x - self.mean) / self.std)
        return (x if self.pool is None else F.adaptive_avg_pool2d(x, self.pool)).flatten(1)


# --- weights -------------------------------------------------------------------------------------------------


def _timm_model(name: str, weights: str) -> tuple[Any, dict[str, Any]]:
    import timm

    model_name = TIMM_MODELS[name]
    overlay: dict[str, Any] = {}
    if weights not in ("none", "hub"):
        overlay["file"] = str(_weight_file(name, weights))
    elif weights == "hub" and not _in_cache(model_name) and not _hub_answers(model_name):
        raise ConnectionError(
            f"{name}: no weights of {model_name} in the local cache, and no answer from {_origin(model_name)[1]} "
            f"within {HUB_TIMEOUT:g} s. Fetch them where there is a network (`dioscuri download-weights`), or use "
            f"'{RANDOM_CNN}', which needs none"
        )
    try:
        model: Any = timm.create_model(model_name, pretrained=weights != "none", pretrained_cfg_overlay=overlay or None)
    except Exception as error:  # timm, torch, pickle and safetensors each have their own for a file of another kind
        raise ValueError(f"{name}: the weights '{weights}' do not fit {model_name} of timm: {error}") from error
    # Only now: a model that is built without its classifier takes any file of weights, and what fits of it.
    model.reset_classifier(0)
    return model, dict(model.pretrained_cfg)  # type: ignore[arg-type]


def _weight_file(name: str, weights: str) -> Path:
    path = Path(weights).expanduser()
    if not path.is_file() or path.suffix not in WEIGHT_FILES:
        raise FileNotFoundError(
            f"{name}: no file of weights '{weights}'; accepted: hub, none, or a file that ends in "
            f"{', '.join(WEIGHT_FILES)}"
        )
    return path


def _in_cache(model_name: str) -> bool:
    """Whether an earlier download left the weights where timm looks first."""
    from huggingface_hub import try_to_load_from_cache

    repository, address = _origin(model_name)
    if repository:
        files = ("model.safetensors", "pytorch_model.bin")
        return any(isinstance(try_to_load_from_cache(repository, file), str) for file in files)
    return (Path(torch.hub.get_dir()) / "checkpoints" / Path(address).name).is_file()


def _origin(model_name: str) -> tuple[str, str]:
    """Repository on the hub (empty: none) and address of the weights of a model of timm."""
    import timm
    from huggingface_hub import constants

    cfg: Any = timm.get_pretrained_cfg(model_name)
    return (cfg.hf_hub_id, constants.ENDPOINT) if cfg.hf_hub_id else ("", cfg.url)


def _hub_answers(model_name: str) -> bool:
    """Whether the place of the weights can be reached now; left to itself the hub's client tries for 47 s."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    request = urllib.request.Request(_origin(model_name)[1], method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=HUB_TIMEOUT):
            return True
    except urllib.error.HTTPError:
        return True  # an answer, if not a kind one
    except OSError:
        return False
