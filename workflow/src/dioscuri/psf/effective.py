"""Effective PSFs: what they are, where on a detector, and their files."""

import dataclasses
import json
import os
import zipfile
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.ndimage import map_coordinates

from dioscuri.io import atomic
from dioscuri.reading import reading

PSF_SCHEMA = "dioscuri/psf/1"
DEFAULT_OVERSAMPLING = 4
DEFAULT_SIZE = 41  # px: what stars in a field are painted with; a 14×14 stamp needs less


@dataclass(frozen=True)
class Psf:
    """K effective PSFs: optics, jitter and pixel in one.

    samples: (K, n, n), n odd, rows along y; the star is at sample n // 2. A value is the share of the star's
    flux that falls into a pixel whose centre has that offset from the star, so the samples of one PSF sum to
    about oversampling². oversampling: samples a pixel. pixel_scale: arcsec a pixel. parameters: name → (K,),
    as jitter [arcsec], wfe [nm rms], or x, y [px], the positions on the detector of a grid.
    """

    samples: np.ndarray
    oversampling: int
    pixel_scale: float
    parameters: dict[str, np.ndarray] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = self.samples.shape
        if len(shape) != 3 or shape[1] != shape[2] or shape[1] % 2 == 0 or not shape[0]:
            raise ValueError(f"PSF: samples have the shape {shape}; accepted: (members, n, n) with n odd")
        if not np.isfinite(self.samples).all():
            raise ValueError("PSF: some samples are not finite")
        if self.oversampling < 1 or not self.pixel_scale > 0:
            raise ValueError(
                f"PSF: oversampling {self.oversampling}, pixel scale {self.pixel_scale}; accepted: an integer of "
                "1 or more, and arcsec above 0"
            )
        for name, values in self.parameters.items():
            if np.shape(values) != shape[:1]:
                raise ValueError(f"PSF: parameter '{name}' has the shape {np.shape(values)}, expected {shape[:1]}")

    @property
    def n_members(self) -> int:
        """How many PSFs these are, K."""
        return len(self.samples)

    @property
    def centre(self) -> int:
        """The sample on which the star is, along both axes."""
        return self.samples.shape[1] // 2

    def member(self, k: int) -> "Psf":
        """The k-th PSF alone."""
        if not 0 <= k < self.n_members:
            raise ValueError(f"PSF: there is no member {k}; accepted: 0 to {self.n_members - 1}")
        chosen = {name: values[k : k + 1] for name, values in self.parameters.items()}
        return dataclasses.replace(self, samples=self.samples[k : k + 1], parameters=chosen)

    def where(self, **values: float) -> "Psf":
        """The members whose parameters have these values; a parameter that they do not have selects nothing out.

        A ValueError where none is left.
        """
        keep = np.ones(self.n_members, bool)
        for name, value in values.items():
            if name in self.parameters:
                keep &= self.parameters[name] == value
        if not keep.any():
            raise ValueError(
                f"PSF: there is none of {', '.join(f'{name} {value:g}' for name, value in values.items())}"
            )
        chosen = {name: column[keep] for name, column in self.parameters.items()}
        return dataclasses.replace(self, samples=self.samples[keep], parameters=chosen)

    def at(self, x: float, y: float) -> "Psf":
        """The PSF at a position of the detector [px]: bilinear over the grid, that of the border beyond it.

        One PSF alone is the same everywhere. A bank of PSFs that knows no positions is a ValueError.
        """
        if self.n_members == 1:
            return self
        if not {"x", "y"} <= set(self.parameters):
            raise ValueError(f"PSF: the {self.n_members} members have no positions; choose one by member(k)")
        if len(np.unique(self.parameters.get("chip", 0))) > 1:
            raise ValueError("PSF: a grid over several chips; choose one by where(chip=...)")
        x_grid, y_grid = np.unique(self.parameters["x"]), np.unique(self.parameters["y"])
        if len(x_grid) * len(y_grid) != self.n_members:
            raise ValueError(f"PSF: {self.n_members} positions form no grid of {len(x_grid)} x {len(y_grid)}")
        weights = np.zeros((len(y_grid), len(x_grid)))
        for i, share_y in _neighbours(y_grid, y):
            for j, share_x in _neighbours(x_grid, x):
                weights[i, j] += share_y * share_x
        order = np.lexsort((self.parameters["x"], self.parameters["y"]))
        by_member = np.empty(self.n_members)
        by_member[order] = weights.ravel()
        mixed = {name: np.array([by_member @ values]) for name, values in self.parameters.items()}
        mixed |= {"x": np.array([float(x)]), "y": np.array([float(y)])}
        samples = np.tensordot(by_member, self.samples, 1)[None]
        return dataclasses.replace(self, samples=samples, parameters=mixed)

    def fwhm(self, k: int = 0) -> float:
        """Full width at half maximum of member k, pixel included: of the circle of equal area [arcsec]."""
        image = self.samples[k]
        half = image.max() / 2
        width = np.sqrt((image > half).sum())  # samples; one coarse look says how far to look closely
        offsets = np.linspace(-2 * width, 2 * width, 801)
        rows, columns = np.meshgrid(offsets + self.centre, offsets + self.centre, indexing="ij")
        close = map_coordinates(image, [rows, columns], order=3, mode="nearest")
        area = (close > close.max() / 2).sum() * (offsets[1] - offsets[0]) ** 2
        return float(2 * np.sqrt(area / np.pi) / self.oversampling * self.pixel_scale)

    def enclosed(self, size: int, k: int = 0) -> float:
        """Share of the flux of member k within size × size px around a star at their centre."""
        offsets = (np.arange(size) - (size - 1) / 2) * self.oversampling + self.centre
        if offsets[0] < 0:
            raise ValueError(f"PSF: {size} px are more than its {self.samples.shape[1] / self.oversampling:g} px")
        rows, columns = np.meshgrid(offsets, offsets, indexing="ij")
        return float(map_coordinates(self.samples[k], [rows, columns], order=3, mode="mirror").sum())

    def save(self, path: str | os.PathLike) -> None:
        """Write the PSFs as one .npz, whole or not at all."""
        about = {
            "schema": PSF_SCHEMA,
            "oversampling": int(self.oversampling),
            "pixel_scale": float(self.pixel_scale),
            "provenance": self.provenance,
        }
        arrays: dict[str, Any] = {f"parameters/{name}": values for name, values in self.parameters.items()}
        with atomic(path) as temporary, open(temporary, "wb") as stream:
            np.savez(stream, samples=self.samples, about=np.array(json.dumps(about)), **arrays)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Psf":
        """Read what `save` wrote; any other file is a ValueError."""
        with reading(path, f"PSFs ('{PSF_SCHEMA}') as .npz; make it again"):
            if not zipfile.is_zipfile(path):
                raise ValueError("not a .npz archive, or one cut short")
            return cls._load(path)

    @classmethod
    def _load(cls, path: str | os.PathLike) -> "Psf":
        with np.load(path, allow_pickle=False) as stored:
            about = json.loads(str(stored["about"]))
            if about.get("schema") != PSF_SCHEMA:
                raise ValueError(f"schema '{about.get('schema')}'")
            names = [name for name in stored.files if name.startswith("parameters/")]
            return cls(
                stored["samples"],
                about["oversampling"],
                about["pixel_scale"],
                {name.partition("/")[2]: stored[name] for name in names},
                about["provenance"],
            )


def _neighbours(grid: np.ndarray, value: float) -> list[tuple[int, float]]:
    """The nodes around a value, each with its weight in linear interpolation."""
    if len(grid) == 1:
        return [(0, 1.0)]
    value = min(max(value, grid[0]), grid[-1])
    low = min(int(np.searchsorted(grid, value, side="right")) - 1, len(grid) - 2)
    share = (value - grid[low]) / (grid[low + 1] - grid[low])
    return [(low, 1 - share), (low + 1, share)]
