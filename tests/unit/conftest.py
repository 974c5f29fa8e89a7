"""Fixtures of the unit tests."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def products() -> ModuleType:
    """The module `mrs_products`: small made-up shards, models and tables of the MRS line."""
    path = Path(__file__).with_name("mrs_products.py")
    spec = importlib.util.spec_from_file_location("mrs_products", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
