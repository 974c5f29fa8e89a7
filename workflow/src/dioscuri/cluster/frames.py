"""Calibrated exposures in HST's 'flt' layout: one frame per chip, with its errors, flags, WCS and pixel areas.

A 'flt' (or CTE-corrected 'flc') file holds an empty primary HDU and, per chip, the extensions SCI, ERR and DQ
of one EXTVER (WFC3 Data Handbook, chapter 2). Its electrons are those that the detector counted: drizzled
images are refused, since resampling correlates the noise and blurs the PSF.

Flat-fielding makes the *sky* even, so a star on a pixel that sees more sky has too few electrons per pixel.
The pixel-area map mends that in the photometry (flux × area); stamps keep the counts as they are, because
their noise is that of the electrons counted.
"""

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import WCS, WcsError
from scipy.interpolate import RectBivariateSpline

from dioscuri.io import atomic
from dioscuri.reading import open_fits, reading


class DataQuality(IntFlag):
    """Bits of the DQ extension of WFC3/UVIS (WFC3 Data Handbook, table 3.3); 0 is a good pixel."""

    LOST = 1  # Reed–Solomon decoding error
    FILLED = 2  # replaced by a fill value
    BAD_PIXEL = 4  # bad detector pixel
    MASKED = 8
    HOT = 16
    UNSTABLE = 32  # CTE tail in older files
    WARM = 64
    BAD_BIAS = 128  # bad value in the bias
    FULL_WELL = 256  # saturated, or reached by the charge that spilled from a saturated pixel
    BAD_FLAT = 512
    TRAP = 1024  # charge trap or sink pixel
    A_TO_D = 2048  # the converter saturated
    COSMIC_RAY = 4096  # found by AstroDrizzle from the other exposures
    COSMIC_RAY_SPLIT = 8192  # rejected when a CR-SPLIT was combined
    CROSSTALK = 16384  # or ghost, or too many cosmic rays
    USER = 32768


# Warm pixels are dark-subtracted, and only a little noisier.
UNUSABLE = DataQuality(0xFFFF) & ~DataQuality.WARM
SATURATED = DataQuality.FULL_WELL | DataQuality.A_TO_D
LAYOUT = (
    "calibrated exposures as HST's pipeline makes them (…_flt.fits or …_flc.fits): per chip the extensions "
    "SCI, ERR and DQ of one EXTVER, BUNIT = 'ELECTRONS'"
)
FEWEST_USABLE = 0.5  # share of the pixels of a frame that have a value and an error
FEWEST_FREE = 0.1  # of them that no flag forbids to use
WCS_KEYWORDS = ("CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2", "CTYPE1", "CTYPE2")
NO_FILTER = ("", "CLEAR", "CLEAR1L", "CLEAR2L", "CLEAR1S", "CLEAR2S", "N/A")


class FrameError(ValueError):
    """A file that cannot serve as a calibrated exposure; the message says what was found and what is accepted."""


