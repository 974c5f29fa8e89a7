"""Reading what others made: whatever goes wrong names the file, what was found and what is accepted.

Files are regular and of a sane size, before and after decompression; HDF5 data lie in the file itself.
"""

import gzip
import io
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import h5py

LARGEST = 4 * 2**30  # bytes, as stored and decompressed
GZIP_MAGIC = b"\x1f\x8b"


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
        what = getattr(found, "strerror", None) or " ".join(str(found).split()) or type(found).__name__
        raise error(f"{path}: {what}; accepted: {accepted}") from found


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
