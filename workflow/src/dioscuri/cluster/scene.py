"""Paints stars on a detector whose PSF changes with position."""

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from dioscuri.psf.render import add_star
from dioscuri.stamps.mocks import Renderer

if TYPE_CHECKING:
    from dioscuri.psf.effective import Psf


class Scene:
    """Paints stars with a `Psf`: one for the whole detector, or a grid of positions (bilinear, constant beyond it).

    An image is linear in the PSF, so a star is the sum of the four members around it: no PSF is interpolated.
    """

    def __init__(self, psf: "Psf") -> None:
        renderer = Renderer(psf)
        self.psf = psf
        self.phases, self.n_samples = renderer.phases, renderer.n_samples
        if psf.n_members == 1:
            self._grid = None
            return
        if not {"x", "y"} <= set(psf.parameters):
            raise ValueError(f"scene: the {psf.n_members} members of the PSF have no positions; give one, or a grid")
        members = np.lexsort((psf.parameters["x"], psf.parameters["y"]))
        x_grid, y_grid = np.unique(psf.parameters["x"]), np.unique(psf.parameters["y"])
        if len(x_grid) * len(y_grid) != psf.n_members:
            raise ValueError(f"scene: {psf.n_members} PSFs do not form a grid of {len(x_grid)} × {len(y_grid)}")
        self._grid = x_grid, y_grid, members.reshape(len(y_grid), len(x_grid))

    def shares(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Members (S, C) and their shares (S, C), which sum to 1, in the PSF at `x`, `y` (S,) [px]; C is 1 or 4."""
        x, y = np.asarray(x, float), np.asarray(y, float)
        if self._grid is None:
            return np.zeros((len(x), 1), np.int64), np.ones((len(x), 1))
        x_grid, y_grid, members = self._grid
        (left, right, across), (low, high, up) = _between(x_grid, x), _between(y_grid, y)
        corners = np.stack([members[low, left], members[low, right], members[high, left], members[high, right]], 1)
        weights = np.stack([(1 - up) * (1 - across), (1 - up) * across, up * (1 - across), up * across], 1)
        return corners.astype(np.int64), weights

    def paint(self, image: np.ndarray, x: np.ndarray, y: np.ndarray, flux: np.ndarray) -> None:
        """Add stars of `flux` [e-] at `x`, `y` (S,) [px] to `image` (H, W) float64; pixels off the image are lost."""
        columns = [np.ascontiguousarray(values, float) for values in (x, y, flux)]
        members, shares = self.shares(columns[0], columns[1])
        paint(self.phases, self.n_samples, members, shares, columns[0], columns[1], columns[2], image)


def _between(grid: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The nodes below and above each value, and how far it is on the way from one to the other (0 … 1)."""
    if len(grid) == 1:
        zeros = np.zeros(len(value), int)
        return zeros, zeros, np.zeros(len(value))
    low = np.clip(np.searchsorted(grid, value, side="right") - 1, 0, len(grid) - 2)
    way = np.clip((value - grid[low]) / (grid[low + 1] - grid[low]), 0.0, 1.0)
    return low, low + 1, way


@njit(cache=True, nogil=True)
def paint(phases, n, members, shares, x, y, flux, image):
    """`Scene.paint` on plain arrays: members and shares (S, C) from `Scene.shares`."""
    for s in range(len(x)):
        for c in range(members.shape[1]):
            if flux[s] * shares[s, c] != 0.0:
                add_star(phases[members[s, c]], n, x[s], y[s], flux[s] * shares[s, c], image)
