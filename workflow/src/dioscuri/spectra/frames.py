"""Normalised spectra on an arm's grid seen from another velocity."""

import numpy as np
from numba import njit

from dioscuri.arms import C_KMS, Arm


def shifted(
    arm: Arm, flux: np.ndarray, sigma: np.ndarray | None, velocity: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """Spectra in the frame of stars that move with `velocity` (S,) [km/s] in the frame they are given in.

    `flux` normalised flux − 1 and its error `sigma` (or None), (S, L) on the arm's grid, come back in their own types.
    Interpolation is cubic, which keeps the noise as it is; what the shift brings in from beyond the ends is continuum,
    with the error of the last pixel. A velocity that is not finite leaves its spectrum alone.
    """
    pixel = (arm.wave_max - arm.wave_min) / (arm.n_pixels - 1)
    velocity = np.where(np.isfinite(velocity), velocity, 0.0)
    # λ → λ (1 + v/c) on the equidistant grid: a shift that grows along the arm.
    offset, stretch = arm.wave_min / pixel * velocity / C_KMS, 1 + velocity / C_KMS
    moved = np.empty(flux.shape, np.float32)
    _interpolate(np.asarray(flux, np.float32), offset, stretch, 0.0, moved)
    if sigma is None:
        return moved.astype(flux.dtype), None
    error = np.empty(flux.shape, np.float32)
    _interpolate(np.asarray(sigma, np.float32), offset, stretch, np.nan, error)
    return moved.astype(flux.dtype), error.astype(sigma.dtype)


@njit(cache=True, nogil=True, error_model="numpy")
def _interpolate(rows, offset, stretch, beyond, out):
    """Lagrange's cubic at pixels i · stretch + offset; `beyond` fills what lies outside (NaN: the nearest pixel)."""
    n = rows.shape[1]
    for s in range(len(rows)):
        row = rows[s]
        for i in range(n):
            place = i * stretch[s] + offset[s]
            left = int(np.floor(place))
            if place < 0 or place > n - 1:
                out[s, i] = (row[0] if place < 0 else row[n - 1]) if np.isnan(beyond) else beyond
                continue
            left = min(max(left, 1), n - 3)
            t = place - left
            out[s, i] = (
                row[left - 1] * (t * (t - 1) * (2 - t) / 6)
                + row[left] * ((t + 1) * (t - 1) * (t - 2) / 2)
                + row[left + 1] * (t * (t + 1) * (2 - t) / 2)
                + row[left + 2] * (t * (t + 1) * (t - 1) / 6)
            )
