"""Fixtures shared by all tests: the folder of real data, and single-threaded numerics."""

import os
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
