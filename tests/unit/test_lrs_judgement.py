"""Low-resolution spectra that cannot be what they say are refused in every layout, each for its own reason."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from dioscuri.flags import LrsQuality, Refusal
from dioscuri.lamost.fits_units import RefusedFile
from dioscuri.lamost.lrs_files import LRSFile, read_lrs
from dioscuri.lamost.lrs_writer import LAYOUTS, N_PIXELS, WAVE, write_lrs_file

PIXELS = np.arange(N_PIXELS)
NAME = "spec-57001-P_sp04-101.fits"


def star(**changed) -> LRSFile:
    level = 1000.0 * np.exp(-(((WAVE - 6500) / 4000) ** 2))
    noise = 0.02 * level
    flux = level + noise * np.random.default_rng(0).normal(size=N_PIXELS)
    file = LRSFile(
        None, 123404101, "LAMOST J004000.00+200000.0", "DR8", 10.0, 20.0, 57001, "STAR", "K3", 30.0, 50.0, WAVE,
        flux, noise**-2, np.zeros(N_PIXELS, bool),
    )  # fmt: skip
    return replace(file, **changed)


def written(tmp_path, layout: str, edit=None, **changed):
    path = tmp_path / NAME
    write_lrs_file(path, star(**changed), layout)
    if edit is not None:
        with fits.open(path, mode="update") as units:
            edit(units)
    return path


def refusal(path) -> RefusedFile:
    with pytest.raises(RefusedFile) as caught:
        read_lrs(path)
    return caught.value


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_sound_file_is_taken_without_a_flag(tmp_path, layout):
    assert read_lrs(written(tmp_path, layout)).flags == 0


def constant() -> np.ndarray:
    flux = star().flux.copy()
    flux[1000:1200] = flux[1000]
    return flux


def copied() -> np.ndarray:
    flux = star().flux.copy()
    flux[3000:3300] = flux[1000:1300]
    return flux


def moved() -> np.ndarray:
    flux = star().flux.copy()
    flux[1005:1305] = star().flux[1000:1300]
    return flux


FAULTS = {
    "ivar × 100": ({"ivar": 100 * star().ivar}, Refusal.BAD_ERRORS),
    "ivar / 100": ({"ivar": star().ivar / 100}, Refusal.BAD_ERRORS),
    "ivar × 100, header alike": ({"ivar": 100 * star().ivar, "snrg": 500.0}, Refusal.BAD_ERRORS),
    "header's S/N alone": ({"snrg": 200.0}, Refusal.BAD_ERRORS),
    "light added": ({"flux": star().flux + 3000.0}, Refusal.BAD_ERRORS),
    "constant": ({"flux": constant()}, Refusal.COPIED_PIXELS),
    "copied": ({"flux": copied()}, Refusal.COPIED_PIXELS),
    "moved by five pixels": ({"flux": moved()}, Refusal.COPIED_PIXELS),
}


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_pixels_that_cannot_be_are_refused(tmp_path, layout, kind):
    changed, reason = FAULTS[kind]
    assert refusal(written(tmp_path, layout, **changed)).reason is reason


WAVES = {
    "stretched": lambda wave: wave[0] + 1.02 * (wave - wave[0]),
    "shifted by 100 km/s": lambda wave: wave * (1 + 100 / 299792.458),
    "stepping back": lambda wave: np.where((PIXELS >= 2000) & (PIXELS < 2010), np.roll(wave, 10), wave),
    "repeated": lambda wave: wave[PIXELS - PIXELS % 2],
    "reversed": lambda wave: wave[::-1],
    "no wavelength": lambda wave: np.where(PIXELS == 7, np.nan, wave),
}


@pytest.mark.parametrize("kind", WAVES)
@pytest.mark.parametrize("layout", ["image", "table"])
def test_wavelengths_off_the_grid_are_refused(tmp_path, layout, kind):
    if (layout, kind) == ("image", "reversed"):
        pytest.skip(
            "a third row so far from the coefficients is taken for DR1's: the coefficients give the wavelengths"
        )

    def edit(units):
        if layout == "image":
            units[0].data[2] = WAVES[kind](units[0].data[2].astype(float))
        else:
            units[1].data["WAVELENGTH"][0] = WAVES[kind](units[1].data["WAVELENGTH"][0].astype(float))

    assert refusal(written(tmp_path, layout, edit)).reason is Refusal.BAD_GRID


@pytest.mark.parametrize("cards", [{"COEFF1": 2e-4}, {"COEFF0": 3.56823}, {"COEFF0": "x"}, {"COEFF0": 3.7}])
def test_coefficients_that_are_not_lamosts_are_refused(tmp_path, cards):
    error = refusal(written(tmp_path, "subcontinuum", lambda units: units[0].header.update(cards)))
    assert error.reason is Refusal.BAD_GRID


@pytest.mark.parametrize("cards", [{"RA": True}, {"OBSID": 12.7}, {"OBSID": 2**63}, {"OBSID": -5}, {"LMJD": 1.5}])
def test_identities_that_are_none_are_refused(tmp_path, cards):
    error = refusal(written(tmp_path, "image", lambda units: units[0].header.update(cards)))
    assert error.reason is Refusal.UNREADABLE and next(iter(cards)) in error.detail


@pytest.mark.parametrize("changed", [{"ra": 11.0}, {"lmjd": 57002}, {"designation": "LAMOST J004000.00+200100.0"}])
def test_contradicting_identities_are_flagged(tmp_path, changed):
    assert read_lrs(written(tmp_path, "table", **changed)).flags == LrsQuality.CONTRADICTION
