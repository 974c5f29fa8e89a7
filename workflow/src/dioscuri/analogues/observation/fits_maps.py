"""FITS images and cubes with beam and WCS, brought to Jy/sr or km/s and to astronomical units."""

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from astropy import constants, units
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales

from dioscuri.analogues.observation.fits_headers import (
    beam_of,
    normal_unit,
    science_image,
    spectral_header,
    stokes_i,
)
from dioscuri.reading import open_fits, reading

ACCEPTED = "a FITS image or cube with BUNIT, a scale, and for Jy/beam a beam; fetch or write a damaged one again"

MASK_SIGMA = 10.0  # integrated emission below is masked in moment-1 maps (Al-Belmeisi et al. 2023, Fig. 3)
WINDOW_KMS = 5.0  # about the systemic velocity, same place


@dataclass(frozen=True)
class FitsMap:
    """One FITS file: `data` (H, W), or (V, H, W) with `velocity` (V,) [km/s] or `frequency` (V,) [Hz].

    Rows run up; columns run to the right, which is west on the sky. `unit` is "Jy/sr", "km/s" or what the file says;
    `pixel_au`; `beam_au` (major, minor FWHM [AU], position angle [deg]), zeros without a beam in the header. `wcs`:
    celestial coordinates of `data`, None where the axes are lengths; `notes`: what had to be assumed, in words.
    """

    data: np.ndarray
    unit: str
    pixel_au: float
    beam_au: tuple[float, float, float]
    velocity: np.ndarray | None = None
    frequency: np.ndarray | None = None
    wcs: WCS | None = None
    notes: tuple[str, ...] = ()


def read_fits(path: str | os.PathLike, distance_pc: float | None = None) -> FitsMap:
    """Read the one science image of a FITS file; axes of length 1 are dropped, of a Stokes axis I is taken.

    `distance_pc` turns angles into AU; it is not needed where the axes are lengths (CUNIT AU, cm, …). ValueError says
    what is missing or cannot be right: a scale, a distance, a beam for Jy/beam, a frequency for K.
    """
    with reading(path, ACCEPTED), warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)  # "'datfix' made the change …", "may have been truncated"
        return _read(path, distance_pc)


def _read(path: str | os.PathLike, distance_pc: float | None) -> FitsMap:
    with open_fits(path) as hdus:
        header, data, beams = science_image(path, hdus)
    header = spectral_header(header)
    data, header = stokes_i(path, data, header)
    world = WCS(header)
    world.pixel_shape = None  # the header may describe axes of length 1 that the data no longer have
    data = data.reshape([n for n in data.shape[:-2] if n > 1] + list(data.shape[-2:]))
    if data.ndim > 3:
        raise ValueError(f"{path}: {data.ndim} axes longer than 1; an image or a cube is accepted")
    pixel_au, east_right = _pixel(path, header, world, distance_pc)
    beam, notes = beam_of(path, header, beams, data.shape[-2:])
    scale = 3600 * (distance_pc or 0.0)
    beam = (scale * beam[0], scale * beam[1], beam[2])
    velocity, frequency = _spectral(path, world, len(data) if data.ndim == 3 else 1)
    data, unit = _jansky_per_steradian(path, header, data, pixel_au, beam, distance_pc, frequency)
    if frequency is None:
        frequency = _rest_frequency(header)
    sky = world.celestial if world.has_celestial else None
    if east_right:
        data, sky = data[..., ::-1], None if sky is None else _turned_over(sky, data.shape[-1])
    return FitsMap(data, unit, pixel_au, beam, velocity, frequency, sky, tuple(notes))


def _turned_over(sky: WCS, width: int) -> WCS:
    """The coordinates of an image of `width` pixels whose columns were reversed."""
    out = sky.deepcopy()
    out.wcs.crpix = [width + 1 - sky.wcs.crpix[0], sky.wcs.crpix[1]]
    if out.wcs.has_cd():
        out.wcs.cd = out.wcs.cd @ np.diag([-1.0, 1.0])
    else:
        out.wcs.pc = out.wcs.get_pc() @ np.diag([-1.0, 1.0])
    out.wcs.set()
    return out


def moment1_of_cube(
    cube: np.ndarray,
    velocity: np.ndarray,
    systemic_kms: float = 0.0,
    window_kms: float = WINDOW_KMS,
    mask_sigma: float = MASK_SIGMA,
) -> np.ndarray:
    """Moment-1 map (H, W) [km/s, relative to systemic] of a cube (V, H, W), NaN where the line is too faint.

    Integrated over ± `window_kms`; the noise comes from the channels outside, from none if there are no such channels
    (a synthetic cube), and masks what is below `mask_sigma`.
    """
    offset = np.asarray(velocity, float) - systemic_kms
    inside = np.abs(offset) <= window_kms
    if not inside.any():
        raise ValueError(f"no channel within {window_kms} km/s of {systemic_kms} km/s; channels span {velocity}")
    line = np.nan_to_num(cube[inside])
    total = line.sum(axis=0)
    weighted = np.tensordot(offset[inside], line, axes=(0, 0))
    noise = 0.0
    if (~inside).sum() >= 2:
        free = cube[~inside]
        noise = 1.4826 * float(np.nanmedian(np.abs(free - np.nanmedian(free)))) * np.sqrt(inside.sum())
    seen = total > max(mask_sigma * noise, np.finfo(float).tiny)
    return np.where(seen, weighted / np.where(seen, total, 1.0), np.nan)


