"""The released LAMOST MRS models against the sky: a known SB2, and pairs made of two real stars."""

import itertools
import os

import numpy as np
import pandas as pd
import pytest

from dioscuri.paths import models_folder
from dioscuri.predict import predict
from dioscuri.spectra.templates import load_templates
from dioscuri.spectra.velocity import VelocityMeter

ARMS = ("blue", "red")
SURE = 3.0  # log-odds of both arms beyond which an exposure is taken for a pair: 20 to 1 at equal priors


@pytest.fixture(scope="module")
def models():
    """The folder of the released models of this survey."""
    folder = models_folder() / "lamost_mrs"
    if not (folder / "templates.h5").is_file():
        pytest.skip(f"no released models in {folder}: `make release` makes them")
    return folder


@pytest.fixture(scope="module")
def kic8098300(models, real_data):
    """Scores of all exposures of KIC 8098300 beside the phase, velocities and label of each."""
    table, _ = predict("lamost_mrs", [str(real_data / "lamost_mrs" / "*HIP95119KP01*"), *_fields(real_data)])
    expected = pd.read_csv(real_data / "kic8098300_mrs_expected.csv", comment="#")
    table["name"] = table["file"].map(lambda path: path.rsplit("/", 1)[-1])
    merged = table.merge(expected, left_on=["name", "exposure"], right_on=["file", "lmjm"], how="inner")
    print(merged[["name", "exposure", "arm", "snr", "rv", "p0", "p50", "p100", "status", "label"]].to_string())
    return merged


def _fields(real_data):
    return [str(real_data / "lamost_mrs" / "*TD192102N424113K01*")]


def of_label(table, labels, arm):
    """Scored rows of one arm with these labels."""
    return table[table["label"].isin(labels) & (table["arm"] == arm) & (table["status"] == "ok")]


def test_every_resolved_exposure_is_an_sb2_in_the_blue_arm(kic8098300):
    resolved = of_label(kic8098300, ["resolved_SB2"], "blue")
    assert len(resolved) == 4
    assert (resolved["p50"] > 0.5).all()


def test_blended_and_eclipsed_exposures_are_not_in_the_blue_arm(kic8098300):
    blended = of_label(kic8098300, ["blended", "ingress", "primary_eclipse"], "blue")
    blended = blended[blended["snr"] > 10]
    assert len(blended) == 5
    assert (blended["p50"] < 0.5).all()


def test_exposures_without_signal_are_refused(kic8098300):
    empty = kic8098300[kic8098300["label"] == "no_signal"]
    assert len(empty) >= 14
    assert empty["status"].str.startswith("refused").all()


def test_single_lined_velocities_agree_within_a_night(kic8098300):
    single = of_label(kic8098300, ["blended", "ingress", "primary_eclipse"], "blue")
    assert len(single) == 5
    for _, night in single.groupby("name"):
        # Within a night the orbit moves the blend by 2 km/s: by the velocities weighted with the light (0.348).
        blend = (night["v1_pred_kms"] + 0.348 * night["v2_pred_kms"]) / 1.348
        remainder = night["rv"] - blend
        assert np.ptp(night["rv"]) < 3.0
        assert (np.abs(remainder - remainder.mean()) < 2.0).all()


@pytest.mark.parametrize("arm", ARMS)
def test_both_velocities_of_resolved_exposures_follow_the_orbit(kic8098300, arm):
    resolved = of_label(kic8098300, ["resolved_SB2"], arm)
    assert len(resolved) == 4
    for star in "12":
        assert (np.abs(resolved[f"v{star}"] - resolved[f"v{star}_pred_kms"]) < 5).all()
    assert resolved["light_ratio"].between(0.2, 0.5).all()  # 0.348 in the Kepler band
    # Wilson (1941): −dv1/dv2 is the mass ratio; here from the mean of the night and γ = −7.4 km/s, of 0.82.
    ratio = -(resolved["v1"].mean() + 7.4) / (resolved["v2"].mean() + 7.4)
    assert ratio == pytest.approx(0.823, abs=0.1)


def test_resolved_exposures_are_pairs_by_both_arms_together_and_no_others(kic8098300):
    scored = kic8098300[(kic8098300["status"] == "ok") & (kic8098300["snr"] > 5)]
    resolved = scored["label"] == "resolved_SB2"
    assert (scored["logodds"][resolved] > SURE).all()
    assert (scored["logodds"][~resolved & (scored["label"] != "marginal")] < SURE).all()


# --- pairs of real stars, through files ---------------------------------------------------------------------

