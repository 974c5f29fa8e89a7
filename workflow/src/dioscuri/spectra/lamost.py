"""LAMOST medium-resolution files, every layout since DR6, as sorted vacuum spectra.
 Two layouts are told apart by content, never by name or release: LOGLAM, one table row per pixel with log10 λ
as float32 (DR6 to DR8; single red exposures run from red to blue), and WAVELENGTH, one row of array columns
with λ in Å as float32 (DR9 and later). Either may be plain FITS or gzip data under any name. Wavelengths are
vacuum and heliocentric as they come: the header key HELIO_RV has been applied and must not be applied again.
"""

import math
import re
import warnings
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np

from dioscuri.flags import Refusal
from dioscuri.spectra.fitsbytes import HDU, RefusedFile, parse, read_bytes

COADD = -1  # the `lmjm` of a co-added spectrum
ARM_NAMES = {"B": "blue", "R": "red"}
EXPOSURE_NAME = re.compile(r"(?:COADD_(?P<coadd>[BR])|(?P<single>[BR])-(?P<lmjm>\d{8}))")
XINGLONG = (117.5758, 40.3934, 960.0)  # longitude and latitude [deg], height [m]
BEIJING_TIME = 8.0 / 24.0  # days ahead of UTC
# Keywords that every row needs, and what they can be.
SANE = {
    "RA": (0, 360),
    "DEC": (-90, 90),
    "SPID": (0, 99),
    "FIBERID": (0, 9999),
    "OBSID": (0, 2**62),
    "LMJD": (0, 10**6),
}
N_MAGNITUDES = 7
UNKNOWN_MAGNITUDE = 99.0
LONGEST = 86400.0  # s; no exposure lasts a day
MJD_ZERO = datetime(1858, 11, 17)
# Catalogue identifiers of 18 or 19 digits are Gaia's; UCAC and TIC numbers, which also occur, are shorter.
GAIA_DIGITS = (18, 19)


@dataclass(frozen=True)
class Exposure:
    """One spectrum of one arm; pixels P, ascending in wavelength.

    `name` of the HDU; `arm` 'blue' or 'red'; `lmjm` local modified Julian minute of the start (−1: co-add);
    `mjd_mid` UTC MJD of mid-exposure (a co-add: mean of its exposures); `exptime` [s]; `snr` from the header,
    or the median of flux·√ivar where the header has none; `wave` (P,) [Å, vacuum, heliocentric]; `flux` (P,)
    [counts]; `ivar` (P,); `mask` (P,) True where the pipeline marks the pixel.
    """

    name: str
    arm: str
    lmjm: int
    mjd_mid: float
    exptime: float
    snr: float
    wave: np.ndarray = field(repr=False)
    flux: np.ndarray = field(repr=False)
    ivar: np.ndarray = field(repr=False)
    mask: np.ndarray = field(repr=False)

    @property
    def is_coadd(self) -> bool:
        """Whether this is the co-added spectrum of its arm."""
        return self.lmjm == COADD


