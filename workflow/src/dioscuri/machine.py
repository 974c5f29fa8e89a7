"""What some machines lack, seen to before numba and HDF5 look for it: a place for compiled kernels, locks of files."""

import os
import stat
import sys
import tempfile
from pathlib import Path
from typing import Any

LOCATORS = "UserProvidedCacheLocator,dioscuri.kernels.Kernels,InTreeCacheLocator,UserWideCacheLocator"
LOCATORS += ",IPythonCacheLocator,ZipCacheLocator"  # numba's own, in its order, but for ours


def prepare() -> None:
    """Set what is not set: where numba keeps compiled kernels, and HDF5 without locks.

    Kernels go where `kernels.Kernels` says; NUMBA_CACHE_DIR is set where neither it nor numba would find a place. HDF5
    locks files with flock, which some network file systems refuse. Ours need no locks: they appear whole and are not
    changed afterwards.
    """
    os.environ.setdefault("HDF5_USE_FILE_LOCKING", "FALSE")
    if "NUMBA_CACHE_DIR" not in os.environ and not any(map(_writable, numba_places())):
        folder = private_folder()
        if folder is not None:
            os.environ["NUMBA_CACHE_DIR"] = str(folder)
    if "NUMBA_CACHE_LOCATOR_CLASSES" not in os.environ:
        if "numba.core.config" in sys.modules:
            sys.modules["numba.core.config"].CACHE_LOCATOR_CLASSES = LOCATORS  # type: ignore[attr-defined]
        else:
            sys.meta_path.insert(0, _Numba())


class _Numba:
    """Finds no module; when numba is imported, it is told of our place for kernels. (Its variable of the environment
    would reach child processes of other environments, which cannot import ours.)"""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name == "numba.core.caching":
            sys.meta_path.remove(self)
            sys.modules["numba.core.config"].CACHE_LOCATOR_CLASSES = LOCATORS  # type: ignore[attr-defined]


def cache_folder() -> Path:
    """Where what is made once for a user is kept (kernels, the embedded catalogue): $DIOSCURI_CACHE, or as is usual."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "dioscuri"
    return Path(os.environ.get("DIOSCURI_CACHE", default))


def numba_places() -> list[Path]:
    """Where numba keeps compiled kernels: beside the code, or in the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return [Path(__file__).parent, Path(cache) / "numba"]


def private_folder() -> Path | None:
    """A folder for this user alone among the temporary files; None where there is no room for one.

    Kernels are stored as code: a folder that somebody else made, or can write to, is not trusted.
    """
    try:
        folder = Path(tempfile.gettempdir()) / f"dioscuri-kernels-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        private = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022
        return folder if private else Path(tempfile.mkdtemp(prefix="dioscuri-kernels-"))
    except OSError:
        return None


def _writable(path: Path) -> bool:
    while not os.path.exists(path) and path != path.parent:
        path = path.parent
    return os.access(path, os.W_OK | os.X_OK)