TWINS = ("Sun", "Procyon", "5000", "5800")
SEPARATIONS = (60, 80, 120)  # km/s
ROTATIONS = (3, 30, 100, 200)  # km/s, of single stars
EACH = int(os.environ.get("DIOSCURI_REAL_PAIRS", 6))  # exposures of each kind; 50 make the table of docs/RESULTS.md
SNR = (20.0, 40.0)


@pytest.fixture(scope="module")
def pairs(models, real_data, star_files, tmp_path_factory):
    """Scores by `dioscuri predict` of twins (light ratio 0.5–1) and single stars of real spectra, S/N 20 and 40."""
    meters = {name: VelocityMeter(t, arm) for name, (arm, t) in load_templates(models / "templates.h5", ARMS).items()}
    Star, factory = star_files.Star, star_files.StarFactory(real_data / "reference_spectra", meters)
    random, systems, kinds = np.random.default_rng(1), [], []
    for name, dv in itertools.product(TWINS, SEPARATIONS):
        for light in random.uniform(0.5, 1, EACH):
            share = light / (1 + light)
            systems.append([Star(name, 1, -dv * share, 3), Star(name, light, dv * (1 - share), 3)])
            kinds.append((f"{name} twins", dv))
    for name, vsini in itertools.product(("Sun", "Procyon", "5000", "5800", "6400"), ROTATIONS):
        systems += [[Star(name, 1, random.normal(0, 50), vsini)] for _ in range(EACH)]
        kinds += [(name, vsini)] * EACH
    snr = np.repeat(np.resize(SNR, len(systems))[:, None], 2, axis=1)
    folder = tmp_path_factory.mktemp("real_stars")
    index = star_files.write_files(folder, factory, systems, snr, seed=2)
    table, _ = predict("lamost_mrs", [str(folder)])
    number = [index[name.rsplit("/", 1)[-1], exposure] for name, exposure in zip(table["file"], table["exposure"])]
    table["kind"], table["axis"] = zip(*(kinds[k] for k in number))
    table["dv"] = [abs(systems[k][-1].rv - systems[k][0].rv) for k in number]
    assert set(table["status"]) == {"ok"}
    print(f"\n{EACH} exposures of each kind, half at S/N 20, half at 40; share with p50 > 0.5 (draws), p > 0.5 (none),")
    print(f"log-odds > {SURE}:")
    found = {"p50": table["p50"] > 0.5, "p": table["p"] > 0.5, "sure": table["logodds"] > SURE}
    shares = table[["arm", "kind", "axis"]].assign(**found).groupby(["arm", "kind", "axis"])
    print(shares.mean().unstack("axis").round(3).to_string())
    singles = ~table["kind"].str.endswith("twins")
    for name, called in found.items():
        print(f"singles, {name}: {called[singles].sum()} of {singles.sum()}")
    return table


def test_twins_are_found_from_files(pairs):
    # Twins of 5000 K, which the library fits worst, are lost at 60 km/s and found at 80: printed, not promised.
    twins = pairs[pairs["kind"].str.endswith("twins") & (pairs["kind"] != "5000 twins")]
    by_separation = (twins["logodds"] > SURE).groupby(twins["axis"]).mean()
    assert by_separation[60] >= 0.8  # of 18; Procyon's weak lines at S/N 20 are the hardest
    assert by_separation[80] >= 0.95 and by_separation[120] >= 0.95
    blue = twins[twins["arm"] == "blue"]
    assert (blue["p50"] > 0.5).groupby(blue["axis"]).mean().min() >= 0.8
    assert (blue[blue["axis"] <= 80]["p50"] > 0.5).mean() >= 0.9
    wide = twins[(twins["arm"] == "red") & (twins["dv"] >= 80)]
    assert (wide["p50"] > 0.5).mean() >= 0.5  # the draws halve S/N²; without them:
    assert (wide["p"] > 0.5).mean() >= 0.8


def test_velocities_and_light_ratios_of_twins(pairs):
    twins = pairs[pairs["kind"].isin(["Sun twins", "Procyon twins"]) & (pairs["dv"] > 0)]
    error = np.abs(np.abs(twins["v1"] - twins["v2"]) - twins["dv"])
    assert error.groupby(twins["arm"]).median().max() < 3
    assert (error < 10).mean() > 0.95


def test_single_stars_are_not_pairs_however_fast_they_turn(pairs):
    single = pairs[~pairs["kind"].str.endswith("twins")]
    assert (single["logodds"] > SURE).mean() <= 0.005
    real = single[single["kind"].isin(["Sun", "Procyon"])]
    assert (real["p50"] > 0.5).mean() <= 0.02