def _pixel(path: str | os.PathLike, header: fits.Header, world: WCS, distance_pc: float | None) -> tuple[float, bool]:
    """Pixel size [AU], and whether east lies to the right (then the image must be turned over)."""
    east_right = False
    if world.has_celestial:
        if distance_pc is None:
            raise ValueError(f"{path}: pixels are angles; give distance_pc to turn them into AU")
        sky = world.celestial
        scales = proj_plane_pixel_scales(sky) * 3600 * distance_pc
        east_right = bool(np.linalg.det(sky.pixel_scale_matrix) > 0)
    else:
        lengths = [abs(header.get(f"CDELT{axis}", 0.0)) for axis in (1, 2)]
        kinds = [str(header.get(f"CUNIT{axis}", "")).strip() for axis in (1, 2)]
        try:
            scales = np.array([(n * units.Unit(kind)).to("AU").value for n, kind in zip(lengths, kinds)])
        except (units.UnitConversionError, ValueError):
            raise ValueError(
                f"{path}: no pixel scale: neither celestial coordinates nor axes with a length (CDELT {lengths}, "
                f"CUNIT {kinds}; accepted are AU, cm, pc, …)"
            ) from None
    if not scales.min() > 0 or abs(scales[0] / scales[1] - 1) > 1e-2:
        raise ValueError(f"{path}: pixels of {scales[0]:g} × {scales[1]:g} AU; square pixels are needed")
    return float(scales.mean()), east_right


def _spectral(path: str | os.PathLike, world: WCS, n_channels: int) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Velocities [km/s] and frequencies [Hz] of the channels, as far as the header tells."""
    if not world.has_spectral:
        return None, None
    axis = world.spectral
    try:
        values = axis.pixel_to_world_values(np.arange(n_channels)) * units.Unit(axis.wcs.cunit[0])
    except ValueError as error:
        raise ValueError(f"{path}: the spectral axis ({axis.wcs.ctype[0]}) cannot be read: {error}") from None
    rest = axis.wcs.restfrq * units.Hz if axis.wcs.restfrq > 0 else None
    if values.unit.is_equivalent("Hz"):
        velocity = values.to("km/s", units.doppler_radio(rest)).value if rest is not None else None
        return velocity, values.to("Hz").value
    if values.unit.is_equivalent("km/s"):
        frequency = values.to("Hz", units.doppler_radio(rest)).value if rest is not None else None
        return values.to("km/s").value, frequency
    return None, values.to("Hz", units.spectral()).value


def _jansky_per_steradian(
    path: str | os.PathLike,
    header: fits.Header,
    data: np.ndarray,
    pixel_au: float,
    beam_au: Sequence[float],
    distance_pc: float | None,
    frequency: np.ndarray | None,
) -> tuple[np.ndarray, str]:
    unit, text = normal_unit(path, header)
    if unit.is_equivalent("km/s"):
        return data * unit.to("km/s"), "km/s"
    if unit.is_equivalent("Jy/sr"):
        return data * unit.to("Jy/sr"), "Jy/sr"
    if unit.is_equivalent("K"):
        if frequency is None:
            frequency = _rest_frequency(header)
        if frequency is None:
            given = ", ".join(f"{key} = {header[key]!r}" for key in REST if key in header)
            raise ValueError(
                f"{path}: brightness temperature, but no frequency in the header: no spectral axis, "
                f"{given or 'neither RESTFRQ nor RESTFREQ'}; give RESTFRQ in Hz"
            )
        planck = 2 * constants.k_B * (frequency * units.Hz) ** 2 / constants.c**2 / units.sr * units.K
        scale = planck.to("Jy/sr").value * unit.to("K")
        return data * (scale[:, None, None] if len(scale) > 1 else scale[0]), "Jy/sr"
    for angle, area in (("beam", np.pi / (4 * np.log(2)) * beam_au[0] * beam_au[1]), ("pixel", pixel_au**2)):
        if unit.is_equivalent(f"Jy/{angle}"):
            if not area > 0 or distance_pc is None:
                raise ValueError(f"{path}: BUNIT is {text}, but there is no {angle} size (BMAJ, BMIN) or distance_pc")
            steradian = area * np.radians(1 / 3600) ** 2 / distance_pc**2
            return data * unit.to(f"Jy/{angle}") / steradian, "Jy/sr"
    raise ValueError(f"{path}: BUNIT '{text}' is not accepted; accepted are Jy/beam, Jy/pixel, Jy/sr, MJy/sr, K, km/s")


REST = ("RESTFRQ", "RESTFREQ")  # RESTFREQ is how older software writes RESTFRQ


def _rest_frequency(header: fits.Header) -> np.ndarray | None:
    """Frequency (1,) [Hz] of a map without a spectral axis."""
    for value in (header.get(key) for key in REST):
        if isinstance(value, int | float) and 0 < value < np.inf:
            return np.array([float(value)])
    return None
