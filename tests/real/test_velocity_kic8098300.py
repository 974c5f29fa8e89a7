"""Velocities of real LAMOST exposures of KIC 8098300, an eclipsing SB2 whose orbit is known."""

import csv

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from dioscuri.arms import C_KMS, Arm, air_to_vacuum
from dioscuri.lamost.mrs_files import read_mrs
from dioscuri.spectra.continuum import normalise
from dioscuri.spectra.velocity import Templates, VelocityMeter, double_peak

BLUE = Arm("blue", 5000.0, 5300.0, 3347, 7500.0)
SINGLE_LINED = {"blended", "ingress", "primary_eclipse"}
FWHM_PER_SIGMA = np.sqrt(8 * np.log(2))


@pytest.fixture(scope="module")
def meter(real_data):
    """Templates of the FERRE node at 5750 K and of PHOENIX at 6400 K, in vacuum at R = 7500."""
    fits = pytest.importorskip("astropy.io.fits")
    folder = real_data / "reference_spectra"
    (ferre,), (phoenix,) = (list(folder.glob(name)) for name in ("FERRE*.fits", "lte064*.fits"))
    wave = np.exp(np.arange(np.log(4986), np.log(5314), 2.0 / C_KMS))
    table = fits.getdata(ferre, 1)
    header = fits.getheader(phoenix)
    phoenix_wave = np.exp(header["CRVAL1"] + header["CDELT1"] * np.arange(header["NAXIS1"]))
    flux = np.stack(
        [
            np.interp(wave, air_to_vacuum(table.field(0).astype(float)), table.field(1).astype(float)),
            np.interp(wave, phoenix_wave, fits.getdata(phoenix).astype(float)),
        ]
    )
    sigma_kms = C_KMS * np.sqrt(7500.0**-2 - 1e4**-2) / FWHM_PER_SIGMA
    flux = gaussian_filter1d(flux, sigma_kms / 2.0, axis=1)
    return VelocityMeter(Templates(wave, normalise(wave, flux)[0], np.array([5750.0, 6400.0]), np.zeros(2)), BLUE)


@pytest.fixture(scope="module")
def exposures(real_data, meter):
    """Rows of the table of expected velocities with S/N above 5, with what is measured here beside them."""
    lines = (real_data / "kic8098300_mrs_expected.csv").read_text().splitlines()
    rows = [row for row in csv.DictReader(line for line in lines if line[0] != "#") if float(row["snr_B"]) > 5]
    files = {row["file"]: read_mrs(real_data / "lamost_mrs" / row["file"]) for row in rows}
    for row in rows:
        (exposure,) = (e for e in files[row["file"]].exposures if e.arm == "blue" and e.lmjm == int(row["lmjm"]))
        used = (exposure.ivar > 0) & ~exposure.mask & (np.abs(exposure.wave - 5150) < 165)
        wave, flux = exposure.wave[used], exposure.flux[used]
        normalised, _, _ = normalise(wave, flux)
        normalised = np.clip(normalised, 0, 1.5)  # cosmic rays
        row["velocities"] = meter.measure([wave], [normalised])
        row["peaks"] = double_peak(*meter.ccf([wave], [normalised]))
    return rows


@pytest.mark.parametrize("night", ["med-58270", "med-58625"])
def test_single_lined_exposures_agree_within_a_night(exposures, night):
    rows = [row for row in exposures if row["file"].startswith(night) and row["label"] in SINGLE_LINED]
    assert len(rows) >= 2
    rv = np.concatenate([row["velocities"].rv for row in rows])
    assert np.ptp(rv) < 2.0
    for row in rows:
        assert row["velocities"].rv_err[0] < 1.5
        assert row["velocities"].ccf_max[0] > 0.7


def test_resolved_exposures_land_on_one_of_the_two_stars(exposures):
    rows = [row for row in exposures if row["label"] == "resolved_SB2"]
    assert len(rows) == 4
    for row in rows:
        distance = [abs(row["velocities"].rv[0] - float(row[f"v{star}_meas_kms"])) for star in (1, 2)]
        assert min(distance) < 3.0


def test_double_peak_tells_resolved_from_single_lined_exposures(exposures):
    statistic = {
        kind: [row["peaks"].statistic[0] for row in exposures if (row["label"] == "resolved_SB2") == kind]
        for kind in (True, False)
    }
    assert min(statistic[True]) > max(statistic[False])
    for row in exposures:
        if row["label"] == "resolved_SB2":
            assert row["peaks"].velocity1[0] == pytest.approx(float(row["v1_meas_kms"]), abs=10)
            assert row["peaks"].velocity2[0] == pytest.approx(float(row["v2_meas_kms"]), abs=15)
