"""LAMOST medium-resolution files, every layout since DR6, as sorted vacuum spectra.

Two layouts are told apart by content, never by name or release: LOGLAM, one table row per pixel with log10 λ
as float32 (DR6 to DR8; single red exposures run from red to blue), and WAVELENGTH, one row of array columns
with λ in Å as float32 (DR9 and later). Either may be plain FITS or gzip data under any name. Wavelengths are
vacuum and heliocentric as they come: the header key HELIO_RV has been applied and must not be applied again.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dioscuri.flags import Quality, Refusal
from dioscuri.lamost.dates import BEIJING_TIME, leap_seconds_known, parse_date
from dioscuri.lamost.exposures import COADD, NO_FLAGS, Exposure
from dioscuri.lamost.files import Lost, ObservedFile, contradicting, number, object_facts, opened, pixels
from dioscuri.lamost.fits_units import DAMAGE, RefusedFile, Unit
from dioscuri.lamost.judgement import judge_together

ARM_NAMES = {"B": "blue", "R": "red"}
EXPOSURE_NAME = re.compile(r"(?:COADD_(?P<coadd>[BR])|(?P<single>[BR])-(?P<lmjm>\d{8}))")
FIRST_LIGHT, FAR_FUTURE = 54_700, 90_000  # local modified Julian days between which LAMOST observes
LONGEST = 86400.0  # s; no exposure lasts a day
LONGEST_NIGHT = 1.5  # days from LMJD; an evening already counts as the next day


def read_mrs(path: str | Path) -> ObservedFile:
    """Read a LAMOST MRS file of any layout. Every failure is a RefusedFile: its reason and what was found.

    What is damaged or missing beside good exposures is in `lost`; what contradicts itself has a fault or a flag.
    """
    path = Path(path)
    with opened(path) as units:
        primary = units[0].header
        _check_is_mrs(primary, units)
        facts, missing = object_facts(primary), _missing(primary, units)
        flags = Quality.CONTRADICTION if contradicting(path, primary) else NO_FLAGS
        singles, coadds, lost = _spectra(units[1:])
    if not singles and not coadds:
        first = lost[0] if lost else Lost(0, "", Refusal.NO_EXPOSURE, "")
        raise RefusedFile(first.reason, "; ".join([*(item.detail for item in lost), *missing]))
    if missing:
        lost.append(Lost(0, "", Refusal.INCOMPLETE, "; ".join(missing)))
    if lost:
        flags |= Quality.INCOMPLETE_FILE
    exposures = sorted(singles, key=lambda e: (e.lmjm, e.arm)) + sorted(coadds, key=lambda e: e.arm)
    exposures = [_dated(replace(e, flags=e.flags | flags), facts["lmjd"]) for e in judge_together(exposures)]
    return ObservedFile(path=path, exposures=tuple(exposures), lost=tuple(lost), **facts)


def _spectra(units: Sequence[Unit]) -> tuple[list[Exposure], list[Exposure], list[Lost]]:
    """Single exposures, co-adds, and what of them cannot be read."""
    found: list[tuple[re.Match, Unit]] = []
    singles, coadds, lost = [], [], []
    for unit in units:
        if match := EXPOSURE_NAME.fullmatch(unit.name):
            found.append((match, unit))
        elif unit.damage is not None:
            lost.append(Lost(0, "", unit.damage.reason, unit.damage.detail))
    names = Counter(unit.name for _, unit in found)
    for match, unit in sorted(found, key=lambda item: item[0]["single"] is None):  # a co-add needs its exposures
        try:
            if names[unit.name] > 1:
                detail = f"{names[unit.name]} extensions have this name; LMJM = {unit.header.get('LMJM', 'nothing')}"
                raise RefusedFile(Refusal.CONTRADICTION, detail)
            if unit.damage is not None:
                raise unit.damage
            if match["single"]:
                singles.append(_exposure(match, unit))
            else:
                coadds.append(_coadd(match, unit, singles))
        except DAMAGE as error:
            refusal = RefusedFile(Refusal.UNREADABLE, f"{unit.name}: {' '.join(str(error).split())}")
            lost += _lost(match, unit, refusal)
        except RefusedFile as refusal:
            lost += _lost(match, unit, refusal)
    return singles, coadds, lost


def _lost(match: re.Match, unit: Unit, refusal: RefusedFile) -> list[Lost]:
    """What is known of an exposure that is left out; where name and header give two minutes, either may be right."""
    arm = ARM_NAMES[match["single"] or match["coadd"]]
    announced = str(unit.header.get("LMJM", "")).strip()
    given = [match["lmjm"] or "", announced if match["single"] else ""]
    minutes = {int(text) for text in given if text.isdecimal() and FIRST_LIGHT < int(text) / 1440 < FAR_FUTURE}
    detail = f"{match[0]}: {refusal.detail}"
    return [Lost(lmjm, arm, refusal.reason, detail) for lmjm in sorted(minutes or {int(match["lmjm"] or COADD)})]


def _missing(primary: Mapping[str, Any], units: Sequence[Unit]) -> list[str]:
    """What N_EXTEN, NEXP_B and NEXP_R announce and the file does not hold, a phrase each."""
    singles = [match["single"] for unit in units if (match := EXPOSURE_NAME.fullmatch(unit.name))]
    counts = {"N_EXTEN": len(units), "NEXP_B": singles.count("B"), "NEXP_R": singles.count("R")}
    return [f"{key} = {primary[key]}, found {n}" for key, n in counts.items() if key in primary and primary[key] != n]


def _check_is_mrs(primary: Mapping[str, Any], units: Sequence[Unit]) -> None:
    telescope = str(primary.get("TELESCOP", "")).strip()
    if "LAMOST" not in telescope.upper():
        found = f"TELESCOP = '{telescope}'" if telescope else "no TELESCOP in its header"
        raise RefusedFile(Refusal.FOREIGN, f"{found}; accepted are LAMOST medium-resolution spectra")
    if any(EXPOSURE_NAME.fullmatch(unit.name) or unit.damage for unit in units[1:]):
        return
    if (len(units) == 1 and primary.get("NAXIS") == 2) or any(unit.name == "COADD" for unit in units):
        raise RefusedFile(Refusal.FOREIGN, "a LAMOST low-resolution spectrum: give it to survey lamost_lrs")
    names = ", ".join(unit.name or "(unnamed)" for unit in units[1:]) or "no extension"
    raise RefusedFile(Refusal.NO_EXPOSURE, f"expected COADD_B, B-<LMJM>, R-<LMJM> …; found {names}")


def _exposure(match: re.Match, unit: Unit) -> Exposure:
    lmjm, exptime = int(match["lmjm"]), number(unit.header.get("EXPTIME"))
    if not 0 <= exptime <= LONGEST:
        exptime = math.nan
    # LMJM is cut to the minute. From DR9 each exposure has its own local start to 0.1 s; take it where it
    # agrees.
    start = lmjm / 1440.0
    if (beginning := parse_date(unit.header.get("DATE-BEG"))) is not None and abs(beginning - start) < 2 / 1440.0:
        start = beginning
    mjd_mid = start - BEIJING_TIME + 0.5 * exptime / 86400.0
    announced = str(unit.header.get("LMJM", match["lmjm"])).strip()
    if announced != match["lmjm"] or not FIRST_LIGHT < lmjm / 1440 < FAR_FUTURE:
        detail = f"its header has LMJM = {announced}; local modified Julian day {lmjm / 1440:.2f}"
        raise RefusedFile(Refusal.CONTRADICTION, detail)
    return Exposure(unit.name, ARM_NAMES[match["single"]], lmjm, mjd_mid, exptime, **pixels(unit, "PIXMASK"))


def _coadd(match: re.Match, unit: Unit, singles: Sequence[Exposure]) -> Exposure:
    arm = ARM_NAMES[match["coadd"]]
    parts = [exposure for exposure in singles if exposure.arm == arm and exposure.fault is None]
    mjd_mid = float(np.mean([part.mjd_mid for part in parts])) if parts else math.nan
    exptime = float(sum(part.exptime for part in parts))
    return Exposure(unit.name, arm, COADD, mjd_mid, exptime, **pixels(unit, "ANDMASK"))


def _dated(exposure: Exposure, lmjd: int) -> Exposure:
    """Flagged where its own minute and the day of the file are apart, or leap seconds of its day are not yet known."""
    apart = not exposure.is_coadd and abs(exposure.lmjm / 1440 - lmjd) > LONGEST_NIGHT
    if apart or not leap_seconds_known(exposure.mjd_mid):
        return replace(exposure, flags=exposure.flags | Quality.UNSURE_DATE)
    return exposure
