"""Fits of one and of two stars in component space, and the calibration, on a toy world with known answers."""

import numpy as np
import pytest
import torch

from dioscuri.arms import C_KMS
from dioscuri.evaluation.lrs_models import make_models
from dioscuri.spectra import lrs_calibration, lrs_frame
from dioscuri.spectra.compressed import Components, fit_components
from dioscuri.spectra.lrs_calibration import Calibration, fit_calibrated
from dioscuri.spectra.pair_fit import PairFitter, dwarf_prior, make_fitter
from dioscuri.synthesis.kinematics import Kinematics

RELEASE = "LAMOST DR10"


def spectrum(teff: np.ndarray, feh: np.ndarray) -> np.ndarray:
    """Normalised flux − 1 of a star whose lines grow and fade with Teff and [Fe/H], (S, L)."""
    t, f = ((teff - 5000) / 600)[:, None], (feh / 0.35)[:, None]
    wave = lrs_frame.WAVE
    lines = [np.exp(-(((wave - centre) / 6.0) ** 2)) for centre in (4300, 4600, 5180, 5300, 5900, 6500, 6700, 8500)]
    depths = [0.3 - 0.1 * t + 0.05 * f, 0.1 * np.exp(-t), 0.2 * np.exp(-0.8 * t) + 0.05 * f, 0.05 + 0.04 * f,
              0.15 * np.exp(-1.2 * t), 0.1 + 0.06 * t, 0.03 * np.exp(-2 * t), 0.1 - 0.03 * t * f]  # fmt: skip
    return -sum(depth * line for depth, line in zip(depths, lines)).astype(np.float32)


@pytest.fixture(scope="module")
def world():
    random = np.random.default_rng(1)
    n = 2000
    teff, feh = random.uniform(4300, 5800, n), random.normal(-0.1, 0.25, n)
    q = np.where(random.random(n) < 0.5, 0.0, random.uniform(0.42, 1.0, n))
    flux = spectrum(teff, feh)
    two = np.maximum(teff * np.maximum(q, 0.3) ** 0.6, 3000.0)
    share = np.where(q > 0, q**3.5 / (1 + q**3.5), 0.0)[:, None]
    flux = (1 - share) * flux + share * spectrum(two, feh)
    logg = 4.6 - (teff - 4300) / 1500 * 0.2 + random.normal(0, 0.03, n)
    stars = {"teff1": teff, "logg1": logg, "feh": feh, "q": q, "spread": np.zeros(n)}
    components = fit_components(flux, n_components=15)
    return stars, flux, components, make_fitter(components.project(flux), stars, components.systematics)


def observed(world, seed=3):
    stars, flux, components, fitter = world
    random = np.random.default_rng(seed)
    snrg = random.uniform(40, 120, len(flux))
    x = components.project(flux)
    return x + random.normal(size=x.shape) / snrg[:, None], snrg, stars, fitter


def test_single_stars_get_their_labels_and_pairs_their_ratio(world):
    x, snrg, stars, fitter = observed(world)
    fits = fitter.fit(x, snrg, *dwarf_prior(stars["teff1"] + 100))
    single, pair = stars["q"] == 0, (stars["q"] > 0.6) & (stars["q"] < 0.85)
    assert abs(np.median((fits.single[:, 0] - stars["teff1"])[single])) < 20
    assert np.median(fits.chi2_single[single]) == pytest.approx(12, rel=0.3)  # 15 components less those of the fit
    assert np.mean(fits.dchi2[pair] > np.quantile(fits.dchi2[single], 0.95)) > 0.6
    told = pair & (fits.dchi2 > 25)
    error = (fits.q - stars["q"])[told]
    assert abs(np.median(error)) < 0.03
    assert np.std(error / fits.q_err[told]) < 3


def test_fits_do_not_depend_on_their_company(world):
    x, snrg, stars, fitter = observed(world)
    prior, sigma = dwarf_prior(stars["teff1"])
    all_of_them = fitter.fit(x[:40], snrg[:40], prior[:40], sigma[:40])
    alone = fitter.fit(x[7:8], snrg[7:8], prior[7:8], sigma[7:8])
    assert alone.q[0] == pytest.approx(all_of_them.q[7], abs=1e-6)
    assert fitter.fit(x[:0], snrg[:0], prior[:0], sigma[:0]).q.shape == (0,)


