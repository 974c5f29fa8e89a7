"""A grid of model spectra over (teff, logg, feh, afe): interpolated, holes masked, never extrapolated."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import h5py
import numpy as np
import torch
from numba import njit

from dioscuri import io
from dioscuri.arms import C_KMS, Arm

LIBRARY_SCHEMA = "dioscuri/library/1"
AXES = ("teff", "logg", "feh", "afe")
UNITS = {"teff": "K", "logg": "dex(cm/s2)", "feh": "dex", "afe": "dex"}
# The continuum is smooth: it is kept at every 128th pixel (9 Å at 5000 Å) and interpolated linearly in ln F
# (< 1e-4).
CONTINUUM_STRIDE = 128
# Mocks shift by ≤ 500 km/s (+ 5 σ of v1), rotate by ≤ 500 km/s and convolve with the LSF: a window reaches
# that far.
REACH_KMS = 1100.0


class LibraryRangeError(ValueError):
    """A label lies outside the library, or its interpolation would need a spectrum that the library lacks."""


def window_of(arm: Arm, reach_kms: float = REACH_KMS) -> tuple[float, float]:
    """The range [vacuum Å] that a library needs so that `arm` stays covered after shift and rotation."""
    return arm.wave_min * (1 - reach_kms / C_KMS), arm.wave_max * (1 + reach_kms / C_KMS)


def log_grid(wave_min: float, wave_max: float, step_kms: float) -> np.ndarray:
    """Wavelengths from `wave_min` to at least `wave_max` [Å], uniform in ln λ with a step in km/s, (L,)."""
    n_pixels = int(np.ceil(np.log(wave_max / wave_min) * C_KMS / step_kms)) + 1
    return wave_min * np.exp(np.arange(n_pixels) * step_kms / C_KMS)


@dataclass(frozen=True, eq=False)
class Window:
    """One wavelength window of a library of N nodes: ln F_λ of every node, and its continuum on coarse knots.

    `wave` (L,) vacuum Å, uniform in ln λ; `log_flux` (N, L) and `log_continuum` (N, K) float32, F in
    erg/s/cm²/Å.
    """

    wave: np.ndarray
    log_flux: torch.Tensor
    log_continuum: torch.Tensor

    @cached_property
    def _between(self) -> tuple[torch.Tensor, torch.Tensor]:
        """For every pixel, the knot to its left and the fraction of the way to the next one."""
        knots = continuum_knots(len(self.wave))
        pixels = np.arange(len(self.wave))
        left = np.clip(np.searchsorted(knots, pixels, side="right") - 1, 0, len(knots) - 2)
        fraction = (pixels - knots[left]) / (knots[left + 1] - knots[left])
        return torch.from_numpy(left), torch.from_numpy(fraction.astype(np.float32))

    def at_every_pixel(self, log_continuum: torch.Tensor) -> torch.Tensor:
        """The continuum from its values at the knots, ln F (S, K) → F (S, L)."""
        left, fraction = self._between
        # Not a matrix product: those sum in an order that depends on the number of rows.
        low, high = log_continuum.index_select(1, left), log_continuum.index_select(1, left + 1)
        return torch.exp(torch.lerp(low, high, fraction))


def continuum_knots(n_pixels: int) -> np.ndarray:
    """Pixels at which the continuum is kept, first and last included."""
    return np.unique(np.append(np.arange(0, n_pixels - 1, CONTINUUM_STRIDE), n_pixels - 1))


class SpectralLibrary:
    """Surface fluxes F_λ on a rectangular grid of labels, some nodes of which may be missing.

    `axes[name]` (n,) ascending node values of teff [K], logg, feh, afe; nodes are numbered with afe fastest.
    `windows[arm]` holds the spectra; `present` (N,) says which nodes exist; `resolution` is their resolving
    power.
    """

    def __init__(
        self,
        axes: Mapping[str, np.ndarray],
        resolution: float,
        windows: Mapping[str, Window],
        present: np.ndarray,
        provenance: Mapping[str, Any],
    ) -> None:
        self.axes = {name: np.asarray(axes[name], float) for name in AXES}
        for name, values in self.axes.items():
            if values.ndim != 1 or not len(values) or np.any(np.diff(values) <= 0):
                raise ValueError(f"library axis {name}: expected ascending values, found {values}")
        self.resolution = float(resolution)
        self.windows = dict(windows)
        self.present = np.asarray(present, bool)
        self.provenance = dict(provenance)

    @property
    def limits(self) -> dict[str, tuple[float, float]]:
        """Lowest and highest node of each axis."""
        return {name: (float(values[0]), float(values[-1])) for name, values in self.axes.items()}

    def grid(self, arm_name: str) -> np.ndarray:
        """Wavelengths of a window, (L,) vacuum Å, uniform in ln λ."""
        return self._window(arm_name).wave

    def covered(self, labels: np.ndarray) -> np.ndarray:
        """Which of `labels` (S, 4) can be interpolated, (S,) bool: within limits, no hole in the stencil."""
        labels = _as_labels(labels)
        inside = np.ones(len(labels), bool)
        for column, (low, high) in enumerate(self.limits.values()):
            inside &= (labels[:, column] >= low) & (labels[:, column] <= high)
        if inside.any() and not self.present.all():
            nodes, weights = self._stencil(labels[inside])
            inside[inside] = ((weights == 0) | self.present[nodes]).all(1)
        return inside

    def flux(self, arm_name: str, labels: np.ndarray) -> torch.Tensor:
        """Surface flux F_λ [erg/s/cm²/Å] of `labels` (S, 4) = (teff, logg, feh, afe): (S, L) float32.

        Quadratic Lagrange interpolation of ln F along every axis. Raises LibraryRangeError instead of
        extrapolating.
        """
        return torch.exp(self._interpolate(self._window(arm_name).log_flux, labels))

    def continuum(self, arm_name: str, labels: np.ndarray) -> torch.Tensor:
        """The continuum that belongs to `flux`, (S, L) float32."""
        window = self._window(arm_name)
        return window.at_every_pixel(self._interpolate(window.log_continuum, labels))

    def save(self, path: str | os.PathLike) -> None:
        """Write one HDF5 file, whole or not at all."""
        with io.atomic(path) as temporary, h5py.File(temporary, "w") as stream:
            stream.attrs["schema"] = LIBRARY_SCHEMA
            stream.attrs["provenance"] = json.dumps(self.provenance)
            stream.attrs["resolution"] = self.resolution
            for name, values in self.axes.items():
                stream[f"axes/{name}"] = values
                stream[f"axes/{name}"].attrs["unit"] = UNITS[name]
            stream["present"] = self.present
            for name, window in self.windows.items():
                stream[f"windows/{name}/wave"] = window.wave
                stream[f"windows/{name}/wave"].attrs["unit"] = "Angstrom (vacuum)"
                stream[f"windows/{name}/log_flux"] = window.log_flux.numpy()
                stream[f"windows/{name}/log_flux"].attrs["unit"] = "ln(erg/s/cm2/Angstrom)"
                stream[f"windows/{name}/log_continuum"] = window.log_continuum.numpy()

    @classmethod
    def load(cls, path: str | os.PathLike) -> "SpectralLibrary":
        """Open a saved library. Spectra are mapped, not read: processes of one machine share their memory."""
        with io.open_shard(path, LIBRARY_SCHEMA) as stream:
            windows = {
                name: Window(group["wave"][:], _mapped(path, group["log_flux"]), _mapped(path, group["log_continuum"]))
                for name, group in stream["windows"].items()
            }
            axes = {name: stream[f"axes/{name}"][:] for name in AXES}
            provenance = json.loads(stream.attrs["provenance"])
            return cls(axes, stream.attrs["resolution"], windows, stream["present"][:], provenance)

    def _window(self, arm_name: str) -> Window:
        if arm_name not in self.windows:
            known = ", ".join(self.windows)
            raise ValueError(f"library has no window '{arm_name}', only {known}; build it again with that arm")
        return self.windows[arm_name]

    def _interpolate(self, table: torch.Tensor, labels: np.ndarray) -> torch.Tensor:
        labels = _as_labels(labels)
        self._require(labels)
        nodes, weights = self._stencil(labels)
        width = -(-nodes.shape[1] // 3) * 3  # the kernel wants a multiple of three: the rest weighs nothing
        padding = ((0, 0), (0, width - nodes.shape[1]))
        nodes, weights = np.pad(nodes, padding), np.pad(weights.astype(np.float32), padding)
        sums = np.empty((len(labels), table.shape[1]), np.float32)
        _sum_weighted_rows(table.numpy(), nodes, weights, np.argsort(nodes[:, 0], kind="stable"), sums)
        return torch.from_numpy(sums)

    def _stencil(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Nodes and weights (S, ≤ 81) of the tensor-product Lagrange stencil: three nodes per axis around the
        label.

        An axis of two nodes is interpolated linearly, an axis of one is constant.
        """
        nodes = np.zeros((len(labels), 1), np.int64)
        weights = np.ones((len(labels), 1))
        for column, values in enumerate(self.axes.values()):
            along, weight = _lagrange(values, labels[:, column])
            nodes = (nodes[:, :, None] * len(values) + along[:, None, :]).reshape(len(labels), -1)
            weights = (weights[:, :, None] * weight[:, None, :]).reshape(len(labels), -1)
        return nodes, weights

    def _require(self, labels: np.ndarray) -> None:
        covered = self.covered(labels)
        if covered.all():
            return
        first = int(np.flatnonzero(~covered)[0])
        missing = f"{int((~covered).sum())} of {len(labels)} spectra are not covered"
        for name, value in zip(AXES, labels[first]):
            low, high = self.limits[name]
            if not low <= value <= high:
                raise LibraryRangeError(
                    f"{name} = {value:g} lies outside the library, which spans {low:g} to {high:g} "
                    f"{UNITS[name]} and is never extrapolated ({missing})"
                )
        place = ", ".join(f"{name} = {value:g}" for name, value in zip(AXES, labels[first]))
        raise LibraryRangeError(f"the library has a hole near {place} ({missing}); select with `covered` first")


