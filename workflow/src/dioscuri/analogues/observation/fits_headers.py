"""What the headers of astronomical images say in their many dialects: which image, which unit, which beam."""

import os
import re
from collections.abc import Sequence

import numpy as np
from astropy import units
from astropy.io import fits

# Extensions that are not the sky: weights, primary beams, errors, masks.
NOT_SKY = re.compile(r"(WEIGHT|WHT|PB|PBCOR|SENS|FLUX_?CORR|ERR|ERROR|RMS|NOISE|DQ|MASK|VAR|IVAR|CON|CTX)\d*")
# How archives write units, lower case and without blanks, and what astropy calls them.
UNITS = {
    "jy/beam": "Jy/beam", "jybeam-1": "Jy/beam", "jybeam^-1": "Jy/beam", "jy*beam^-1": "Jy/beam", "jy/bm": "Jy/beam",
    "mjy/beam": "mJy/beam", "mjybeam-1": "mJy/beam", "ujy/beam": "uJy/beam",
    "jy/pixel": "Jy/pixel", "jypixel-1": "Jy/pixel", "jy/pix": "Jy/pixel",
    "jy/sr": "Jy/sr", "jy/arcsec2": "Jy/arcsec2", "jy/arcsec^2": "Jy/arcsec2",
    "k": "K", "k(tb)": "K", "k(ta*)": "K", "k(tmb)": "K", "kelvin": "K", "mk": "mK",
    "km/s": "km/s", "kms-1": "km/s", "km.s-1": "km/s", "m/s": "m/s", "ms-1": "m/s", "m.s-1": "m/s",
}  # fmt: skip
UNEQUAL_BEAMS = 0.1  # relative difference of the channels' beams that is worth a note


def science_image(path: str | os.PathLike, hdus: fits.HDUList) -> tuple[fits.Header, np.ndarray, fits.FITS_rec | None]:
    """Header and data of the one image of the sky in a file, and CASA's table of per-channel beams (or None)."""
    images = [hdu for hdu in hdus if hdu.is_image and hdu.header.get("NAXIS", 0) >= 2]
    if not images:
        raise ValueError(f"{path}: no image in this FITS file")
    named = [hdu for hdu in images if not NOT_SKY.fullmatch(str(hdu.name).strip().upper())]
    sky = [(hdu, np.asarray(hdu.data, float)) for hdu in named or images]
    # A map that is the same everywhere is a weight or a dummy, whatever it is called.
    alive = [(hdu, data) for hdu, data in sky if len(sky) == 1 or not is_constant(data)]
    if len(alive) > 1:
        preferred = [(hdu, data) for hdu, data in alive if str(hdu.name).strip().upper() == "SCI"]
        alive = preferred or alive
    if len(alive) != 1:
        names = ", ".join(f"{hdus.index_of(hdu)} '{hdu.name}' {hdu.shape}" for hdu, _ in sky)
        raise ValueError(f"{path}: {len(alive)} images of the sky among {names}; accepted: one, or one called SCI")
    hdu, data = alive[0]
    beams = [one.data for one in hdus if one.name == "BEAMS" and one.header.get("XTENSION") == "BINTABLE"]
    return hdu.header.copy(), data, beams[0] if beams else None


def is_constant(data: np.ndarray) -> bool:
    """Whether an image has one value only, missing pixels aside."""
    known = data[np.isfinite(data)]
    return not known.size or bool(np.ptp(known) == 0)


def spectral_header(header: fits.Header) -> fits.Header:
    """A header that astropy can invert: axes of length 1 may have a step of 0, which says nothing and breaks all."""
    for axis in range(1, int(header["NAXIS"]) + 1):
        if axis > 2 and header.get(f"NAXIS{axis}") == 1 and header.get(f"CDELT{axis}") == 0:
            header[f"CDELT{axis}"] = 1.0
    return header


