"""The wheel: installed away from any checkout, with core libraries only, it scores a spectrum and does the rest."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits

from dioscuri.cli import main
from dioscuri.extras import remedy
from dioscuri.lamost.exposures import Exposure
from dioscuri.lamost.files import ObservedFile
from dioscuri.lamost.mrs_writer import write_mrs_file
from dioscuri.machine import cache_folder
from dioscuri.mocks.pairs import one_spectrum

RV = 30.0
# Importing these raises ModuleNotFoundError; then the command runs as if pip had installed the wheel alone.
WITHOUT = """
import sys
for name in {absent}:
    sys.modules[name] = None
from dioscuri.cli import main
import dioscuri
assert dioscuri.__file__.startswith({target!r}), dioscuri.__file__
for arguments in {commands}:
    print("##", main(arguments), flush=True)
"""


@pytest.fixture(scope="module")
def installed(root, tmp_path_factory) -> Path:
    """A folder into which pip has installed the wheel of this checkout, without any dependency."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = ["wheel", "--no-build-isolation", "--no-deps", "--no-index", "--wheel-dir", folder, root]
    subprocess.run([*pip, *build], check=True, capture_output=True, timeout=120)
    [wheel] = folder.glob("dioscuri-*.whl")
    install = ["install", "--no-deps", "--no-index", "--no-compile", "--target", folder / "site", wheel]
    subprocess.run([*pip, *install], check=True, capture_output=True, timeout=120)
    return folder / "site"


@pytest.fixture(scope="module")
def spectrum(tmp_path_factory) -> Path:
    """An exposure of the Sun at 30 km/s and S/N 100, as LAMOST writes files."""
    wave, flux, _ = one_spectrum(5777, 4.44, 0.0, 0.0, rv=RV, resolution=7500, wave_min=4940, wave_max=5360)
    grid = 10.0 ** np.arange(np.log10(4945), np.log10(5355), 1e-5)
    flux = np.interp(grid, wave, flux)
    flux = 1e4 * flux / np.median(flux) * (1 + 0.01 * np.random.default_rng(0).normal(size=grid.size))
    fine = {"ivar": np.full(grid.size, 1e-4), "mask": np.zeros(grid.size, bool)}
    exposure = Exposure("B-84000000", "blue", 84_000_000, 58332.67, 1200.0, 100.0, grid, flux, **fine)
    about = {"designation": "LAMOST J000000.00+000000.0", "object_name": "sun", "gaia_id": 0, "ra": 0.0, "dec": 0.0}
    about |= {"planid": "wheel", "spid": 1, "fiberid": 1, "lmjd": 58333, "fiber_type": "Obj", "object_type": "Star"}
    about |= {"data_version": "LAMOST DR7", "helio_rv": 0.0, "magnitudes": {}}
    path = tmp_path_factory.mktemp("spectra") / "med-58333-wheel_sp01-001.fits.gz"
    write_mrs_file(path, ObservedFile(path=path, obsid=1, exposures=(exposure,), **about))
    return path


def run(installed: Path, folder: Path, commands: list[list[str]], absent: list[str]) -> subprocess.CompletedProcess:
    code = WITHOUT.format(absent=absent, commands=commands, target=str(installed))
    # Kernels that the same code has had compiled elsewhere are taken: nobody waits for them twice.
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(installed), "HOME": str(folder)}
    environment["DIOSCURI_CACHE"] = str(cache_folder())
    return subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def extras(root) -> list[str]:
    """What the extras bring, and the tools for development do: names for `import`."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    lines = [line for lines in project["optional-dependencies"].values() for line in lines]
    names = {re.match(r"[\w.-]+", line)[0].replace("-", "_") for line in lines} - {"dioscuri"}
    return sorted(names | {"tables", "astroquery", "torchmetrics", "huggingface_hub"})


def test_the_wheel_holds_all_that_the_repository_has(installed, root):
    def names(folder: Path) -> set[str]:
        files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        return {path.relative_to(folder).as_posix() for path in files}

    expected = names(root / "workflow/src/dioscuri")
    expected |= {f"shipped/{name}/{file}" for name in ("config", "models") for file in names(root / name)}
    assert names(installed / "dioscuri") == expected


def test_a_spectrum_is_scored_with_core_libraries_alone(installed, spectrum, extras, tmp_path):
    commands = [
        ["check-config"],
        ["track", "--mass", "1", "--eep", "300"],
        ["predict", "--survey", "lamost_mrs", str(spectrum), "--draws", "3", "-o", "scores.csv"],
    ]
    done = run(installed, tmp_path, commands, extras)
    assert done.returncode == 0, done.stderr[-2000:]
    assert re.findall(r"^## (\d+)", done.stdout, re.M) == ["0"] * len(commands), done.stderr[-2000:]
    [row] = pd.read_csv(tmp_path / "scores.csv").query("arm == 'blue'").to_dict("records")
    assert row["status"].startswith("ok")
    assert row["rv"] == pytest.approx(RV, abs=3.0)
    assert row["p50"] < 0.5


def test_what_needs_an_extra_names_it(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "galsim", None)
    psf, stamps = tmp_path / "psf.fits", tmp_path / "stamps.h5"
    stamps.touch()
    fits.PrimaryHDU(np.ones((9, 9))).writeto(psf)
    assert main(["predict", "--survey", "csst", str(stamps), "--psf", str(psf), "--psf-oversampling", "1"]) == 2
    assert capsys.readouterr().err.startswith(
        "dioscuri predict: this needs galsim, which is not installed; it comes with the extra 'images': in the checkout"
    )


@pytest.mark.parametrize(
    ("library", "command"),
    [
        ("galsim", "pip install '.[images]'"),
        ("pytorch_lightning.callbacks", "pip install '.[workflow]'"),
        ("isochrones", "pip install '.[mist]'"),
        ("unheard_of", "pip install unheard_of"),
    ],
)
def test_remedies(library, command):
    assert command in remedy(ModuleNotFoundError(name=library))
