"""Files that appear whole or not at all, digests and keys, and HDF5 files that say what they are."""

import hashlib
import json
import os
import platform
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dioscuri import seals

HOST = re.sub(r"\W", "_", platform.node())
FORGOTTEN = 7 * 86400  # s


@contextmanager
def atomic(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary sibling of `path`; on success flush it to disk and rename it over `path`.

    A reader, or a twin of this job left running after a lost scheduler, sees the old file or the whole new one.
    The temporary keeps the suffix of `path`, because writers choose formats by suffix. What killed writers of the same
    file left is removed. HDF5 and Parquet files get a seal (dioscuri.seals), which readers check.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    stem, suffix = path.name.split(".")[0], "".join(path.suffixes)
    _sweep(path.parent, stem, suffix)
    handle, name = tempfile.mkstemp(prefix=f".{stem}-{HOST}-{os.getpid()}-", suffix=suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        if path.suffix in seals.SEALED:
            seals.seal(temporary)
        with open(temporary, "rb+") as stream:
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
        seals.renew(path)
    finally:
        temporary.unlink(missing_ok=True)


def _sweep(folder: Path, stem: str, suffix: str) -> None:
    """Remove temporaries of this file whose writers, on this machine, are dead; or that nobody touched for a week."""
    pattern = re.compile(rf"\.{re.escape(stem)}-(?:{HOST}-(\d+)-)?.+{re.escape(suffix)}")
    for name in os.listdir(folder):
        if not (match := pattern.fullmatch(name)):
            continue
        leftover = folder / name
        with suppress(OSError):  # a twin may sweep, too
            forgotten = time.time() - leftover.stat().st_mtime > FORGOTTEN
            if forgotten or (match[1] and not _alive(int(match[1]))):
                leftover.unlink()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_json(path: str | os.PathLike, content: Any, *, sealed: bool = False) -> None:
    """Write `content` as indented JSON, whole or not at all; numpy scalars and arrays become plain numbers.

    `sealed`: a mapping gets the key `digest`, which `read_json` checks.
    """
    if sealed:
        content = json.loads(json.dumps(content, default=plain))
        content = {**content, "digest": digest(content)}
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, default=plain) + "\n", encoding="utf-8")


def read_json(path: str | os.PathLike, what: str) -> dict[str, Any]:
    """The mapping in a JSON file, without its digest; ValueError where it is none, DamagedFile where it was altered.

    `what` the file holds and how it is made, for messages.
    """
    try:
        content = json.loads(Path(seals.verified(path)).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no such file; expected {what}") from error
    except seals.DamagedFile:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: no JSON, or damaged; expected {what}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: found a {type(content).__name__}; expected {what}")
    expected = content.pop("digest", None)
    if expected is not None and digest(content) != expected:
        raise seals.DamagedFile(f"{path}: its content does not match its digest; make it again: {what}")
    return content


def plain(value: Any) -> Any:
    """numpy values and paths as JSON has them, for `json.dumps(default=…)`."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"cannot write {type(value).__name__} as JSON")


def digest(content: Any) -> str:
    """A short, stable fingerprint of plain settings (12 hexadecimal digits), independent of key order."""
    text = json.dumps(content, sort_keys=True, default=plain)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def observation_key(obsid: int | str, exposure: int | str) -> int:
    """A stable 63-bit key of one exposure, the counter of its noise draws: independent of files and shards."""
    raw = hashlib.blake2b(f"{obsid}/{exposure}".encode(), digest_size=8).digest()
    return int.from_bytes(raw, "little") >> 1


def open_shard(path: str | os.PathLike, schema: str) -> h5py.File:
    """Open a shard for reading; a damaged file, or one of another kind or version, is an error that names both."""
    stream = open_hdf5(path)
    found = stream.attrs.get("schema", "none")
    if found != schema:
        stream.close()
        raise ValueError(f"{path}: expected schema '{schema}', found '{found}'; make it again with this version")
    return stream


def open_hdf5(path: str | os.PathLike) -> h5py.File:
    """Open an HDF5 file for reading, its seal checked; what HDF5 cannot open is a DamagedFile."""
    try:
        seals.verify(path)
        return h5py.File(path, "r")
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: no such file") from error
    except OSError as error:
        raise seals.DamagedFile(f"{path}: not an HDF5 file, or a damaged one") from error


def read_provenance(path: str | os.PathLike) -> dict:
    """The provenance written into any HDF5 file of ours."""
    with open_hdf5(path) as stream:
        return json.loads(stream.attrs["provenance"])
