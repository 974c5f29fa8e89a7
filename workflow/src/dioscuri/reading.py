"""Reading what others made: whatever goes wrong names the file, what was found and what is accepted.

Files are regular and of a sane size, before and after decompression; HDF5 data lie in the file itself.
"""

import csv
import gzip
import io
import os
import re
import stat
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import h5py

PACKAGE = Path(__file__).resolve().parent
LARGEST = 4 * 2**30  # bytes, as stored and decompressed
GZIP_MAGIC = b"\x1f\x8b"
OTHERS = (b"<", b"%PDF", b"PK\x03\x04", b"PAR1", b"SIMPL", b"\x89")  # how files begin that are no CSV


@contextmanager
def reading(path: str | os.PathLike, accepted: str, error: type[Exception] = ValueError) -> Iterator[None]:
    """Turn every failure while `path` is read into an `error` that names it and what is `accepted` there."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "File may have been truncated|Error validating header")
            _require_sane(Path(path))
            yield
    except Exception as found:
        if isinstance(found, error) and str(path) in str(found):
            raise
        raise error(f"{path}: {_in_our_words(found)}; accepted: {accepted}") from found


def _in_our_words(found: Exception) -> str:
    """What went wrong; what a library says of its own insides stays with the cause, but for where it was."""
    if text := getattr(found, "strerror", None):
        return str(text)
    frames = traceback.extract_tb(found.__traceback__)
    if frames and PACKAGE in Path(frames[-1].filename).parents and str(found):
        return " ".join(str(found).split())
    if isinstance(found, KeyError):
        return f"{found} is not in it"
    place = re.search(r"\b(?:row|line|column) \d+", str(found))
    return f"damaged, or of another kind{f' ({place[0]})' if place else ''}"


def _require_sane(path: Path) -> None:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("not a regular file")
    if status.st_size > LARGEST:
        raise ValueError(f"{status.st_size:,} bytes are more than the {LARGEST:,} that are read")
    if not status.st_size:
        raise ValueError("the file is empty")


def content(path: str | os.PathLike) -> bytes:
    """The bytes of a file, decompressed where they are gzip data, whatever it is called."""
    raw = Path(path).read_bytes()
    if raw[:2] != GZIP_MAGIC:
        return raw
    with gzip.GzipFile(fileobj=io.BytesIO(raw)) as stream:
        plain = stream.read(LARGEST + 1)
    if len(plain) > LARGEST:
        raise ValueError(f"its gzip data hold more than the {LARGEST:,} bytes that are read")
    return plain


def open_fits(path: str | os.PathLike, *, ignore_missing_end: bool = False) -> Any:
    """The HDUs of a FITS file, in memory: plain or gzip data; at will one whose header lacks its END card."""
    from astropy.io import fits

    whole = content(path)
    if not whole.startswith(b"SIMPLE  ="):
        raise ValueError(f"not a FITS file: it begins with {whole[:12]!r}")
    return fits.open(io.BytesIO(whole), memmap=False, ignore_missing_end=ignore_missing_end)


def require_equal_rows(path: str | os.PathLike) -> None:
    """Raise ValueError at a line of a CSV file that has other fields than its header: pandas would fill it up.

    Lines that begin with # are comments; one empty field more at the end of a line does not matter.
    """
    path = Path(path)
    with open(path, "rb") as raw:
        if (start := raw.read(5)).startswith(OTHERS):
            raise ValueError(f"no CSV: it begins with {start!r}")
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8", newline="") as stream:
        rows = csv.reader((line for line in stream if not line.lstrip().startswith("#")), skipinitialspace=True)
        header = next(rows, [])
        for row in rows:
            if row and len(row) != len(header) and not (len(row) == len(header) + 1 and not row[-1].strip()):
                shown = ", ".join(row[:3])
                raise ValueError(f"line {rows.line_num} has {len(row)} fields, the header {len(header)}: {shown} …")


def own_dataset(stream: "h5py.File", name: str) -> "h5py.Dataset":
    """A dataset at the top of an HDF5 file whose data lie in that file: no link, no external or virtual storage."""
    import h5py

    if not isinstance(stream.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"'{name}' is a link or is not there; a dataset is expected")
    item = stream[name]
    if not isinstance(item, h5py.Dataset):
        raise ValueError(f"'{name}' is a group; a dataset is expected")
    if item.external or item.is_virtual:
        raise ValueError(f"the data of '{name}' lie in other files, which are not read")
    if item.dtype.kind not in "fiub" or item.nbytes > LARGEST:
        raise ValueError(f"'{name}' holds {item.nbytes:,} bytes of type {item.dtype}; numbers of {LARGEST:,} at most")
    return item
