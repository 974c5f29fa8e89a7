"""What the files of all LAMOST surveys share: opening them, the facts of their object, spectra and refusals."""

import gzip
import io
import math
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from dioscuri.flags import Refusal

COADD = -1  # the `lmjm` of a co-added spectrum
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
# Catalogue identifiers of 18 or 19 digits are Gaia's; UCAC and TIC numbers, which also occur, are shorter.
GAIA_DIGITS = (18, 19)
GZIP_MAGIC = b"\x1f\x8b"
# What astropy only warns of, though parts of the file are lost then.
FATAL_WARNINGS = "File may have been truncated|Error validating header"
# What astropy raises on headers and tables that damage has made inconsistent.
DAMAGE = (fits.VerifyError, OSError, LookupError, ValueError, TypeError, AttributeError, ArithmeticError)

Unit: TypeAlias = fits.PrimaryHDU | fits.ImageHDU | fits.BinTableHDU | fits.TableHDU


class RefusedFile(Exception):
    """A file that cannot serve: `reason` is what users read, `detail` what was found."""

    def __init__(self, reason: Refusal, detail: str):
        super().__init__(f"{reason.value}: {detail}")
        self.reason, self.detail = reason, detail


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
class ObservedFile:
    """What a file of LAMOST says about its object, and its exposures: single ones by time, co-adds last.

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


@contextmanager
def opened(path: Path) -> Iterator[list[Unit]]:
    """All HDUs of a FITS file, plain or gzip data whatever its name. Every failure, also while they are looked at,
    is a RefusedFile: its reason and what was found."""
    content = _read_bytes(path)
    with warnings.catch_warnings():
        # Cards that break the standard matter only where they are used, and are refused there.
        warnings.simplefilter("ignore", AstropyWarning)
        warnings.filterwarnings("error", FATAL_WARNINGS, AstropyWarning)
        units = _read_units(content)
        try:
            yield units
        except DAMAGE as error:
            raise RefusedFile(Refusal.UNREADABLE, f"not as LAMOST writes it: {error!r}") from error


def _read_bytes(path: Path) -> bytes:
    """The bytes of a file, decompressed where they are gzip data, whatever the file is called."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RefusedFile(Refusal.UNREADABLE, f"{error.strerror or error}") from error
    if content[:2] != GZIP_MAGIC:
        return content
    try:
        return gzip.decompress(content)
    except EOFError as error:
        raise RefusedFile(Refusal.TRUNCATED, f"gzip data end early, after {len(content)} bytes") from error
    except (zlib.error, gzip.BadGzipFile) as error:
        raise RefusedFile(Refusal.TRUNCATED, f"gzip data are corrupt: {error}") from error


def _read_units(content: bytes) -> list[Unit]:
    """All HDUs of a FITS file in memory. Raises RefusedFile: not FITS at all, a header or data cut short."""
    if not content:
        raise RefusedFile(Refusal.TRUNCATED, "the file is empty")
    if content[:9] != b"SIMPLE  =":
        raise RefusedFile(Refusal.NOT_FITS, f"begins with {content[:16]!r}, a FITS file with 'SIMPLE  ='")
    units: list[Unit] = []
    try:
        # Astropy finds the next HDU behind the last one: one that claims a negative size would come for ever.
        for unit in fits.open(io.BytesIO(content), memmap=False, lazy_load_hdus=True):
            if not isinstance(unit, Unit) or unit.fileinfo()["datSpan"] < 0:
                raise RefusedFile(Refusal.TRUNCATED, f"the header of HDU {len(units)} is corrupt")
            units.append(unit)
    except (AstropyWarning, *DAMAGE) as error:
        raise RefusedFile(Refusal.TRUNCATED, f"HDU {len(units)}: {' '.join(str(error).split())}") from error
    return units


def name_of(unit: Unit) -> str:
    """EXTNAME in upper case, '' where there is none."""
    return str(unit.header.get("EXTNAME", "")).strip().upper()


def object_facts(primary: fits.Header) -> dict:
    """The facts of ObservedFile but path and exposures; keywords renamed in DR9 are looked up under both names."""
    text = {key: str(primary.get(key, "")).strip() for key in ("DESIG", "OBJNAME", "PLANID", "OBJTYPE", "DATA_V")}
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
        "magnitudes": {k: float(v) for k, v in magnitudes.items() if float(v) not in (UNKNOWN_MAGNITUDE, -9999.0)},
    }


def pixels(unit: fits.BinTableHDU, mask_column: str) -> dict:
    """Pixels and S/N of an Exposure from a table; ascending in wavelength, those without one are dropped."""
    if unit.columns.dtype.itemsize != unit.header["NAXIS1"]:
        raise ValueError(f"the columns of {name_of(unit)} do not fill its rows")
    # Damaged pixels can hold signalling NaN and absurd exponents; they are dropped or masked further on.
    with np.errstate(over="ignore", invalid="ignore"):
        if "LOGLAM" in unit.columns.names:
            wave = 10.0 ** _column(unit, "LOGLAM")
        else:
            wave = _column(unit, "WAVELENGTH")
        flux, ivar = _column(unit, "FLUX"), _column(unit, "IVAR")
        mask = _column(unit, mask_column) != 0
    if not len(wave) == len(flux) == len(ivar) == len(mask):
        lengths = f"{len(wave)}, {len(flux)}, {len(ivar)} and {len(mask)} pixels"
        raise ValueError(f"columns of {name_of(unit)} have {lengths}")
    if not (np.all(np.isfinite(wave)) and np.all(np.diff(wave) > 0)):
        known = np.flatnonzero(np.isfinite(wave) & (wave > 0))
        wave, order = np.unique(wave[known], return_index=True)
        flux, ivar, mask = flux[known[order]], ivar[known[order]], mask[known[order]]
    snr = float(unit.header.get("SNR", math.nan))
    if not math.isfinite(snr):
        good = np.isfinite(flux) & (ivar > 0)
        snr = float(np.median(flux[good] * np.sqrt(ivar[good]))) if good.any() else 0.0
    return {"snr": snr, "wave": wave, "flux": flux, "ivar": ivar, "mask": mask}


def _column(unit: fits.BinTableHDU, name: str) -> np.ndarray:
    """A column as one float64 array: one row of arrays and one row per pixel read alike."""
    return np.ravel(unit.data[name]).astype(float)