def stokes_i(path: str | os.PathLike, data: np.ndarray, header: fits.Header) -> tuple[np.ndarray, fits.Header]:
    """Total intensity of a map with a Stokes axis longer than 1, and the header without the others."""
    for axis in range(3, data.ndim + 1):
        n = data.shape[data.ndim - axis]
        if str(header.get(f"CTYPE{axis}", "")).strip().upper() != "STOKES" or n == 1:
            continue
        first, step = header.get(f"CRVAL{axis}", 1.0), header.get(f"CDELT{axis}", 1.0)
        values = first + (1 + np.arange(n) - header.get(f"CRPIX{axis}", 1.0)) * step
        wanted = np.flatnonzero(np.round(values).astype(int) == 1)
        if not len(wanted):
            raise ValueError(f"{path}: Stokes parameters {values}, none of them 1 (I); accepted: a map of Stokes I")
        data = np.take(data, wanted[:1], axis=data.ndim - axis)
    return data, header


def normal_unit(path: str | os.PathLike, header: fits.Header) -> tuple[units.UnitBase, str]:
    """The unit of a map and how the file writes it."""
    text = str(header.get("BUNIT", "")).strip()
    if not text:
        raise ValueError(f"{path}: no BUNIT; accepted are Jy/beam, Jy/pixel, Jy/sr, MJy/sr, K, km/s")
    squeezed = re.sub(r"\s+", "", text)
    # "MJy/sr" and "mJy/sr" differ in the case of one letter: only spellings that are not units themselves are mended.
    for spelling in (text, squeezed, text.replace("beam-1", "beam^-1").replace("pixel-1", "pixel^-1")):
        try:
            return units.Unit(spelling), text
        except ValueError:
            continue
    known = UNITS.get(squeezed.lower())
    if known is None or (known.startswith("m") and squeezed[0] == "M"):
        raise ValueError(f"{path}: BUNIT '{text}' is not a unit; accepted are Jy/beam, Jy/pixel, Jy/sr, K, km/s")
    return units.Unit(known), text


def beam_of(
    path: str | os.PathLike, header: fits.Header, beams: fits.FITS_rec | None, shape: Sequence[int]
) -> tuple[tuple[float, float, float], list[str]]:
    """Beam (major, minor FWHM, position angle) [deg] of an image of `shape` (H, W), zeros if unknown; and notes."""
    notes: list[str] = []
    if beams is not None and not header.get("BMAJ"):
        major, minor, angle = (_column(path, beams, name) for name in ("BMAJ", "BMIN", "BPA"))
        k = int(np.argmax(major))
        if np.ptp(major) > UNEQUAL_BEAMS * major[k]:
            notes.append(f"beams of {3600 * major.min():.3g} to {3600 * major[k]:.3g} arcsec: the widest is taken")
        found = {"BMAJ": float(major[k]), "BMIN": float(minor[k]), "BPA": float(angle[k])}
    else:
        found = {key: header[key] for key in ("BMAJ", "BMIN", "BPA") if header.get(key) not in (None, "")}
    for key, value in found.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
            raise ValueError(f"{path}: {key} is {value!r}; accepted: a number, in degrees")
    major = float(found.get("BMAJ", 0.0))
    if major == 0:
        return (0.0, 0.0, 0.0), [*notes, "no beam in the header"]
    minor = float(found.get("BMIN", major))
    step = abs(float(header.get("CDELT2", 0) or header.get("CD2_2", 0) or 0))
    side = max(shape) * step
    if not 0 < minor <= major:
        raise ValueError(f"{path}: BMAJ = {major:g}, BMIN = {minor:g}; accepted: 0 < BMIN ≤ BMAJ, in degrees")
    if side > 0 and major > side:
        raise ValueError(
            f"{path}: BMAJ = {major:g} deg is wider than the map ({side:.3g} deg); accepted: degrees "
            f"(a beam of {major:g} arcsec is BMAJ = {major / 3600:.3g})"
        )
    return (major, minor, float(found.get("BPA", 0.0))), notes


def _column(path: str | os.PathLike, beams: fits.FITS_rec, name: str) -> np.ndarray:
    """A column (V,) of CASA's table of beams [deg]."""
    if name not in beams.names or not len(beams):
        raise ValueError(f"{path}: the extension BEAMS has no column {name}; accepted: BMAJ, BMIN, BPA")
    unit = beams.columns[name].unit or ("deg" if name == "BPA" else "arcsec")
    return np.asarray(beams[name], float) * units.Unit(unit).to("deg")
