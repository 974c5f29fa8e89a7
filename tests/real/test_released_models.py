"""The released LAMOST MRS models against the sky: a known SB2, and pairs made of two real stars."""

import numpy as np
import pandas as pd
import pytest
import torch
from astropy.io import fits

from dioscuri.arms import C_KMS, air_to_vacuum
from dioscuri.learn.spectra.inference import Ensemble
from dioscuri.learn.spectra.models import load_released
from dioscuri.paths import models_folder
from dioscuri.predict import predict
from dioscuri.spectra.continuum import fit_continuum
from dioscuri.spectra.templates import load_templates
from dioscuri.spectra.velocity import VelocityMeter
from dioscuri.synthesis.kinematics import Kinematics

ARMS = ("blue", "red")
LAMBDA = 16.0


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


# --- pairs of real stars ------------------------------------------------------------------------------------


# Star, companion ("": none), range of the companion's share of light.
PAIRS = (
    ("Sun", "", (0, 0)),
    ("Procyon", "", (0, 0)),
    ("Procyon", "Procyon", (0.4, 1)),
    ("Sun", "Sun", (0.4, 1)),
    ("Procyon", "Sun", (0.15, 0.4)),
)


def harps_spectrum(path):
    """Wavelength [vacuum Å] and flux of a HARPS spectrum whose FITS file may end early."""
    raw = path.read_bytes()
    header = fits.Header.fromstring(raw[: raw.find(b"END" + b" " * 77) + 80].decode("latin1"))
    first = -(-len(header.tostring()) // 2880) * 2880
    flux = np.frombuffer(raw[first : first + 4 * header["NAXIS1"]].ljust(0), ">f4").astype(float)
    return air_to_vacuum(header["CRVAL1"] + header["CDELT1"] * np.arange(len(flux))), flux


@pytest.fixture(scope="module", params=ARMS)
def rates(request, models, real_data):
    """FPR of singles and TPR of pairs of real stars, Δv 60–200 km/s, S/N 20–40, in one arm."""
    arm, templates = load_templates(models / "templates.h5", [request.param])[request.param]
    ensemble = Ensemble(load_released(models / f"{arm.name}.safetensors", arm=arm.name))
    meter = VelocityMeter(templates, arm)
    span = np.log(arm.wave_max / arm.wave_min) + 2200 / C_KMS
    grid = arm.wave_min * (1 - 1100 / C_KMS) * np.exp(np.arange(0, span, 4 / C_KMS))
    move = Kinematics(grid, arm.wave, 30000.0)
    stars = {}
    for name in ("Sun", "Procyon"):
        wave, flux = harps_spectrum(real_data / "reference_spectra" / f"HARPS_{name}.fits")
        near = (wave > grid[0] - 5) & (wave < grid[-1] + 5)
        fine = np.exp(np.arange(np.log(grid[0]), np.log(grid[-1]), 0.5 / C_KMS))
        kernel = np.exp(-0.5 * (np.arange(-50, 51) * 0.5 / (C_KMS / 30000 / 2.3548)) ** 2)
        smooth = np.convolve(np.interp(fine, wave[near], flux[near]), kernel / kernel.sum(), "same")
        coarse = np.interp(arm.wave, fine, smooth)
        rv = meter.measure(arm.wave, (coarse / fit_continuum(arm.wave, coarse))[None]).rv[0]
        stars[name] = np.interp(grid * (1 + rv / C_KMS), fine, smooth)
        stars[name] /= np.median(stars[name])
    random, n = np.random.default_rng(1), 300
    result = {}
    for a, b, light in PAIRS:
        dv = random.uniform(60, 200, n) * random.choice([-1, 1], n)
        flux = _moved(move, stars[a], random.exponential(8, n), random.normal(0, 2, n))
        if b:
            flux = flux + random.uniform(*light, (n, 1)) * _moved(move, stars[b], random.exponential(8, n), dv)
        flux = flux / flux.mean(1, keepdims=True)
        flux = flux + random.standard_normal(flux.shape) / random.uniform(20, 40, (n, 1))
        packed = (flux / fit_continuum(arm.wave, flux) - 1).astype(np.float16)
        result[a, b] = (ensemble.probabilities(packed)[LAMBDA].mean(1) > 0.5).mean()
        print(f"{arm.name} {a}{'+' + b if b else ''}: share with p > 0.5 {result[a, b]:.3f} of {n}")
    return arm.name, result


def _moved(move, star, vsini, rv):
    flux = torch.from_numpy(np.broadcast_to(star, (len(rv), len(star))).astype(np.float32))
    return move(flux, vsini, rv, 7500.0).double().numpy()


def test_real_single_stars_are_rarely_binaries(rates):
    _, share = rates
    # 300 spectra each: 0.02 is 6; the models promise about 1e-3 on mocks.
    assert share["Sun", ""] <= 0.02
    assert share["Procyon", ""] <= 0.02


def test_pairs_of_real_stars_are_found_in_the_blue_arm(rates):
    arm, share = rates
    if arm == "red":
        pytest.skip("the red arm is reported (see the printed table), and promised nothing at S/N 20-40")
    assert min(share[a, b] for a, b in share if b) > 0.7
