"""What the files of all LAMOST surveys share: opening them, the facts of their object, spectra and refusals."""

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dioscuri.flags import Refusal
from dioscuri.lamost.exposures import Exposure
from dioscuri.lamost.fits_units import DAMAGE, RefusedFile, Unit, read_content, read_units
from dioscuri.lamost.judgement import grid_fault

# Keywords that every row needs: their type, and what they can be.
SANE: dict[str, tuple[type, float, float]] = {
    "RA": (float, 0, 360),
    "DEC": (float, -90, 90),
    "SPID": (int, 0, 99),
    "FIBERID": (int, 0, 9999),
    "OBSID": (int, 0, 2**62),
    "LMJD": (int, 0, 10**6),
}
N_MAGNITUDES = 7
UNKNOWN_MAGNITUDE = 99.0
BRIGHTEST = -30.0  # mag; below are fill values
# Catalogue identifiers of 18 or 19 digits are Gaia's; UCAC and TIC numbers, which also occur, are shorter.
GAIA_DIGITS = (18, 19)
LARGEST_ID = 2**63
DESIGNATION = re.compile(r"LAMOST J(\d\d)(\d\d)(\d\d\.\d+)([+-]\d\d)(\d\d)(\d\d\.\d+)")
SAME_PLACE = 5.0  # arcsec; designations are cut, not rounded, to 0.15 and 0.1
NAMED = ("LMJD", "PLANID", "SPID", "FIBERID")
FILE_NAME = re.compile(r"(med|spec)-(?P<LMJD>\d+)-(?P<PLANID>.+)_sp(?P<SPID>\d+)-(?P<FIBERID>\d+)\.fits(\.gz)?")


@dataclass(frozen=True)
class ObservedFile:
    """What a file of LAMOST says about its object, and its exposures: single ones by time, co-adds last.

    `designation` is the 'LAMOST J…' name; `object_name` that of the input catalogue, `gaia_id` the same where
    it is a Gaia source_id (0: unknown); `ra`, `dec` [deg, J2000]; `magnitudes` name → mag; `helio_rv` [km/s]
    as applied; `lost` what could not be read while the rest could.
    """

    path: Path
    obsid: int
    designation: str
    object_name: str
    gaia_id: int
    ra: float
    dec: float
    planid: str
    spid: int
    fiberid: int
    lmjd: int
    fiber_type: str
    object_type: str
    data_version: str
    helio_rv: float
    magnitudes: dict[str, float]
    exposures: tuple[Exposure, ...]
    lost: tuple["Lost", ...] = ()


@dataclass(frozen=True)
class Lost:
    """What a file should hold and does not, or not legibly: `lmjm` and `arm` of an exposure, or 0 and ''."""

    lmjm: int
    arm: str
    reason: Refusal
    detail: str


@contextmanager
def opened(path: Path) -> Iterator[list[Unit]]:
    """All HDUs of a FITS file, plain or gzip data whatever its name. Every failure, also while they are looked at,
    is a RefusedFile: its reason and what was found."""
    units = read_units(read_content(path))
    try:
        yield units
    except DAMAGE as error:
        raise RefusedFile(Refusal.UNREADABLE, f"not as LAMOST writes it: {' '.join(str(error).split())}") from error


def object_facts(primary: Mapping[str, Any]) -> dict:
    """The facts of ObservedFile but path and exposures; keywords renamed in DR9 are looked up under both names."""
    text = {key: str(primary.get(key, "")).strip() for key in ("DESIG", "OBJNAME", "PLANID", "OBJTYPE", "DATA_V")}
    gaia = str(primary.get("GAIA_ID", text["OBJNAME"])).strip()
    # DR9 names its magnitudes (MAG_BP). Before, MAGTYPE names them, one letter each ('ugrizjh') or a single
    # one ('Kp').
    magnitudes = {key.removeprefix("MAG_").lower(): primary[key] for key in primary if key.startswith("MAG_")}
    kinds = str(primary.get("MAGTYPE", "")).strip()
    for i, kind in enumerate(kinds if len(kinds) == N_MAGNITUDES else [kinds], start=1):
        magnitudes[kind] = primary.get(f"MAG{i}", UNKNOWN_MAGNITUDE)
    for key, (kind, low, high) in SANE.items():
        value = primary.get(key, "nothing")
        numeric = isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
        if not (numeric and low <= value <= high):
            accepted = "a whole number" if kind is int else "a number"
            raise ValueError(f"{key} = {value}, accepted is {accepted} from {low} to {high}")
    return {
        "obsid": int(primary["OBSID"]),
        "designation": text["DESIG"],
        "object_name": text["OBJNAME"],
        "gaia_id": int(gaia) if gaia.isdigit() and len(gaia) in GAIA_DIGITS and int(gaia) < LARGEST_ID else 0,
        "ra": float(primary["RA"]),
        "dec": float(primary["DEC"]),
        "planid": text["PLANID"],
        "spid": int(primary["SPID"]),
        "fiberid": int(primary["FIBERID"]),
        "lmjd": int(primary["LMJD"]),
        "fiber_type": str(primary.get("FIB_TYPE", primary.get("FIBERTYP", ""))).strip(),
        "object_type": text["OBJTYPE"],
        "data_version": text["DATA_V"],
        "helio_rv": number(primary.get("HELIO_RV")),
        "magnitudes": {k: m for k, v in magnitudes.items() if BRIGHTEST < (m := number(v)) < UNKNOWN_MAGNITUDE},
    }


