"""Frames with known stars and pairs, for the tests of the cluster line."""

import numpy as np
import pandas as pd
from astropy.wcs import WCS

from dioscuri.cluster.frames import Frame
from dioscuri.cluster.scene import Scene
from dioscuri.psf.effective import Psf

SKY, READ_NOISE, SCALE = 5.0, 3.0, 0.04


def gaussian(sigma: float = 0.85) -> np.ndarray:
    """Samples (n, n) of a Gaussian PSF, 4 to a pixel."""
    offset = (np.arange(101) - 50) / 4
    return np.exp(-0.5 * (offset[:, None] ** 2 + offset**2) / sigma**2) / (2 * np.pi * sigma**2)


PSF = Psf(gaussian()[None], 4, SCALE)


def wcs_of(shape: tuple[int, int], roll: float = 0.0) -> WCS:
    """North up and east left, turned by `roll` degrees."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [245.9, -26.5]
    wcs.wcs.crpix = [(shape[1] + 1) / 2, (shape[0] + 1) / 2]
    cosine, sine = np.cos(np.radians(roll)), np.sin(np.radians(roll))
    wcs.wcs.cd = np.array([[-cosine, sine], [sine, cosine]]) * SCALE / 3600
    return wcs


def frame_of(stars: pd.DataFrame, shape=(220, 220), seed: int = 1, roll: float = 0.0, name: str = "one") -> Frame:
    """A frame of `stars` (x, y, flux) with photon and readout noise."""
    rng = np.random.default_rng(seed)
    expected = np.full(shape, SKY)
    Scene(PSF).paint(expected, *(stars[column].to_numpy(float) for column in ("x", "y", "flux")))
    science = rng.poisson(expected) + rng.normal(0, READ_NOISE, shape)
    error = np.sqrt(np.maximum(science, 0) + READ_NOISE**2)
    return Frame(
        science=science.astype(np.float32), error=error.astype(np.float32), dq=np.zeros(shape, np.int32),
        wcs=wcs_of(shape, roll), filter="F775W", exposure_time=20.0, exposure=name, pixel_scale=SCALE,
        read_noise=READ_NOISE, orientation=roll,
    )  # fmt: skip


def measured(stars: pd.DataFrame) -> pd.DataFrame:
    """`stars` as a perfect photometry would list them."""
    return stars[["x", "y", "flux"]].assign(background=SKY, flux_err=1.0, flags=0, extension=1)


def lattice(n: int = 8, spacing: int = 26, flux: float = 15000.0, seed: int = 2) -> pd.DataFrame:
    """n × n isolated stars at random places within their pixels."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((n, n)) * spacing + 18
    place = np.c_[columns.ravel(), rows.ravel()] + rng.uniform(-0.5, 0.5, (n * n, 2))
    return pd.DataFrame({"x": place[:, 0], "y": place[:, 1], "flux": flux})
