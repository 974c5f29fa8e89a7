"""The catalogue of synthetic observations: images and the physical properties behind them, one HDF5 shard per system.

Schema `dioscuri/analogues/1`:

    images/<channel>      (N, H, W)  continuum in Jy/sr (float32), moment-1 maps in km/s (float16, NaN where masked)
    metadata/<column>     (N,)       one value per image; text (`image_id`, `system`) or numbers
    profiles/<name>       (N, ...)   what has more than one value per image: radial profiles, spectral energy
                                     distributions; `profiles/radius` (R + 1,) are the edges of the shells [AU],
                                     `profiles/sed_wavelength` (L,) those of `profiles/sed` [µm; Jy at 100 pc]
    attributes            pixel_au, separation_au, beam_au [major, minor FWHM in AU, position angle in degrees from
                          north through east], units (JSON: channel or column → unit), provenance (JSON)

Rows of an image run north (row 0 is south), columns run to the right of an observer with north up.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import h5py
import numpy as np

from dioscuri import io

SCHEMA = "dioscuri/analogues/1"
BATCH_PIXELS, BATCHES = 2**20, (16, 64)  # images read at once; networks take 16
TEXT = ("image_id", "system")
# The columns of the embedded catalogue (Al-Belmeisi et al. 2023, §2.3) and their units; users bring their own.
METADATA = {
    "image_id": "",
    "system": "",
    "snapshot": "",
    "projection": "",
    "phi": "deg",
    "mirror": "",
    "time_kyr": "kyr",
    "age1": "kyr",
    "age2": "kyr",
    "m1": "Msun",
    "m2": "Msun",
    "mdot1": "Msun/yr",
    "mdot2": "Msun/yr",
    "l1": "Lsun",
    "l2": "Lsun",
    "disc_size1": "AU",
    "disc_size2": "AU",
    "disc_mass1": "Msun",
    "disc_mass2": "Msun",
    "j1x": "",
    "j1y": "",
    "j1z": "",
    "j2x": "",
    "j2y": "",
    "j2z": "",
    "separation": "AU",
    "semi_major_axis": "AU",
    "eccentricity": "",
    "gas_mass_100au": "Msun",
    "tbol": "K",
    "inclination1": "deg",
    "inclination2": "deg",
}


class Pieces(NamedTuple):
    """Images of one channel that are written as they come: `shape` (N, H, W), and blocks (rows (B,), images (B, H, W)).

    Every row comes once; no more than a block is in memory.
    """

    shape: tuple[int, int, int]
    blocks: Iterator[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Frame:
    """What all images of a catalogue share; `beam_au` is (major, minor, position angle [deg]), zeros if unconvolved."""

    pixel_au: float
    beam_au: tuple[float, float, float] = (0.0, 0.0, 0.0)
    separation_au: float = float("nan")
    units: dict[str, str] = field(default_factory=dict)


def write_catalogue(
    path: str | os.PathLike,
    images: Mapping[str, np.ndarray | Pieces],
    metadata: Mapping[str, Any],
    frame: Frame,
    *,
    profiles: Mapping[str, np.ndarray] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write a shard, whole or not at all. Every image (N, H, W) and every column (N,) describes the same N images.

    Images that are more than memory holds come in `Pieces`.

    ValueError where shapes differ, an `image_id` is missing or occurs twice, or a column has no unit in
    `frame.units` (the columns of `METADATA` know theirs).
    """
    _check(path, images, metadata)
    units = {name: METADATA[name] for name in metadata if name in METADATA} | dict(frame.units)
    nameless = sorted(name for name in (*images, *metadata) if name not in units)
    if nameless:
        raise ValueError(f"{path}: no unit given for {', '.join(nameless)}; '' stands for a number without unit")
    with io.atomic(path) as temporary, h5py.File(temporary, "w") as stream:
        stream.attrs["schema"] = SCHEMA
        stream.attrs["provenance"] = json.dumps(dict(provenance or {}), default=str)
        stream.attrs["pixel_au"] = frame.pixel_au
        stream.attrs["beam_au"] = frame.beam_au
        stream.attrs["separation_au"] = frame.separation_au
        stream.attrs["units"] = json.dumps(units)
        stream.create_group("metadata", track_order=True)  # columns come back in the order given
        for name, values in images.items():
            if isinstance(values, Pieces):
                dataset = stream.create_dataset(f"images/{name}", values.shape, np.float32)
                for rows, block in values.blocks:
                    for row, image in zip(rows, block):
                        dataset[row] = image
            else:
                stream[f"images/{name}"] = np.asarray(values)
        for name, values in metadata.items():
            values = np.asarray(values)
            if values.dtype.kind in "OU":
                stream.create_dataset(f"metadata/{name}", data=values.astype(object), dtype=h5py.string_dtype())
            else:
                stream[f"metadata/{name}"] = values
        for name, values in (profiles or {}).items():
            stream[f"profiles/{name}"] = np.asarray(values)


