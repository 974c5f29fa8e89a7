"""Observed maps as they come: one image in Jy/sr or km/s, checked against the channel that it is compared with."""

import os
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from dioscuri.analogues.observation.fits_headers import is_constant
from dioscuri.analogues.observation.fits_maps import moment1_of_cube, read_fits

SAME_BAND = 0.3  # a factor in wavelength that leaves a map comparable; dust changes its slope beyond
PADDING = 0.01  # of the pixels: so many zeros at the edge are no measurement
FADED = 1e-6  # of the peak: no map of the sky has such a dynamic range
C_UM_HZ = 2.99792458e14  # speed of light in µm/s

Beam = tuple[float, float, float]  # FWHM of major and minor axis, position angle [deg, from up through left]


@dataclass(frozen=True)
class Map:
    """An observed map: `image` (H, W) in Jy/sr or km/s, NaN where missing; `beam` in arcsec (None: not known).

    wavelength_um: of the observation, None if the header does not tell. notes: what had to be assumed, in words.
    """

    image: np.ndarray
    unit: str
    wcs: Any
    beam: Beam | None
    path: str
    wavelength_um: float | None = None
    notes: tuple[str, ...] = ()


def read_map(path: str | os.PathLike, *, systemic_kms: float = 0.0) -> Map:
    """Read a FITS map: continuum in a unit of surface brightness, a moment-1 map in a unit of velocity, or a line cube.

    Axes of length 1 (frequency, Stokes) are dropped. Of a cube the moment-1 map is made, as in §3.1: within 5 km/s of
    the systemic velocity, where the integrated line exceeds 10σ. Velocities become relative to `systemic_kms`. Edges
    that were padded with zeros count as missing.
    ValueError where no image, celestial coordinates, unit or beam is found, or where nothing is on the map.
    """
    found = read_fits(path, distance_pc=1.0)  # at 1 pc an AU is an arcsec
    if found.wcs is None:
        raise ValueError(f"{path}: no celestial coordinates: where north is, is unknown")
    if not np.isfinite(found.data).any() or is_constant(found.data):
        value = np.nanmax(found.data) if np.isfinite(found.data).any() else np.nan
        raise ValueError(f"{path}: nothing on the map: every pixel is {value + 0.0:g}, in {found.data.shape} pixels")
    image, unit, notes = found.data, found.unit, list(found.notes)
    if image.ndim == 3 and found.velocity is not None:
        image, unit = moment1_of_cube(image, found.velocity, systemic_kms), "km/s"
    elif image.ndim == 3:
        raise ValueError(
            f"{path}: a cube of {len(image)} channels without velocities; accepted: one image, or a line cube with "
            "velocities (a frequency axis needs RESTFRQ)"
        )
    else:
        padding = _padding(image)
        if padding.any():
            image = np.where(padding, np.nan, image)
            notes.append(f"{padding.mean():.0%} of the pixels are zeros at the edge, taken as missing")
        if unit == "km/s":
            image = image - systemic_kms
    if not np.isfinite(image).any():
        raise ValueError(f"{path}: no emission above 10σ within the window about {systemic_kms} km/s")
    wavelength = None if found.frequency is None else float(C_UM_HZ / np.median(found.frequency))
    beam = found.beam_au if found.beam_au[0] > 0 else None
    return Map(image, unit, found.wcs, beam, str(path), wavelength, tuple(notes))


def wavelength_of(channel: str) -> float | None:
    """Wavelength [µm] in the name of a channel of continuum, None where it has none."""
    named = re.fullmatch(r"continuum_(\d+)um", channel)
    return float(named[1]) if named else None


def check_channel(observed: Map, channel: str) -> tuple[str, ...]:
    """What is to be said of a map that is compared with images of `channel` (continuum_1300um, moment1_warm, …).

    ValueError where it cannot be of that channel: velocities for a continuum, or another wavelength.
    """
    wanted = "km/s" if channel.startswith("moment1") else "Jy/sr"
    if observed.unit != wanted:
        kind = {"km/s": "velocities (a moment-1 map, or a line cube)", "Jy/sr": "surface brightness"}
        found = kind.get(observed.unit, observed.unit)
        raise ValueError(f"{observed.path}: found {found}; accepted for channel '{channel}': {kind[wanted]}")
    wavelength = wavelength_of(channel)
    if wavelength is None:
        return ()
    if observed.wavelength_um is None:
        return (f"no frequency in the header: taken to be at {wavelength:g} µm",)
    if abs(np.log(observed.wavelength_um / wavelength)) > np.log(1 + SAME_BAND):
        raise ValueError(
            f"{observed.path}: a map at {observed.wavelength_um:.0f} µm; channel '{channel}' is at {wavelength:g} µm, "
            f"accepted within {SAME_BAND:.0%}"
        )
    return ()


def _padding(image: np.ndarray) -> np.ndarray:
    """Where an image (H, W) holds exact zeros that hang together with its edge: what was never observed."""
    zeros, _ = ndimage.label(image == 0)
    rim = np.concatenate([zeros[0], zeros[-1], zeros[:, 0], zeros[:, -1]])
    padding = np.isin(zeros, np.unique(rim[rim > 0]))
    beside = ndimage.binary_dilation(padding) & ~padding & np.isfinite(image)
    # A model without noise fades to zeros; a map that was padded stops at its noise.
    stops = beside.any() and np.median(np.abs(image[beside])) > FADED * np.nanmax(np.abs(image))
    return padding if stops and padding.mean() > PADDING else np.zeros_like(padding)
