"""Mock shards of one arm as one set of labelled spectra, gathered in whole batches."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from os import PathLike

import numpy as np
import torch
from torch import Tensor

from dioscuri.io import open_shard
from dioscuri.shards import FLUX_DTYPE, MOCK_SCHEMA

KINDS = ("single", "binary")
GIB = 1 << 30


class PairedSpectra:
    """The spectra of N pairs from mock shards: rows 0…N−1 are singles, N…2N−1 the binaries of the same pairs.

    Shards, hence whole pairs, are what a split is made of: the two spectra of a pair never part. Spectra are
    kept in memory as one float16 tensor, or read through memory maps when they exceed `memory_limit` [bytes].
    """

    def __init__(self, shards: Sequence[str | PathLike], arm: str, memory_limit: float = 64 * GIB):
        if not shards:
            raise ValueError(f"no mock shards given for the {arm} arm")
        self.arm = arm
        self.sizes, self.n_pixels = _survey_shards(shards, arm)
        self._shards = list(shards)
        self.n_pairs = sum(self.sizes)
        self._flux: Tensor | None = None
        self._maps: list[np.ndarray] = []
        if 2 * self.n_pairs * self.n_pixels * np.dtype(FLUX_DTYPE).itemsize <= memory_limit:
            self._flux = self._read(shards)
        else:
            self._maps = [_memory_map(path, f"{arm}/{kind}") for kind in KINDS for path in shards]
            self._ends = np.cumsum([len(rows) for rows in self._maps])

    def __len__(self) -> int:
        return 2 * self.n_pairs

    def gather(self, index: np.ndarray) -> tuple[Tensor, Tensor]:
        """Spectra (B, L) float16 and classes (B,) float32 (1 = binary) of rows `index` (B,) in [0, 2N)."""
        if self._flux is None:
            rows = torch.from_numpy(self._mapped_rows(index))
        else:
            rows = self._flux[torch.from_numpy(index).to(self._flux.device)]
        return rows, torch.from_numpy((index >= self.n_pairs).astype(np.float32)).to(rows.device)

    def noisier(self, rows: Tensor, index: np.ndarray, share: float, generator: torch.Generator) -> Tensor:
        """Gathered `rows` (B, L), a `share` of them with the noise of their own S/N once more, as eq. 9 adds it."""
        sigma = torch.from_numpy(self.sigma[index % self.n_pairs])[:, None]
        drawn = torch.rand(len(index), 1, generator=generator) < share
        noise = torch.randn(rows.shape, generator=generator) * (sigma * drawn)
        return rows.float() + noise.to(rows.device)

    @cached_property
    def sigma(self) -> np.ndarray:
        """Error of a pixel (N,) float32 of each pair's spectra, by their S/N."""
        parts = []
        for path in self._shards:
            with open_shard(path, MOCK_SCHEMA) as stream:
                parts.append(1 / stream["labels/snr"][:])
        return np.concatenate(parts).astype(np.float32)

    def to(self, device: torch.device | str) -> "PairedSpectra":
        """Move the spectra to a device, if they are in memory; memory-mapped ones stay on disk."""
        if self._flux is not None:
            self._flux = self._flux.to(device)
        return self

    @property
    def n_bytes(self) -> int:
        """Bytes held in memory."""
        return 0 if self._flux is None else self._flux.numel() * self._flux.element_size()

    def _read(self, shards: Sequence[str | PathLike]) -> Tensor:
        flux = np.empty((len(KINDS), self.n_pairs, self.n_pixels), FLUX_DTYPE)
        first = 0
        for path, size in zip(shards, self.sizes):
            with open_shard(path, MOCK_SCHEMA) as stream:
                for kind, block in zip(KINDS, flux):
                    rows = block[first : first + size]
                    stream[f"{self.arm}/{kind}"].read_direct(rows)
                    if not np.isfinite(rows).all():
                        raise ValueError(f"{path}: {self.arm}/{kind} has non-finite fluxes; make these mocks again")
            first += size
        return torch.from_numpy(flux.reshape(2 * self.n_pairs, self.n_pixels))

    def _mapped_rows(self, index: np.ndarray) -> np.ndarray:
        rows = np.empty((len(index), self.n_pixels), FLUX_DTYPE)
        which = np.searchsorted(self._ends, index, side="right")
        for part in np.unique(which):
            here = which == part
            rows[here] = self._maps[part][index[here] - (self._ends[part] - len(self._maps[part]))]
        return rows


class Batches:
    """Batches of a `PairedSpectra` in a given order of rows; the incomplete last one is kept or dropped.

    A share `noisy` of the spectra gets noise once more, of a generator of its own (`noise_seed`).
    """

    def __init__(
        self,
        spectra: PairedSpectra,
        order: np.ndarray,
        batch: int,
        keep_last: bool,
        noisy: float = 0.0,
        noise_seed: int = 0,
    ):
        self.spectra, self.order, self.batch = spectra, order, min(batch, len(order))
        self.noisy, self.noise_seed = noisy, noise_seed
        self.n_batches = -(-len(order) // self.batch) if keep_last else len(order) // self.batch

    def __len__(self) -> int:
        return self.n_batches

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(self.noise_seed)
        for first in range(0, self.n_batches * self.batch, self.batch):
            index = self.order[first : first + self.batch]
            rows, y = self.spectra.gather(index)
            yield (self.spectra.noisier(rows, index, self.noisy, generator) if self.noisy else rows), y


def epoch_order(n: int, seed: int, epoch: int) -> np.ndarray:
    """The order of n rows in an epoch, (n,): of (seed, epoch) alone, so that resuming finds it again."""
    return np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(n)


def _survey_shards(shards: Sequence[str | PathLike], arm: str) -> tuple[list[int], int]:
    sizes, lengths = [], {}
    for path in shards:
        with open_shard(path, MOCK_SCHEMA) as stream:
            if arm not in stream:
                arms = ", ".join(sorted(set(stream) - {"labels"})) or "none"
                raise ValueError(f"{path}: no '{arm}' arm in this shard; arms found: {arms}")
            n_pairs, n_pixels = stream[f"{arm}/{KINDS[0]}"].shape
        sizes.append(n_pairs)
        lengths[n_pixels] = path
    if len(lengths) > 1:
        found = "; ".join(f"{n_pixels} in {path}" for n_pixels, path in lengths.items())
        raise ValueError(f"mock shards of the {arm} arm differ in their number of pixels: {found}")
    return sizes, next(iter(lengths))


def _memory_map(path: str | PathLike, name: str) -> np.ndarray:
    # Mock shards are contiguous and uncompressed, so rows can be read past HDF5: ×3 at random access.
    with open_shard(path, MOCK_SCHEMA) as stream:
        dataset = stream[name]
        return np.memmap(path, dataset.dtype, "r", dataset.id.get_offset(), dataset.shape)
