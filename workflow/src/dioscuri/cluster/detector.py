"""What a CCD makes of an image: photon and readout noise, saturation with bleeding, cosmic rays, defects, flags."""

from dataclasses import dataclass

import numpy as np
from numba import njit

from dioscuri.cluster.frames import DataQuality

_THRESHOLD = 5.0  # σ of the sky: a pixel with more of a cosmic ray's charge is one that a pipeline can flag


@dataclass(frozen=True)
class Detector:
    """A WFC3/UVIS-like CCD. Rates follow the instrument handbook; zero switches an effect off.

    read_noise [e-]; full_well [e-], above which charge runs along the column; cosmic_rays: hits per pixel and
    second; cosmic_ray_charge [e-]: median of a hit; cosmic_rays_flagged: share of the hits that the DQ array
    knows (bit 4096), as after AstroDrizzle; hot_pixels: share of pixels (bit 16); bad_pixels: share (bit 4);
    bad_columns per chip (bit 4).
    """

    read_noise: float = 3.1
    full_well: float = 72_000.0
    cosmic_rays: float = 3.0e-6
    cosmic_ray_charge: float = 1500.0
    cosmic_rays_flagged: float = 0.95
    hot_pixels: float = 5e-4
    bad_pixels: float = 1e-4
    bad_columns: int = 1


def expose(
    expected: np.ndarray, exposure_time: float, detector: Detector, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(science, error, dq), (H, W) each, of a chip on which `expected` (H, W) electrons fall, background included.

    Like the pipeline's, `error` knows the counted electrons, not the expected ones: √(max(science, 0) + read_noise²).
    """
    counts = rng.poisson(np.maximum(expected, 0.0)).astype(float)
    dq = np.zeros(expected.shape, np.int32)
    _defects(counts, dq, detector, rng)
    _cosmic_rays(counts, dq, exposure_time, detector, np.sqrt(np.median(expected) + detector.read_noise**2), rng)
    full = np.zeros(expected.shape, np.bool_)
    bleed(counts, float(detector.full_well), full)
    dq[full] |= DataQuality.FULL_WELL
    science = counts + rng.normal(0.0, detector.read_noise, counts.shape)
    error = np.sqrt(np.maximum(science, 0.0) + max(detector.read_noise, 1e-3) ** 2)
    return science.astype(np.float32), error.astype(np.float32), dq


def _defects(counts: np.ndarray, dq: np.ndarray, detector: Detector, rng: np.random.Generator) -> None:
    """Hot pixels, dead pixels and dead columns, changed in place."""
    height, width = counts.shape
    hot = rng.random(counts.shape) < detector.hot_pixels
    counts[hot] += rng.exponential(300.0, int(hot.sum()))
    dq[hot] |= DataQuality.HOT
    dead = rng.random(counts.shape) < detector.bad_pixels
    for column in rng.integers(0, width, detector.bad_columns):
        dead[rng.integers(0, height) :, column] = True  # from a trap to the end of the column
    counts[dead] *= 0.3
    dq[dead] |= DataQuality.BAD_PIXEL


def _cosmic_rays(
    counts: np.ndarray, dq: np.ndarray, exposure_time: float, detector: Detector, sky: float, rng: np.random.Generator
) -> None:
    """Straight tracks of exponential length and log-normal charge, added in place."""
    n = rng.poisson(detector.cosmic_rays * exposure_time * counts.size)
    height, width = counts.shape
    x, y = rng.uniform(-0.5, width - 0.5, n), rng.uniform(-0.5, height - 0.5, n)
    length, angle = 0.5 + rng.exponential(3.5, n), rng.uniform(0, np.pi, n)
    charge = detector.cosmic_ray_charge * np.exp(rng.normal(0.0, 0.8, n))
    known = rng.random(n) < detector.cosmic_rays_flagged
    for kept, bits in ((known, DataQuality.COSMIC_RAY), (~known, DataQuality(0))):
        deposit = np.zeros(counts.shape)
        _tracks(deposit, x[kept], y[kept], length[kept], angle[kept], charge[kept])
        counts += np.rint(deposit)
        dq[deposit > _THRESHOLD * sky] |= bits


@njit(cache=True)
def _tracks(image, x, y, length, angle, charge):
    # A tenth of a pixel at a time; the charge spreads a little to the four neighbours, as by diffusion.
    height, width = image.shape
    for k in range(len(x)):
        steps = max(1, int(length[k] * 10))
        each = charge[k] / steps
        for s in range(steps):
            along = (s + 0.5) / 10.0
            column = int(np.rint(x[k] + along * np.cos(angle[k])))
            row = int(np.rint(y[k] + along * np.sin(angle[k])))
            for di, dj, share in ((0, 0, 0.8), (1, 0, 0.05), (-1, 0, 0.05), (0, 1, 0.05), (0, -1, 0.05)):
                i, j = row + di, column + dj
                if 0 <= i < height and 0 <= j < width:
                    image[i, j] += each * share


@njit(cache=True)
def bleed(image, full_well, full):
    """Let charge above `full_well` run along its column (axis 0), half each way, to pixels that can hold it.

    `image` (H, W) changes in place; `full` (H, W) bool becomes True where charge was lost or received. What
    reaches the end of a column is lost; everything else is conserved.
    """
    height, width = image.shape
    excess = np.empty(height)
    for j in range(width):
        for i in range(height):
            excess[i] = max(image[i, j] - full_well, 0.0)
            if excess[i] > 0.0:
                image[i, j] = full_well
                full[i, j] = True
        for i in range(height):
            for way in (-1, 1):
                carried = 0.5 * excess[i]
                row = i + way
                while carried > 0.0 and 0 <= row < height:
                    taken = min(carried, full_well - image[row, j])
                    if taken > 0.0:
                        image[row, j] += taken
                        full[row, j] = True
                        carried -= taken
                    row += way
