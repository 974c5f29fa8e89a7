"""FITS files as bytes, cut into HDUs that stand for themselves: damage to one costs that one alone.

Nothing is read before its size is known to be sane: pipes, sparse giants and gzip bombs are refused. The HDUs are
found by the blocks that begin like one, not by what the headers before them claim.
"""

import gzip
import io
import math
import re
import stat
import warnings
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from dioscuri.flags import Refusal
from dioscuri.lamost.fits_header import read_header

BLOCK = 2880  # bytes; every header and every data unit of a FITS file fills whole blocks
LARGEST = 256 * 2**20  # bytes, as stored and decompressed; spectra of 100 exposures have 15 MB
GZIP_MAGIC = b"\x1f\x8b"
TYPES = {"L": "i1", "B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8", "A": "S{}"}  # of TFORM
PIXELS = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}  # of BITPIX
# What astropy raises on headers and tables that damage has made inconsistent.
DAMAGE = (fits.VerifyError, OSError, LookupError, ValueError, TypeError, AttributeError, ArithmeticError, MemoryError)


class RefusedFile(Exception):
    """A file, or one HDU of it, that cannot serve: `reason` is what users read, `detail` what was found."""

    def __init__(self, reason: Refusal, detail: str):
        super().__init__(f"{reason.value}: {detail}")
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class Unit:
    """HDU `number` of a file: its `header`, its `image` or the rows (N,) of its `table`, or what `damage` it has."""

    number: int
    header: Mapping[str, Any]
    table: np.ndarray | None = None
    image: np.ndarray | None = None
    damage: RefusedFile | None = None

    @property
    def name(self) -> str:
        """EXTNAME in upper case, '' where there is none."""
        return str(self.header.get("EXTNAME", "")).strip().upper()


def read_content(path: Path, largest: int = LARGEST) -> bytes:
    """The bytes of a regular file, decompressed where they are gzip data, whatever the file is called.

    Raises RefusedFile: not there, no regular file, more than `largest` bytes, damaged gzip data, nothing in it.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise RefusedFile(Refusal.UNREADABLE, "is a directory, expected a file")
        if not stat.S_ISREG(status.st_mode):
            raise RefusedFile(Refusal.UNREADABLE, "is a pipe or a device, expected a regular file")
        if status.st_size > largest:
            raise RefusedFile(Refusal.TOO_LARGE, f"{status.st_size:,} bytes; accepted are {largest:,}")
        content = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name with a null byte
        raise RefusedFile(Refusal.UNREADABLE, f"{getattr(error, 'strerror', None) or error}") from error
    if content[:2] == GZIP_MAGIC:
        content = _decompressed(content, largest)
    if not content:
        raise RefusedFile(Refusal.TRUNCATED, "the file is empty")
    return content


def _decompressed(content: bytes, largest: int) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
            plain = stream.read(largest + 1)
    except EOFError as error:
        raise RefusedFile(Refusal.TRUNCATED, f"gzip data end early, after {len(content)} bytes") from error
    except (zlib.error, gzip.BadGzipFile) as error:
        raise RefusedFile(Refusal.TRUNCATED, f"gzip data are corrupt: {error}") from error
    if len(plain) > largest:
        detail = f"{len(content):,} bytes of gzip data hold more than the {largest:,} that are accepted"
        raise RefusedFile(Refusal.TOO_LARGE, detail)
    return plain


def read_units(content: bytes) -> list[Unit]:
    """All HDUs of a FITS file in memory, damaged ones with their `damage`; the first one has to be sound.

    Raises RefusedFile where the content is no FITS file or its first header is lost.
    """
    if content[: len("SIMPLE  =")] != b"SIMPLE  =":
        raise RefusedFile(Refusal.NOT_FITS, f"begins with {content[:16]!r}, a FITS file with 'SIMPLE  ='")
    with warnings.catch_warnings():
        # Cards that break the standard matter only where they are used, and are refused there.
        warnings.simplefilter("ignore", AstropyWarning)
        units = [_unit(number, piece) for number, piece in enumerate(_pieces(content))]
    if units[0].damage is not None:
        raise units[0].damage
    return units


def _pieces(content: bytes) -> Iterator[bytes]:
    """The bytes of each HDU: from one block that begins like an extension to the next."""
    starts = [0]
    for start in range(BLOCK, len(content), BLOCK):
        # Either half of the first card is enough, so that damage to the other does not hide the HDU in the one before.
        if content.startswith(b"XTENSION=", start) or content.startswith(b"'BINTABLE'", start + 10):
            starts.append(start)
    yield from (content[i:j] for i, j in zip(starts, [*starts[1:], len(content)], strict=True))


def _unit(number: int, piece: bytes) -> Unit:
    header: Mapping[str, Any] = {}
    try:
        header, start = read_header(piece)
        data = piece[start:]
        size = abs(header.get("BITPIX", 8)) // 8 if header.get("NAXIS", 0) else 0
        for axis in range(1, header.get("NAXIS", 0) + 1):
            size *= header[f"NAXIS{axis}"]
        size += header.get("PCOUNT", 0)
        # What is left over was an HDU or rows once.
        if size < 0 or len(data) != -(-size // BLOCK) * BLOCK:
            trouble = "the header of this HDU or the next is damaged" if len(data) > size >= 0 else "cut short"
            raise ValueError(f"{len(data)} bytes of data where the header announces {size}: {trouble}")
        if number and "XTENSION" not in header:
            raise ValueError("its header does not begin with XTENSION")
        if str(header.get("XTENSION", "")).strip() == "BINTABLE":
            return Unit(number, header, _table(header, data))
        return Unit(number, header, image=_image(header, data))
    except DAMAGE as error:
        what = " ".join(str(error).split()) or type(error).__name__
        return Unit(number, header, damage=RefusedFile(Refusal.TRUNCATED, f"HDU {number}: {what}"))


def _image(header: Mapping[str, Any], data: bytes) -> np.ndarray | None:
    """The pixels of an image, last axis first as numpy has it; None where there is none."""
    shape = [header[f"NAXIS{axis}"] for axis in range(header.get("NAXIS", 0), 0, -1)]
    if not shape:
        return None
    if (header.get("BSCALE", 1), header.get("BZERO", 0)) != (1, 0):
        raise ValueError("its pixels are scaled (BSCALE, BZERO), which those of LAMOST are not")
    return np.frombuffer(data, PIXELS[header["BITPIX"]], math.prod(shape)).reshape(shape)


def _table(header: Mapping[str, Any], data: bytes) -> np.ndarray:
    """The rows of a binary table, (NAXIS2,) of fields by name; ValueError where its columns do not fill them."""
    fields = []
    for column in range(1, header["TFIELDS"] + 1):
        form = re.fullmatch(r"(\d*)([LBIJKEDA])", str(header[f"TFORM{column}"]).strip())
        if form is None:
            raise ValueError(f"TFORM{column} = '{header[f'TFORM{column}']}' is no column of numbers or text")
        repeat = int(form[1] or 1)
        shape = (repeat,) if form[2] != "A" and repeat != 1 else ()
        fields.append((str(header[f"TTYPE{column}"]).strip().upper(), TYPES[form[2]].format(repeat), shape))
    dtype = np.dtype(fields)
    if dtype.itemsize != header["NAXIS1"]:
        raise ValueError(f"columns of {dtype.itemsize} bytes do not fill its rows of {header['NAXIS1']}")
    return np.frombuffer(data, dtype, header["NAXIS2"])
