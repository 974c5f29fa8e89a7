"""Turns images of stars into probabilities: ensembles of trained networks, from checkpoints or a released file."""

from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dioscuri.learn import platt
from dioscuri.learn.images.augmentation import symmetries
from dioscuri.learn.images.backbones import Backbone, Compact, build
from dioscuri.learn.memory import keep_freed_memory
from dioscuri.learn.model_files import network_of, read_checkpoint, read_release, write_release
from dioscuri.learn.passes import exact_arithmetic, passes, resolved_device

IMAGE_MODEL_SCHEMA = "dioscuri/image-model/1"
IMAGE_RELEASE_SCHEMA = "dioscuri/image-models/1"
# Images per pass: large enough to amortise calls, small enough to stay in cache (CPU) or memory (GPU).
ROWS_PER_PASS = {"compact": {"cpu": 256, "cuda": 16384}, "backbone": {"cpu": 16, "cuda": 512}}
# What all members of an ensemble must agree in.
_SHARED = ("rendering", "n_channels", "context")

ImageModel = tuple[Compact | Backbone, dict[str, Any]]


def load_model(path: str | PathLike) -> ImageModel:
    """A trained network, ready for inference, and model.json, of a `model.ckpt` or the folder that holds one."""
    state, info = read_checkpoint(path, IMAGE_MODEL_SCHEMA)
    return network_of(path, _network, info, state), info


def save_released(path: str | PathLike, models: Sequence[ImageModel], dtype: torch.dtype = torch.float16) -> None:
    """Pack the seeds of an ensemble into one safetensors file; weights are stored as `dtype`."""
    infos = [info for _, info in models]
    _agree(infos)
    header = {"schema": IMAGE_RELEASE_SCHEMA, **{key: infos[0][key] for key in _SHARED}}
    write_release(path, header, models, dtype)


def load_released(path: str | PathLike) -> list[ImageModel]:
    """The models of a released file, as `load_model` gives them."""
    header, states = read_release(path, IMAGE_RELEASE_SCHEMA)
    return [(network_of(path, _network, info, state), info) for state, info in zip(states, header["models"])]


def _network(info: dict[str, Any]) -> Compact | Backbone:
    # The checkpoint has all weights: what the training started from is not needed, nor looked for.
    network = {key: value for key, value in info["network"].items() if key != "weights"}
    return build(network, info["n_channels"])


def _agree(infos: Sequence[dict[str, Any]]) -> None:
    if not infos:
        raise ValueError("an ensemble needs at least one model")
    for info in infos[1:]:
        for key in _SHARED:
            if info[key] != infos[0][key]:
                raise ValueError(f"models of one ensemble differ in {key}: {infos[0][key]} and {info[key]}")


class Classifier:
    """An ensemble of networks (seeds) that look at the same channels; their probabilities are averaged."""

    def __init__(
        self, models: Iterable[ImageModel], device: str = "auto", calibration: platt.Calibration | None = None
    ):
        models = sorted(models, key=lambda model: model[1]["seed"])
        self.infos = [info for _, info in models]
        _agree(self.infos)
        self.calibration = calibration
        self.device = resolved_device(device)
        self._nets = [net.eval().requires_grad_(False).to(self.device) for net, _ in models]
        keep_freed_memory()

    @classmethod
    def load(cls, paths: str | PathLike | Sequence[str | PathLike], device: str = "auto") -> "Classifier":
        """From one released .safetensors file, or from `model.ckpt` files (or their folders), one per seed.

        A calibration.json among the paths makes probabilities of their answers.
        """
        paths = [paths] if isinstance(paths, str | PathLike) else list(paths)
        files = [path for path in paths if Path(path).suffix != ".json"]
        models: list[ImageModel] = []
        for path in files:
            models += load_released(path) if Path(path).suffix == ".safetensors" else [load_model(path)]
        calibration = next((platt.read(path, files) for path in paths if Path(path).suffix == ".json"), None)
        return cls(models, device, calibration)

    @property
    def networks(self) -> list[Compact | Backbone]:
        """The networks, by seed."""
        return list(self._nets)

    @property
    def rendering(self) -> str:
        """What the channels have to be."""
        return self.infos[0]["rendering"]

    @property
    def context(self) -> dict[str, Any]:
        """For which stars the networks are made."""
        return self.infos[0]["context"]

    def probability(self, channels: np.ndarray, tta: bool = True, progress: bool = False) -> np.ndarray:
        """Probability of two stars, (B,) float32, of `channels` (B, C, H, W); NaN where an image is not finite.

        The softmax of the networks, averaged over them and, with `tta` (test-time augmentation), over the eight
        turns and mirror images of each stamp, then calibrated. Without a calibration it is a score: training with
        smoothed labels (eq. 3) keeps it between ε and 1 − ε.
        """
        p = self.probabilities(channels, tta, progress).mean(axis=1)
        return p if self.calibration is None else self.calibration(p)

    def probabilities(self, channels: np.ndarray, tta: bool = True, progress: bool = False) -> np.ndarray:
        """What each network answers by itself, (B, M) float32, not calibrated.

        Passes have one fixed shape: on one machine the result of an image is the same to the bit whatever its
        neighbours are.
        """
        n_channels = self.infos[0]["n_channels"]
        if channels.ndim != 4 or channels.shape[1] != n_channels:
            raise ValueError(
                f"these networks take '{self.rendering}' images (B, {n_channels}, H, W), found {channels.shape}"
            )
        result = np.full((len(channels), len(self._nets)), np.nan, np.float32)
        usable = np.flatnonzero(np.isfinite(channels).all(axis=(1, 2, 3)))
        kind = "compact" if isinstance(self._nets[0], Compact) else "backbone"
        rows = ROWS_PER_PASS[kind][self.device.type]
        with exact_arithmetic():
            for here, chosen in passes(usable, rows, progress, "stamps"):
                images = torch.from_numpy(np.ascontiguousarray(channels[chosen], np.float32)).to(self.device)
                views = list(symmetries(images)) if tta else [images]
                for m, net in enumerate(self._nets):
                    p = torch.stack([torch.softmax(net(view), dim=1)[:, 1] for view in views]).mean(dim=0)
                    result[usable[here], m] = p[: here.stop - here.start].cpu().numpy()
        return result
