"""Binary tables of a FITS file held in memory: the keywords and columns of survey spectra, read fast.
 A general FITS reader spends most of a millisecond on every header; a plate of LAMOST spectra has tens of
thousands of them. This one knows primary headers, images (skipped) and fixed-width binary tables (FITS
Standard 4.0, §4 and §7.3), says plainly when a file ends too early, and leaves everything else to astropy.
"""

import gzip
import math
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dioscuri.flags import Refusal

BLOCK = 2880  # bytes; every header and every data unit fills whole blocks
CARD = 80  # bytes of one keyword
GZIP_MAGIC = b"\x1f\x8b"
# FITS letter → big-endian numpy type (FITS Standard, table 18); A is text, L holds the letters T and F.
COLUMN_TYPES = {"B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8", "L": "S1"}


class RefusedFile(Exception):
    """A file that cannot serve: `reason` is what users read, `detail` what was found."""

    def __init__(self, reason: Refusal, detail: str):
        super().__init__(f"{reason.value}: {detail}")
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class HDU:
    """One header and data unit: `header` keyword → value; the data stay bytes until `column` is asked."""

    header: dict[str, int | float | bool | str]
    data: memoryview = field(repr=False)

    @property
    def name(self) -> str:
        """EXTNAME in upper case, '' where there is none."""
        return str(self.header.get("EXTNAME", "")).strip().upper()

    @property
    def columns(self) -> list[str]:
        """Names of the columns of a binary table, in upper case; none for anything else."""
        if self.header.get("XTENSION") != "BINTABLE":
            return []
        return [
            str(self.header.get(f"TTYPE{i}", "")).upper() for i in range(1, int(self.header["TFIELDS"]) + 1)
        ]

    def column(self, name: str) -> np.ndarray:
        """One numeric column, flattened over rows and array elements: (rows × repeat,), in native byte order.

        So one row of array columns and one row per pixel read alike. KeyError where there is no such column.
        """
        offset = 0
        for i, column in enumerate(self.columns, start=1):
            repeat, letter = _format(str(self.header[f"TFORM{i}"]))
            width = -(-repeat // 8) if letter == "X" else repeat * COLUMN_WIDTHS[letter]
            if column == name:
                break
            offset += width
        else:
            raise KeyError(name)
        if letter not in COLUMN_TYPES:
            raise RefusedFile(
                Refusal.UNREADABLE, f"column {name} of {self.name} has format '{letter}', not a number"
            )
        rows, row_width = int(self.header["NAXIS2"]), int(self.header["NAXIS1"])
        table = np.frombuffer(self.data, np.uint8, rows * row_width).reshape(rows, row_width)
        raw = np.ascontiguousarray(table[:, offset : offset + width]).view(COLUMN_TYPES[letter]).ravel()
        values = raw.astype(raw.dtype.newbyteorder("="))
        scale, zero = self.header.get(f"TSCAL{i}", 1), self.header.get(f"TZERO{i}", 0)
        return values if (scale, zero) == (1, 0) else values * float(scale) + float(zero)


COLUMN_WIDTHS = {"A": 1, "C": 8, "M": 16, "P": 8, "Q": 16} | {
    k: np.dtype(v).itemsize for k, v in COLUMN_TYPES.items()
}


def _format(text: str) -> tuple[int, str]:
    """Repeat count and letter of a TFORM: '4136E' → (4136, 'E'), 'I' → (1, 'I')."""
    text = text.strip()
    digits = len(text) - len(text.lstrip("0123456789"))
    letter = text[digits : digits + 1]
    if letter != "X" and letter not in COLUMN_WIDTHS:
        raise RefusedFile(Refusal.UNREADABLE, f"unknown column format '{text}'")
    return int(text[:digits] or 1), letter


def read_bytes(path: Path) -> bytes:
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


def parse(content: bytes) -> list[HDU]:
    """All HDUs of a FITS file. Raises RefusedFile: not FITS at all, a header or data unit cut short."""
    if not content:
        raise RefusedFile(Refusal.TRUNCATED, "the file is empty")
    if content[:9] != b"SIMPLE  =":
        raise RefusedFile(Refusal.NOT_FITS, f"begins with {content[:16]!r}, a FITS file with 'SIMPLE  ='")
    view, position = memoryview(content), 0
    units: list[HDU] = []
    while position < len(content):
        if units and content[position : position + 8] != b"XTENSION":
            break  # special records or padding may follow the last HDU (FITS Standard §3.5)
        header, position = _header(content, position)
        size = _data_size(header)
        if position + size > len(content):
            missing = position + size - len(content)
            raise RefusedFile(
                Refusal.TRUNCATED, f"HDU {len(units)} lacks {missing} of its {size} bytes of data"
            )
        units.append(HDU(header, view[position : position + size]))
        position += -(-size // BLOCK) * BLOCK
    return units


def _header(content: bytes, position: int) -> tuple[dict, int]:
    """The keywords from `position` up to END, and the position of the data behind them."""
    header: dict[str, int | float | bool | str] = {}
    while True:
        block = content[position : position + BLOCK]
        if len(block) < BLOCK:
            raise RefusedFile(Refusal.TRUNCATED, f"a header is cut short after {len(content)} bytes")
        position += BLOCK
        for start in range(0, BLOCK, CARD):
            if block[start : start + 8] == b"END     ":
                return header, position
            if block[start + 8 : start + 10] == b"= ":
                name = block[start : start + 8].decode("ascii", "replace").rstrip()
                value = _value(block[start + 10 : start + CARD].decode("ascii", "replace"))
                if value is not None:
                    header.setdefault(name, value)


def _value(text: str) -> int | float | bool | str | None:
    """The value of a card: text in quotes ('' is one quote), T or F, a number; None where it is undefined."""
    text = text.strip()
    if text.startswith("'"):
        pieces = text[1:].replace("''", "\0").split("'", 1)
        return pieces[0].replace("\0", "'").rstrip()
    text = text.split("/", 1)[0].strip()
    if text in ("T", "F"):
        return text == "T"
    try:
        return int(text)
    except ValueError:
        try:
            return float(text.replace("D", "E"))
        except ValueError:
            return text or None


def _data_size(header: dict) -> int:
    """Bytes of the data unit: |BITPIX|/8 · GCOUNT · (PCOUNT + Π NAXISn) (FITS Standard, eqs. 1 and 2)."""
    try:
        axes = [int(header[f"NAXIS{i}"]) for i in range(1, int(header["NAXIS"]) + 1)]
        groups, heap = int(header.get("GCOUNT", 1)), int(header.get("PCOUNT", 0))
        size = abs(int(header["BITPIX"])) // 8 * groups * (heap + math.prod(axes)) if axes else 0
    except (KeyError, ValueError, OverflowError) as error:
        raise RefusedFile(Refusal.TRUNCATED, f"a header is corrupt: {error!r}") from error
    if size < 0:
        raise RefusedFile(Refusal.TRUNCATED, f"a header announces {size} bytes of data: corrupt")
    return size