def _as_labels(labels: np.ndarray) -> np.ndarray:
    labels = np.atleast_2d(np.asarray(labels, float))
    if labels.shape[1] != len(AXES):
        raise ValueError(f"expected labels of shape (S, {len(AXES)}) = {AXES}, found {labels.shape}")
    return labels


def _lagrange(values: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Node indices and Lagrange weights (S, ≤ 3) of the nodes nearest to `at` (S,) on an ascending axis."""
    size = min(3, len(values))
    middles = 0.5 * (values[1:] + values[:-1])
    nearest = np.searchsorted(middles, at) if size == 3 else np.zeros(len(at), np.int64)
    first = np.clip(nearest - 1, 0, len(values) - size)
    index = first[:, None] + np.arange(size)
    x = values[index]
    weights = np.ones_like(x)
    for i in range(size):
        for j in range(size):
            if i != j:
                weights[:, i] *= (at - x[:, j]) / (x[:, i] - x[:, j])
    return index, weights


@njit(cache=True, nogil=True)
def _sum_weighted_rows(table, nodes, weights, order, sums):  # type: ignore[no-untyped-def]
    """sums (S, L) = Σ_k weights (S, K) · table[nodes (S, K)]; K a multiple of 3; spectra in `order` (S,).

    Three rows at a time, because loading and storing the sum costs as much as a row; neighbours in the grid
    one after the other, because they share rows that are then still in the cache.
    """
    for spectrum in order:
        total = sums[spectrum]
        total[:] = 0
        for k in range(0, nodes.shape[1], 3):
            first, second, third = nodes[spectrum, k], nodes[spectrum, k + 1], nodes[spectrum, k + 2]
            w1, w2, w3 = weights[spectrum, k], weights[spectrum, k + 1], weights[spectrum, k + 2]
            for i in range(len(total)):
                total[i] += w1 * table[first, i] + w2 * table[second, i] + w3 * table[third, i]


def _mapped(path: str | os.PathLike, dataset: h5py.Dataset) -> torch.Tensor:
    """A contiguous dataset as a tensor over the file's own pages (copy on write: the file cannot be
    changed)."""
    offset = dataset.id.get_offset()
    if offset is None:
        return torch.from_numpy(dataset[:])
    return torch.from_numpy(np.memmap(path, dataset.dtype, mode="c", offset=offset, shape=dataset.shape))