def contradicting(path: Path, primary: Mapping[str, Any]) -> bool:
    """Whether identity and position are told differently by two keywords, or by the file's name where it is LAMOST's.

    Keywords that early files lack are not asked.
    """
    agree = [primary.get("HELIO", True) is True]
    if {"OBSID", "SPID", "FIBERID"} <= set(primary):
        agree.append(primary["OBSID"] % 100_000 == primary["SPID"] * 1000 + primary["FIBERID"])
    for name in (path.name, str(primary.get("FILENAME", ""))):
        if match := FILE_NAME.fullmatch(name.strip()):
            known = [key for key in NAMED if key in primary]
            agree += [str(primary[key]).strip().lstrip("0") == match[key].lstrip("0") for key in known]
    if match := DESIGNATION.match(str(primary.get("DESIG", ""))):
        hour, minute, second, degree, arcminute, arcsecond = match.groups()
        ra = 15 * (int(hour) + int(minute) / 60 + float(second) / 3600)
        size = abs(int(degree)) + int(arcminute) / 60 + float(arcsecond) / 3600
        off_dec = primary["DEC"] - math.copysign(size, -1 if degree[0] == "-" else 1)
        off_ra = ((primary["RA"] - ra + 180) % 360 - 180) * math.cos(math.radians(primary["DEC"]))
        agree.append(math.hypot(off_ra, off_dec) * 3600 < SAME_PLACE)
    return not all(agree)


def number(value: object) -> float:
    """A number of a header; NaN where it is anything else, which costs that number alone."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def pixels(unit: Unit, mask_column: str) -> dict:
    """Pixels in ascending wavelength, S/N, and their fault; pixels without a wavelength are dropped."""
    # Damaged pixels can hold signalling NaN and absurd exponents; they are dropped or masked further on.
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        logarithmic = unit.table is not None and "LOGLAM" in (unit.table.dtype.names or ())
        wave = 10.0 ** column(unit, "LOGLAM") if logarithmic else column(unit, "WAVELENGTH")
        flux, ivar = column(unit, "FLUX"), column(unit, "IVAR")
        mask = column(unit, mask_column) != 0
    if not 1 < len(wave) == len(flux) == len(ivar) == len(mask):
        raise ValueError(f"its columns have {len(wave)}, {len(flux)}, {len(ivar)} and {len(mask)} pixels")
    fault = grid_fault(wave)
    if not (np.all(np.isfinite(wave)) and np.all(np.diff(wave) > 0)):
        known = np.flatnonzero(np.isfinite(wave) & (wave > 0))
        wave, order = np.unique(wave[known], return_index=True)
        flux, ivar, mask = flux[known[order]], ivar[known[order]], mask[known[order]]
    snr = number(unit.header.get("SNR"))
    if not math.isfinite(snr):
        good = np.isfinite(flux) & (ivar > 0)
        snr = float(np.median(flux[good] * np.sqrt(ivar[good]))) if good.any() else 0.0
    return {"snr": snr, "wave": wave, "flux": flux, "ivar": ivar, "mask": mask, "fault": fault}


def column(unit: Unit, name: str) -> np.ndarray:
    """A column as one float64 array: one row of arrays and one row per pixel read alike."""
    if unit.table is None or name not in (unit.table.dtype.names or ()):
        raise ValueError(f"no column {name}")
    return np.ravel(unit.table[name]).astype(float)
