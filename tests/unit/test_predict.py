"""`dioscuri predict` and the released files: formats, refusals, wrong models."""

import numpy as np
import pandas as pd
import pytest
import torch
from astropy.io import fits

from dioscuri import predict
from dioscuri.arms import Arm
from dioscuri.cli import main
from dioscuri.learn.spectra.models import save_released
from dioscuri.learn.spectra.networks import build
from dioscuri.predict import lamost_mrs
from dioscuri.spectra.templates import load_templates, save_templates
from dioscuri.spectra.velocity import Templates

ARMS = {"blue": Arm("blue", 5000, 5300, 3347, 7500), "red": Arm("red", 6350, 6750, 3509, 7500)}
NETWORK = {"channels": [2], "kernels": [7], "strides": [8], "dense": [4], "dropout": 0.0}


@pytest.fixture(scope="module")
def models(tmp_path_factory, products):
    """A models/ folder with untrained networks: its numbers mean nothing, its files are the genuine ones."""
    folder = tmp_path_factory.mktemp("models") / "lamost_mrs"
    folder.mkdir()
    templates = {}
    for name, arm in ARMS.items():
        wave = arm.wave_min * np.exp(np.arange(-300, 5500) * 4.0 / 299792.458)
        depth = sum(np.exp(-0.5 * ((wave - line) / 0.4) ** 2) for line in np.linspace(*wave[[0, -1]], 40))
        templates[name] = (arm, Templates(wave, 1 - 0.5 * depth[None], np.array([5800.0]), np.array([5.0])))
        torch.manual_seed(1)
        grid = {k: getattr(arm, k) for k in ("wave_min", "wave_max", "n_pixels", "resolution")}
        info = {"arm": name, "network": NETWORK, "penalty": 16.0, "seed": 1, "grid": grid, "version": "0"}
        info |= {"schema": "dioscuri/model/1", "training": {}}
        save_released(folder / f"{name}.safetensors", [(build(NETWORK, arm.n_pixels).eval(), info)])
    save_templates(folder / "templates.h5", templates, {})
    products.evidence().save(folder / "evidence.json")
    return folder.parent


@pytest.fixture
def files(tmp_path):
    """A file that is no FITS and one of another instrument."""
    (tmp_path / "broken.fits").write_bytes(b"not fits at all")
    fits.PrimaryHDU(np.zeros((4, 4))).writeto(tmp_path / "image.fits")
    return [str(tmp_path / "broken.fits"), str(tmp_path / "image.fits")]


def test_templates_come_back_as_they_went(models):
    (arm, templates) = load_templates(models / "lamost_mrs" / "templates.h5", ["blue"])["blue"]
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
    (wrong / "evidence.json").write_bytes((models / "lamost_mrs" / "evidence.json").read_bytes())
    (wrong / "blue.safetensors").write_bytes((models / "lamost_mrs" / "red.safetensors").read_bytes())
    arguments = ["predict", "--survey", "lamost_mrs", "--arm", "blue", *files, "--models", str(tmp_path)]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert "red" in error
    assert "blue" in error


ROW = dict.fromkeys(lamost_mrs.COLUMNS, 0.5) | {
    "file": "a.fits", "obsid": 1, "date": "2018-05-01T12:30", "exposure": 84447441, "arm": "blue", "rv": -61.6,
    "p50": 0.97, "verdict": "two stars", "status": "ok", "flags": "",
}  # fmt: skip
INFORMATION = {
    "survey": "lamost_mrs", "extension": "SB2_PROBABILITIES", "header": {"LAMBDA": 8.0}, "penalty": 8.0, "draws": 2,
    "trained_penalty": {"blue": 16.0},
}  # fmt: skip
AWKWARD = ["[red]star[bold].fits", "中文 × ….fits", "two\nlines\x1b[2J.fits", "bytes\udcff.fits"]


@pytest.mark.parametrize("suffix", [".csv", ".fits", ".parquet"])
def test_no_text_costs_a_row_in_any_format(tmp_path, suffix):
    path = tmp_path / f"scores{suffix}"
    predict.write(
        pd.DataFrame([ROW | {"file": name, "status": "refused: 5 × 5 px"} for name in AWKWARD]), path, INFORMATION
    )
    if suffix == ".fits":
        with fits.open(path) as hdus:
            assert hdus[1].header["EXTNAME"] == "SB2_PROBABILITIES"
            assert hdus[1].columns["rv"].unit == "km / s" or hdus[1].columns["rv"].unit == "km s-1"
            assert hdus[1].data["p50"][0] == pytest.approx(0.97)
            assert hdus[1].data["exposure"].tolist() == [84447441] * 4
            names = [AWKWARD[0], r"\u4e2d\u6587 x ....fits", r"two\nlines\x1b[2J.fits", r"bytes\udcff.fits"]
            assert hdus[1].data["file"].tolist() == names
            assert set(hdus[1].data["status"]) == {"refused: 5 x 5 px"}
            assert "ASCII" in str(hdus[1].header["COMMENT"])
    else:
        back = pd.read_csv(path) if suffix == ".csv" else pd.read_parquet(path)
        assert back["exposure"].tolist() == [84447441] * 4
        assert back["file"].tolist() == [*AWKWARD[:2], r"two\nlines\x1b[2J.fits", r"bytes\udcff.fits"]
        assert set(back["status"]) == {"refused: 5 × 5 px"}


