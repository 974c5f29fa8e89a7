"""Where compiled kernels are kept: in the user's cache folder, by all the code that they are compiled of.

Numba looks at the file of a function alone, and beside it: a kernel stays as it was when one that it calls is edited in
another file, and every checkout, copy and installation compiles anew. Here the name of the folder is a digest of the
function's file and of all that it imports from the package: whoever has the same code finds the same kernels.
"""

import hashlib
import os
import stat
from functools import cache
from pathlib import Path

from numba.core.caching import _CacheLocator

from dioscuri.imports import closure
from dioscuri.machine import cache_folder
from dioscuri.paths import PACKAGE


class Kernels(_CacheLocator):
    """Keeps the kernels of this package; None (numba's own places) for other code, or where there is no safe folder."""

    def __init__(self, source: Path, line: int, folder: Path):
        self.source, self.line = source, line
        self.code = digest_of(source)
        self.folder = folder / f"{source.stem}-{self.code}"

    @classmethod
    def from_function(cls, py_func, py_file):  # type: ignore[no-untyped-def]
        source, folder = Path(py_file).resolve(), kernels_folder()
        if folder is None or not source.is_relative_to(PACKAGE):
            return None
        found = cls(source, py_func.__code__.co_firstlineno, folder)
        try:
            found.ensure_cache_path()
        except OSError:
            return None
        return found

    def get_cache_path(self) -> str:
        return str(self.folder)

    def get_source_stamp(self) -> str:
        return self.code

    def get_disambiguator(self) -> str:
        return str(self.line)


@cache
def digest_of(source: Path) -> str:
    """Digest of a file and of all that it imports from the package, whatever folder that lies in."""
    files = [source, *sorted(closure(PACKAGE, [source]) - {source})]
    parts = [f"{path.relative_to(PACKAGE)}\n{path.read_text(encoding='utf-8')}" for path in files]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


@cache
def kernels_folder() -> Path | None:
    """The user's folder of kernels; None where it cannot be made, or others can write to it: kernels are code."""
    try:
        folder = cache_folder() / "kernels"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        status = folder.lstat()
    except OSError:
        return None
    private = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022
    return folder if private else None
