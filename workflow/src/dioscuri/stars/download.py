"""MIST v1.2 tracks from their publishers: fetched with resume, checked, unpacked safely."""

import lzma
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from dioscuri.stars.mist import BASE_URL, folder_name
from dioscuri.transfer import DownloadError, alone_in, check_address, fetch_and_record

METALLICITIES = (
    -4.0, -3.5, -3.0, -2.5, -2.0, -1.75, -1.5, -1.25, -1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5
)  # fmt: skip
DEFAULT_FEH = tuple(feh for feh in METALLICITIES if feh >= -2.0)  # what the spectral libraries cover
MANIFEST = "MIST_v1.2.sha256"  # in the format of sha256sum: `sha256sum -c` reads it
_TRACK = re.compile(r"\d{5}M\.track\.eep")


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
    check_address(base_url, BASE_URL)
    folder = Path(folder).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    unpacked = []
    with alone_in(folder):
        for node in nodes:
            name = folder_name(node)
            fetch_and_record(
                f"{base_url.rstrip('/')}/{name}.txz",
                folder / f"{name}.txz",
                folder / MANIFEST,
                _unpack_once,
                checksums=checksums,
                attempts=attempts,
                pause=pause,
                timeout=timeout,
            )
            unpacked.append(folder / name)
    return unpacked


def _nodes(feh: Sequence[float] | None) -> list[float]:
    wanted = sorted(DEFAULT_FEH if feh is None else {float(f) for f in feh})
    unknown = [node for node in wanted if node not in METALLICITIES]
    if unknown or not wanted:
        raise DownloadError(
            f"[Fe/H]: found {', '.join(f'{f:g}' for f in unknown) or 'none'}; accepted: "
            + ", ".join(f"{f:g}" for f in METALLICITIES)
        )
    return wanted


# --- unpacking --------------------------------------------------------------------------------------------


def _unpack_once(archive: Path) -> None:
    """Unpack `archive` beside itself, unless that has been done."""
    if not archive.with_suffix("").is_dir():
        _unpack(archive, archive.with_suffix(""))


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack `archive`, which holds `folder` by name and plain files only; it appears whole or not at all."""
    with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=folder.parent) as inside:
        try:
            with tarfile.open(archive, "r:xz") as tar:
                for member in tar:
                    _check(member, folder.name, archive)
                    _extract(tar, member, Path(inside, member.name))
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


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    """Write a plain file or make a folder, with the permissions of any new one.

    Python 3.11.2, as in Debian 12, has no `filter="data"`, without which `tar.extract` would set modes and owners.
    """
    (target if member.isdir() else target.parent).mkdir(parents=True, exist_ok=True)
    content = tar.extractfile(member)  # None for folders
    if content is not None:
        with content, open(target, "wb") as file:
            shutil.copyfileobj(content, file)


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
