"""Writes LAMOST MRS files in the genuine layouts: for the simulated night, and to test the reader against."""

import gzip
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from astropy.io import fits

from dioscuri import io
from dioscuri.lamost.dates import BEIJING_TIME, MJD_ZERO, XINGLONG
from dioscuri.lamost.exposures import Exposure
from dioscuri.lamost.files import ObservedFile
from dioscuri.lamost.fits_units import BLOCK
from dioscuri.lamost.mrs_files import ARM_NAMES

LAYOUTS = ("loglam", "wavelength")
LETTERS = {name: letter for letter, name in ARM_NAMES.items()}
NOT_NORMALISED = -9999.0
UNKNOWN_MAGNITUDE = 99.0


def write_mrs_file(
    path: str | Path, file: ObservedFile, layout: str = "loglam", *, compress: bool | None = None
) -> None:
    """Write `file` as LAMOST does: keywords, HDU names and order, columns and their types.

    `layout` 'loglam' (DR6 to DR8: a row per pixel, single red exposures from red to blue) or 'wavelength'
    (DR9: one row of array columns). `compress` None goes by the name; True under a plain `.fits` name occurs
    in the archive. Same content, same bytes.
    """
    path = Path(path)
    if layout not in LAYOUTS:
        raise ValueError(f"unknown LAMOST layout '{layout}'; accepted are {', '.join(LAYOUTS)}")
    singles = [exposure for exposure in file.exposures if not exposure.is_coadd]
    coadds = [exposure for exposure in file.exposures if exposure.is_coadd]
    content = _padded(_primary(path, file, singles, layout).tostring().encode("ascii"))
    for exposure in sorted(coadds, key=lambda e: e.arm) + sorted(singles, key=lambda e: (e.arm, e.lmjm)):
        header, table = _table(exposure, singles, layout)
        content += header.tostring().encode("ascii") + _padded(table.tobytes())
    if compress if compress is not None else path.name.endswith(".gz"):
        content = gzip.compress(content, compresslevel=6, mtime=0)
    with io.atomic(path) as temporary:
        temporary.write_bytes(content)


