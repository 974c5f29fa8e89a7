"""The training set of an epoch: fixed files of stamps, or stamps that no epoch has seen before."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dioscuri.io import read_provenance
from dioscuri.stamps.channels import make_channels
from dioscuri.stamps.mocks import Law, Noise, Renderer, draw_sources, make_stamps, read_stamps

if TYPE_CHECKING:
    from dioscuri.psf.effective import Psf

_BATCH = 4096  # stamps made at a time


@dataclass(frozen=True)
class Observer:
    """How stamps are looked at: the rendering, and the PSF and background noise that an observer assumes.

    renderer: the assumed PSFs, None for renderings that need none. variance: of the background [e²]. assumed: the
    renderer's member that is taken for each member of the bank that stamps are made with; None: always the first.
    """

    rendering: str
    variance: float = 0.0
    renderer: Renderer | None = None
    assumed: np.ndarray | None = None

    @classmethod
    def of(cls, rendering: str, variance: float, nominal: "Psf", bank: "Psf") -> "Observer":
        """One who knows the places of a bank (parameter `assumed`), or takes all its members for the nominal PSF."""
        if np.any(bank.parameters.get("assumed", 0)):
            return cls(rendering, variance, Renderer(bank), bank.parameters["assumed"].astype(int))
        return cls(rendering, variance, Renderer(nominal))

    def channels(self, stamps: np.ndarray, member: np.ndarray | int = 0) -> np.ndarray:
        """Channels (B, C, 14, 14) float32 of stamps (B, 14, 14) [e-], made with the `member` (B,) of a bank."""
        taken = 0 if self.assumed is None else self.assumed[member]
        return make_channels(stamps, self.rendering, variance=self.variance, renderer=self.renderer, member=taken)


class FreshStamps:
    """Every epoch new stamps of one population; what an epoch holds depends on (seed, epoch) alone.

    `bank`: renderer of the PSFs that the stamps are made with, used equally; the observer need not know them.
    """

    def __init__(self, size: int, law: Law, bank: Renderer, noise: Noise, observer: Observer, seed: int):
        self.size, self.law, self.bank, self.noise = size, law, bank, noise
        self.observer, self.seed = observer, seed

    def __call__(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Channels (N, C, 14, 14) float32 and classes (N,) (True = binary) of an epoch, counted from 0."""
        parts = [
            self._part(epoch * self.size + first, min(_BATCH, self.size - first))
            for first in range(0, self.size, _BATCH)
        ]
        return np.concatenate([channels for channels, _ in parts]), np.concatenate([classes for _, classes in parts])

    def _part(self, start: int, n: int) -> tuple[np.ndarray, np.ndarray]:
        sources = draw_sources(n, self.seed, self.law, noise=self.noise, n_members=self.bank.n_members, start=start)
        stamps = make_stamps(sources, self.bank, self.noise, self.seed)
        return self.observer.channels(stamps, sources["member"]), sources["is_binary"]

    @property
    def description(self) -> dict[str, Any]:
        """What the epochs are made of, for model.json."""
        return {
            "kind": "fresh",
            "size": self.size,
            "seed": self.seed,
            "law": asdict(self.law),
            "noise": asdict(self.noise),
            "members": self.bank.n_members,
        }


class StoredStamps:
    """The stamps of files (`stamps.write_stamps`), the same in every epoch, as in Wu et al. (2023, §2.2)."""

    def __init__(self, paths: Sequence[str | os.PathLike], observer: Observer):
        if not paths:
            raise ValueError("no files of stamps given")
        read = [read_stamps(path) for path in paths]
        self._channels = np.concatenate([observer.channels(stamps, labels["member"]) for stamps, labels in read])
        self._classes = np.concatenate([labels["is_binary"] for _, labels in read])
        self._origins = [read_provenance(path) for path in paths]
        self.size = len(self._classes)

    def __call__(self, epoch: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Channels (N, C, 14, 14) float32 and classes (N,) (True = binary)."""
        return self._channels, self._classes

    @property
    def description(self) -> dict[str, Any]:
        """Where the stamps come from, for model.json."""
        return {"kind": "stored", "size": self.size, "mocks": self._origins}
