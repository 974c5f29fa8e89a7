"""Where the pixels of a catalogue's images lie on an observed map: its stars, and how much of the sky both cover."""

import logging
from typing import Any

import numpy as np
from scipy import ndimage

from dioscuri.analogues.catalogue import Frame
from dioscuri.analogues.observation.maps import Map

MOST_MISSING = 0.5  # of a velocity map; an image of what the nearest pixels said is no image
FEWEST_PIXELS = 16  # a side that a crop to what was seen leaves, however little that is

log = logging.getLogger(__name__)


def on_sky(position: tuple[float, float]) -> Any:
    """The sky position of (ra, dec) [deg, ICRS]."""
    from astropy.coordinates import SkyCoord

    return SkyCoord(*position, unit="deg")


def midpoint(primary: Any, secondary: Any | None, position_angle: float, frame: Frame, au: float) -> Any:
    """Sky position halfway between the stars; an unknown secondary is the catalogue's separation below the primary."""
    from astropy import units

    if secondary is not None:
        return secondary.directional_offset_by(secondary.position_angle(primary), 0.5 * secondary.separation(primary))
    if not np.isfinite(frame.separation_au):
        return primary
    below = (position_angle + 180.0) * units.deg
    return primary.directional_offset_by(below, 0.5 * frame.separation_au / au * units.arcsec)


def brightest_peak(observed: Map) -> Any:
    """Sky position of the brightest peak: centroid of what exceeds half of it, around it."""
    if observed.unit == "km/s":
        raise ValueError(f"{observed.path}: a moment-1 map does not show where the primary is: give its position")
    image = np.nan_to_num(observed.image)
    peak = np.unravel_index(np.argmax(image), image.shape)
    parts, _ = ndimage.label(image > 0.5 * image[peak])
    y, x = ndimage.center_of_mass(image, parts, parts[peak])
    return observed.wcs.pixel_to_world(x, y).icrs


def offsets(n: int, step: float) -> np.ndarray:
    """Offsets (n,) [arcsec] of pixel centres from the middle of n pixels."""
    return (np.arange(n) - 0.5 * (n - 1)) * step


def pixels_at(
    wcs: Any, middle: Any, position_angle: float, right: np.ndarray, up: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pixel coordinates x, y in the map at offsets [arcsec] to the `right` and `up`, up being at `position_angle`."""
    from astropy import units
    from astropy.coordinates import SkyCoord

    angle = np.deg2rad(position_angle)
    north, east = up * np.cos(angle) + right * np.sin(angle), up * np.sin(angle) - right * np.cos(angle)
    frame = middle.skyoffset_frame()
    return wcs.world_to_pixel(SkyCoord(east * units.arcsec, north * units.arcsec, frame=frame))


def pixel_steps(wcs: Any, position_angle: float) -> np.ndarray:
    """Steps (2, 2) [arcsec] to the right and up (rows) for a step along the map's x and y (columns)."""
    east, north = wcs.pixel_scale_matrix * 3600
    angle = np.deg2rad(position_angle)
    right = north * np.sin(angle) - east * np.cos(angle)
    return np.stack([right, north * np.cos(angle) + east * np.sin(angle)])


def pixels_seen(gaps: np.ndarray) -> int:
    """Side of the largest square in mid-image, of the same parity, with no more than `MOST_MISSING` gaps."""
    whole = len(gaps)
    for n in range(whole, FEWEST_PIXELS, -2):
        inner = slice((whole - n) // 2, (whole + n) // 2)
        if gaps[inner, inner].mean() <= MOST_MISSING:
            return n
    return min(whole, FEWEST_PIXELS + (whole - FEWEST_PIXELS) % 2)


def pixels_used(
    observed: Map,
    middle: Any,
    position_angle: float,
    au: float,
    pixel_au: float,
    n_pixels: int,
    field_au: float | None,
) -> int:
    """Side of the largest square about `middle` that map and catalogue cover, in pixels of the catalogue's parity."""
    rows, columns = observed.image.shape
    for n in range(n_pixels, 1, -2):
        if field_au is not None and (n - 1) * pixel_au > field_au:
            continue
        edge = offsets(n, pixel_au / au)[-1]
        corners = edge * np.array([[-1, 1, -1, 1], [-1, -1, 1, 1]])  # a map is convex: its corners will do
        x, y = pixels_at(observed.wcs, middle, position_angle, *corners)
        if min(x.min(), y.min()) >= -0.5 and x.max() <= columns - 0.5 and y.max() <= rows - 0.5:
            if n < n_pixels:
                log.info("%s: %d of %d pixels of the catalogue's images are used", observed.path, n, n_pixels)
            return n
    where = f"RA {middle.ra.deg:.6f}, Dec {middle.dec.deg:.6f}"
    raise ValueError(f"{observed.path}: the map does not cover {pixel_au:g} AU about {where}")
