"""Stamps of catalogued stars, cut from a frame with all the others subtracted."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from dioscuri.cluster.frames import Frame
from dioscuri.cluster.photometry import variance_floor
from dioscuri.cluster.scene import Scene, paint
from dioscuri.psf.effective import Psf
from dioscuri.stamps.mocks import SIZE

OFFSET = 6  # px from a stamp's corner to the pixel below the star, which then lies between 6 and 7
NEIGHBOUR_ERROR = 0.02  # of a subtracted neighbour's light: what the PSF leaves of it


@dataclass(frozen=True)
class Cutouts:
    """S stamps: `stamps` (S, SIZE, SIZE) [e-] without sky and neighbours, `variance` [e²] of their background.

    `variance` has the sky, the readout and the neighbours' photons, not the star's own, and is infinite in bad
    pixels and beyond the frame. `column`, `row` (S,): pixel of the frame at the stamp's corner.
    """

    stamps: np.ndarray
    variance: np.ndarray
    column: np.ndarray
    row: np.ndarray

    def rows(self, chosen: np.ndarray) -> "Cutouts":
        """Some of them."""
        return Cutouts(self.stamps[chosen], self.variance[chosen], self.column[chosen], self.row[chosen])


def cut_stamps(frame: Frame, psf: Psf, stars: pd.DataFrame, rows: np.ndarray) -> Cutouts:
    """Stamps of the `rows` (S,) of `stars`, all fitted stars of the frame (x, y, flux, background).

    The sky of a stamp is the one that its star was measured with.
    """
    scene = Scene(psf)
    x, y, flux, sky = (stars[name].to_numpy(float) for name in ("x", "y", "flux", "background"))
    flux = np.where(np.isfinite(flux), flux, 0.0)
    model = np.zeros(frame.shape)
    scene.paint(model, x, y, flux)
    science = np.where(np.isfinite(frame.science), frame.science, 0.0)
    floor = variance_floor(frame, np.zeros(frame.shape))
    # Beyond the frame nothing is known.
    science, floor, model = (
        np.pad(plane, SIZE, constant_values=value) for plane, value in ((science, 0.0), (floor, np.inf), (model, 0.0))
    )
    column, row = (np.floor(place[rows]).astype(int) - OFFSET for place in (x, y))
    members, shares = scene.shares(x[rows], y[rows])
    stamps, variance = np.empty((len(rows), SIZE, SIZE)), np.empty((len(rows), SIZE, SIZE))
    for k, star in enumerate(rows):
        own = np.zeros((SIZE, SIZE))
        one = slice(k, k + 1)
        at = np.array([x[star] - column[k]]), np.array([y[star] - row[k]])
        paint(scene.phases, scene.n_samples, members[one], shares[one], at[0], at[1], flux[star : star + 1], own)
        here = np.s_[row[k] + SIZE : row[k] + 2 * SIZE, column[k] + SIZE : column[k] + 2 * SIZE]
        others = model[here] - own
        stamps[k] = science[here] - sky[star] - others
        light = np.maximum(others, 0.0)
        variance[k] = floor[here] + max(sky[star], 0.0) + light + (NEIGHBOUR_ERROR * light) ** 2
    return Cutouts(stamps, variance, column, row)