@dataclass(frozen=True)
class Frame:
    """One chip of one exposure, (H, W) pixels; x along columns and y along rows count from 0.

    `science` and its 1σ `error` are float32 electrons, `dq` int32 `DataQuality` bits. `pixel_area` (H, W),
    or 1, multiplies the flux of a star. `exposure` is the rootname, `extension` the EXTVER, `chip` CCDCHIP, 0 where the
    header has none, `camera` such as 'WFC3/UVIS', empty where the header does not tell. `corner`: the pixel (x, y) of
    the chip that is the frame's first one, not (0, 0) in subarrays.
    `pixel_scale` [arcsec], `orientation` [deg] of the y axis, east of north; `exposure_time` [s];
    `read_noise` [e-]; `zero_point`: STMAG of one electron per second, NaN where the file does not tell.
    """

    science: np.ndarray
    error: np.ndarray
    dq: np.ndarray
    wcs: WCS
    filter: str
    exposure_time: float
    exposure: str
    extension: int = 1
    chip: int = 1
    pixel_scale: float = 1.0
    orientation: float = 0.0
    read_noise: float = 0.0
    zero_point: float = np.nan
    pixel_area: np.ndarray | float = 1.0
    path: Path | None = None
    camera: str = ""
    corner: tuple[int, int] = (0, 0)

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        return self.science.shape

    @property
    def name(self) -> str:
        """Exposure and extension: 'icaa01x1q_2'."""
        return f"{self.exposure}_{self.extension}"

    def bad(self, bits: int = UNUSABLE) -> np.ndarray:
        """Pixels without a use, (H, W) bool: any of `bits`, or no finite value and positive error."""
        finite = np.isfinite(self.science) & np.isfinite(self.error) & (self.error > 0)
        return ((self.dq & int(bits)) != 0) | ~finite

    def saturated(self) -> np.ndarray:
        """Pixels that have lost or received charge through saturation, (H, W) bool."""
        return (self.dq & int(SATURATED)) != 0

    def area_at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Pixel area under positions x, y (S,): what their fluxes are multiplied by."""
        if np.ndim(self.pixel_area) == 0:
            return np.full(np.shape(x), float(self.pixel_area))
        height, width = self.shape
        column = np.clip(np.rint(x), 0, width - 1).astype(int)
        row = np.clip(np.rint(y), 0, height - 1).astype(int)
        return np.asarray(self.pixel_area)[row, column]


def read_flt(path: str | os.PathLike, pixel_area_maps: Mapping[int, str | os.PathLike] | None = None) -> list[Frame]:
    """The frames of a calibrated exposure, one per SCI extension, in the order of EXTVER.

    `pixel_area_maps` gives a pixel-area map (any FITS image of the whole chip) per CCDCHIP (1 where there is
    none). Without one the areas follow from the distortion that the header describes (SIP), relative to the reference
    pixel of the file's first chip; a header without distortion has areas of 1.
    """
    path = Path(path)
    with reading(path, LAYOUT, FrameError):
        with warnings.catch_warnings():
            # Old headers break small rules of FITS, and STScI's distortion keys go beyond its WCS standard.
            warnings.simplefilter("ignore", AstropyWarning)
            with open_fits(path) as hdus:
                return _frames(path, hdus, pixel_area_maps or {})


def write_flt(path: str | os.PathLike, frames: Sequence[Frame], header: Mapping[str, Any] | None = None) -> None:
    """Write the chips of one exposure as HST's pipeline does, in the order given; same content, same bytes.

    `header` adds keywords to the primary HDU. SCI, ERR and DQ are float32, float32 and int16.
    """
    first = frames[0]
    primary = fits.PrimaryHDU()
    cards = {
        "FILENAME": Path(path).name,
        "TELESCOP": "HST",
        **dict(zip(("INSTRUME", "DETECTOR"), (first.camera or "WFC3/UVIS").split("/"))),
        "IMAGETYP": "EXT",
        "ROOTNAME": first.exposure,
        "NEXTEND": 3 * len(frames),
        "FILTER": first.filter,
        "EXPTIME": float(first.exposure_time),
        "CCDGAIN": 1.5,
        **{f"READNSE{amplifier}": float(first.read_noise) for amplifier in "ABCD"},
        "BIASCORR": "COMPLETE",
        "DARKCORR": "COMPLETE",
        "FLATCORR": "COMPLETE",
        **(header or {}),
    }
    primary.header.update(cards)
    hdus: list[Any] = [primary]
    for frame in frames:
        world = frame.wcs.to_header()
        science = fits.Header()
        science.update(_photometric_keys(frame))
        for keyword in ("CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2", "CTYPE1", "CTYPE2"):
            science[keyword] = world[keyword]
        for (row, column), value in np.ndenumerate(frame.wcs.pixel_scale_matrix):
            science[f"CD{row + 1}_{column + 1}"] = float(value)
        if frame.corner != (0, 0):
            science["LTV1"], science["LTV2"] = (-float(first) for first in frame.corner)
        science["ORIENTAT"] = (float(frame.orientation), "position angle of image y axis (deg. e of n)")
        for name, data, unit in (
            ("SCI", frame.science.astype(np.float32), "ELECTRONS"),
            ("ERR", frame.error.astype(np.float32), "ELECTRONS"),
            ("DQ", frame.dq.astype(np.uint16).view(np.int16), "UNITLESS"),
        ):
            hdu = fits.ImageHDU(data, science.copy(), name=name, ver=frame.extension)
            hdu.header["BUNIT"] = unit
            hdus.append(hdu)
    with atomic(path) as temporary:
        fits.HDUList(hdus).writeto(temporary, overwrite=True)


def _photometric_keys(frame: Frame) -> dict[str, Any]:
    keys: dict[str, Any] = {
        "ROOTNAME": frame.exposure,
        **({"CCDCHIP": int(frame.chip)} if frame.chip else {}),
        "PHOTMODE": f"WFC3 UVIS{frame.chip} {frame.filter}",
    }
    if np.isfinite(frame.zero_point):
        keys |= {"PHOTFLAM": 10 ** (-0.4 * (frame.zero_point + 21.1)), "PHOTZPT": -21.1}
    return keys


def _frames(path: Path, hdus: fits.HDUList, maps: Mapping[int, str | os.PathLike]) -> list[Frame]:
    primary = hdus[0].header
    units = {(hdu.name, hdu.ver): hdu for hdu in hdus}
    versions = sorted(version for name, version in units if name == "SCI")
    _check_layout(path, primary, units, versions)
    if unknown := set(maps) - {_chip(units["SCI", version].header) or 1 for version in versions}:
        raise FrameError(f"{path}: pixel-area maps are given for chips {sorted(unknown)}, which the file has not")
    camera = "/".join(str(primary.get(name, "")).strip().upper() for name in ("INSTRUME", "DETECTOR")).strip("/")
    frames: list[Frame] = []
    reference_area = np.nan
    for version in versions:
        header = units["SCI", version].header
        science = _image(path, units, "SCI", version, None)
        wcs, scale_matrix = _celestial(path, version, header, hdus)
        area = abs(np.linalg.det(scale_matrix)) * 3600.0**2
        error = _image(path, units, "ERR", version, science.shape)
        dq = _image(path, units, "DQ", version, science.shape).astype(np.int32) & 0xFFFF
        _check_pixels(path, version, science, error, dq)
        reference_area = area if np.isnan(reference_area) else reference_area
        chip = _chip(header)
        frames.append(
            Frame(
                science=science,
                error=error,
                dq=dq,
                wcs=wcs,
                filter=_filter(path, primary),
                exposure_time=_number(path, primary, header, "EXPTIME", above=0.0),
                exposure=str(primary.get("ROOTNAME") or path.name.split("_")[0].split(".")[0]).strip().lower(),
                extension=int(version),
                chip=chip,
                pixel_scale=float(np.sqrt(area)),
                orientation=float(np.degrees(np.arctan2(scale_matrix[0, 1], scale_matrix[1, 1]))),
                read_noise=float(np.mean([primary.get(f"READNSE{amplifier}", np.nan) for amplifier in "ABCD"])),
                zero_point=_zero_point(primary, header),
                pixel_area=_read_area(Path(maps[chip or 1]), science.shape, _corner(header))
                if (chip or 1) in maps
                else _distortion_area(wcs, science.shape, area / reference_area),
                path=path,
                camera=camera,
                corner=_corner(header),
            )
        )
    return frames


def _chip(header: fits.Header) -> int:
    """The number of the chip, 0 where the header does not tell (cameras of one chip have none)."""
    return int(header.get("CCDCHIP", 0))


def _celestial(path: Path, version: int, header: fits.Header, hdus: fits.HDUList) -> tuple[WCS, np.ndarray]:
    """The WCS of a chip and the matrix (2, 2) of its pixels [deg]; a FrameError where it does not lead to the sky."""
    missing = ", ".join(keyword for keyword in WCS_KEYWORDS if keyword not in header)
    why = f"no {missing}" if missing else ""
    if not why:
        try:
            wcs = WCS(header, fobj=hdus, naxis=2)
            matrix = wcs.pixel_scale_matrix
            area = abs(np.linalg.det(matrix)) * 3600.0**2
            if wcs.has_celestial and 1e-6 < area < 1e2:
                return wcs, matrix
            why = f"pixel area {area:g} arcsec²"
        except WcsError:
            why = "CTYPE and the CD matrix do not lead from pixels to the sky"
    raise FrameError(
        f"{path}: SCI,{version} has no celestial WCS ({why}); needed are CRPIX, CRVAL, CTYPE RA---TAN/DEC--TAN and the "
        "CD matrix"
    )


def _check_pixels(path: Path, version: int, science: np.ndarray, error: np.ndarray, dq: np.ndarray) -> None:
    """A FrameError where too few pixels can be used, which says what most of them lack."""
    finite, known = np.isfinite(science), np.isfinite(error) & (error > 0)
    free = (dq & int(UNUSABLE)) == 0
    for what, usable, least in (
        ("a finite value in SCI", finite, FEWEST_USABLE),
        ("an error above 0 in ERR", known, FEWEST_USABLE),
        ("both", finite & known, FEWEST_USABLE),
        ("no flag in DQ that forbids their use", finite & known & free, FEWEST_FREE),
    ):
        if usable.mean() < least:
            raise FrameError(
                f"{path}: SCI,{version}: {usable.mean():.0%} of the pixels have {what}; accepted: at least {least:.0%}"
            )


def _check_layout(path: Path, primary: fits.Header, units: Mapping[tuple[str, int], Any], versions: list[int]) -> None:
    found = ", ".join(f"{name or 'PRIMARY'},{version}" for name, version in units)
    telescope = str(primary.get("TELESCOP", "HST")).strip().upper()
    if telescope != "HST":
        resampled = path.name.endswith(("_i2d.fits", "_s2d.fits")) or ("WHT", 1) in units
        what = "a resampled mosaic (i2d)" if resampled else "not one of HST"
        raise FrameError(f"{path}: an image of {telescope}, {what}. Accepted: {LAYOUT}")
    if any(name in ("WHT", "CTX") for name, _ in units) or primary.get("NDRIZIM", 0):
        raise FrameError(f"{path}: a drizzled image ({found}); resampling has changed the PSF. Accepted: {LAYOUT}")
    if not versions:
        raise FrameError(f"{path}: no SCI extension among {found}. Accepted: {LAYOUT}")
    for version in versions:
        missing = [name for name in ("ERR", "DQ") if (name, version) not in units]
        if missing:
            raise FrameError(f"{path}: SCI,{version} has no {' and no '.join(missing)} ({found}). Accepted: {LAYOUT}")
        unit = str(units["SCI", version].header.get("BUNIT", "")).strip().upper()
        if unit not in ("ELECTRONS", "ELECTRON"):
            raise FrameError(f"{path}: SCI,{version} {_about_unit(unit)}. Accepted: {LAYOUT}")
    flat = str(primary.get("FLATCORR", "COMPLETE")).strip().upper()
    if flat != "COMPLETE":
        raise FrameError(f"{path}: FLATCORR is '{flat}': not flat-fielded, pixels differ. Accepted: {LAYOUT}")


def _about_unit(unit: str) -> str:
    """What is wrong with counts of a `unit`, and what makes electrons of them."""
    if not unit:
        return "has no BUNIT: counts or electrons? Noise cannot be told without the gain"
    if unit.endswith(("/S", "/SEC", "S-1")):
        return f"has BUNIT '{unit}', a rate: noise is that of the electrons; multiply SCI and ERR by EXPTIME"
    return f"has BUNIT '{unit}': noise is that of electrons; multiply SCI and ERR by the gain (CCDGAIN)"


def _image(path: Path, units: Mapping[tuple[str, int], Any], name: str, version: int, shape: Any) -> np.ndarray:
    """Pixels of an extension; ERR and DQ may stand as one constant, PIXVALUE, as STScI allows."""
    hdu = units[name, version]
    if hdu.data is None and shape is not None and "PIXVALUE" in hdu.header:
        return np.full(shape, hdu.header["PIXVALUE"], np.float32)
    if hdu.data is None or hdu.data.ndim != 2 or (shape is not None and hdu.data.shape != shape):
        size = "no pixels" if hdu.data is None else f"shape {hdu.data.shape}"
        wanted = f"the shape of SCI, {shape}" if shape else "a two-dimensional image"
        raise FrameError(f"{path}: {name},{version} has {size}; expected is {wanted}")
    return hdu.data.astype(np.int32 if name == "DQ" else np.float32)


def _filter(path: Path, primary: fits.Header) -> str:
    names = [str(primary.get(keyword, "")).strip().upper() for keyword in ("FILTER", "FILTER1", "FILTER2")]
    used = [name for name in names if name not in NO_FILTER]
    if len(used) != 1:
        raise FrameError(f"{path}: FILTER names no single filter (found {names}); accepted is such as 'F775W'")
    return used[0]


def _number(path: Path, primary: fits.Header, header: fits.Header, keyword: str, above: float) -> float:
    value = primary.get(keyword, header.get(keyword))
    if not isinstance(value, int | float) or not value > above:
        raise FrameError(f"{path}: {keyword} is {value!r}; expected is a number above {above:g}")
    return float(value)


def _zero_point(primary: fits.Header, header: fits.Header) -> float:
    """STMAG of 1 e-/s: PHOTFLAM stands with the chip, in newer files with the exposure too."""
    flux = header.get("PHOTFLAM", primary.get("PHOTFLAM", 0.0))
    return float(-2.5 * np.log10(flux) + header.get("PHOTZPT", -21.1)) if flux > 0 else np.nan


def _corner(header: fits.Header) -> tuple[int, int]:
    """The pixel (x, y) of the chip that is the first of a (sub)frame: LTV1,2 are what takes the one to the other."""
    return round(-header.get("LTV1", 0.0)), round(-header.get("LTV2", 0.0))


def _read_area(path: Path, shape: tuple[int, int], corner: tuple[int, int]) -> np.ndarray:
    """The part of a pixel-area map that a (sub)frame with its first pixel at `corner` covers."""
    with reading(path, "a pixel-area map, any FITS image of the whole chip", FrameError), open_fits(path) as hdus:
        images = [hdu.data for hdu in hdus if hdu.is_image and hdu.data is not None and hdu.data.ndim == 2]
    column, row = corner
    area = images[0][row : row + shape[0], column : column + shape[1]] if images else np.empty((0, 0))
    if area.shape != shape:
        found = images[0].shape if images else "no image"
        raise FrameError(f"{path}: pixel-area map of {found} does not cover a frame of {shape} at ({column}, {row})")
    if not (np.isfinite(area).all() and area.min() > 0.5 and area.max() < 2.0):
        raise FrameError(f"{path}: a pixel-area map lies near 1 everywhere; found {np.min(area):g} to {np.max(area):g}")
    return area.astype(np.float32)


def _distortion_area(wcs: WCS, shape: tuple[int, int], chip_area: float) -> np.ndarray | float:
    """Area of each pixel from the SIP polynomials: the determinant of their derivatives, × the chip's own area."""
    if wcs.sip is None:
        return 1.0 if abs(chip_area - 1.0) < 1e-9 else chip_area
    step = 32  # the polynomials are of fourth order over thousands of pixels: a coarse grid loses nothing
    x = np.arange(-step, shape[1] + 2 * step, step, dtype=float)
    y = np.arange(-step, shape[0] + 2 * step, step, dtype=float)
    u, v = (plane.reshape(len(y), len(x)) for plane in wcs.sip_pix2foc(*map(np.ravel, np.meshgrid(x, y)), 0))
    du_dy, du_dx = np.gradient(u, step, edge_order=2)
    dv_dy, dv_dx = np.gradient(v, step, edge_order=2)
    coarse = np.abs(du_dx * dv_dy - du_dy * dv_dx) * chip_area
    return RectBivariateSpline(y, x, coarse)(np.arange(shape[0]), np.arange(shape[1])).astype(np.float32)
