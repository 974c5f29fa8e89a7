"""Velocities of line spectra made on the spot: accuracy, honest errors, and the double peak of two stars."""

from typing import ClassVar

import numpy as np
import pytest

from dioscuri.arms import C_KMS, Arm
from dioscuri.spectra.velocity import Templates, VelocityMeter, double_peak

BLUE = Arm("blue", 5000.0, 5300.0, 3347, 7500.0)
SIGMA_KMS = 17.0  # of the line spread at R = 7500
TEFF = np.array([4500.0, 5500.0, 6500.0])


def line_spectrum(seed, wave, rv=0.0, width_kms=SIGMA_KMS, n_lines=150):
    """Normalised flux (L,) of Gaussian lines drawn with `seed`, moving at `rv` km/s."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(4980, 5320, n_lines) * (1 + rv / C_KMS)
    depths = rng.uniform(0.02, 0.4, n_lines)
    velocity = C_KMS * np.log(wave / centres[:, None])
    return np.prod(1 - depths[:, None] * np.exp(-0.5 * (velocity / width_kms) ** 2), axis=0)


@pytest.fixture(scope="module")
def templates():
    wave = np.exp(np.arange(np.log(4985), np.log(5315), 2.0 / C_KMS))
    return Templates(wave, np.stack([line_spectrum(seed, wave) for seed in range(3)]), TEFF, np.full(3, 5.0))


@pytest.fixture(scope="module")
def meter(templates):
    return VelocityMeter(templates, BLUE)


@pytest.mark.parametrize("rv", [-590.0, -83.0, 0.0, 1.7, 240.0, 590.0])
def test_recovers_velocity_and_template_without_noise(meter, rv):
    native = 4960 + 380 * np.linspace(0, 1, 3200) ** 1.05  # pixels of uneven width, not those of the arm
    flux = np.stack([line_spectrum(seed, native, rv) for seed in range(3)])
    found = meter.measure(native, flux)
    # A 2 km/s template, linearly interpolated at 4 km/s, and the parabola: a thousandth of the line width.
    np.testing.assert_allclose(found.rv, rv, atol=0.03)
    np.testing.assert_array_equal(found.template, [0, 1, 2])
    np.testing.assert_array_equal(found.teff, TEFF)
    assert np.all(found.ccf_max > 0.999) and np.all(found.ccf_max <= 1)
    assert not found.at_edge.any()


@pytest.mark.parametrize("snr", [8.0, 40.0])
@pytest.mark.parametrize("resampled", [False, True])
def test_errors_are_those_of_repeated_measurements(meter, snr, resampled):
    """Also on pixels interpolated from wider ones, 0.121 Å to 0.09 Å as at LAMOST: noise is correlated."""
    rng = np.random.default_rng(11)
    native = np.arange(4960, 5340, 0.121)
    flux = line_spectrum(1, native, 33.0) + rng.normal(0, 1 / snr, (300, len(native)))
    if resampled:
        found = meter.measure(BLUE.wave, np.stack([np.interp(BLUE.wave, native, row) for row in flux]))
    else:
        found = meter.measure(native, flux)
    assert abs(np.mean(found.rv) - 33.0) < 5 * np.std(found.rv) / np.sqrt(300) + 0.02
    # The scatter of 300 is known to 4 %; the formula holds to second order in the noise.
    assert np.mean(found.rv_err) == pytest.approx(np.std(found.rv), rel=0.2)
    assert np.std(found.rv_err) < 0.2 * np.mean(found.rv_err)


def test_lists_of_different_pixels_are_measured_one_by_one(meter):
    waves = [np.arange(4950, 5350, 0.12), np.arange(5010, 5280, 0.09), BLUE.wave]
    rvs = [-120.0, 12.0, 80.0]
    found = meter.measure(waves, [line_spectrum(2, wave, rv) for wave, rv in zip(waves, rvs)])
    np.testing.assert_allclose(found.rv, rvs, atol=0.1)
    alone = meter.measure(waves[1], [line_spectrum(2, waves[1], rvs[1])])
    assert alone.rv[0] == found.rv[1]


def test_result_does_not_depend_on_company_or_order(meter):
    rng = np.random.default_rng(3)
    flux = np.stack([line_spectrum(s % 3, BLUE.wave, 10.0 * s) for s in range(70)])
    flux += rng.normal(0, 0.05, flux.shape)
    together = meter.measure(BLUE.wave, flux)
    order = rng.permutation(70)
    shuffled = meter.measure(BLUE.wave, flux[order])
    for name in ("rv", "rv_err", "ccf_max", "teff", "template", "at_edge"):
        np.testing.assert_array_equal(getattr(shuffled, name), getattr(together, name)[order])
    np.testing.assert_array_equal(meter.measure(BLUE.wave, flux[[37]]).rv, together.rv[[37]])


@pytest.mark.parametrize("snr", [15, 150])
def test_errors_from_noise_hold_for_a_star_unlike_all_templates(meter, snr):
    rng = np.random.default_rng(6)
    # Native pixels of 7 km/s; half of the lines are in no template, and at S/N 150 that is what the residuals are
    # made of.
    native = np.exp(np.arange(np.log(4990), np.log(5310), 7.0 / C_KMS))
    star = 0.5 * (line_spectrum(0, native, 21.0) + line_spectrum(9, native, 21.0))
    flux = star + rng.normal(0, 1 / snr, (200, len(native)))
    found = meter.measure(native, flux, np.full_like(flux, 1 / snr))
    pulls = (found.rv - found.rv.mean()) / found.rv_err
    assert 0.85 < pulls.std() < 1.15  # 200 draws: ±0.05
    assert np.std(meter.measure(native, flux).rv / meter.measure(native, flux).rv_err) < 0.6 or snr == 15


def test_ccf_is_the_correlation_coefficient(meter, templates):
    rng = np.random.default_rng(5)
    flux = line_spectrum(0, BLUE.wave, 50.0) + rng.normal(0, 0.1, BLUE.n_pixels)
    velocity, ccf = meter.ccf(BLUE.wave, flux[None])
    assert ccf.shape == (1, 3, len(velocity))
    np.testing.assert_allclose(velocity, -C_KMS * (1 - 1 / (1 + velocity[::-1] / C_KMS)), atol=1e-6)
    for k in (0, 75, 151, 162, len(velocity) - 1):
        rest = BLUE.wave / (1 + velocity[k] / C_KMS)
        for t in range(3):
            shifted = np.interp(rest, templates.wave, templates.flux[t])
            # Pixels of equal Å against weights of equal ln λ: 6 % across the arm.
            assert ccf[0, t, k] == pytest.approx(np.corrcoef(flux, shifted)[0, 1], abs=0.01)


def test_agrees_on_finer_and_coarser_velocity_steps(templates):
    flux = np.stack([line_spectrum(s, BLUE.wave, 123.4) for s in range(3)])
    fine, coarse = (VelocityMeter(templates, BLUE, step_kms=step).measure(BLUE.wave, flux).rv for step in (1.0, 8.0))
    np.testing.assert_allclose(coarse, fine, atol=0.3)


def test_star_faster_than_the_search_is_flagged(templates):
    meter = VelocityMeter(templates, BLUE, velocity_max=100.0)
    found = meter.measure(BLUE.wave, line_spectrum(1, BLUE.wave, 104.0)[None])
    assert found.at_edge[0] and np.isnan(found.rv_err[0])
    assert abs(abs(found.rv[0]) - 100.0) < 2.0


def test_missing_pixels_are_left_out(meter):
    flux = np.stack([line_spectrum(1, BLUE.wave, -40.0)] * 5)
    flux[0, 500:700] = np.nan
    flux[1, ::7] = np.inf
    flux[2, 60:] = np.nan
    flux[3] = np.nan
    flux[4] = 1.0
    found = meter.measure(BLUE.wave, flux)
    np.testing.assert_allclose(found.rv[:2], -40.0, atol=0.2)
    for name in ("rv", "rv_err", "ccf_max", "teff"):
        assert np.isnan(getattr(found, name)[2:]).all()
    np.testing.assert_array_equal(found.template, [1, 1, -1, -1, -1])


def test_noise_alone_correlates_weakly(meter):
    rng = np.random.default_rng(8)
    found = meter.measure(BLUE.wave, 1 + rng.normal(0, 0.1, (40, BLUE.n_pixels)))
    # 3347 pixels, ~100 independent velocities, 3 templates: the highest of 300 draws of σ = 1/√3347.
    assert found.ccf_max.max() < 6 / np.sqrt(BLUE.n_pixels)


@pytest.mark.parametrize(
    ("wave", "flux", "message"),
    [
        (BLUE.wave[::-1], np.ones((1, BLUE.n_pixels)), "ascend"),
        (np.append(BLUE.wave[1:], BLUE.wave[0]), np.ones((1, BLUE.n_pixels)), "ascend"),
        (BLUE.wave, np.ones((1, 5)), "fluxes"),
        ([BLUE.wave], np.ones((2, BLUE.n_pixels)), "2 spectra"),
        ([BLUE.wave, BLUE.wave[::-1]], np.ones((2, BLUE.n_pixels)), "ascend"),
    ],
)
def test_refuses_unsorted_or_unmatched_spectra(meter, wave, flux, message):
    with pytest.raises(ValueError, match=message):
        meter.measure(wave, flux)


def test_refuses_templates_that_do_not_fit(templates):
    with pytest.raises(ValueError, match="span"):
        VelocityMeter(templates, Arm("red", 6350.0, 6750.0, 3509, 7500.0))
    with pytest.raises(ValueError, match="do not match"):
        Templates(templates.wave, templates.flux[:2], templates.teff, templates.vsini)
    with pytest.raises(ValueError, match="ascend"):
        Templates(templates.wave[::-1], templates.flux, templates.teff, templates.vsini)


class LineLibrary:
    """Stands in for a SpectralLibrary: one window, lines that grow as stars get cooler, and a hole."""

    resolution = 30000.0
    limits: ClassVar = {"teff": (4500.0, 7000.0), "logg": (3.0, 5.0), "feh": (-1.0, 0.5), "afe": (0.0, 0.4)}

    def grid(self, arm_name):
        assert arm_name == "blue"
        return np.exp(np.arange(np.log(4980), np.log(5320), 4.0 / C_KMS))

    def covered(self, labels):
        return labels[:, 0] != 5250.0

    def flux(self, arm_name, labels):
        torch = pytest.importorskip("torch")
        wave = self.grid(arm_name)
        lines = 1 - line_spectrum(9, wave, width_kms=6.0)
        flux = [1e7 * (wave / 5150) ** -2 * (1 - lines * 5000 / teff) for teff, *_ in labels]
        return torch.from_numpy(np.array(flux, np.float32))


def test_templates_of_a_library_are_at_rest_and_normalised():
    templates = Templates.from_library(LineLibrary(), BLUE)
    assert templates.wave[0] < BLUE.wave_min and templates.wave[-1] > BLUE.wave_max
    assert templates.teff.min() == 4500 and templates.teff.max() == 7000 and 5250.0 not in templates.teff
    n = len(templates.teff) // 2
    np.testing.assert_array_equal(templates.teff[:n], templates.teff[n:])
    assert np.quantile(templates.flux, 0.95, axis=1) == pytest.approx(1.0, abs=0.03)
    assert np.all(templates.flux[:n].min(axis=1) < templates.flux[n:].min(axis=1))  # rotation makes lines shallower
    seen = np.sqrt(SIGMA_KMS**2 + 6.0**2)
    found = VelocityMeter(templates, BLUE).measure(BLUE.wave, line_spectrum(9, BLUE.wave, 0.0, seen)[None])
    assert abs(found.rv[0]) < 0.2
    chosen = Templates.from_library(LineLibrary(), BLUE, labels=[(5000, 4, 0, 0)], vsini=(5.0, 30.0, 90.0))
    np.testing.assert_array_equal(chosen.teff, [5000.0] * 3)


def test_two_stars_make_a_double_peak(meter):
    rng = np.random.default_rng(21)
    primary = np.stack([line_spectrum(0, BLUE.wave, -60.0)] * 20)
    secondary = line_spectrum(0, BLUE.wave, 65.0)
    single = primary + rng.normal(0, 0.02, primary.shape)
    double = (primary + 0.6 * secondary) / 1.6 + rng.normal(0, 0.02, primary.shape)
    ones, twos = (double_peak(*meter.ccf(BLUE.wave, flux)) for flux in (single, double))
    assert twos.statistic.min() > 1.5 * ones.statistic.max()
    assert np.median(twos.statistic) == pytest.approx(0.6, abs=0.1)
    np.testing.assert_allclose(twos.velocity1, -60, atol=5)
    np.testing.assert_allclose(twos.velocity2, 65, atol=8)
    np.testing.assert_allclose(ones.velocity1, -60, atol=3)


def test_double_peak_finds_a_shoulder_and_nothing_in_nothing():
    velocity = np.arange(-600, 601, 4.0)
    one, other = (np.exp(-0.5 * ((velocity - v) / 25.0) ** 2) for v in (-30.0, 30.0))
    blend = one + 0.5 * other
    assert np.sum((np.diff(blend)[:-1] > 0) & (np.diff(blend)[1:] < 0)) == 1  # a single maximum: only a shoulder
    found = double_peak(velocity, np.stack([blend, np.zeros_like(blend)]))
    assert found.velocity1[0] == pytest.approx(-30, abs=8) and found.velocity2[0] == pytest.approx(30, abs=12)
    assert found.statistic[0] > 0.2
    assert found.statistic[1] == 0 and np.isnan(found.velocity1[1]) and np.isnan(found.velocity2[1])
