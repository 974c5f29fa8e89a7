"""Machines without a place for compiled kernels, without locks, without a home, without UTF-8."""

import os
import subprocess
import sys

import pytest

from dioscuri import machine
from dioscuri.cli import main


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """An installation and a home that nobody may write to."""
    for name in ("NUMBA_CACHE_DIR", "HDF5_USE_FILE_LOCKING", "XDG_CACHE_HOME", "DIOSCURI_CACHE"):
        monkeypatch.setenv(name, "")  # so that what `prepare` sets goes with the test, too
        monkeypatch.delenv(name)
    monkeypatch.setattr(machine.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(machine.os, "access", lambda *_: False)
    return tmp_path / f"dioscuri-kernels-{os.getuid()}"


def test_a_read_only_installation_keeps_its_kernels_in_a_folder_of_the_user(bare):
    machine.prepare()
    assert os.environ["NUMBA_CACHE_DIR"] == str(bare)
    assert bare.stat().st_mode & 0o777 == 0o700
    assert os.environ["HDF5_USE_FILE_LOCKING"] == "FALSE"


def test_a_folder_that_others_can_write_to_is_not_trusted(bare):
    bare.mkdir()
    bare.chmod(0o777)
    found = machine.private_folder()
    assert found not in (None, bare) and found.parent == bare.parent
    bare.rmdir()
    bare.symlink_to("/")
    assert machine.private_folder() not in (None, bare)


def test_what_is_set_stays(bare, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", "mine")
    monkeypatch.setenv("HDF5_USE_FILE_LOCKING", "TRUE")
    machine.prepare()
    assert os.environ["NUMBA_CACHE_DIR"] == "mine" and os.environ["HDF5_USE_FILE_LOCKING"] == "TRUE"


def test_a_user_without_a_home_has_a_cache_folder(monkeypatch):
    monkeypatch.setattr(os.path, "expanduser", lambda name: name)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("DIOSCURI_CACHE", raising=False)
    assert machine.cache_folder().name == "dioscuri"


@pytest.mark.parametrize(
    "locale", [{"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}, {"PYTHONIOENCODING": "latin-1"}]
)
def test_locales_without_utf8(locale, tmp_path, root):
    (tmp_path / "mine.yaml").write_text("preset: mine # × … 中\n", encoding="utf-8")
    code = "import sys; from dioscuri.cli import main; sys.exit(main(sys.argv[1:]))"
    environment = {**os.environ, **locale}
    command = [sys.executable, "-c", code, "check-config", str(tmp_path / "mine.yaml")]
    done = subprocess.run(command, env=environment, capture_output=True, timeout=120)
    assert done.returncode == 0 and b"preset 'mine'" in done.stdout, done.stderr
    command[-1] = str(tmp_path / "中.yaml")
    done = subprocess.run(command, env=environment, capture_output=True, timeout=120)
    assert done.returncode == 2 and b"cannot be read" in done.stderr and b"Traceback" not in done.stderr


def test_a_closed_pipe_ends_quietly():
    code = "import sys; from dioscuri.cli import main; sys.exit(main(sys.argv[1:]))"
    arguments = ["track", "--mass", "1", "--eep", "300"]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-c", code, *arguments], stdout=writer, stderr=subprocess.PIPE, timeout=120)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_ctrl_c_is_one_line(monkeypatch, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("dioscuri.config.load_config", stop)
    assert main(["check-config"]) == 130
    assert capsys.readouterr().err == "dioscuri check-config: interrupted\n"
