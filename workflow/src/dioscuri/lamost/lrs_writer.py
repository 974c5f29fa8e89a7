"""Writes LAMOST LRS files in the genuine layouts: for the simulated survey, and to test the reader against."""

import gzip
import io as streams
import math
from pathlib import Path

import numpy as np
from astropy.io import fits

from dioscuri import io
from dioscuri.arms import C_KMS
from dioscuri.lamost.lrs_files import NO_OBSID, NOT_GIVEN, LRSFile

LAYOUTS = ("subcontinuum", "image", "table")  # DR1, DR2 to DR8, DR9 and later
FIRST, STEP = 3.5682, 1e-4  # log10 of the first wavelength [Å], and its step
N_PIXELS = 3909
WAVE = 10.0 ** (FIRST + STEP * np.arange(N_PIXELS))  # Å in vacuum


def write_lrs_file(path: str | Path, file: LRSFile, layout: str = "table", *, compress: bool | None = None) -> None:
    """Write `file` (whose `wave` is `WAVE`) as LAMOST does; `compress` None goes by the name."""
    path = Path(path)
    if layout not in LAYOUTS:
        raise ValueError(f"unknown LRS layout '{layout}'; accepted are {', '.join(LAYOUTS)}")
    if not np.array_equal(file.wave, WAVE):
        raise ValueError(f"an LRS file has {N_PIXELS} wavelengths from {WAVE[0]:.2f} Å; found {len(file.wave)} others")
    mask = file.mask.astype(float)
    header = _header(path, file, early=layout == "subcontinuum")
    if layout == "table":
        values = {"FLUX": file.flux, "IVAR": file.ivar, "WAVELENGTH": WAVE, "ANDMASK": mask, "ORMASK": mask}
        columns = [fits.Column(name, f"{N_PIXELS}E", array=v[None].astype("f4")) for name, v in values.items()]
        units = [fits.PrimaryHDU(header=header), fits.BinTableHDU.from_columns(columns, name="COADD")]
    else:
        third = file.flux / np.median(file.flux) if layout == "subcontinuum" else WAVE
        units = [fits.PrimaryHDU(np.stack([file.flux, file.ivar, third, mask, mask]).astype("f4"), header=header)]
    stream = streams.BytesIO()
    fits.HDUList(units).writeto(stream)
    content = stream.getvalue()
    if compress if compress is not None else path.name.endswith(".gz"):
        content = gzip.compress(content, compresslevel=6, mtime=0)
    with io.atomic(path) as temporary:
        temporary.write_bytes(content)


def _header(path: Path, file: LRSFile, early: bool) -> fits.Header:
    """Cards of the primary header; DR1 has neither OBSID nor DATA_V, and other names for its S/N."""
    known = [] if early or file.obsid == NO_OBSID else [("OBSID", file.obsid, "Unique number ID of this spectrum")]
    cards = [
        ("FILENAME", path.name.removesuffix(".gz"), ""),
        *known,
        ("AUTHOR", "dioscuri", "Who compiled the information: SIMULATED DATA"),
        *([] if early else [("DATA_V", file.release, "Data release version")]),
        ("TELESCOP", "LAMOST", "GuoShouJing Telescope"),
        ("LMJD", file.lmjd, "Local Modified Julian Day"),
        ("RA", file.ra, "[deg] Right ascension of object"),
        ("DEC", file.dec, "[deg] Declination of object"),
        ("DESIG", file.designation, "Designation of LAMOST target"),
        ("HELIO", True, "Heliocentric correction"),
        ("VACUUM", True, "Wavelengths are in vacuum"),
        ("COEFF0", FIRST, "Central wavelength (log10) of first pixel"),
        ("COEFF1", STEP, "Log10 dispersion per pixel"),
        ("CLASS", file.star_class, "Class of object"),
        ("SUBCLASS", file.subclass, "Subclass of object"),
        ("Z", NOT_GIVEN if math.isnan(file.z) else file.z / C_KMS, "Redshift of object"),
        ("SN_G" if early else "SNRG", NOT_GIVEN if math.isnan(file.snrg) else round(file.snrg, 2), "SNR in g"),
    ]
    header = fits.Header()
    header.extend(cards)
    return header
