"""Fetching MIST archives from a local server that breaks off, changes its files, or sends evil ones."""

import errno
import io
import os
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from dioscuri import cli, transfer
from dioscuri.stars import download
from dioscuri.stars.download import DownloadError, download_mist
from dioscuri.stars.mist import folder_name

SOLAR, RICH = folder_name(0.0), folder_name(0.25)
TRACK = os.urandom(300_000)  # does not compress, so that a transfer has a middle


def archive(members: dict[str, bytes | tarfile.TarInfo]) -> bytes:
    """A .txz of files by name, or of ready-made entries."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz", preset=0) as tar:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
                continue
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def tracks(name: str) -> bytes:
    return archive({f"{name}/00100M.track.eep": TRACK, f"{name}/README": b"of MIST"})


@pytest.fixture
def server(file_server):
    file_server.files = {f"{name}.txz": tracks(name) for name in (SOLAR, RICH)}
    return file_server


def fetch(server, folder: Path, feh=(0.0,), **options) -> list[Path]:
    return download_mist(folder, feh, base_url=server.url, pause=0.0, **options)


def test_archives_arrive_unpacked_and_are_not_fetched_twice(server, tmp_path):
    folders = fetch(server, tmp_path / "mist", feh=(0.25, 0.0))
    assert [folder.name for folder in folders] == [SOLAR, RICH]
    for folder in folders:
        assert (folder / "00100M.track.eep").read_bytes() == TRACK
    known = transfer.read_checksums(tmp_path / "mist" / download.MANIFEST)
    assert known == {f"{n}.txz": transfer.sha256(tmp_path / "mist" / f"{n}.txz") for n in (SOLAR, RICH)}
    assert not list((tmp_path / "mist").glob("*.part*"))
    assert fetch(server, tmp_path / "mist", feh=(0.25, 0.0)) == folders
    assert server.ranges == [None, None]


def test_a_folder_deleted_is_unpacked_again_without_the_server(server, tmp_path):
    [folder] = fetch(server, tmp_path)
    (folder / "00100M.track.eep").unlink()
    (folder / "README").unlink()
    folder.rmdir()
    server.files.clear()
    [folder] = fetch(server, tmp_path)
    assert (folder / "00100M.track.eep").is_file()


def test_a_broken_transfer_goes_on_where_it_stopped(server, tmp_path):
    server.breaks = [100_000, 50_000]
    [folder] = fetch(server, tmp_path)
    assert (folder / "00100M.track.eep").read_bytes() == TRACK
    assert server.ranges == [None, "bytes=100000-", "bytes=150000-"]
    assert server.sent == len(server.files[f"{SOLAR}.txz"])


def test_the_next_call_goes_on_too(server, tmp_path):
    server.breaks = [100_000]
    size = len(server.files[f"{SOLAR}.txz"])
    with pytest.raises(DownloadError, match=rf"found 100000 bytes, expected {size} after one attempt; 0\.1 MB"):
        fetch(server, tmp_path, attempts=1)
    fetch(server, tmp_path)
    assert server.ranges == [None, "bytes=100000-"]


def test_a_file_that_changed_meanwhile_is_begun_anew(server, tmp_path):
    server.breaks = [100_000]
    with pytest.raises(DownloadError):
        fetch(server, tmp_path, attempts=1)
    server.tag = '"two"'
    server.files[f"{SOLAR}.txz"] = archive({f"{SOLAR}/00100M.track.eep": b"another"})
    [folder] = fetch(server, tmp_path)
    assert (folder / "00100M.track.eep").read_bytes() == b"another"


def test_a_server_without_strong_tags_is_never_gone_on_from(server, tmp_path):
    server.tag = 'W/"weak"'
    server.breaks = [100_000]
    fetch(server, tmp_path)
    assert server.ranges == [None, None]


def test_a_part_that_is_whole_needs_only_its_name(server, tmp_path):
    part = tmp_path / f"{SOLAR}.txz.part"
    part.write_bytes(server.files[f"{SOLAR}.txz"])
    part.with_name(part.name + ".tag").write_text(server.tag)
    fetch(server, tmp_path)
    assert server.sent == 0


def test_passing_trouble_is_tried_again_and_lasting_is_not(server, tmp_path):
    server.refusals = [503, 429]
    fetch(server, tmp_path / "a")
    assert len(server.ranges) == 3
    server.refusals = [503] * 5
    with pytest.raises(DownloadError, match=r"HTTP Error 503.* after 5 attempts; .*Run again"):
        fetch(server, tmp_path / "b")
    server.ranges.clear()
    server.files.clear()
    with pytest.raises(DownloadError, match=rf"{SOLAR}\.txz: HTTP Error 404.*address right.*--base-url"):
        fetch(server, tmp_path / "c")
    assert len(server.ranges) == 1


def test_nobody_there(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(DownloadError, match=r"refused.* after 2 attempts"):
        download_mist(tmp_path, [0.0], base_url="http://127.0.0.1:9", attempts=2, pause=0.0)


def test_wrong_checksum_is_refused_and_thrown_away(server, tmp_path):
    sums = tmp_path / "sums"
    sums.write_text(f"# of a friend\n{'0' * 64}  {SOLAR}.txz\n")
    with pytest.raises(DownloadError, match=rf"found sha256 [0-9a-f]{{64}}, expected {'0' * 64}: .*thrown away"):
        fetch(server, tmp_path / "mist", checksums=sums)
    left = {path.name for path in (tmp_path / "mist").iterdir()}
    assert left == {".download.lock"}


def test_given_checksums_that_agree(server, tmp_path):
    fetch(server, tmp_path / "a")
    [folder] = fetch(server, tmp_path / "b", checksums=tmp_path / "a" / download.MANIFEST)
    assert folder.is_dir()


def test_an_archive_that_changed_on_disk_or_at_the_source_is_noticed(server, tmp_path):
    fetch(server, tmp_path)
    stored = tmp_path / f"{SOLAR}.txz"
    stored.write_bytes(stored.read_bytes()[:-1])
    with pytest.raises(DownloadError, match=r"found sha256 .* expected .*MIST_v1\.2\.sha256\); delete it"):
        fetch(server, tmp_path)
    stored.unlink()
    server.files[f"{SOLAR}.txz"] = archive({f"{SOLAR}/00100M.track.eep": b"another"})
    with pytest.raises(DownloadError, match=r"thrown away.*the source has changed"):
        fetch(server, tmp_path)


@pytest.mark.parametrize("line", ["abc  file", f"{'g' * 64}  file", "0" * 64])
def test_checksums_of_another_kind(tmp_path, line):
    (tmp_path / "sums").write_text(f"\n{line}\n")
    with pytest.raises(DownloadError, match=r"sums, line 2: .*accepted: a sha256 of 64"):
        transfer.read_checksums(tmp_path / "sums")


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


def device(name: str) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type = tarfile.CHRTYPE
    return entry


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"../evil": b"x"}, "'../evil' lies outside"),
        ({f"{SOLAR}/../../evil": b"x"}, "lies outside"),
        ({"/tmp/evil": b"x"}, "'/tmp/evil' lies outside"),
        ({"elsewhere/00100M.track.eep": b"x"}, "lies outside"),
        ({"a": link(f"{SOLAR}/a", "/etc/passwd")}, "is a link"),
        ({"a": link(f"{SOLAR}/a", f"{SOLAR}/b", tarfile.LNKTYPE)}, "is a link"),
        ({"a": device(f"{SOLAR}/a")}, "is a device"),
    ],
)
def test_evil_archives_leave_nothing(server, tmp_path, members, message):
    good = {f"{SOLAR}/00100M.track.eep": b"x"}
    server.files[f"{SOLAR}.txz"] = archive({**good, **members})
    with pytest.raises(DownloadError, match=rf"refused: .*{message}.*do not trust"):
        fetch(server, tmp_path / "in" / "mist")
    assert {path.name for path in (tmp_path / "in" / "mist").iterdir()} == {".download.lock", f"{SOLAR}.txz"}
    assert [path.name for path in tmp_path.rglob("*evil*")] == []
    assert not Path("/tmp/evil").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>Moved</html>", r"expected a whole \.txz archive, found .*<html>Moved"),
        (tracks(SOLAR)[:-5000], r"expected a whole \.txz archive, found"),
        (archive({f"{SOLAR}/README": b"x"}), "expected tracks as .*found none"),
    ],
)
def test_what_is_no_archive_of_tracks_is_neither_unpacked_nor_recorded(server, tmp_path, content, message):
    server.files[f"{SOLAR}.txz"] = content
    with pytest.raises(DownloadError, match=message):
        fetch(server, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {".download.lock", f"{SOLAR}.txz"}


def test_a_full_disk_is_said_before_the_transfer_and_within(server, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(transfer.shutil, "disk_usage", lambda folder: SimpleNamespace(free=100))
        with pytest.raises(DownloadError, match=r"no room .*MB free"):
            fetch(server, tmp_path)
    assert not (tmp_path / f"{SOLAR}.txz.part").exists()
    with monkeypatch.context() as patch:

        def full(*arguments) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr(transfer, "_pour", full)
        with pytest.raises(DownloadError, match="no room"):
            fetch(server, tmp_path)
    assert fetch(server, tmp_path)


def test_one_download_at_a_time(server, tmp_path):
    with transfer.alone_in(tmp_path), pytest.raises(DownloadError, match="another download"):
        fetch(server, tmp_path)


def test_nodes_and_addresses(tmp_path):
    with pytest.raises(DownloadError, match=r"\[Fe/H\]: found 0\.1; accepted: -4, .*0\.5"):
        download_mist(tmp_path, [0.1, 0.25])
    with pytest.raises(DownloadError, match="found none"):
        download_mist(tmp_path, [])
    with pytest.raises(DownloadError, match="found 'file:///etc'; accepted: an http"):
        download_mist(tmp_path, [0.0], base_url="file:///etc")
    assert download.BASE_URL.startswith("https://")


def test_the_command(server, tmp_path, capsys):
    verb = ["download-mist", "--folder", str(tmp_path / "mist"), "--base-url", server.url]
    assert cli.main([*verb, "--feh", "0.0", "0.25"]) == 0
    said = capsys.readouterr()
    assert "2 [Fe/H]" in said.out
    assert f"mist_dir: {tmp_path / 'mist'}" in said.out
    assert cli.main([*verb, "--feh", "-0.25"]) == cli.EXIT_USAGE
    assert "HTTP Error 404" in capsys.readouterr().err
