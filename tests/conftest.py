"""Fixtures shared by all tests: the folder of real data, and single-threaded numerics."""

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real spectra, tables and images, which are not part of the product."""
    folder = Path(os.environ.get("DIOSCURI_REAL_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set DIOSCURI_REAL_DATA to a folder that has them")
    return folder


@pytest.fixture(scope="module")
def repository_copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workflow and its package in a folder of its own, which a test may edit and fill."""
    copy = tmp_path_factory.mktemp("dioscuri")
    for name in ("Snakefile", "config", "envs", "profiles", "benchmarks", "models", "workflow", "tests/presets"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name)
        else:
            shutil.copy2(ROOT / name, copy / name)
    return copy
