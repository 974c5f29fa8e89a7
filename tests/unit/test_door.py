"""The door: what comes in, where results go out, and the texts that are carried through."""

import errno
import os
import socket
import tempfile

import pytest

from dioscuri import door
from dioscuri.door import InputError, expand_inputs


@pytest.fixture
def tree(tmp_path, monkeypatch):
    for name in ("a/one.fits", "a/deep/two.fits.gz", "a/.hidden.fits", "a/.old/x.fits", "a/notes.txt", "b/three.fits"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["a"], ["a/deep/two.fits.gz", "a/one.fits"]),
        (["b/*.fits", "a/one.fits", "a/../a/one.fits", "b"], ["a/../a/one.fits", "b/three.fits"]),
        (["**/*.fits"], ["a/one.fits", "b/three.fits"]),
        (["a/notes.txt"], ["a/notes.txt"]),
        (["a/.hidden.fits"], ["a/.hidden.fits"]),
    ],
)
def test_patterns(tree, patterns, expected):
    assert [str(path) for path in expand_inputs(patterns)] == expected


def test_other_kinds_of_files_in_a_folder(tree):
    (tree / "b" / "stack.h5").touch()
    assert [path.name for path in expand_inputs(["b"], door.HDF5, "stamps")] == ["stack.h5"]


def test_all_wrong_patterns_are_named_at_once(tree):
    with pytest.raises(InputError) as caught:
        expand_inputs(["a", "empty", "a/*.gz", "a/dep/two.fits.gz", "", "~nobody.of.this.name/x", "*"])
    message = str(caught.value)
    assert "empty: the folder holds no file" in message
    assert "a/*.gz: no file matches" in message
    assert "a/dep/two.fits.gz: no such file" in message and "'a' exists, 'dep' is not in it" in message
    assert "an empty name" in message
    assert "~nobody.of.this.name/x: no such file or folder" in message
    assert "*: no file matches this pattern, only 3 folders" in message
    assert len(message.splitlines()) == 7
    with pytest.raises(InputError, match="no spectra were named"):
        expand_inputs([])


@pytest.mark.parametrize("folder", ["x[1]", "with space", "both [a-c] of*them"])
def test_names_that_look_like_patterns_are_taken_as_they_are(tree, folder):
    (tree / folder).mkdir()
    for name in ("one[2].fits", "two.fits"):
        (tree / folder / name).touch()
    for pattern, found in (("", 2), ("one[2].fits", 1), ("*.fits", 2), ("t??.fits", 1)):
        assert len(expand_inputs([os.path.join(folder, pattern)])) == found
        assert door.places(os.path.join(folder, pattern))


def test_a_file_is_read_once_by_whatever_path(tree):
    os.symlink(tree / "a" / "one.fits", tree / "b" / "link.fits")
    os.symlink(tree / "b", tree / "b" / "loop")
    assert [path.name for path in expand_inputs(["a/one.fits", "b"])] == ["one.fits", "three.fits"]


def test_what_is_no_file_is_refused(tree):
    os.mkfifo(tree / "pipe.fits")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s.fits")
        for name, kind in (("pipe.fits", "pipe"), ("s.fits", "socket"), ("/dev/null", "device")):
            with pytest.raises(InputError, match=f"{name}: a {kind}"):
                expand_inputs([name])
        with pytest.raises(InputError, match=r"--psf: pipe\.fits: a pipe"):
            door.one_file("pipe.fits", "--psf", "a PSF")
    with pytest.raises(InputError, match="no file matches"):
        expand_inputs(["p*.fits"])  # nor would a glob open it
    for name in ("a", "nothing.fits", "", "x" * 300, "a\0b"):
        with pytest.raises(InputError, match=r"--psf: |cannot be looked at"):
            door.one_file(name, "--psf", "a PSF")
    with pytest.raises(InputError, match=r"--models: a/one\.fits: a file"):
        door.one_folder("a/one.fits", "--models", "a folder")


def test_a_folder_that_cannot_be_read_is_no_empty_folder(tree, monkeypatch):
    scandir = os.scandir

    def closed(path):
        if str(path).endswith("deep"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(InputError, match="a/deep: this folder cannot be read"):
        expand_inputs(["a"])


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("scores.xlsx", r"found suffix '.xlsx'; accepted: .csv, .fits, .parquet"),
        ("scores", "found suffix ''"),
        ("no/such/scores.csv", r"no such folder.*'.' exists, 'no' is not in it"),
        ("taken.csv", "a folder of this name is in the way"),
        ("a/one.fits", "this is one of the inputs"),
        ("a/../a/one.fits", "this is one of the inputs"),
        ("/proc/scores.csv", "nothing can be written to /proc"),
    ],
)
def test_outputs_are_refused_before_the_work(tree, path, message):
    (tree / "taken.csv").mkdir()
    with pytest.raises(InputError, match=message):
        door.check_output(path, "--output", door.TABLES, expand_inputs(["a"]))


def test_outputs_that_can_be_written(tree, monkeypatch):
    assert door.check_output("a/new table.CSV", "--output", door.TABLES).name == "new table.CSV"
    assert sorted(path.name for path in (tree / "a").iterdir()) == [
        ".hidden.fits",
        ".old",
        "deep",
        "notes.txt",
        "one.fits",
    ]

    def closed(**_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", closed)
    with pytest.raises(InputError, match=r"nothing can be written to a \(Read-only file system\)"):
        door.check_output("a/new.csv", "--output", door.TABLES)


def test_numbers(tree):
    assert door.positive(0.5, "--penalty") == 0.5 and door.counted(1, "--draws") == 1
    for wrong in (0, -1, float("nan"), float("inf")):
        with pytest.raises(InputError, match="--penalty: found"):
            door.positive(wrong, "--penalty")
    with pytest.raises(InputError, match="--draws: found 0"):
        door.counted(0, "--draws")
    with pytest.raises(InputError, match=r"--background: found -1; accepted: 0 or more \[e\]"):
        door.at_least_zero(-1, "--background", "e")


def test_texts():
    assert door.ascii_text("14 × 14 px … −5 Å") == "14 x 14 px ... -5 A"
    assert door.ascii_text("中文.fits") == r"\u4e2d\u6587.fits"
    assert door.printable("star\n\x1b[31m × 中") == r"star\n\x1b[31m × 中"
    assert door.printable(os.fsdecode(b"a\xff.fits")) == r"a\udcff.fits"
    assert door.printable_lines("one\ntwo\x07") == "one\ntwo\\x07"
