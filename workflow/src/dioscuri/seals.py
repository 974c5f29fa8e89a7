"""Seals: checksums of our files that show any changed bit when they are read.

HDF5 and Parquet files carry 48 bytes of their own where readers of the format do not look: HDF5 behind its end,
Parquet between data and footer, which are found by their places. Tensors have digests in the header of their file,
and the folders of released models a list, SHA256SUMS. Files without a seal (a user's own, those of earlier versions)
pass.
"""

import hashlib
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import IO, Any

MAGIC = b"dioscuri blake2b"
SIZE = len(MAGIC) + 32
CHUNK = 1 << 22  # bytes
SEALED = (".h5", ".parquet")
PARQUET = b"PAR1"  # how a Parquet file ends; before it stands the length of the footer
SUMS = "SHA256SUMS"
SUMS_TITLE = "# Released models of dioscuri; `sha256sum -c SHA256SUMS` checks them"


class DamagedFile(ValueError):
    """A file that is not as it was written."""


def seal(path: str | os.PathLike) -> None:
    """Put the checksum of all that the file holds into it."""
    with open(path, "rb+") as stream:
        size = os.fstat(stream.fileno()).st_size
        end = _end(stream, size)
        checksum = _digest(stream, size)
        stream.seek(end)
        footer = stream.read()
        stream.seek(end)
        stream.write(MAGIC + checksum + footer)


def verified(path: str | os.PathLike) -> str:
    """The path of a file that is as it was written: `pd.read_parquet(verified(path))`; else DamagedFile."""
    verify(path)
    return os.fspath(path)


def verify(path: str | os.PathLike) -> None:
    """Compare a file with its seal and with the list of released models beside it; DamagedFile where they differ.

    Once per process and state of the file.
    """
    status = os.stat(path)
    state = (os.fspath(path), status.st_size, status.st_mtime_ns)
    _verify(*state)
    if (sums := _sums(Path(path).parent)) is None:
        return
    name = Path(path).name
    if name not in sums:
        raise DamagedFile(f"{path}: not among the released models that {SUMS} beside it lists: take it away")
    if _sha256(*state) != sums[name]:
        raise DamagedFile(
            f"{path}: altered, or of another release: its sha256 is not that in {SUMS} beside it; fetch the released "
            "models again, or give your own by --models"
        )


def renew(path: str | os.PathLike) -> None:
    """Bring the list of released models up to date where `path`, just written, lies beside one."""
    path = Path(path)
    if (sums := _sums(path.parent)) is None:
        return
    write_sums(path.parent, {**sums, path.name: hashlib.sha256(path.read_bytes()).hexdigest()})


def write_sums(folder: Path, sums: Mapping[str, str]) -> None:
    """Write file name → sha256 as `sha256sum` does."""
    lines = [SUMS_TITLE, *(f"{sums[name]}  {name}" for name in sorted(sums))]
    temporary = folder / f".{SUMS}-{os.getpid()}"
    temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    os.replace(temporary, folder / SUMS)


def _sums(folder: Path) -> dict[str, str] | None:
    """File name → sha256 of the released models in `folder`; None where it holds none."""
    try:
        title, *lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return None
    if title != SUMS_TITLE:
        return None
    return {name.strip(): digest for digest, _, name in (line.partition("  ") for line in lines)}


@cache
def _sha256(path: str, _size: int, _mtime: int) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@cache
def _verify(path: str, size: int, _mtime: int) -> None:
    with open(path, "rb") as stream:
        end = _end(stream, size)
        stream.seek(max(0, end - SIZE))
        found = stream.read(min(SIZE, end))
        if not found.startswith(MAGIC):
            return
        stream.seek(0)
        digest = hashlib.blake2b(digest_size=32)
        _feed(digest, stream, end - SIZE)
        stream.seek(end)
        _feed(digest, stream, size - end)
        if digest.digest() != found[len(MAGIC) :]:
            raise DamagedFile(f"{path}: its content does not match its checksum: delete this file and make it again")


def _end(stream: IO[bytes], size: int) -> int:
    """Where the seal of a file ends, or would begin where it has none."""
    stream.seek(max(0, size - 8))
    length, name = stream.read(4), stream.read(4)
    footer = int.from_bytes(length, "little") + 8
    return size - footer if name == PARQUET and footer <= size else size


def _digest(stream: IO[bytes], size: int) -> bytes:
    stream.seek(0)
    digest = hashlib.blake2b(digest_size=32)
    _feed(digest, stream, size)
    return digest.digest()


def _feed(digest: Any, stream: IO[bytes], size: int) -> None:
    while size > 0 and (part := stream.read(min(CHUNK, size))):
        digest.update(part)
        size -= len(part)


def content_digest(path: str | os.PathLike) -> str:
    """Fingerprint of the content of a file, 32 hexadecimal digits."""
    with open(path, "rb") as stream:
        return _digest(stream, Path(path).stat().st_size).hex()[:32]


def tensors_digest(tensors: Mapping[str, Any]) -> str:
    """Fingerprint of named torch tensors, whatever their order: names, types, shapes, values; 32 hexadecimal digits."""
    import torch

    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        values = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
