"""Whitened principal components of LRS spectra: forty numbers that hold what stands above the noise."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from dioscuri import io
from dioscuri.reading import reading
from dioscuri.spectra import lrs_frame

SCHEMA = "dioscuri/components/1"
N_COMPONENTS = 40


@dataclass(frozen=True)
class Components:
    """x = (y · weight − mean) @ vectors of normalised spectra y (S, L): K numbers with white noise of 1 / S/N_g.

    `weight` (L,) 1/noise at S/N_g = 1, 0 where a pixel takes no part; `mean` (L,), `vectors` (L, K); `systematics`
    (K, K) covariance of what nights differ by; `width` [Å] of the smoothing of the normalisation.
    """

    weight: np.ndarray
    mean: np.ndarray
    vectors: np.ndarray
    systematics: np.ndarray
    width: float

    def project(self, spectra: np.ndarray, good: np.ndarray | None = None) -> np.ndarray:
        """Components (S, K) float32 of normalised flux − 1 (S, L); pixels that are not `good` count as the mean."""
        scaled = spectra * self.weight - self.mean
        if good is not None:
            scaled = np.where(good, scaled, 0.0)
        return (scaled @ self.vectors).astype(np.float32)

    def outside(self, spectra: np.ndarray, good: np.ndarray) -> np.ndarray:
        """Rms (S,) per pixel, in units of the noise at S/N_g = 1, of what the components do not hold."""
        scaled = np.where(good & (self.weight > 0), spectra * self.weight - self.mean, 0.0)
        rest = scaled - (scaled @ self.vectors) @ self.vectors.T
        used = (good & (self.weight > 0)).sum(1)
        return np.sqrt((np.where(good & (self.weight > 0), rest, 0.0) ** 2).sum(1) / np.maximum(used, 1))

    def save(self, path: str | os.PathLike, provenance: Mapping[str, Any] | None = None) -> None:
        """Write one HDF5 file, whole or not at all."""
        with io.atomic(path) as temporary, h5py.File(temporary, "w") as stream:
            stream.attrs["schema"], stream.attrs["width"] = SCHEMA, self.width
            stream.attrs["provenance"] = json.dumps(dict(provenance or {}), default=str)
            for name in ("weight", "mean", "vectors", "systematics"):
                stream[name] = np.asarray(getattr(self, name), np.float32)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Components":
        """Read a file written by `save`; another kind is an error that names it."""
        with reading(path, "components of `make_lrs_models`"), io.open_shard(path, SCHEMA) as stream:
            names = ("weight", "mean", "vectors", "systematics")
            weight, mean, vectors, systematics = (stream[name][:] for name in names)
            return cls(weight, mean, vectors, systematics, float(stream.attrs["width"]))


def fit_components(
    spectra: np.ndarray,
    width: float = lrs_frame.WIDTH,
    n_components: int = N_COMPONENTS,
    pixels: np.ndarray | None = None,
    seed: int = 0,
) -> Components:
    """The leading components of noise-free normalised spectra (S, L) of the training population.

    `pixels` (L,) bool that take part (None: `lrs_frame.kept()`).
    """
    random = np.random.default_rng(seed)
    pixels = lrs_frame.kept() if pixels is None else pixels
    weight = np.where(pixels, 1.0 / lrs_frame.noise_curve(), 0.0).astype(np.float32)
    scaled = spectra * weight
    mean = scaled.mean(0)
    vectors = _leading(scaled - mean, n_components, random)
    nights = lrs_frame.normalised(lrs_frame.systematics(random, 3000), width) * weight @ vectors
    return Components(weight, mean, vectors, nights.T @ nights / len(nights), float(width))


def _leading(centred: np.ndarray, k: int, random: np.random.Generator, passes: int = 4) -> np.ndarray:
    """The k leading right singular vectors (L, k), by subspace iteration (Halko et al. 2011): 2 L k S flops a pass."""
    basis = random.standard_normal((centred.shape[1], k + 20)).astype(np.float32)
    for _ in range(passes):
        basis, _ = np.linalg.qr(centred.T @ (centred @ basis))
    _, _, rotation = np.linalg.svd(centred @ basis, full_matrices=False)
    return (basis @ rotation.T[:, :k]).astype(np.float32)
