"""Compiled kernels: shared by all who have the same code, and never older than the code that they are made of."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dioscuri import kernels

LEAVES = ("__init__", "imports", "kernels", "machine", "paths", "torchvision_quirk")
CALLED = "from numba import njit\n\n\n@njit(cache=True)\ndef twice(x):\n    return {factor} * x\n"
CALLER = """\
from numba import njit

from dioscuri.called import twice


@njit(cache=True)
def run(x):
    return twice(x) + 1
"""
CODE = "from dioscuri.caller import run; print(run(1.0), *run.stats.cache_hits.values(), sep='|')"


def package(folder: Path, factor: int) -> Path:
    """A small package that keeps its kernels as ours does; one kernel calls another of another file."""
    source = Path(kernels.__file__).parent
    (folder / "dioscuri").mkdir(parents=True)
    for name in LEAVES:
        (folder / f"dioscuri/{name}.py").write_text((source / f"{name}.py").read_text())
    (folder / "dioscuri/called.py").write_text(CALLED.format(factor=factor))
    (folder / "dioscuri/caller.py").write_text(CALLER)
    return folder


def run(folder: Path, cache: Path, **environment: str) -> str:
    """What a new process says: the number, and how often a kernel was found."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "DIOSCURI_CACHE": str(cache), **environment}
    command = [sys.executable, "-c", CODE]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()


def test_copies_share_kernels_and_an_edited_callee_makes_new_ones(tmp_path):
    one, copy = package(tmp_path / "one", 2), package(tmp_path / "copy", 2)
    cache = tmp_path / "cache"
    assert run(one, cache) == "3.0"  # compiled
    assert run(copy, cache) == "3.0|1"  # found
    (copy / "dioscuri/called.py").write_text(CALLED.format(factor=5))
    assert run(copy, cache) == "6.0"  # numba itself would have found the old kernel of the caller's file
    assert run(one, cache) == "3.0|1"
    assert not list(tmp_path.rglob("*/dioscuri/__pycache__/*.nbi"))


def test_a_place_that_is_set_by_hand_is_taken(tmp_path):
    own = tmp_path / "own"
    assert run(package(tmp_path / "one", 2), tmp_path / "cache", NUMBA_CACHE_DIR=str(own)) == "3.0"
    assert list(own.rglob("*.nbi")) and not (tmp_path / "cache").exists()


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("DIOSCURI_CACHE", str(tmp_path))
    kernels.kernels_folder.cache_clear()
    yield tmp_path
    kernels.kernels_folder.cache_clear()


def test_a_folder_that_others_can_write_to_is_left_alone(cache):
    assert kernels.kernels_folder() == cache / "kernels"
    kernels.kernels_folder.cache_clear()
    (cache / "kernels").chmod(0o777)
    assert kernels.kernels_folder() is None
    assert kernels.Kernels.from_function(package, kernels.__file__) is None


def test_code_of_others_goes_to_numbas_own_places(cache):
    assert kernels.Kernels.from_function(package, __file__) is None
