"""`dioscuri predict` and the released files: formats, refusals, wrong models."""

import numpy as np
import pandas as pd
import pytest
import torch
from astropy.io import fits

from dioscuri import predict, release
from dioscuri.arms import Arm
from dioscuri.cli import main
from dioscuri.learn.spectra.inference import save_released
from dioscuri.learn.spectra.networks import build
from dioscuri.predict import lamost_mrs
from dioscuri.spectra.velocity import Templates

ARMS = {"blue": Arm("blue", 5000, 5300, 3347, 7500), "red": Arm("red", 6350, 6750, 3509, 7500)}
NETWORK = {"channels": [2], "kernels": [7], "strides": [8], "dense": [4], "dropout": 0.0}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A models/ folder with untrained networks: its numbers mean nothing, its files are the genuine ones."""
    folder = tmp_path_factory.mktemp("models") / "lamost_mrs"
    folder.mkdir()
    templates = {}
    for name, arm in ARMS.items():
        wave = arm.wave_min * np.exp(np.arange(-300, 5500) * 4.0 / 299792.458)
        depth = sum(np.exp(-0.5 * ((wave - line) / 0.4) ** 2) for line in np.linspace(*wave[[0, -1]], 40))
        templates[name] = (arm, Templates(wave, 1 - 0.5 * depth[None], np.array([5800.0])))
        torch.manual_seed(1)
        grid = {k: getattr(arm, k) for k in ("wave_min", "wave_max", "n_pixels", "resolution")}
        info = {"arm": name, "network": NETWORK, "penalty": 16.0, "seed": 1, "grid": grid, "version": "0"}
        info |= {"schema": "dioscuri/model/1", "training": {}}
        save_released(folder / f"{name}.safetensors", [(build(NETWORK, arm.n_pixels).eval(), info)])
    release.save_templates(folder / "templates.h5", templates, {})
    return folder.parent


@pytest.fixture
def files(tmp_path):
    """A file that is no FITS and one of another instrument."""
    (tmp_path / "broken.fits").write_bytes(b"not fits at all")
    fits.PrimaryHDU(np.zeros((4, 4))).writeto(tmp_path / "image.fits")
    return [str(tmp_path / "broken.fits"), str(tmp_path / "image.fits")]


def test_templates_come_back_as_they_went(models):
    (arm, templates) = release.load_templates(models / "lamost_mrs" / "templates.h5", ["blue"])["blue"]
    assert arm == ARMS["blue"]
    assert templates.teff.tolist() == [5800.0]


def test_refused_files_are_rows_and_nothing_read_is_status_1(models, files, tmp_path, capsys):
    out = tmp_path / "scores.csv"
    arguments = ["predict", "--survey", "lamost_mrs", *files, "--models", str(models), "-o", str(out)]
    assert main(arguments) == 1
    table = pd.read_csv(out)
    assert list(table.columns) == list(lamost_mrs.COLUMNS)
    assert len(table) == 2
    assert table["status"].str.startswith("refused: ").all()
    assert "refused" in capsys.readouterr().out


def test_a_model_of_another_arm_is_refused(models, files, tmp_path, capsys):
    wrong = tmp_path / "lamost_mrs"
    wrong.mkdir()
    (wrong / "templates.h5").write_bytes((models / "lamost_mrs" / "templates.h5").read_bytes())
    (wrong / "blue.safetensors").write_bytes((models / "lamost_mrs" / "red.safetensors").read_bytes())
    arguments = ["predict", "--survey", "lamost_mrs", "--arm", "blue", *files, "--models", str(tmp_path)]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert "red" in error
    assert "blue" in error


@pytest.mark.parametrize("suffix", [".csv", ".fits", ".parquet"])
def test_tables_are_written_in_every_format(tmp_path, suffix):
    row = dict(
        zip(lamost_mrs.COLUMNS, ("a.fits", 84447441, "blue", 22.1, -61.6, 0.9, 0.95, 0.97, 0.98, 0.99, "ok", ""))
    )
    path = tmp_path / f"scores{suffix}"
    predict.write(
        pd.DataFrame([row]),
        path,
        {"survey": "lamost_mrs", "extension": "SB2_PROBABILITIES", "header": {"LAMBDA": 16.0}},
    )
    if suffix == ".fits":
        with fits.open(path) as hdus:
            assert hdus[1].header["EXTNAME"] == "SB2_PROBABILITIES"
            assert hdus[1].columns["rv"].unit == "km / s" or hdus[1].columns["rv"].unit == "km s-1"
            assert hdus[1].data["p50"][0] == pytest.approx(0.97)
    else:
        back = pd.read_csv(path) if suffix == ".csv" else pd.read_parquet(path)
        assert back["exposure"].tolist() == [84447441]


def test_an_unknown_table_format_names_those_accepted(tmp_path):
    with pytest.raises(ValueError, match=r"\.csv, \.fits, \.parquet"):
        predict.write(pd.DataFrame(columns=lamost_mrs.COLUMNS), tmp_path / "scores.xlsx", {})