def _check(path: str | os.PathLike, images: Mapping[str, np.ndarray | Pieces], metadata: Mapping[str, Any]) -> None:
    if not images or "image_id" not in metadata:
        raise ValueError(f"{path}: a catalogue needs at least one channel of images and the column image_id")
    identity = [str(name) for name in metadata["image_id"]]
    shapes = {name: tuple(getattr(values, "shape", ()) or np.shape(values)) for name, values in images.items()}
    shape = (len(identity), *next(iter(shapes.values()))[1:])
    for name, found in shapes.items():
        if len(found) != 3 or found != shape:
            raise ValueError(f"{path}: images '{name}' have shape {found}, expected {shape}")
    for name, values in metadata.items():
        if np.shape(values) != shape[:1]:
            raise ValueError(f"{path}: column '{name}' has shape {np.shape(values)}, expected {shape[:1]}")
    if len(set(identity)) != len(identity):
        twice = sorted({name for name in identity if identity.count(name) > 1})
        raise ValueError(f"{path}: image_id must be unique, but {', '.join(twice[:5])} occur(s) more than once")


def read_frame(path: str | os.PathLike) -> Frame:
    """Pixel, beam, separation and units of a shard."""
    with io.open_shard(path, SCHEMA) as stream:
        beam = tuple(float(value) for value in stream.attrs["beam_au"])
        pixel, separation = float(stream.attrs["pixel_au"]), float(stream.attrs["separation_au"])
        return Frame(pixel, beam, separation, json.loads(stream.attrs["units"]))  # type: ignore[arg-type]


def read_channels(path: str | os.PathLike) -> list[str]:
    """Names of the image channels of a shard."""
    with io.open_shard(path, SCHEMA) as stream:
        return sorted(stream["images"])


def read_metadata(paths: str | os.PathLike | Sequence[str | os.PathLike]) -> dict[str, np.ndarray]:
    """The metadata of one or of several shards, one after the other: column → (N,); text as Python strings.

    Only columns that all shards have.
    """
    shards = []
    for path in [paths] if isinstance(paths, str | os.PathLike) else paths:
        with io.open_shard(path, SCHEMA) as stream:
            shards.append({name: _column(dataset) for name, dataset in stream["metadata"].items()})
    if not shards:
        raise ValueError("no catalogue shard was given")
    common = [name for name in shards[0] if all(name in shard for shard in shards)]
    return {name: np.concatenate([shard[name] for shard in shards]) for name in common}


def _column(dataset: h5py.Dataset) -> np.ndarray:
    return dataset.asstr()[:] if h5py.check_string_dtype(dataset.dtype) is not None else dataset[:]


def read_images(path: str | os.PathLike, channel: str, rows: slice = slice(None)) -> np.ndarray:
    """Images (N, H, W) of one channel of a shard, or some rows of them, as float32."""
    with io.open_shard(path, SCHEMA) as stream:
        if channel not in stream["images"]:
            raise ValueError(f"{path}: no channel '{channel}'; there are {', '.join(sorted(stream['images']))}")
        return stream[f"images/{channel}"][rows].astype(np.float32)


def shape_of_images(path: str | os.PathLike, channel: str) -> tuple[int, int, int]:
    """(N, H, W) of one channel of a shard."""
    with io.open_shard(path, SCHEMA) as stream:
        if channel not in stream["images"]:
            raise ValueError(f"{path}: no channel '{channel}'; there are {', '.join(sorted(stream['images']))}")
        return stream[f"images/{channel}"].shape


def sample_images(paths: Sequence[str | os.PathLike], channel: str, n: int) -> Iterator[np.ndarray]:
    """About `n` images (H, W) of one channel, evenly spread over all shards, one at a time."""
    counts = [shape_of_images(path, channel)[0] for path in paths]
    step = max(1, sum(counts) // n)
    for path, count, before in zip(paths, counts, np.cumsum([0, *counts])):
        for row in range(-int(before) % step, count, step):
            yield read_images(path, channel, slice(row, row + 1))[0]


def iterate_images(
    paths: Sequence[str | os.PathLike], channel: str, batch: int | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches (image_id (B,), images (B, H, W)) of one channel over all shards, in the order of `read_metadata`.

    64 images, fewer where they are large: memory does not grow with the catalogue.
    """
    for path in paths:
        names = read_metadata(path)["image_id"]
        _, height, width = shape_of_images(path, channel)
        batch = batch or int(np.clip(BATCH_PIXELS // (height * width), *BATCHES))
        for first in range(0, len(names), batch):
            rows = slice(first, first + batch)
            yield names[rows], read_images(path, channel, rows)