def _padded(content: bytes) -> bytes:
    """Filled up with zeros to whole FITS blocks."""
    return content.ljust(-(-len(content) // BLOCK) * BLOCK, b"\0")


def _primary(path: Path, file: ObservedFile, singles: Sequence[Exposure], layout: str) -> fits.Header:
    header = fits.PrimaryHDU().header
    first = min(singles, key=lambda e: e.mjd_mid, default=None)
    cards = [
        ("EXTEND", True, "Extensions may be present"),
        ("FILENAME", path.name.removesuffix(".gz"), ""),
        ("OBSID", file.obsid, "Unique number ID of this spectrum"),
        ("AUTHOR", "dioscuri", "Who compiled the information: SIMULATED DATA"),
        ("DATA_V", file.data_version, "Data version"),
        ("N_EXTEN", 1 + len(file.exposures), "The extension number"),
        ("EXTNAME", "Information", "The extension name"),
        ("ORIGIN", "dioscuri", "Organization responsible for creating this file"),
        ("TELESCOP", "LAMOST", "GuoShouJing Telescope"),
        ("LONGITUD", round(XINGLONG[0], 2), "[deg] Longitude of site"),
        ("LATITUDE", round(XINGLONG[1], 2), "[deg] Latitude of site"),
        *([] if first is None else _date_cards(first)),
        ("LMJD", file.lmjd, "Local Modified Julian Day"),
        ("MJD", file.lmjd - 1, "Modified Julian Day"),
        ("PLANID", file.planid, "Plan ID in use"),
        ("RA", file.ra, "[deg] Right ascension of object"),
        ("DEC", file.dec, "[deg] Declination of object"),
        ("DESIG", file.designation, "Designation of LAMOST target"),
        ("FIBERID", file.fiberid, "Fiber ID of Object"),
        ("OBJNAME", file.object_name, "Name of object"),
        ("OBJTYPE", file.object_type, "Object type from input catalog"),
        *_renamed_cards(file, layout),
        ("NEXP_B", sum(e.arm == "blue" for e in singles), "Number of valid blue exposures"),
        ("NEXP_R", sum(e.arm == "red" for e in singles), "Number of valid red exposures"),
        ("SPID", file.spid, "Spectrograph ID"),
        ("HELIO", True, "Heliocentric correction"),
        ("HELIO_RV", file.helio_rv, "[km/s] Heliocentric correction"),
        ("VACUUM", True, "Wavelengths are in vacuum"),
    ]
    header.extend([card for card in cards if card[1] == card[1]])  # a NaN cannot stand in a header
    return header


def _renamed_cards(file: ObservedFile, layout: str) -> list[tuple]:
    """What DR9 calls by other names than its predecessors."""
    if layout == "wavelength":
        magnitudes = [(f"MAG_{name.upper()}", value, "[mag]") for name, value in file.magnitudes.items()]
        return [("FIB_TYPE", file.fiber_type, "Fiber type of object"), ("FIB_MASK", 0, ""), *magnitudes]
    name, value = next(iter(file.magnitudes.items()), ("", UNKNOWN_MAGNITUDE))
    cards = [
        ("FIBERTYP", file.fiber_type, "Fiber type of object"),
        ("FIBERMAS", 0, ""),
        ("MAGTYPE", name, ""),
    ]
    return [*cards, *((f"MAG{i}", value if i == 1 else UNKNOWN_MAGNITUDE, "[mag]") for i in range(1, 8))]


def _date_cards(exposure: Exposure) -> list[tuple]:
    """DATE-OBS (median, UTC), DATE-BEG and DATE-END (Beijing time), with LAMOST's own oddities of format."""
    middle = MJD_ZERO + timedelta(days=exposure.mjd_mid)
    begin = middle + timedelta(days=BEIJING_TIME, seconds=-0.5 * exposure.exptime)
    end = begin + timedelta(seconds=exposure.exptime)
    return [
        ("DATE-OBS", f"{middle:%Y-%m-%dT%H:%M}:0.000", "The observation median UTC"),
        ("DATE-BEG", _local(begin), "The observation start local time"),
        ("DATE-END", _local(end), "The observation end local time"),
    ]


def _local(moment: datetime) -> str:
    moment += timedelta(seconds=0.05)  # round to tenths
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 100000}"


def _table(exposure: Exposure, singles: Sequence[Exposure], layout: str) -> tuple[fits.Header, np.ndarray]:
    """Header and big-endian rows of one spectrum."""
    order = slice(None)
    if layout == "loglam" and exposure.arm == "red" and not exposure.is_coadd:
        order = slice(None, None, -1)
    wave, mask = exposure.wave[order], exposure.mask[order]
    pixels = {"FLUX": exposure.flux[order], "IVAR": exposure.ivar[order]}
    pixels |= {"LOGLAM": np.log10(wave)} if layout == "loglam" else {"WAVELENGTH": wave}
    pixels |= {"ANDMASK": mask, "ORMASK": mask} if exposure.is_coadd else {"PIXMASK": mask}
    if layout == "wavelength":
        pixels["NORMALIZATION"] = np.full(len(wave), NOT_NORMALISED)
    shape = (len(wave),) if layout == "wavelength" else ()
    types = [(name, ">i2" if name.endswith("MASK") else ">f4", shape) for name in pixels]
    table = np.empty(1 if layout == "wavelength" else len(wave), types)
    for name, values in pixels.items():
        table[name] = values
    header = fits.BinTableHDU(table).header
    if shape:
        del header["TDIM*"]  # LAMOST has none
    header["EXTNAME"] = (exposure.name, "The extension name")
    if exposure.is_coadd:
        minutes = [str(e.lmjm) for e in singles if e.arm == exposure.arm]
        lines = ["-".join(minutes[i : i + 3]) for i in range(0, len(minutes), 3)]
        for i, line in enumerate(lines):
            key = "LMJMLIST" if len(lines) == 1 else f"LMJMLIS{i}"
            header[key] = (line, "Local Modified Julian Minute list")
    else:
        header["LMJM"] = (str(exposure.lmjm), "Local Modified Julian Minute")
        header["EXPTIME"] = (int(round(exposure.exptime)), "[s] Exposure duration time")
        if layout == "wavelength":
            header.extend(_date_cards(exposure))
    header["SNR"] = (round(exposure.snr, 2), "Signal to noise ratio")
    return header, table
