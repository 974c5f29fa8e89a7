"""LAMOST low-resolution files, every layout since DR1, as ascending vacuum spectra.

Three layouts are told apart by content, never by name or release: an image of five rows whose third is "Subcontinuum"
(DR1: wavelengths come from COEFF0 and COEFF1), one whose third is the wavelength (DR2 to DR8), and one row of array
columns in the extension COADD (DR9 and later). Either may be gzip data under any name. Wavelengths are vacuum and
heliocentric as they come; HELIO_RV has been applied.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dioscuri.arms import C_KMS
from dioscuri.flags import LrsQuality, Refusal
from dioscuri.lamost.files import LARGEST_ID, column, contradicting, number, opened
from dioscuri.lamost.fits_units import RefusedFile, Unit
from dioscuri.lamost.lrs_judgement import judge_grid, judge_pixels, judge_subcontinuum
from dioscuri.lamost.mrs_files import EXPOSURE_NAME

NOT_GIVEN = -9999.0  # how LAMOST writes an unknown number
NO_OBSID = -1
NO_FLAGS = LrsQuality(0)
COEFFICIENTS = ("COEFF0", "COEFF1")  # log10 of the first wavelength [Å], and its step
FEWEST_PIXELS = 1000
LIKE_WAVELENGTHS = 0.01  # of log10 λ: a third row that is so near to the coefficients' in most pixels is no flux
FEWEST_UNTOLD = 3850  # pixels of a file that has no wavelengths but coefficients; found: 3904 and more


@dataclass(frozen=True)
class LRSFile:
    """One LAMOST LRS: what the file says of the object, and its pixels P in ascending wavelength.

    `obsid` −1 where the file has none; `release` as written in DATA_V, '' in early files; `star_class`, `subclass` and
    `z` [km/s, NaN unknown] of the 1D pipeline; `snrg` S/N per pixel in the g band (NaN: unknown); `wave` (P,)
    [Å, vacuum, heliocentric], `flux` (P,), `ivar` (P,), `mask` (P,) True where all exposures were bad.
    """

    path: Path
    obsid: int
    designation: str
    release: str
    ra: float
    dec: float
    lmjd: int
    star_class: str
    subclass: str
    z: float
    snrg: float
    wave: np.ndarray = field(repr=False)
    flux: np.ndarray = field(repr=False)
    ivar: np.ndarray = field(repr=False)
    mask: np.ndarray = field(repr=False)
    flags: LrsQuality = NO_FLAGS


def read_lrs(path: str | Path) -> LRSFile:
    """Read a LAMOST LRS file of any layout. Every failure is a RefusedFile: its reason and what was found."""
    path = Path(path)
    with opened(path) as units:
        primary = units[0].header
        if damage := next((unit.damage for unit in units if unit.damage), None):
            raise damage
        _check_is_lrs(primary, units)
        facts = _object_facts(primary)
        pixels: dict[str, Any] = _image_pixels(units[0]) if primary.get("NAXIS") == 2 else _table_pixels(units[1])
        judge_grid(pixels["wave"])
        _check_span(pixels["wave"])
        judge_pixels(**pixels, snrg=facts["snrg"])
        flags = LrsQuality.CONTRADICTION if contradicting(path, primary) else LrsQuality(0)
        return LRSFile(path=path, **facts, **pixels, flags=flags)


def _check_is_lrs(primary: Mapping[str, Any], units: list[Unit]) -> None:
    telescope = str(primary.get("TELESCOP", "")).strip()
    if "LAMOST" not in telescope.upper():
        found = f"TELESCOP = '{telescope}'" if telescope else "no TELESCOP in its header"
        raise RefusedFile(Refusal.FOREIGN, f"{found}; accepted are LAMOST low-resolution spectra")
    if any(EXPOSURE_NAME.fullmatch(unit.name) for unit in units[1:]):
        raise RefusedFile(Refusal.FOREIGN, "a LAMOST medium-resolution spectrum: give it to survey lamost_mrs")
    if primary.get("NAXIS") == 2 and primary.get("NAXIS2") == 5:
        return
    if len(units) > 1 and units[1].name == "COADD" and units[1].table is not None:
        return
    shape = "×".join(str(primary[f"NAXIS{i}"]) for i in range(1, primary.get("NAXIS", 0) + 1)) or "no image"
    names = ", ".join(unit.name or "(unnamed)" for unit in units[1:]) or "no extension"
    raise RefusedFile(
        Refusal.NO_EXPOSURE, f"expected an image of five rows or an extension COADD; found {shape} and {names}"
    )


def _object_facts(primary: Mapping[str, Any]) -> dict:
    """The facts of LRSFile; early files have no OBSID, no DATA_V and other names for their S/N."""
    ra, dec = number(primary["RA"]), number(primary["DEC"])
    if not (0 <= ra <= 360 and -90 <= dec <= 90):
        raise ValueError(f"RA, DEC = {primary['RA']}, {primary['DEC']}, accepted are 0 to 360 and -90 to 90")
    return {
        "obsid": _whole(primary, "OBSID", NO_OBSID),
        "designation": str(primary.get("DESIG", "")).strip(),
        "release": str(primary.get("DATA_V", "")).strip(),
        "ra": ra,
        "dec": dec,
        "lmjd": _whole(primary, "LMJD", 0),
        "star_class": str(primary.get("CLASS", "")).strip(),
        "subclass": str(primary.get("SUBCLASS", "")).strip(),
        "z": _number(primary.get("Z")) * C_KMS,
        "snrg": _number(primary.get("SNRG", primary.get("SN_G"))),
    }


def _whole(primary: Mapping[str, Any], key: str, unknown: int) -> int:
    """A whole number that the catalogue can hold; `unknown` where the header has none."""
    value = primary.get(key, unknown)
    if isinstance(value, bool) or not isinstance(value, int) or not (0 <= value < LARGEST_ID or value == unknown):
        raise ValueError(f"{key} = {value}, accepted is a whole number from 0")
    return value


def _number(value: object) -> float:
    """A number of a header; NaN where it is not given, which LAMOST writes as −9999."""
    found = number(value)
    return found if math.isfinite(found) and found != NOT_GIVEN else math.nan


def _image_pixels(unit: Unit) -> dict[str, Any]:
    rows = np.asarray(unit.image, float)
    header, n = unit.header, rows.shape[1]
    wave = rows[2]
    if all(key in header for key in COEFFICIENTS):
        # float32 wavelengths of later releases are these, rounded; row 2 of DR1 is no wavelength at all.
        first, step = (number(header[key]) for key in COEFFICIENTS)
        with np.errstate(all="ignore"):
            wave = 10.0 ** (first + step * np.arange(n))
            apart = np.log10(rows[2]) - np.log10(wave)
        judge_grid(wave)
        if np.mean(np.abs(apart) < LIKE_WAVELENGTHS) > 0.5:
            judge_grid(rows[2])
        elif n < FEWEST_UNTOLD:
            raise RefusedFile(Refusal.BAD_GRID, f"{n} pixels, accepted are {FEWEST_UNTOLD}: some are missing")
        else:
            judge_subcontinuum(rows[0], rows[2], rows[1])
    return {"wave": wave, "flux": rows[0], "ivar": rows[1], "mask": rows[3] != 0}


def _table_pixels(unit: Unit) -> dict[str, Any]:
    logarithmic = unit.table is not None and "LOGLAM" in (unit.table.dtype.names or ())
    with np.errstate(all="ignore"):
        wave = 10.0 ** column(unit, "LOGLAM") if logarithmic else column(unit, "WAVELENGTH")
        flux, ivar, mask = column(unit, "FLUX"), column(unit, "IVAR"), column(unit, "ANDMASK") != 0
    if not len(wave) == len(flux) == len(ivar) == len(mask) > 1:
        raise ValueError(f"its columns have {len(wave)}, {len(flux)}, {len(ivar)} and {len(mask)} pixels")
    return {"wave": wave, "flux": flux, "ivar": ivar, "mask": mask}


def _check_span(wave: np.ndarray) -> None:
    """The wavelengths are those of a whole spectrum."""
    if len(wave) < FEWEST_PIXELS or not (3000 < wave[0] < 5000 and 6000 < wave[-1] < 11000):
        span = f"{wave[0]:.0f} to {wave[-1]:.0f} Å"
        raise ValueError(f"{len(wave)} wavelengths spanning {span}; accepted: {FEWEST_PIXELS} from 3700 to 9000 Å")
