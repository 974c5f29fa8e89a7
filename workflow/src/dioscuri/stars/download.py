"""MIST v1.2 tracks from their publishers: fetched with resume, checked, unpacked safely."""

import contextlib
import errno
import fcntl
import hashlib
import http.client
import logging
import lzma
import os
import re
import shutil
import tarfile
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from dioscuri import __version__
from dioscuri.io import atomic
from dioscuri.stars.mist import BASE_URL, folder_name

log = logging.getLogger(__name__)

METALLICITIES = (
    -4.0, -3.5, -3.0, -2.5, -2.0, -1.75, -1.5, -1.25, -1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5
)  # fmt: skip
DEFAULT_FEH = tuple(feh for feh in METALLICITIES if feh >= -2.0)  # what the spectral libraries cover
MANIFEST = "MIST_v1.2.sha256"  # in the format of sha256sum: `sha256sum -c` reads it
_CHUNK = 1 << 20
_TRACK = re.compile(r"\d{5}M\.track\.eep")
_LINE = re.compile(r"([0-9a-fA-F]{64}) [ *](.+)")
_PASSING = (408, 425, 429, 500, 502, 503, 504)  # HTTP statuses that may be gone at the next try


class DownloadError(ValueError):
    """A download failed; the message says what was found, what was expected, and what to do."""


def download_mist(
    folder: str | os.PathLike,
    feh: Sequence[float] | None = None,
    *,
    base_url: str = BASE_URL,
    checksums: str | os.PathLike | None = None,
    attempts: int = 5,
    pause: float = 2.0,
    timeout: float = 60.0,
) -> list[Path]:
    """Fetch and unpack the EEP tracks (v/vcrit = 0.4) of the given [Fe/H] (None: −2 … +0.5) into `folder`.

    Returns the unpacked folders; `tracks.mist_dir` takes `folder`. Archives (about 100 MB each) stay beside
    them. A broken transfer goes on where it stopped, up to `attempts` times a call (waiting `pause` s, then
    twice as long, …) and at the next call. MIST publishes no checksums: that of the first download is
    recorded in `MANIFEST`, beside those in `checksums` (a file of sha256sum's format), and every archive is
    held against both, now and later. A folder that is there already is left alone: delete it to unpack again.
    """
    nodes = _nodes(feh)
    if urllib.parse.urlsplit(base_url).scheme not in ("http", "https"):
        raise DownloadError(f"base URL: found '{base_url}'; accepted: an http(s) address, as {BASE_URL}")
    folder = Path(folder).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    given = {} if checksums is None else read_checksums(checksums)
    unpacked = []
    with _alone_in(folder):
        manifest = folder / MANIFEST
        for node in nodes:
            name = folder_name(node)
            archive = folder / f"{name}.txz"
            recorded = read_checksums(manifest) if manifest.is_file() else {}
            with _disk_room(folder):
                if not archive.is_file():
                    url = f"{base_url.rstrip('/')}/{archive.name}"
                    expected = [known[archive.name] for known in (given, recorded) if archive.name in known]
                    _fetch(url, archive, expected, attempts, pause, timeout)
                digest = sha256(archive)
                for known, source in ((given, checksums), (recorded, manifest)):
                    if known.get(archive.name, digest) != digest:
                        raise DownloadError(
                            f"{archive}: found sha256 {digest}, expected {known[archive.name]} ({source}); "
                            "delete the archive to fetch it again, or mend the file of checksums"
                        )
                if not (folder / name).is_dir():
                    _unpack(archive, folder / name)
                if archive.name not in recorded:  # only now: it has shown to be what it should be
                    _record(manifest, {**recorded, archive.name: digest})
            unpacked.append(folder / name)
    return unpacked


def read_checksums(path: str | os.PathLike) -> dict[str, str]:
    """File name → sha256 of a file as `sha256sum` writes it; `#` begins a comment."""
    found = {}
    for number, line in enumerate(Path(path).read_text().splitlines(), start=1):
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


def _nodes(feh: Sequence[float] | None) -> list[float]:
    wanted = sorted(DEFAULT_FEH if feh is None else {float(f) for f in feh})
    unknown = [node for node in wanted if node not in METALLICITIES]
    if unknown or not wanted:
        raise DownloadError(
            f"[Fe/H]: found {', '.join(f'{f:g}' for f in unknown) or 'none'}; accepted: "
            + ", ".join(f"{f:g}" for f in METALLICITIES)
        )
    return wanted


def _record(manifest: Path, checksums: dict[str, str]) -> None:
    with atomic(manifest) as temporary:
        lines = [f"{digest}  {name}" for name, digest in sorted(checksums.items())]
        temporary.write_text("\n".join(["# sha256 at first download", *lines]) + "\n")


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold a lock on `folder`: two downloads into one part file would spoil it."""
    with open(folder / ".download.lock", "w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DownloadError(f"{folder}: another download into it is running; wait for its end") from error
        yield


@contextlib.contextmanager
def _disk_room(folder: Path) -> Iterator[None]:
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


# --- transfer ---------------------------------------------------------------------------------------------


class _BrokenOffError(Exception):
    """A transfer ended early; a further attempt may finish it."""


_TROUBLE = (
    _BrokenOffError,
    urllib.error.URLError,
    http.client.HTTPException,
    ConnectionError,
    TimeoutError,
)


def _fetch(url: str, target: Path, expected: list[str], attempts: int, pause: float, timeout: float) -> None:
    """Bring `url` to `target`, through `<target>.part`, which survives a failure and is gone on from."""
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
    tag = mark.read_text() if mark.is_file() else ""
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
                mark.write_text(tag)
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


# --- unpacking --------------------------------------------------------------------------------------------


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack `archive`, which holds `folder` by name and plain files only; it appears whole or not at all."""
    with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=folder.parent) as inside:
        try:
            with tarfile.open(archive, "r:xz") as tar:
                for member in tar:
                    _check(member, folder.name, archive)
                    tar.extract(member, inside, filter="data")
        except tarfile.FilterError as error:
            raise DownloadError(f"{archive}: refused, as {error}; do not trust its source") from error
        except (tarfile.TarError, lzma.LZMAError, EOFError) as error:
            with open(archive, "rb") as stream:
                head = stream.read(32)
            raise DownloadError(
                f"{archive}: expected a whole .txz archive, found {error} (it begins with {head!r}); "
                "delete it and run again"
            ) from error
        made = Path(inside, folder.name)
        if not made.is_dir() or not any(_TRACK.fullmatch(path.name) for path in made.iterdir()):
            raise DownloadError(
                f"{archive}: expected tracks as {folder.name}/00100M.track.eep in it, found none; delete it "
                "and run again"
            )
        os.replace(made, folder)


def _check(member: tarfile.TarInfo, top: str, archive: Path) -> None:
    """Refuse what is neither a plain file nor a folder, or lies outside `top`."""
    parts = Path(member.name).parts
    if not (member.isfile() or member.isdir()):
        what = "a link" if member.issym() or member.islnk() else "a device"
        raise DownloadError(
            f"{archive}: refused: {member.name!r} is {what}, expected plain files; do not trust its source"
        )
    if ".." in parts or not parts or parts[0] != top:
        raise DownloadError(f"{archive}: refused: {member.name!r} lies outside {top}/; do not trust its source")
