"""What the released LRS models say of spectra that they were not made for: scored, flagged, and never counted."""

import numpy as np
import pandas as pd
import pytest

from dioscuri.arms import C_KMS
from dioscuri.evaluation.lrs_scores import load_scorer
from dioscuri.flags import LrsQuality
from dioscuri.lamost.lrs_files import LRSFile
from dioscuri.lamost.lrs_writer import WAVE, write_lrs_file
from dioscuri.paths import models_folder
from dioscuri.predict import predict
from dioscuri.spectra import lrs_frame

RELEASE = "LAMOST DR10"


@pytest.fixture(scope="module")
def scorer():
    return load_scorer(models_folder() / "lamost_lrs")


def single(scorer, teff: float, release: str = RELEASE) -> np.ndarray:
    """Normalised flux − 1 (L,) of a single star as its release shows it."""
    parts, kept = scorer.components, scorer.components.weight > 0
    x = scorer.fitter.model(np.array([[teff, 4.55, -0.1, 0.0]]))[0]
    flux = np.divide(parts.vectors @ x + parts.mean, parts.weight, out=np.zeros(len(kept)), where=kept)
    if release in scorer.calibrations:
        flux += scorer.calibrations[release].at(np.array([teff]), np.array([-0.1]))[0] * kept
    return flux


def flags(scorer, flux: np.ndarray, template: float, release: str = RELEASE, **catalogue) -> LrsQuality:
    good = np.ones((1, len(flux)), bool)
    known = {name: np.array([catalogue.get(name, np.nan)]) for name in ("teff", "logg", "feh")}
    found = scorer(flux[None].astype(np.float32), good, np.array([60.0]), [release], np.array([template]), known)
    return LrsQuality(int(found["flags"][0]))


def test_a_star_of_what_was_trained_has_no_flag(scorer):
    assert flags(scorer, single(scorer, 5300.0), 5300.0) == 0


@pytest.mark.parametrize("known", [{"teff": 6800.0}, {"logg": 3.2}, {"feh": -1.4}])
def test_a_catalogue_that_knows_better_is_believed(scorer, known):
    assert LrsQuality.OUT_OF_RANGE in flags(scorer, single(scorer, 5300.0), 5300.0, **known)


def test_another_release_is_uncalibrated_and_cooler_stars_are_beyond_the_calibration(scorer):
    assert LrsQuality.UNCALIBRATED in flags(scorer, single(scorer, 5300.0, "LAMOST DR3"), 5300.0, "LAMOST DR3")
    assert LrsQuality.CALIBRATION_RANGE in flags(scorer, single(scorer, 4500.0), 4500.0)


def test_what_no_model_looks_like_is_told(scorer):
    strange = single(scorer, 5300.0) + 0.1 * np.sin(lrs_frame.WAVE / 6.0) * (scorer.components.weight > 0)
    assert LrsQuality.UNLIKE_ANY_MODEL in flags(scorer, strange, 5300.0)


def file_at(folder, scorer, rv: float, obsid: int):
    """An LRS file of the star at `rv` [km/s]."""
    rest = WAVE / (1 + rv / C_KMS)
    flux = 1000.0 * (1.0 + np.interp(rest, lrs_frame.WAVE, single(scorer, 5300.0), 0.0, 0.0))
    sigma = flux * np.interp(WAVE, lrs_frame.NOISE[:, 0], lrs_frame.NOISE[:, 1]) / 60.0
    flux = flux + np.random.default_rng(obsid).normal(0.0, sigma)
    path = folder / f"spec-{obsid}.fits"
    name = "LAMOST J004000.00+200000.0"
    write_lrs_file(path, LRSFile(path, obsid, name, RELEASE, 10.0, 20.0, 57001, "STAR", "G8", rv, 60.0, WAVE, flux,
                                 sigma**-2.0, np.zeros(len(WAVE), bool)), "table")  # fmt: skip
    return path


def test_velocities_that_cannot_be_and_those_that_disagree_are_not_counted(tmp_path, scorer):
    velocities = {900000001: 30.0, 900000002: 550.0, 900000003: 700.0, 900000004: -40.0}
    paths = [file_at(tmp_path, scorer, rv, obsid) for obsid, rv in velocities.items()]
    catalogue = tmp_path / "stars.csv"
    pd.DataFrame({"obsid": [900000001, 900000004], "rv": [32.0, 10.0]}).to_csv(catalogue, index=False)
    table, _ = predict("lamost_lrs", paths, catalogue=catalogue)
    assert table["status"].tolist() == ["ok"] * 4
    assert table["rv"][0] == pytest.approx(30.0, abs=5.0) and table["flags"][0] == ""
    assert "fast" in table["flags"][1] and table["verdict"][1] == "not counted"
    assert "velocity_edge" in table["flags"][2] and table["verdict"][2] == "not counted"
    assert "velocity_disagrees" in table["flags"][3] and table["verdict"][3] == "not counted"
