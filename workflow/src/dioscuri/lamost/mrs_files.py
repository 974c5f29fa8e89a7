"""LAMOST medium-resolution files, every layout since DR6, as sorted vacuum spectra.

Two layouts are told apart by content, never by name or release: LOGLAM, one table row per pixel with log10 λ
as float32 (DR6 to DR8; single red exposures run from red to blue), and WAVELENGTH, one row of array columns
with λ in Å as float32 (DR9 and later). Either may be plain FITS or gzip data under any name. Wavelengths are
vacuum and heliocentric as they come: the header key HELIO_RV has been applied and must not be applied again.
"""

import math
import re
from pathlib import Path

import numpy as np
from astropy.io import fits

from dioscuri.flags import Refusal
from dioscuri.lamost.dates import BEIJING_TIME, parse_date
from dioscuri.lamost.files import (
    COADD,
    Exposure,
    ObservedFile,
    RefusedFile,
    Unit,
    name_of,
    object_facts,
    opened,
    pixels,
)

ARM_NAMES = {"B": "blue", "R": "red"}
EXPOSURE_NAME = re.compile(r"(?:COADD_(?P<coadd>[BR])|(?P<single>[BR])-(?P<lmjm>\d{8}))")
LONGEST = 86400.0  # s; no exposure lasts a day


def read_mrs(path: str | Path) -> ObservedFile:
    """Read a LAMOST MRS file of any layout. Every failure is a RefusedFile: its reason and what was found."""
    path = Path(path)
    with opened(path) as units:
        primary = units[0].header
        spectra = [(match, unit) for unit in units[1:] if (match := EXPOSURE_NAME.fullmatch(name_of(unit)))]
        _check_is_mrs(primary, units, n_spectra=len(spectra))
        singles = [_exposure(match, unit) for match, unit in spectra if match["single"]]
        coadds = [_coadd(match, unit, singles) for match, unit in spectra if match["coadd"]]
        exposures = sorted(singles, key=lambda e: (e.lmjm, e.arm)) + sorted(coadds, key=lambda e: e.arm)
        return ObservedFile(path=path, exposures=tuple(exposures), **object_facts(primary))


def _check_is_mrs(primary: fits.Header, units: list[Unit], n_spectra: int) -> None:
    telescope = str(primary.get("TELESCOP", "")).strip()
    if "LAMOST" not in telescope.upper():
        found = f"TELESCOP = '{telescope}'" if telescope else "no TELESCOP in its header"
        raise RefusedFile(Refusal.FOREIGN, f"{found}; accepted are LAMOST medium-resolution spectra")
    if n_spectra:
        return
    if (len(units) == 1 and primary.get("NAXIS") == 2) or any(name_of(unit) == "COADD" for unit in units):
        raise RefusedFile(Refusal.FOREIGN, "a LAMOST low-resolution spectrum, which is what survey lamost_lrs is for")
    names = ", ".join(name_of(unit) or "(unnamed)" for unit in units[1:]) or "no extension"
    raise RefusedFile(Refusal.NO_EXPOSURE, f"expected COADD_B, B-<LMJM>, R-<LMJM> …; found {names}")


def _exposure(match: re.Match, unit: fits.BinTableHDU) -> Exposure:
    lmjm, exptime = int(match["lmjm"]), float(unit.header.get("EXPTIME", math.nan))
    if not 0 <= exptime <= LONGEST:
        exptime = math.nan
    # LMJM is cut to the minute. From DR9 each exposure has its own local start to 0.1 s; take it where it
    # agrees.
    start = lmjm / 1440.0
    if (beginning := parse_date(unit.header.get("DATE-BEG"))) is not None and abs(beginning - start) < 2 / 1440.0:
        start = beginning
    mjd_mid = start - BEIJING_TIME + 0.5 * exptime / 86400.0
    arm = ARM_NAMES[match["single"]]
    return Exposure(name_of(unit), arm, lmjm, mjd_mid, exptime, **pixels(unit, "PIXMASK"))


def _coadd(match: re.Match, unit: fits.BinTableHDU, singles: list[Exposure]) -> Exposure:
    arm = ARM_NAMES[match["coadd"]]
    parts = [exposure for exposure in singles if exposure.arm == arm]
    mjd_mid = float(np.mean([part.mjd_mid for part in parts])) if parts else math.nan
    exptime = float(sum(part.exptime for part in parts))
    return Exposure(name_of(unit), arm, COADD, mjd_mid, exptime, **pixels(unit, "ANDMASK"))
