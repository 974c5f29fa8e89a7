"""The schemas of the HDF5 shards that stages hand to each other: mock pairs, and observed spectra."""

import json
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import h5py
import numpy as np

from dioscuri.io import atomic, open_shard, plain

MOCK_SCHEMA = "dioscuri/mocks/1"
SPECTRA_SCHEMA = "dioscuri/spectra/1"
# Fluxes are stored as float16 of (normalised flux − 1): rms rounding error 3.6e-5, far below any noise here.
FLUX_DTYPE = np.float16


class MockShardWriter:
    """Stream batches of pairs into a mock shard: `labels/<name>` (N,), `<arm>/single` and `<arm>/binary` (N, L).

    Datasets are contiguous and uncompressed, so that training reads them at disk speed.
    """

    def __init__(
        self,
        stream: h5py.File,
        n_pairs: int,
        labels: tuple[str, ...],
        arms: Mapping[str, int],
        provenance: dict,
    ):
        self.stream, self.n_pairs, self.filled = stream, n_pairs, 0
        stream.attrs["schema"] = MOCK_SCHEMA
        stream.attrs["provenance"] = json.dumps(provenance, default=plain)
        for name in labels:
            stream.create_dataset(f"labels/{name}", (n_pairs,), np.int64 if name == "pair_id" else np.float32)
        for arm, n_pixels in arms.items():
            for kind in ("single", "binary"):
                stream.create_dataset(f"{arm}/{kind}", (n_pairs, n_pixels), FLUX_DTYPE)

    def append(self, labels: Mapping[str, np.ndarray], spectra: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
        """Append a batch: `labels[name]` (B,) and `spectra[arm] = (single, binary)`, each (B, L), flux − 1."""
        rows = slice(self.filled, self.filled + len(labels["pair_id"]))
        self.label(labels)
        for k, kind in enumerate(("single", "binary")):
            self.put(kind, rows, {arm: both[k] for arm, both in spectra.items()})

    def label(self, labels: Mapping[str, np.ndarray]) -> None:
        """Append pairs `labels[name]` (B,), whose spectra are to be `put`."""
        rows = slice(self.filled, self.filled + len(labels["pair_id"]))
        if rows.stop > self.n_pairs:
            raise ValueError(f"shard declared for {self.n_pairs} pairs was given {rows.stop}")
        for name in self.stream["labels"]:
            self.stream[f"labels/{name}"][rows] = labels[name]
        self.filled = rows.stop

    def put(self, kind: str, rows: slice, spectra: Mapping[str, np.ndarray]) -> None:
        """Put the spectra `spectra[arm]` (B, L), flux − 1, of some `rows` of a kind, single or binary."""
        for arm, flux in spectra.items():
            self.stream[f"{arm}/{kind}"][rows] = flux


@contextmanager
def mock_shard(
    path: str | os.PathLike, n_pairs: int, labels: tuple[str, ...], arms: Mapping[str, int], provenance: dict
) -> Iterator[MockShardWriter]:
    """Write a mock shard of exactly `n_pairs` pairs; the file appears only when all have been appended."""
    with atomic(path) as temporary:
        with h5py.File(temporary, "w") as stream:
            writer = MockShardWriter(stream, n_pairs, labels, arms, provenance)
            yield writer
            if writer.filled != n_pairs:
                raise ValueError(f"{path}: {writer.filled} of {n_pairs} pairs were written")


def read_mock_labels(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The labels of a mock shard, name → (N,)."""
    with open_shard(path, MOCK_SCHEMA) as stream:
        return {name: stream[f"labels/{name}"][:] for name in stream["labels"]}


def write_spectra_shard(
    path: str | os.PathLike,
    exposures: Mapping[str, np.ndarray],
    arms: Mapping[str, tuple[np.ndarray, np.ndarray]],
    provenance: dict,
) -> None:
    """Write observed spectra: `exposures/<column>` (N,), `<arm>/flux`, `<arm>/sigma` (N, L), NaN rows where masked."""
    with atomic(path) as temporary, h5py.File(temporary, "w") as stream:
        stream.attrs["schema"] = SPECTRA_SCHEMA
        stream.attrs["provenance"] = json.dumps(provenance, default=plain)
        for name, values in exposures.items():
            values = np.asarray(values)
            if values.dtype.kind in "OU":
                stream.create_dataset(f"exposures/{name}", data=values.astype(object), dtype=h5py.string_dtype())
            else:
                stream.create_dataset(f"exposures/{name}", data=values)
        for arm, (flux, sigma) in arms.items():
            stream.create_dataset(f"{arm}/flux", data=np.asarray(flux, FLUX_DTYPE))
            stream.create_dataset(f"{arm}/sigma", data=np.asarray(sigma, FLUX_DTYPE))


def read_exposures(path: str | os.PathLike, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """The exposure columns of an observed shard (`names`: those of them that it has), name → (N,); text as str."""
    with open_shard(path, SPECTRA_SCHEMA) as stream:
        columns = {}
        for name, dataset in stream["exposures"].items():
            if names is not None and name not in names:
                continue
            text = h5py.check_string_dtype(dataset.dtype) is not None
            columns[name] = dataset.asstr()[:] if text else dataset[:]
        return columns


def read_spectra(path: str | os.PathLike, arm: str) -> tuple[np.ndarray, np.ndarray]:
    """Normalised flux − 1 and its 1σ error of one arm, each (N, L) float16, NaN rows where the arm is masked."""
    with open_shard(path, SPECTRA_SCHEMA) as stream:
        return stream[f"{arm}/flux"][:], stream[f"{arm}/sigma"][:]


def read_flux(path: str | os.PathLike, arm: str, row: int) -> np.ndarray:
    """Normalised flux − 1 of one row of an arm, (L,) float16."""
    with open_shard(path, SPECTRA_SCHEMA) as stream:
        return stream[f"{arm}/flux"][row]


# --- mocks of the field, without noise ----------------------------------------------------------------------

FIELD_SCHEMA = "dioscuri/lrs_mocks/1"


def write_field_mocks(
    path: str | os.PathLike, sample: Mapping[str, np.ndarray], flux: np.ndarray, provenance: Mapping[str, Any]
) -> None:
    """Write `stars/<column>` (N,) and `flux` (N, L) float16, whole or not at all."""
    with atomic(path) as temporary, h5py.File(temporary, "w") as stream:
        stream.attrs["schema"] = FIELD_SCHEMA
        stream.attrs["provenance"] = json.dumps(dict(provenance), default=str)
        for name, values in sample.items():
            stream[f"stars/{name}"] = values
        stream["flux"] = flux


def read_field_mocks(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Columns and normalised flux − 1 (N, L) float16 of a file written by `write_field_mocks`."""
    with open_shard(path, FIELD_SCHEMA) as stream:
        return {name: values[:] for name, values in stream["stars"].items()}, stream["flux"][:]
