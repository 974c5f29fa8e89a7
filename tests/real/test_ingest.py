"""Real exposures through the whole ingest, with templates of the embedded library."""

import csv

import numpy as np
import pytest

from dioscuri.arms import Arm
from dioscuri.door import expand_inputs
from dioscuri.flags import Quality, Refusal
from dioscuri.lamost.ingest import ingest_files
from dioscuri.lamost.mrs import MRS
from dioscuri.libraries.build import build_embedded
from dioscuri.libraries.grid import window_of
from dioscuri.spectra.velocity import Templates, VelocityMeter

ARMS = [Arm("blue", 5000.0, 5300.0, 3347, 7500.0), Arm("red", 6350.0, 6750.0, 3509, 7500.0)]
AXES = {"teff": [4500.0, 5500.0, 6500.0, 7500.0], "logg": [3.5, 4.5], "feh": [-0.5, 0.0], "afe": [0.0]}


@pytest.fixture(scope="module")
def ingested(real_data):
    library = build_embedded(AXES, {arm.name: window_of(arm) for arm in ARMS}, progress=False)
    meters = {arm.name: VelocityMeter(Templates.from_library(library, arm), arm) for arm in ARMS}
    paths = [*expand_inputs([real_data / "lamost_mrs"]), real_data / "images" / "alma_tmc1a_1.3mm.fits"]
    return ingest_files(paths, MRS, ARMS, meters, coadds=False)


@pytest.fixture(scope="module")
def labels(real_data) -> dict[tuple[str, int], dict]:
    with open(real_data / "kic8098300_mrs_expected.csv", encoding="utf-8") as stream:
        rows = csv.DictReader(line for line in stream if not line.startswith("#"))
        return {(row["file"], int(row["lmjm"])): row for row in rows}


def rows(ingested) -> list[dict]:
    table = ingested.exposures
    return [{name: values[i] for name, values in table.items()} for i in range(len(table["file"]))]


def test_every_exposure_is_kept_or_refused_with_its_reason(ingested, labels):
    kept = {(row["file"], row["exposure"]) for row in rows(ingested)}
    refused = {(row["file"], row["exposure"]): row["reason"] for row in ingested.rejected}
    assert len(kept) + len(refused) == 34 + 1, "34 exposures in 8 files, and one stray image"
    faint = {Refusal.LOW_SNR, Refusal.EMPTY}
    for key, row in labels.items():
        if row["label"] in ("no_signal", "low_snr_eclipse"):
            assert refused[key] in faint, key
        else:
            assert key in kept, key
    empty = {key: reason for key, reason in refused.items() if "sp06-029" in key[0]}
    assert len(empty) == 3 and set(empty.values()) <= faint
    assert refused["alma_tmc1a_1.3mm.fits", 0] == Refusal.FOREIGN


def test_velocities_of_kic_8098300(ingested, labels):
    """Resolved exposures give the brighter star's velocity; within the night both arms repeat to 5 km/s."""
    resolved = [
        row for row in rows(ingested) if labels.get((row["file"], row["exposure"]), {}).get("label") == "resolved_SB2"
    ]
    assert len(resolved) == 4
    for row in resolved:
        measured = float(labels[row["file"], row["exposure"]]["v1_meas_kms"])
        assert row["rv_obs_B"] == pytest.approx(measured, abs=4.0)
        assert row["rv_obs_R"] == pytest.approx(measured, abs=6.0)
    blended = [
        row["rv_obs_B"]
        for row in rows(ingested)
        if labels.get((row["file"], row["exposure"]), {}).get("label") == "blended"
    ]
    assert len(blended) == 3 and np.ptp(blended) < 3.0


def test_single_lined_exposures_repeat_within_a_night(ingested, labels):
    velocities = [
        row["rv_obs_B"]
        for row in rows(ingested)
        if labels.get((row["file"], row["exposure"]), {}).get("label") in ("ingress", "primary_eclipse")
    ]
    assert len(velocities) == 2 and np.ptp(velocities) < 3.0


def test_flags_tell_stars_from_what_templates_cannot_follow(ingested):
    """Two Be stars: Hα in emission, hardly a metal line; KIC 8098300 is an ordinary F star."""
    for row in rows(ingested):
        ordinary = "sp12-076" in row["file"]
        for arm in "BR":
            trouble = Quality.WEAK_CCF | Quality.VELOCITY_EDGE
            assert bool(row[f"flags_{arm}"] & trouble) != ordinary, (row["file"], row["exposure"], arm)
            assert row[f"npixbad_{arm}"] < 40
            assert row[f"ccfmax_{arm}"] > 0.7 or not ordinary


def test_what_is_scored_is_finite_and_normalised(ingested):
    for arm in ARMS:
        flux, sigma = (values.astype(float) for values in ingested.arms[arm.name])
        scored = ingested.exposures[f"specflag_{arm.name[0].upper()}"]
        assert np.all(np.isfinite(flux[scored])) and np.all(np.isfinite(sigma[scored]))
        assert np.all(np.isnan(flux[~scored]))
        assert np.all(np.abs(np.percentile(flux[scored], 75, axis=1)) < 0.05)
        ratio = np.median(1 / sigma[scored], axis=1) / ingested.exposures[f"snr_{arm.name[0].upper()}"][scored]
        assert np.all((ratio > 0.8) & (ratio < 1.4)), "errors agree with the header's S/N"
        assert flux[scored].min() > -1.05 and flux[scored].max() < 0.6
