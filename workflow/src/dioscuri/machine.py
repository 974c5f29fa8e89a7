"""What some machines lack, seen to before numba and HDF5 look for it: a place for compiled kernels, locks of files."""

import os
import stat
import tempfile
from pathlib import Path


def prepare() -> None:
    """Set what is not set: NUMBA_CACHE_DIR where numba would find no place, and HDF5 without locks.

    HDF5 locks files with flock, which some network file systems refuse. Ours need no locks: they appear whole and are
    not changed afterwards.
    """
    os.environ.setdefault("HDF5_USE_FILE_LOCKING", "FALSE")
    if "NUMBA_CACHE_DIR" not in os.environ and not any(map(_writable, numba_places())):
        folder = private_folder()
        if folder is not None:
            os.environ["NUMBA_CACHE_DIR"] = str(folder)


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
