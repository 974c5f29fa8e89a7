"""LAMOST low-resolution files, every layout since DR1, as ascending vacuum spectra.

Three layouts are told apart by content, never by name or release: an image of five rows whose third is "Subcontinuum"
(DR1: wavelengths come from COEFF0 and COEFF1), one whose third is the wavelength (DR2 to DR8), and one row of array
columns in the extension COADD (DR9 and later). Either may be gzip data under any name. Wavelengths are vacuum and
heliocentric as they come; HELIO_RV has been applied.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from astropy.io import fits

from dioscuri.arms import C_KMS
from dioscuri.flags import Refusal
from dioscuri.lamost.files import opened
from dioscuri.lamost.fits_units import RefusedFile, Unit
from dioscuri.lamost.mrs_files import EXPOSURE_NAME

NOT_GIVEN = -9999.0  # how LAMOST writes an unknown number
NO_OBSID = -1
# Log10 of the first wavelength [Å] and its step: what every LRS has, and how far another may be from it.
COEFFICIENTS = {"COEFF0": (3.5682, 0.05), "COEFF1": (1e-4, 1e-6)}
FEWEST_PIXELS = 1000


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


def read_lrs(path: str | Path) -> LRSFile:
    """Read a LAMOST LRS file of any layout. Every failure is a RefusedFile: its reason and what was found."""
    path = Path(path)
    with opened(path) as units:
        primary = units[0].header
        if damage := next((unit.damage for unit in units if unit.damage), None):
            raise damage
        _check_is_lrs(primary, units)
        facts = _object_facts(primary)
        pixels = _image_pixels(units[0]) if primary.get("NAXIS") == 2 else _table_pixels(units[1])
        return LRSFile(path=path, **facts, **_ascending(**pixels))


def _check_is_lrs(primary: fits.Header, units: list[Unit]) -> None:
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


def _object_facts(primary: fits.Header) -> dict:
    """The facts of LRSFile; early files have no OBSID, no DATA_V and other names for their S/N."""
    ra, dec = float(primary["RA"]), float(primary["DEC"])
    if not (0 <= ra <= 360 and -90 <= dec <= 90):
        raise ValueError(f"RA, DEC = {ra}, {dec}, accepted are 0 to 360 and -90 to 90")
    return {
        "obsid": int(primary.get("OBSID", NO_OBSID)),
        "designation": str(primary.get("DESIG", "")).strip(),
        "release": str(primary.get("DATA_V", "")).strip(),
        "ra": ra,
        "dec": dec,
        "lmjd": int(primary.get("LMJD", 0)),
        "star_class": str(primary.get("CLASS", "")).strip(),
        "subclass": str(primary.get("SUBCLASS", "")).strip(),
        "z": _number(primary.get("Z")) * C_KMS,
        "snrg": _number(primary.get("SNRG", primary.get("SN_G"))),
    }


def _number(value: object) -> float:
    """A number of a header; NaN where it is not given, which LAMOST writes as −9999."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan
    return number if math.isfinite(number) and number != NOT_GIVEN else math.nan


def _image_pixels(unit: Unit) -> dict[str, np.ndarray]:
    rows = np.asarray(unit.image, float)
    header, n = unit.header, rows.shape[1]
    if all(key in header for key in COEFFICIENTS):
        for key, (expected, tolerance) in COEFFICIENTS.items():
            if not abs(float(header[key]) - expected) <= tolerance:
                raise ValueError(f"{key} = {header[key]}, accepted is {expected} within {tolerance}")
        # float32 wavelengths of later releases are these, rounded; row 2 of DR1 is no wavelength at all.
        wave = 10.0 ** (float(header["COEFF0"]) + float(header["COEFF1"]) * np.arange(n))
    else:
        wave = rows[2]
    return {"wave": wave, "flux": rows[0], "ivar": rows[1], "mask": rows[3] != 0}


def _table_pixels(unit: Unit) -> dict[str, np.ndarray]:
    assert unit.table is not None  # an extension COADD is a table: _check_is_lrs
    names = unit.table.dtype.names or ()
    columns = {name: np.ravel(unit.table[name]).astype(float) for name in names if name != "NORMALIZATION"}
    wave = 10.0 ** columns["LOGLAM"] if "LOGLAM" in names else columns["WAVELENGTH"]
    return {"wave": wave, "flux": columns["FLUX"], "ivar": columns["IVAR"], "mask": columns["ANDMASK"] != 0}


def _ascending(wave: np.ndarray, flux: np.ndarray, ivar: np.ndarray, mask: np.ndarray) -> dict:
    """Pixels with a wavelength, each once, by wavelength. Wavelengths that are none are damage."""
    known = np.flatnonzero(np.isfinite(wave) & (wave > 0))
    wave, order = np.unique(wave[known], return_index=True)
    if len(wave) < FEWEST_PIXELS or not (3000 < wave[0] < 5000 and 6000 < wave[-1] < 11000):
        span = f"{wave[0]:.0f} to {wave[-1]:.0f} Å" if len(wave) else "nothing"
        raise ValueError(f"{len(wave)} wavelengths spanning {span}; accepted: {FEWEST_PIXELS} from 3700 to 9000 Å")
    return {"wave": wave, **{k: v[known[order]] for k, v in {"flux": flux, "ivar": ivar, "mask": mask}.items()}}
