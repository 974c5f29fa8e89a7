"""Fits of one and two stars: what is put in comes out, errors are those of repeats, one star is not taken for two."""

import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from dioscuri.arms import C_KMS, Arm
from dioscuri.spectra.double_lines import DoubleLineFitter
from dioscuri.spectra.frames import shifted
from dioscuri.spectra.velocity import Templates

ARM = Arm("blue", 5000.0, 5300.0, 3347, 7500.0)
TEFF = (5000.0, 5750.0, 6500.0)
LSF_KMS = 17.0  # σ of R = 7500
NATIVE_KMS = 7.0


def rest_spectrum(seed: int, ln_wave: np.ndarray, vsini: float = 0.0) -> np.ndarray:
    """Normalised flux of a made-up star of 150 lines, widened by rotation: exact, no interpolation."""
    rng = np.random.default_rng(7)  # all stars have the same lines, of different strengths
    centres = np.log(rng.uniform(4980, 5320, 150))
    depths = rng.exponential(0.15, 150) * np.random.default_rng(100 + seed).uniform(0.4, 1.6, 150)
    points = (np.arange(81) + 0.5) / 40.5 - 1
    kernel = 2 * 0.4 * np.sqrt(1 - points**2) + 0.5 * np.pi * 0.6 * (1 - points**2)
    kernel = kernel / kernel.sum() if vsini > 0 else np.eye(1, 81, 40)[0]
    flux = np.zeros(len(ln_wave))
    for point, share in zip(points, kernel):
        if share > 0:
            distance = (ln_wave[:, None] - centres - point * vsini / C_KMS) * C_KMS / LSF_KMS
            flux += share * (depths * np.exp(-0.5 * distance**2)).sum(1)
    return 1 - np.minimum(flux, 0.95)


@pytest.fixture(scope="module")
def templates():
    ln_wave = np.arange(np.log(4985.0), np.log(5315.0), 4.0 / C_KMS)
    flux = np.stack([rest_spectrum(seed, ln_wave) for seed in range(3)])
    return Templates(np.exp(ln_wave), flux, np.array(TEFF), np.zeros(3))


@pytest.fixture(scope="module")
def fitter(templates):
    return DoubleLineFitter(templates, ARM)


def observed(parts, snr, rng, size):
    """`size` noisy spectra (flux − 1) of stars (seed, light, rv, vsini).

    Native pixels, interpolated as LAMOST's are.
    """
    total = sum(light for _, light, _, _ in parts)
    native = np.arange(np.log(4990.0), np.log(5310.0), NATIVE_KMS / C_KMS)
    flux = sum(light / total * rest_spectrum(seed, native - rv / C_KMS, vsini) for seed, light, rv, vsini in parts)
    noisy = flux + rng.normal(0, 1 / snr, (size, len(native)))
    return np.stack([np.interp(np.log(ARM.wave), native, row) for row in noisy]) - 1


@pytest.mark.parametrize("dv", [60.0, -150.0])
def test_two_stars_come_back_with_honest_errors(fitter, dv):
    rng = np.random.default_rng(1)
    parts = [(1, 1.0, -20.0, 0.0), (0, 0.6, dv - 20.0, 0.0)]
    flux = observed(parts, 30, rng, 60)
    found = fitter.fit(flux, np.full_like(flux, 1 / 30))
    assert np.median(found.v1) == pytest.approx(-20, abs=1)
    assert np.median(found.v2) == pytest.approx(dv - 20, abs=1.5)
    assert np.median(found.light_ratio) == pytest.approx(0.6, abs=0.05)
    assert (found.teff1 == TEFF[1]).mean() > 0.9 and (found.teff2 == TEFF[0]).mean() > 0.8
    for value, error in ((found.v1, found.v1_err), (found.v2, found.v2_err)):
        pull = (value - np.median(value)) / error
        assert 0.7 < 1.4826 * np.median(np.abs(pull)) < 1.5  # 60 repeats: ±0.15 and v sin i, which errors hold fixed
    assert found.dchi2.min() > 100
    assert found.residual == pytest.approx(1.0, abs=0.25)


@pytest.mark.parametrize("vsini", [0.0, 40.0, 95.0, 180.0])
def test_a_fast_rotator_is_one_star(fitter, vsini):
    rng = np.random.default_rng(2)
    flux = observed([(1, 1.0, 5.0, vsini)], 30, rng, 40)
    found = fitter.fit(flux, np.full_like(flux, 1 / 30))
    assert found.vs == pytest.approx(5.0, abs=12.0 if vsini > 90 else 3.0)
    assert np.median(found.vsini) == pytest.approx(vsini, abs=max(12.0, 0.08 * vsini))
    # Five parameters more take off a dozen or two at best; a pair of the same light and spread takes off hundreds.
    assert np.quantile(found.dchi2, 0.9) < 30
    pair = observed([(1, 1.0, -40.0, 0.0), (1, 0.9, 40.0, 0.0)], 30, rng, 10)
    assert fitter.fit(pair).dchi2.min() > 200


def test_a_third_star_is_seen_beside_two(fitter):
    rng = np.random.default_rng(3)
    pair = [(1, 1.0, 0.0, 0.0), (1, 0.8, 110.0, 0.0)]
    two, three = (observed(parts, 40, rng, 20) for parts in (pair, [*pair, (1, 0.6, -120.0, 0.0)]))
    assert fitter.fit(three).dchi2_third.min() > 3 * fitter.fit(two).dchi2_third.max()


def test_rows_do_not_depend_on_their_company_and_bad_rows_are_nan(fitter):
    flux = observed([(0, 1.0, 0.0, 0.0), (1, 0.7, 90.0, 0.0)], 20, np.random.default_rng(4), 70)
    flux[3, 100] = np.nan
    together, alone = fitter.fit(flux), fitter.fit(flux[66:])
    assert np.isnan(together.v1[3]) and np.isfinite(np.delete(together.v1, 3)).all()
    for name, values in vars(alone).items():
        np.testing.assert_array_equal(values, getattr(together, name)[66:], err_msg=name)
    with pytest.raises(ValueError, match="takes"):
        fitter.fit(flux[:, :-1])
    assert len(fitter.fit(flux[:0]).v1) == 0


def test_a_spectrum_seen_from_another_velocity(templates):
    spline = CubicSpline(np.log(templates.wave), templates.flux[0] - 1)
    rest, moving = (spline(np.log(ARM.wave) - np.log1p(v / C_KMS)) for v in (0.0, 57.3))
    sigma = np.linspace(0.01, 0.02, ARM.n_pixels)
    flux, error = shifted(ARM, moving[None], sigma[None], np.array([57.3]))
    inner = slice(0, ARM.n_pixels - 20)  # a star that recedes by 57 km/s has lost 11 pixels at the red end
    np.testing.assert_allclose(flux[0, inner], rest[inner], atol=4e-4)  # cubic on 17 km/s lines; packing costs 2e-4
    assert (flux[0, -10:] == 0).all() and (error[0, -10:] == sigma[-1].astype(np.float32)).all()
    same, _ = shifted(ARM, moving[None].astype(np.float16), None, np.array([np.nan]))
    np.testing.assert_array_equal(same, moving[None].astype(np.float16))
