"""Feature vectors of whole catalogues: stretch, network in fixed batches, and the file that keeps them."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from dioscuri import io
from dioscuri.learn.memory import keep_freed_memory

if TYPE_CHECKING:
    from dioscuri.learn.features.networks import FeatureNetwork

SCHEMA = "dioscuri/features/2"
# On a CPU larger batches only cost memory.
BATCH = 16


@dataclass(frozen=True)
class Stretch:
    """From physical values to [0, 1], the same for every image of a catalogue and its queries.

    log: `ceiling` (Jy/sr) becomes 1 and what is fainter by `decades` 0. Absolute brightness is kept, since surface
    brightness does not depend on distance; `relative` divides each image by its own peak first, which gives that up
    where fluxes are not to be trusted (opacity, calibration). Missing pixels are as dark as can be.
    linear: −ceiling … ceiling (km/s) becomes 0 … 1, for moment-1 maps; missing pixels are at rest, 0.5.
    """

    kind: str = "log"
    ceiling: float = 1e11
    decades: float = 4.0
    relative: bool = False

    def __post_init__(self) -> None:
        if self.kind not in ("log", "linear") or self.ceiling <= 0 or self.decades <= 0:
            raise ValueError(f"a stretch is log or linear, with ceiling and decades above 0; found {self}")

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Stretched images (N, H, W) float32."""
        images = np.asarray(images, dtype=np.float32)
        if self.kind == "linear":
            return np.nan_to_num(np.clip(0.5 + images / np.float32(2 * self.ceiling), 0, 1), nan=0.5)
        ceiling = np.float32(self.ceiling)
        if self.relative:
            peak = np.nanmax(images, axis=(-2, -1), keepdims=True)
            ceiling = np.where(peak > 0, peak, np.float32(1))
        darkest = np.float32(10.0**-self.decades)
        bright = np.maximum(np.nan_to_num(images / ceiling, nan=0.0), darkest)
        return np.clip(1 + np.log10(bright) / np.float32(self.decades), 0, 1).astype(np.float32)


def ceiling_of(images: np.ndarray, share: float = 0.999) -> float:
    """A ceiling for the log stretch of a catalogue: the quantile `share` of the peaks of its images (N, H, W)."""
    return float(np.quantile(np.nanmax(images, axis=(-2, -1)), share))


def measure(
    images: np.ndarray, network: "FeatureNetwork", stretch: Stretch | Sequence[Stretch], device: str = "cpu"
) -> np.ndarray:
    """Features (N, F) float32 of images (N, H, W), or (N, C, H, W) with one stretch per channel."""
    import torch

    images = np.asarray(images)
    if images.ndim == 3:
        images = images[:, None]
    stretches = [stretch] * images.shape[1] if isinstance(stretch, Stretch) else list(stretch)
    if images.ndim != 4 or len(stretches) != images.shape[1]:
        raise ValueError(f"images (N, H, W) or (N, C, H, W) and C stretches, found {images.shape} and {len(stretches)}")
    keep_freed_memory()
    network = network.to(device)
    out = np.empty((len(images), network.n_features), np.float32)
    for first in range(0, len(images), BATCH):
        part = images[first : first + BATCH]
        # Always a full batch: its size decides which kernels run, and so the last bits of the features.
        batch = np.zeros((BATCH, *images.shape[1:]), np.float32)
        batch[: len(part)] = np.stack([s(part[:, c]) for c, s in enumerate(stretches)], axis=1)
        with torch.no_grad():
            out[first : first + len(part)] = network(torch.from_numpy(batch).to(device)).cpu().numpy()[: len(part)]
    if not np.isfinite(out).all():
        bad = np.flatnonzero(~np.isfinite(out).all(axis=1))
        raise ValueError(f"{len(bad)} of {len(out)} images have non-finite features, first rows: {bad[:5]}")
    return out


@dataclass(frozen=True)
class FeatureTable:
    """Features (N, F) float32 of the images `image_id` (N,), and what made them (network, stretches, channels).

    brightness (N, B): the same images in apertures, beside features of a network; None where those are the features.
    """

    image_id: np.ndarray
    features: np.ndarray
    description: dict[str, Any]
    brightness: np.ndarray | None = None

    @property
    def blocks(self) -> list[np.ndarray]:
        """What parameters are estimated from: features, and brightness beside them."""
        return [self.features] if self.brightness is None else [self.features, self.brightness]


def write_features(
    path: str | os.PathLike,
    image_id: Iterable[str],
    features: np.ndarray,
    *,
    network: "FeatureNetwork",
    stretches: Sequence[Stretch],
    channels: Sequence[str],
    provenance: Mapping[str, Any],
    brightness: np.ndarray | None = None,
) -> None:
    """Write the features of a shard: `image_id` (N,), `features` (N, F), `brightness` (N, B) where there is any, and
    attributes description and provenance."""
    names = [str(name) for name in image_id]
    if len(names) != len(features):
        raise ValueError(f"{path}: {len(names)} image ids for {len(features)} rows of features")
    description = {
        "network": network.description,
        "cells": network.cells,
        "channels": list(channels),
        "stretches": [asdict(stretch) for stretch in stretches],
    }
    with io.atomic(path) as temporary, h5py.File(temporary, "w") as stream:
        stream.attrs["schema"] = SCHEMA
        stream.attrs["description"] = json.dumps(description)
        stream.attrs["provenance"] = json.dumps(dict(provenance))
        stream.create_dataset("image_id", data=np.array(names, dtype=object), dtype=h5py.string_dtype())
        stream["features"] = np.asarray(features, np.float32)
        if brightness is not None:
            stream["brightness"] = np.asarray(brightness, np.float32)


def read_features(paths: str | os.PathLike | Sequence[str | os.PathLike]) -> FeatureTable:
    """The features of one or several shards, one after the other; they must come from one network and stretch."""
    paths = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not paths:
        raise ValueError("no file of features was given")
    names, parts, beside, description = [], [], [], None
    for path in paths:
        with io.open_shard(path, SCHEMA) as stream:
            found = json.loads(stream.attrs["description"])
            if description not in (None, found):
                raise ValueError(f"{path}: features of {found}, but those of {paths[0]} are of {description}")
            description = found
            names.append(stream["image_id"].asstr()[:])
            parts.append(stream["features"][:])
            beside += [stream["brightness"][:]] if "brightness" in stream else []
    brightness = np.concatenate(beside) if beside else None
    return FeatureTable(np.concatenate(names), np.concatenate(parts), description or {}, brightness)
