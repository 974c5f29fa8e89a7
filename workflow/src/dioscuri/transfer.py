"""Files from the network: fetched with resume, checked by size and sha256, one download a folder at a time."""

import contextlib
import errno
import fcntl
import hashlib
import http.client
import logging
import os
import re
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

from dioscuri import __version__
from dioscuri.io import atomic

log = logging.getLogger(__name__)

_CHUNK = 1 << 20
_LINE = re.compile(r"([0-9a-fA-F]{64}) [ *](.+)")
_PASSING = (408, 425, 429, 500, 502, 503, 504)  # HTTP statuses that may be gone at the next try


class DownloadError(ValueError):
    """A download failed; the message says what was found, what was expected, and what to do."""


def check_address(base_url: str, example: str) -> None:
    """Refuse what is no http(s) address."""
    if urllib.parse.urlsplit(base_url).scheme not in ("http", "https"):
        raise DownloadError(f"base URL: found '{base_url}'; accepted: an http(s) address, as {example}")


def read_checksums(path: str | os.PathLike) -> dict[str, str]:
    """File name → sha256 of a file as `sha256sum` writes it; `#` begins a comment."""
    found = {}
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if not match:
            raise DownloadError(
                f"{path}, line {number}: found {line[:60]!r}; accepted: a sha256 of 64 hexadecimal digits, "
                "two spaces, a file name"
            )
        found[Path(match[2]).name] = match[1].lower()
    return found


