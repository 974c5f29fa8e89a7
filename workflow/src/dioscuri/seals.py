"""Seals: a checksum at the end of our HDF5 files, and digests of tensors, that show any changed bit when read.

HDF5 reads a file to the end that it knows of: 48 bytes behind it disturb nobody. Files without a seal (a user's own,
those of earlier versions) pass.
"""

import hashlib
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

MAGIC = b"dioscuri blake2b"
SIZE = len(MAGIC) + 32
CHUNK = 1 << 22  # bytes


class DamagedFile(ValueError):
    """A file that is not as it was written."""


def seal(path: str | os.PathLike) -> None:
    """Append the checksum of all that the file holds."""
    with open(path, "rb+") as stream:
        digest = _digest(stream, os.fstat(stream.fileno()).st_size)
        stream.seek(0, os.SEEK_END)
        stream.write(MAGIC + digest)


def verify(path: str | os.PathLike) -> None:
    """Compare a sealed file with its seal, once per process and state of the file; DamagedFile where they differ."""
    status = os.stat(path)
    _verify(os.fspath(path), status.st_size, status.st_mtime_ns)


@cache
def _verify(path: str, size: int, _: int) -> None:
    with open(path, "rb") as stream:
        stream.seek(max(0, size - SIZE))
        tail = stream.read()
        if not tail.startswith(MAGIC):
            return
        stream.seek(0)
        if _digest(stream, size - SIZE) != tail[len(MAGIC) :]:
            raise DamagedFile(f"{path}: its content does not match its checksum: delete this file and make it again")


def _digest(stream: Any, size: int) -> bytes:
    digest = hashlib.blake2b(digest_size=32)
    while size > 0 and (part := stream.read(min(CHUNK, size))):
        digest.update(part)
        size -= len(part)
    return digest.digest()


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