def test_a_calibration_takes_off_what_the_library_lacks(world):
    _, _, components, _ = world
    x, snrg, stars, fitter = observed(world)
    gap = 0.02 * np.sin(lrs_frame.WAVE / 40.0)
    coefficients = np.stack([gap, 0.3 * gap, np.zeros_like(gap)])
    one = Calibration(RELEASE, coefficients, np.zeros_like(gap)[None], 50, (4300.0, 5800.0), (-1.0, 0.5), 50.0)
    wrong = x + (one.at(stars["teff1"], stars["feh"]) * components.weight) @ components.vectors
    single = (stars["q"] == 0) & (np.arange(len(x)) < 500)
    names = np.full(single.sum(), RELEASE, object)
    args = (snrg[single], names, *dwarf_prior(stars["teff1"][single]))
    raw, _ = fit_calibrated(components, fitter, {}, wrong[single], *args)
    cured, corrected = fit_calibrated(components, fitter, {RELEASE: one}, wrong[single], *args)
    assert np.median(raw.chi2_single) > 2 * np.median(cured.chi2_single)
    assert np.abs(corrected - x[single]).mean() < 0.2 * np.abs(wrong - x)[single].mean()


def test_models_do_not_see_beyond_their_window(tmp_path, world):
    stars, flux, _, _ = world
    more = {"vsini1": np.zeros(len(flux)), "moon": np.zeros(len(flux)), "snrg": np.full(len(flux), 60.0)}
    make_models(stars | more, flux, 50.0, tmp_path, (4700.0, 8850.0))
    parts = Components.load(tmp_path / "components.h5")
    assert not parts.weight[lrs_frame.WAVE < 4700].any() and parts.weight[lrs_frame.WAVE > 5000].any()
    other = flux[:5] + 0.5 * (lrs_frame.WAVE < 4700)
    assert np.array_equal(parts.project(other), parts.project(flux[:5]))


def test_models_survive_their_files(tmp_path, world):
    _, _, components, fitter = world
    components.save(tmp_path / "c.h5")
    fitter.save(tmp_path / "f.h5")
    assert np.array_equal(Components.load(tmp_path / "c.h5").vectors, components.vectors)
    assert np.array_equal(PairFitter.load(tmp_path / "f.h5").two, fitter.two)
    one = Calibration("R", np.ones((3, 5)), np.ones((3, 5)), 40, (4500.0, 5500.0), (-0.5, 0.3), 50.0, 0.2)
    lrs_calibration.save(tmp_path / "k.h5", {"R": one}, {})
    again = lrs_calibration.load(tmp_path / "k.h5")["R"]
    assert (again.n_stars, again.teff, again.misfit) == (40, (4500.0, 5500.0), 0.2)
    assert again.within(np.array([5000.0, 6000.0]), np.zeros(2)).tolist() == [True, False]
    with pytest.raises(ValueError, match="expected schema"):
        Components.load(tmp_path / "k.h5")


@pytest.mark.parametrize(("resolution", "vsini"), [(lrs_frame.RESOLUTION, 120.0), (0.85 * lrs_frame.RESOLUTION, 0.0)])
def test_the_spread_of_lines_is_that_of_a_broadened_line(resolution, vsini):
    wave = np.exp(np.arange(np.log(5000), np.log(5400), 20 / C_KMS))
    out = np.exp(np.arange(np.log(5100), np.log(5300), 10 / C_KMS))
    line = torch.zeros(1, len(wave))
    line[0, len(wave) // 2] = 1.0
    kinematics = Kinematics(wave, out, 1e6)
    v = C_KMS * np.log(out / wave[len(wave) // 2])

    def variance(vsini, resolution):
        seen = kinematics(line, vsini, 0.0, resolution)[0].numpy()
        return np.sum(seen * v**2) / np.sum(seen)

    usual = variance(0.0, lrs_frame.RESOLUTION)
    found = (variance(vsini, resolution) - usual) / usual
    assert lrs_frame.excess_spread(resolution, vsini) == pytest.approx(found, rel=0.03)