def sha256(path: Path) -> str:
    """The sha256 of a file, 64 hexadecimal digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_checksums(manifest: Path, checksums: dict[str, str]) -> None:
    """Write file name → sha256 as `sha256sum` does; `sha256sum -c` reads it."""
    with atomic(manifest) as temporary:
        lines = [f"{digest}  {name}" for name, digest in sorted(checksums.items())]
        temporary.write_text("\n".join(["# sha256 at first download", *lines]) + "\n", encoding="utf-8")


def fetch_and_record(
    url: str,
    target: Path,
    manifest: Path,
    check: Callable[[Path], None],
    *,
    checksums: str | os.PathLike | None = None,
    attempts: int = 5,
    pause: float = 2.0,
    timeout: float = 60.0,
) -> None:
    """Bring `url` to `target` unless it is there, and hold it against the sha256 in `manifest` and `checksums`.

    `check` looks into the file, and raises if it is not what it should be; its sha256 is then recorded in
    `manifest`, where it was not. The other arguments are those of `fetch`.
    """
    given = {} if checksums is None else read_checksums(checksums)
    recorded = read_checksums(manifest) if manifest.is_file() else {}
    with disk_room(target.parent):
        if not target.is_file():
            expected = [known[target.name] for known in (given, recorded) if target.name in known]
            fetch(url, target, expected, attempts, pause, timeout)
        digest = sha256(target)
        for known, source in ((given, checksums), (recorded, manifest)):
            if known.get(target.name, digest) != digest:
                raise DownloadError(
                    f"{target}: found sha256 {digest}, expected {known[target.name]} ({source}); "
                    "delete it to fetch it again, or mend the file of checksums"
                )
        check(target)
        if target.name not in recorded:
            write_checksums(manifest, {**recorded, target.name: digest})


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold a lock on `folder`: two downloads into one part file would spoil it."""
    with open(folder / ".download.lock", "w", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DownloadError(f"{folder}: another download into it is running; wait for its end") from error
        yield


@contextlib.contextmanager
def disk_room(folder: Path) -> Iterator[None]:
    """Turn a full disk into an error that says how full."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        free = shutil.disk_usage(folder).free
        raise DownloadError(
            f"{folder}: no room ({free / 1e6:.0f} MB free); make some and run again: what has come is kept"
        ) from error


class _BrokenOffError(Exception):
    """A transfer ended early; a further attempt may finish it."""


_TROUBLE = (
    _BrokenOffError,
    urllib.error.URLError,
    http.client.HTTPException,
    ConnectionError,
    TimeoutError,
)


def fetch(
    url: str, target: Path, expected: Sequence[str] = (), attempts: int = 5, pause: float = 2.0, timeout: float = 60.0
) -> None:
    """Bring `url` to `target`, through `<target>.part`, which survives a failure and is gone on from.

    A broken transfer goes on up to `attempts` times, waiting `pause` s, then twice as long, …; `timeout` [s] is
    that of the connection. `expected`: sha256 that the file must have.
    """
    part = target.with_name(target.name + ".part")
    for attempt in range(1, attempts + 1):
        try:
            _transfer(url, part, timeout)
            break
        except _TROUBLE as error:
            lasting = isinstance(error, urllib.error.HTTPError) and error.code not in _PASSING
            if not lasting and attempt < attempts:
                log.warning("%s: %s; going on in %g s", url, error, pause)
                time.sleep(pause)
                pause *= 2
                continue
            have = part.stat().st_size if part.is_file() else 0
            tries = "one attempt" if attempt == 1 else f"{attempt} attempts"
            raise DownloadError(
                f"{url}: {error} after {tries}; {have / 1e6:.1f} MB are in {part.name}. "
                + (
                    "Is the address right? A mirror can be given by --base-url"
                    if lasting
                    else "Run again to go on from there; a mirror can be given by --base-url"
                )
            ) from error
    digest = sha256(part)
    for known in expected:
        if digest != known:
            _discard(part)
            raise DownloadError(
                f"{url}: found sha256 {digest}, expected {known}: what came is thrown away. Run again; if it "
                "comes the same, the source has changed: trust its publisher, not this copy"
            )
    with open(part, "rb+") as stream:
        os.fsync(stream.fileno())
    os.replace(part, target)
    _discard(part)
    log.info("%s: %d bytes, sha256 %s", target.name, target.stat().st_size, digest)


def _transfer(url: str, part: Path, timeout: float) -> None:
    """One attempt at `url`: goes on with `part` where the server still has that file, else begins anew."""
    mark = _mark_of(part)
    headers = {"User-Agent": f"dioscuri/{__version__}", "Accept-Encoding": "identity"}
    tag = mark.read_text(encoding="utf-8") if mark.is_file() else ""
    have = part.stat().st_size if part.is_file() and tag else 0
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": tag}
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            if error.headers.get("Content-Range") == f"bytes */{have}":
                return  # it had all come
            _discard(part)
            raise _BrokenOffError("the server has another file than that begun here") from error
        raise
    with response:
        resumed = response.status == http.client.PARTIAL_CONTENT
        if resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            _discard(part)
            raise _BrokenOffError("the server sent another piece than that asked for")
        begun = have if resumed else 0
        length = response.headers.get("Content-Length")
        total = None if length is None else begun + int(length)
        _room_for(part.parent, 0 if total is None else total - begun)
        with open(part, "ab" if resumed else "wb") as stream:
            if not resumed:
                # Only a strong tag or a date lets the rest be asked for safely.
                tag = response.headers.get("ETag", "W/")
                tag = response.headers.get("Last-Modified", "") if tag.startswith("W/") else tag
                mark.write_text(tag, encoding="utf-8")
            _pour(response, stream, begun, total, part.name.removesuffix(".part"))
    size = part.stat().st_size
    if total is not None and size != total:
        if size > total:
            _discard(part)
        raise _BrokenOffError(f"broke off: found {size} bytes, expected {total}")


def _pour(response: IO[bytes], stream: IO[bytes], begun: int, total: int | None, name: str) -> None:
    from tqdm import tqdm

    # disable=None: a bar only where a person watches.
    with tqdm(total=total, initial=begun, unit="B", unit_scale=True, desc=name, disable=None) as bar:
        while chunk := response.read(_CHUNK):
            stream.write(chunk)
            bar.update(len(chunk))


def _mark_of(part: Path) -> Path:
    """Where the server's tag of a part file is kept."""
    return part.with_name(part.name + ".tag")


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _mark_of(part).unlink(missing_ok=True)


def _room_for(folder: Path, size: int) -> None:
    if size > shutil.disk_usage(folder).free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