def test_names_are_shown_as_they_are(capsys):
    predict.show(pd.DataFrame([ROW | {"file": name} for name in AWKWARD]), INFORMATION)
    out = capsys.readouterr().out
    assert "[red]star[bold].fits" in out and "中文" in out and "\x1b[2J" not in out
    assert "by a shift of the logit from 16" in " ".join(out.split())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-o", "scores.xlsx"], ".csv, .fits, .parquet"),
        (["-o", "no/such/folder/scores.csv"], "no such folder"),
        (["--plot", "scores.txt"], ".png, .pdf"),
        (["-o", "broken.fits"], "one of the inputs"),
        (["--draws", "0"], "--draws: found 0"),
        (["--penalty", "0"], "--penalty: found 0"),
        (["--penalty", "nan"], "--penalty: found nan"),
        (["--models", "nowhere"], "--models: nowhere: no such folder"),
        (["--noise", "3"], "no option noise"),
    ],
)
def test_what_cannot_be_is_refused_before_the_work(models, files, tmp_path, monkeypatch, capsys, options, said):
    def work(*_, **__):
        raise AssertionError("the work has begun")

    monkeypatch.setattr("dioscuri.lamost.ingest.ingest_files", work)
    monkeypatch.setattr("dioscuri.learn.spectra.models.load_released", work)
    monkeypatch.setenv("DIOSCURI_MODELS", str(models))
    monkeypatch.chdir(tmp_path)
    assert main(["predict", "--survey", "lamost_mrs", *files, *options]) == 2
    assert said in capsys.readouterr().err


def test_the_table_is_written_before_it_is_shown(models, files, tmp_path, monkeypatch):
    def closed(*_):
        raise RuntimeError("the terminal is gone")

    out = tmp_path / "scores.csv"
    monkeypatch.setattr(predict, "show", closed)
    with pytest.raises(RuntimeError, match="gone"):
        main(["predict", "--survey", "lamost_mrs", *files, "--models", str(models), "-o", str(out)])
    assert len(pd.read_csv(out)) == 2


def test_a_full_disk_costs_the_file_not_the_result(models, files, tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(predict, "write", full)
    arguments = ["predict", "--survey", "lamost_mrs", *files, "--models", str(models), "-o", str(tmp_path / "s.csv")]
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert "broken.fits" in told.out and "No space left" in told.err


def test_verdicts_and_velocities():
    percentiles = np.array(
        [[0.6] * 5, [0.1, 0.4, 0.7, 0.8, 0.9], [0, 0, 0.1, 0.6, 0.8], [0.1] * 5, [0.9] * 5, [np.nan] * 5]
    )
    flags = np.array([0, 0, 0, 0, 128, 1])
    said = lamost_mrs.verdicts(percentiles, flags).tolist()
    assert said[:3] == ["two stars", "probably two stars", "perhaps two stars"]
    assert said[3:] == ["no second star seen", "unlike the training stars", ""]
    exposures = {"file": "f", "obsid": 1, "ra": 10.0, "dec": 2.0, "bjdmid": 2458240.02, "exposure": 7}
    exposures |= {"flags_B": flags, "snr_B": np.array([9.0] * 5 + [4.25]), "rv_obs_B": np.arange(6.0)}
    exposures |= dict.fromkeys((*lamost_mrs.JOINT, "rv_obs_err_B", *(f"{n}_B" for n in lamost_mrs.FITTED)), 0.5)
    table = lamost_mrs._scored(
        {name: np.broadcast_to(value, 6) for name, value in exposures.items()},
        "blue",
        percentiles,
        percentiles[:, 2],
        snr_min=5.0,
    )
    assert table["rv"].isna().tolist() == [False] * 4 + [True, False]  # at the edge: no velocity
    assert table["flags"].iloc[4] == "velocity_edge"
    assert table["status"].iloc[5] == "refused: S/N 4.2 at or below the limit of 5"
    assert table["date"].iloc[0] == "2018-05-01T12:29"  # JD 2458240.02


def test_another_penalty_is_a_shift_of_the_logit(models):
    from dioscuri.learn.calibration import shift_probability
    from dioscuri.learn.spectra.inference import Ensemble
    from dioscuri.learn.spectra.models import load_released

    ensemble = Ensemble(load_released(models / "lamost_mrs" / "blue.safetensors"))
    flux = np.random.default_rng(1).normal(0, 0.1, (3, 3347)).astype(np.float16)
    args = (flux, np.full_like(flux, 0.02), np.arange(3), 0)
    trained = ensemble.percentiles(*args, n_draws=2, penalties=[16])[16]
    shifted = ensemble.percentiles(*args, n_draws=2, penalties=[8], shift_from=16)[8]
    np.testing.assert_allclose(shifted, shift_probability(trained, 16, 8), rtol=1e-5)
