"""The door: which files come in, where results may go out, what numbers are taken. All is checked before any work.

Every survey, every option that names a file, the command line and the workflow go through it.
"""

import glob
import math
import os
import stat
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

FITS = (".fits", ".fits.gz", ".fit", ".fit.gz")
HDF5 = (".h5", ".hdf5")
TABLES = (".csv", ".fits", ".parquet")
FIGURES = (".png", ".pdf")


class InputError(ValueError):
    """What was given cannot be used; the message has a line for each mistake."""


# --- in ---------------------------------------------------------------------------------------------------


def expand_inputs(patterns: Iterable[str | Path], suffixes: Sequence[str] = FITS, what: str = "spectra") -> list[Path]:
    """The files behind file names, globs (`**` descends) and folders (to the bottom, names that end in `suffixes`).

    Sorted; each file once, whatever paths lead to it; hidden files and folders are left out of globs and folders.
    A name that exists is taken literally, brackets and all, and so is a folder before a wildcard. A file named
    outright is taken whatever its suffix: the reader decides by content. All mistakes come together in one
    InputError: nothing there, an empty name, what is no regular file, folders that cannot be read.
    """
    found: dict[tuple[int, int], Path] = {}
    problems: list[str] = []
    given = [os.fspath(pattern) for pattern in patterns]
    for pattern in given:
        try:
            paths = _expand(pattern, suffixes)
        except InputError as error:
            problems.append(str(error))
            continue
        for path in sorted(paths):
            status = path.stat()
            key = (status.st_dev, status.st_ino)
            found[key] = min(path, found.get(key, path))
    if problems:
        raise InputError("\n".join(problems) + f"\npaths are relative to {Path.cwd()}")
    if not given:
        raise InputError(f"no {what} were named: give files, globs or folders")
    return sorted(found.values())


def places(pattern: str) -> list[str]:
    """The file or folder of this name, or the folders before the last part of a glob: cheap to look up."""
    name = os.path.expanduser(pattern)
    if _exists(Path(name)):
        return [name]
    return glob.glob(os.path.dirname(_literal_start(name)) or ".", recursive=True) if glob.has_magic(name) else []


def _expand(pattern: str, suffixes: Sequence[str]) -> list[Path]:
    """The files of one pattern; InputError with one line where there are none."""
    if not pattern.strip():
        raise InputError("'': an empty name; give a file, a glob or a folder")
    name = os.path.expanduser(pattern)
    path = Path(name)
    if _exists(path):
        return _inside(path, suffixes) if path.is_dir() else [_regular(path)]
    if not glob.has_magic(name):
        raise InputError(f"{pattern}: no such file or folder{_nearest(path)}")
    matches = [Path(each) for each in sorted(glob.glob(_literal_start(name), recursive=True))]
    files = [each for each in matches if each.is_file()]
    if not files:
        folders = sum(each.is_dir() for each in matches)
        held = f", only {folders} folders: add /* to take what is in them" if folders else ""
        raise InputError(f"{pattern}: no file matches this pattern{held}")
    return files


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError) as error:  # a name too long, a NUL in it, a folder that may not be entered
        raise InputError(f"{path}: cannot be looked at ({getattr(error, 'strerror', None) or error})") from None


def _literal_start(name: str) -> str:
    """The pattern with brackets and wildcards of folders that exist by just that name escaped."""
    path = Path(name)
    for parent in path.parents:
        if parent != Path(".") and _exists(parent):
            return os.path.join(glob.escape(str(parent)), *path.parts[len(parent.parts) :])
    return name


def _inside(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """The files of a folder and its subfolders (behind links, too) that end in `suffixes`."""
    found: list[Path] = []
    unread: list[OSError] = []
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, onerror=unread.append, followlinks=True):
        seen.add(os.path.realpath(place))
        folders[:] = sorted(
            each for each in folders
            if not each.startswith(".") and os.path.realpath(os.path.join(place, each)) not in seen
        )  # fmt: skip
        files = [Path(place, name) for name in names if name.endswith(tuple(suffixes)) and not name.startswith(".")]
        found += [path for path in files if path.is_file()]
    if unread:
        raise InputError(f"{unread[0].filename}: this folder cannot be read ({unread[0].strerror})")
    if not found:
        raise InputError(f"{folder}: the folder holds no file that ends in {', '.join(suffixes)}")
    return found


