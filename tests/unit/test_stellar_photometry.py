"""Magnitudes of library stars in G, BP, RP and Ks against published relations of dwarfs."""

import numpy as np
import pytest

from dioscuri.arms import Arm
from dioscuri.libraries.build import build_embedded
from dioscuri.libraries.grid import window_of
from dioscuri.libraries.photometry import EXTINCTION, PASSBANDS, SUN, Photometry, make_photometry


@pytest.fixture(scope="module")
def photometry(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photometry")
    axes = {
        "teff": np.array([3900.0, 4400.0, 4700.0, 5200.0, 5772.0, 6500.0]),
        "logg": np.array([4.438]),
        "feh": np.array([0.0]),
        "afe": np.array([0.0]),
    }
    window = {"full": window_of(Arm("full", 3700.0, 9000.0, 5301, 1800.0))}
    library = build_embedded(axes, window, step_kms=20.0, resolution=5000.0, molecules=True, progress=False)
    library.save(folder / "library.h5")
    make_photometry(folder / "photometry.h5", folder / "library.h5")
    return Photometry.load(folder / "photometry.h5")


def bolometric_correction(teff):
    """BC_G of Andrae et al. (2018, A&A 616, A8, table 4), 4000-8000 K, with their solar value 0.06."""
    x = teff - 5772.0
    return 6.0e-2 + 6.731e-5 * x - 6.647e-8 * x**2 + 2.859e-11 * x**3 - 7.197e-15 * x**4


def test_the_sun_is_the_zero_point(photometry):
    sun = photometry.absolute(5772.0, 4.438, 0.0, 1.0)
    assert {name: float(value) for name, value in sun.items()} == pytest.approx(SUN, abs=1e-3)


@pytest.mark.parametrize("teff", [4500.0, 4750.0, 5000.0, 5500.0, 6000.0, 6500.0])
def test_bolometric_correction_in_g(photometry, teff):
    """The scale of T(τ) at 4400 and 4700 K was set by this relation; above 5200 K it was not."""
    ours = 4.74 - 10 * np.log10(teff / 5772.0) - photometry.absolute(teff, 4.438, 0.0, 1.0)["G"]
    assert ours == pytest.approx(bolometric_correction(teff), abs=0.03)


@pytest.mark.parametrize(("teff", "bp_rp"), [(4440.0, 1.41), (5270.0, 0.98), (6050.0, 0.73)])
def test_colours_of_dwarfs(photometry, teff, bp_rp):
    """K5, K0 and F9 of Pecaut & Mamajek's table: BP and RP were fitted to nothing but the Sun."""
    made = photometry.absolute(teff, 4.438, 0.0, 1.0)
    assert made["BP"] - made["RP"] == pytest.approx(bp_rp, abs=0.06)


def test_radius_and_what_lies_outside(photometry):
    made = photometry.absolute(np.array([5000.0, 5000.0, 9000.0]), 4.438, 0.0, np.array([1.0, 2.0, 1.0]))
    for name in PASSBANDS:
        assert made[name][0] - made[name][1] == pytest.approx(5 * np.log10(2))
        assert np.isnan(made[name][2])
    assert EXTINCTION["BP"] > EXTINCTION["G"] > EXTINCTION["RP"] > EXTINCTION["Ks"]
