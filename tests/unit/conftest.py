"""Fixtures of the unit tests."""

import importlib.util
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from matplotlib.figure import Figure


@pytest.fixture(scope="session")
def products() -> ModuleType:
    """The module `mrs_products`: small made-up shards, models and tables of the MRS line."""
    return _module("mrs_products")


@pytest.fixture(scope="module")
def no_released_networks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whatever the repository has released, these tests are about the likelihood."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIOSCURI_MODELS", str(tmp_path_factory.mktemp("none")))
        yield


@pytest.fixture
def file_server(monkeypatch) -> Iterator:
    """A running `file_server.Server`, without files."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with _module("file_server").Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def drawn(monkeypatch) -> list[Figure]:
    """Figures as they are saved, so that their axes can be asked; the files are written all the same."""
    figures: list[Figure] = []
    save = Figure.savefig

    def remember(self, *args, **kwargs):
        figures.append(self)
        return save(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", remember)
    return figures


def _module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