def _regular(path: Path) -> Path:
    kind = path.stat().st_mode
    if not stat.S_ISREG(kind):  # a pipe would wait for ever, a device never end
        raise InputError(f"{path}: a {_kind(kind)}; accepted: regular files, globs and folders")
    return path


def _kind(mode: int) -> str:
    tests = {"folder": stat.S_ISDIR, "pipe (FIFO)": stat.S_ISFIFO, "socket": stat.S_ISSOCK}
    return next((name for name, test in tests.items() if test(mode)), "device")


def _nearest(path: Path) -> str:
    """Where a wrong path leaves the ground: the deepest folder of it that exists."""
    for parent in path.parents:
        if parent.is_dir():
            return f" ('{parent}' exists, '{path.relative_to(parent).parts[0]}' is not in it)"
    return ""


def one_file(path: str | Path, option: str, accepted: str) -> Path:
    """The regular file that an option names; a folder, a pattern or nothing there is an InputError."""
    found = Path(os.path.expanduser(os.fspath(path)))
    if not str(path).strip() or not _exists(found):
        raise InputError(f"{option}: {path}: no such file{_nearest(found)}; accepted: {accepted}")
    if not found.is_file():
        raise InputError(f"{option}: {path}: a {_kind(found.stat().st_mode)}; accepted: {accepted}")
    return found


def one_folder(path: str | Path, option: str, accepted: str) -> Path:
    """The folder that an option names."""
    found = Path(os.path.expanduser(os.fspath(path)))
    if not str(path).strip() or not _exists(found):
        raise InputError(f"{option}: {path}: no such folder{_nearest(found)}; accepted: {accepted}")
    if not found.is_dir():
        raise InputError(f"{option}: {path}: a file; accepted: {accepted}")
    return found


# --- numbers ----------------------------------------------------------------------------------------------


def positive(value: float, option: str, unit: str = "") -> float:
    """`value` where it is finite and above 0."""
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{option}: found {value:g}; accepted: a number above 0{f' [{unit}]' if unit else ''}")
    return value


def at_least_zero(value: float, option: str, unit: str = "") -> float:
    """`value` where it is finite and not negative."""
    if not (math.isfinite(value) and value >= 0):
        raise InputError(f"{option}: found {value:g}; accepted: 0 or more{f' [{unit}]' if unit else ''}")
    return value


def counted(value: int, option: str) -> int:
    """`value` where it is a whole number of 1 or more."""
    if value != int(value) or value < 1:
        raise InputError(f"{option}: found {value}; accepted: a whole number of 1 or more")
    return int(value)


# --- out --------------------------------------------------------------------------------------------------


def check_output(path: str | Path, option: str, suffixes: Sequence[str], inputs: Iterable[Path] = ()) -> Path:
    """Where a result may be written: right suffix, a folder that is there and takes files, none of the `inputs`."""
    path = Path(os.path.expanduser(os.fspath(path)))
    if path.suffix.lower() not in suffixes:
        raise InputError(f"{option}: {path}: found suffix '{path.suffix}'; accepted: {', '.join(suffixes)}")
    folder = path.parent
    if not folder.is_dir():
        raise InputError(f"{option}: {path}: no such folder{_nearest(folder)}; make it first")
    if _exists(path) and not path.is_file():
        raise InputError(f"{option}: {path}: a {_kind(path.stat().st_mode)} of this name is in the way")
    if path.exists() and any(given.exists() and path.samefile(given) for given in inputs):
        raise InputError(f"{option}: {path}: this is one of the inputs; give another name")
    try:  # only trying tells of read-only file systems and of quotas
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"{option}: {path}: nothing can be written to {folder} ({error.strerror})") from None
    return path


# --- text -------------------------------------------------------------------------------------------------

_ASCII = str.maketrans({"×": "x", "…": "...", "−": "-", "–": "-", "—": "-", "Å": "A", "’": "'", "·": ".", "≤": "<="})


def printable(text: str) -> str:
    """`text` with whatever could not be shown or stored escaped: control characters, bytes that are no UTF-8."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def printable_lines(text: str) -> str:
    """`printable`, line by line."""
    return "\n".join(map(printable, text.splitlines()))


def ascii_text(text: str) -> str:
    r"""`text` in ASCII, all that FITS allows: '×' becomes 'x', '…' '...', anything else its code, '中' '\u4e2d'."""
    text = text if text.isascii() else text.translate(_ASCII).encode("ascii", "backslashreplace").decode("ascii")
    return printable(text)