@dataclass(frozen=True)
class MRSFile:
    """What a LAMOST MRS file says about its object, and its exposures: single ones by time, co-adds last.

    `designation` is the 'LAMOST J…' name; `object_name` that of the input catalogue, `gaia_id` the same where
    it is a Gaia source_id (0: unknown); `ra`, `dec` [deg, J2000]; `magnitudes` name → mag; `helio_rv` [km/s]
    as applied.
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


def read_mrs(path: str | Path) -> MRSFile:
    """Read a LAMOST MRS file of any layout. Every failure is a RefusedFile: its reason and what was found."""
    path = Path(path)
    units = parse(read_bytes(path))
    primary = units[0].header
    spectra = [(match, unit) for unit in units[1:] if (match := EXPOSURE_NAME.fullmatch(unit.name))]
    _check_is_mrs(primary, units, n_spectra=len(spectra))
    try:
        singles = [_exposure(match, unit) for match, unit in spectra if match["single"]]
        coadds = [_coadd(match, unit, singles) for match, unit in spectra if match["coadd"]]
        exposures = sorted(singles, key=lambda e: (e.lmjm, e.arm)) + sorted(coadds, key=lambda e: e.arm)
        return MRSFile(path=path, exposures=tuple(exposures), **_object_facts(primary))
    except (KeyError, ValueError, TypeError, ArithmeticError) as error:
        raise RefusedFile(Refusal.UNREADABLE, f"not as LAMOST writes it: {error!r}") from error


def _check_is_mrs(primary: dict, units: list[HDU], n_spectra: int) -> None:
    telescope = str(primary.get("TELESCOP", "")).strip()
    if "LAMOST" not in telescope.upper():
        found = f"TELESCOP = '{telescope}'" if telescope else "no TELESCOP in its header"
        raise RefusedFile(Refusal.FOREIGN, f"{found}; accepted are LAMOST medium-resolution spectra")
    if n_spectra:
        return
    if (len(units) == 1 and primary.get("NAXIS") == 2) or any(unit.name == "COADD" for unit in units):
        raise RefusedFile(Refusal.FOREIGN, "a LAMOST low-resolution spectrum: give it to survey lamost_lrs")
    names = ", ".join(unit.name or "(unnamed)" for unit in units[1:]) or "no extension"
    raise RefusedFile(Refusal.NO_EXPOSURE, f"expected COADD_B, B-<LMJM>, R-<LMJM> …; found {names}")


def _object_facts(primary: dict) -> dict:
    """The facts of MRSFile from a primary header; keywords renamed in DR9 are looked up under both names."""
    text = {
        key: str(primary.get(key, "")).strip() for key in ("DESIG", "OBJNAME", "PLANID", "OBJTYPE", "DATA_V")
    }
    gaia = str(primary.get("GAIA_ID", text["OBJNAME"])).strip()
    # DR9 names its magnitudes (MAG_BP). Before, MAGTYPE names them, one letter each ('ugrizjh') or a single
    # one ('Kp').
    magnitudes = {key.removeprefix("MAG_").lower(): primary[key] for key in primary if key.startswith("MAG_")}
    kinds = str(primary.get("MAGTYPE", "")).strip()
    for i, kind in enumerate(kinds if len(kinds) == N_MAGNITUDES else [kinds], start=1):
        magnitudes[kind] = primary.get(f"MAG{i}", UNKNOWN_MAGNITUDE)
    for key, (low, high) in SANE.items():
        if not low <= primary[key] <= high:
            raise ValueError(f"{key} = {primary[key]}, accepted is {low} to {high}")
    return {
        "obsid": int(primary["OBSID"]),
        "designation": text["DESIG"],
        "object_name": text["OBJNAME"],
        "gaia_id": int(gaia) if gaia.isdigit() and len(gaia) in GAIA_DIGITS else 0,
        "ra": float(primary["RA"]),
        "dec": float(primary["DEC"]),
        "planid": text["PLANID"],
        "spid": int(primary["SPID"]),
        "fiberid": int(primary["FIBERID"]),
        "lmjd": int(primary["LMJD"]),
        "fiber_type": str(primary.get("FIB_TYPE", primary.get("FIBERTYP", ""))).strip(),
        "object_type": text["OBJTYPE"],
        "data_version": text["DATA_V"],
        "helio_rv": float(primary.get("HELIO_RV", math.nan)),
        "magnitudes": {
            k: float(v) for k, v in magnitudes.items() if float(v) not in (UNKNOWN_MAGNITUDE, -9999.0)
        },
    }


def _exposure(match: re.Match, unit: HDU) -> Exposure:
    lmjm, exptime = int(match["lmjm"]), float(unit.header.get("EXPTIME", math.nan))
    if not 0 <= exptime <= LONGEST:
        exptime = math.nan
    # LMJM is cut to the minute. From DR9 each exposure has its own local start to 0.1 s; take it where it
    # agrees.
    start = lmjm / 1440.0
    if (beginning := parse_date(unit.header.get("DATE-BEG"))) is not None and abs(
        beginning - start
    ) < 2 / 1440.0:
        start = beginning
    mjd_mid = start - BEIJING_TIME + 0.5 * exptime / 86400.0
    arm = ARM_NAMES[match["single"]]
    return Exposure(unit.name, arm, lmjm, mjd_mid, exptime, **_pixels(unit, "PIXMASK"))


def _coadd(match: re.Match, unit: HDU, singles: list[Exposure]) -> Exposure:
    arm = ARM_NAMES[match["coadd"]]
    parts = [exposure for exposure in singles if exposure.arm == arm]
    mjd_mid = float(np.mean([part.mjd_mid for part in parts])) if parts else math.nan
    exptime = float(sum(part.exptime for part in parts))
    return Exposure(unit.name, arm, COADD, mjd_mid, exptime, **_pixels(unit, "ANDMASK"))


def _pixels(unit: HDU, mask_column: str) -> dict:
    """Pixels in ascending wavelength, and the S/N; pixels without a wavelength are dropped."""
    # Damaged pixels can hold signalling NaN and absurd exponents; they are dropped or masked further on.
    with np.errstate(over="ignore", invalid="ignore"):
        if "LOGLAM" in unit.columns:
            wave = 10.0 ** unit.column("LOGLAM").astype(float)
        else:
            wave = unit.column("WAVELENGTH").astype(float)
        flux, ivar = unit.column("FLUX").astype(float), unit.column("IVAR").astype(float)
    mask = unit.column(mask_column) != 0
    if not len(wave) == len(flux) == len(ivar) == len(mask):
        raise ValueError(
            f"columns of {unit.name} have {len(wave)}, {len(flux)}, {len(ivar)} and {len(mask)} pixels"
        )
    if not (np.all(np.isfinite(wave)) and np.all(np.diff(wave) > 0)):
        known = np.flatnonzero(np.isfinite(wave) & (wave > 0))
        wave, order = np.unique(wave[known], return_index=True)
        flux, ivar, mask = flux[known[order]], ivar[known[order]], mask[known[order]]
    snr = float(unit.header.get("SNR", math.nan))
    if not math.isfinite(snr):
        good = np.isfinite(flux) & (ivar > 0)
        snr = float(np.median(flux[good] * np.sqrt(ivar[good]))) if good.any() else 0.0
    return {"snr": snr, "wave": wave, "flux": flux, "ivar": ivar, "mask": mask}


def parse_date(text: object) -> float | None:
    """Days since MJD 0 of a LAMOST date such as '2018-01-30T13:30:0.000' (sic); None where it is no date."""
    found = re.fullmatch(r"\s*(\d{4})-(\d+)-(\d+)T(\d+):(\d+):(\d+(?:\.\d*)?)\s*", str(text))
    if found is None:
        return None
    year, month, day, hour, minute = (int(found[i]) for i in range(1, 6))
    try:
        midnight = datetime(year, month, day)
    except ValueError:
        return None
    return (midnight - MJD_ZERO).days + (hour * 3600 + minute * 60 + float(found[6])) / 86400.0


def barycentric_date(mjd_utc: np.ndarray, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Barycentric Julian dates (TDB) of UTC dates [MJD] at Xinglong towards `ra`, `dec` [deg]; all (N,).

    Works offline with astropy's built-in ephemeris and the Earth-rotation tables that it ships: whichever are
    used, the light travel time moves by well under a millisecond. NaN stays NaN.
    """
    from astropy import units as u
    from astropy.coordinates import EarthLocation, SkyCoord
    from astropy.time import Time
    from astropy.utils import iers

    dates = np.full(len(mjd_utc), np.nan)
    known = np.isfinite(mjd_utc)
    if not known.any():
        return dates
    site = EarthLocation.from_geodetic(XINGLONG[0] * u.deg, XINGLONG[1] * u.deg, XINGLONG[2] * u.m)
    with (
        iers.conf.set_temp("auto_download", False),
        iers.conf.set_temp("iers_degraded_accuracy", "ignore"),
        warnings.catch_warnings(),
    ):
        # Of days to come neither leap seconds nor polar motion are known: a second at most.
        warnings.filterwarnings("ignore", ".*(dubious year|polar motions)")
        time = Time(mjd_utc[known], format="mjd", scale="utc", location=site)
        target = SkyCoord(ra[known] * u.deg, dec[known] * u.deg)
        dates[known] = (time.tdb + time.light_travel_time(target, "barycentric")).jd
    return dates
