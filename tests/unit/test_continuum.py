"""The smoothing-spline continuum against independent solutions of the same problem, and its invariances."""

import numpy as np
import pytest
from scipy.interpolate import CubicSpline, make_smoothing_spline
from scipy.linalg import solve_triangular

from dioscuri.spectra.clipping import FEWEST_PIXELS, quantile
from dioscuri.spectra.continuum import fit_continuum, normalise
from dioscuri.spectra.pspline import fitter, roughness_bands, smoothing_length


def absorption_spectra(wave, n_spectra, seed, snr=50.0):
    """Spectra (S, L) of random Gaussian lines on a curved continuum, with noise; and the continuum (L,)."""
    rng = np.random.default_rng(seed)
    level = 1000.0 * (1 + 0.2 * np.sin((wave - wave[0]) / 70.0))
    centres = rng.uniform(wave[0], wave[-1], (n_spectra, 60))
    depths = rng.uniform(0.05, 0.6, (n_spectra, 60))
    lines = np.exp(-0.5 * ((wave - centres[:, :, None]) / 0.5) ** 2)
    flux = level * np.clip(1 - np.sum(depths[:, :, None] * lines, axis=1), 0.05, 1)
    return flux + rng.normal(0, level.mean() / snr, flux.shape), level


def smoothing_spline_by_least_squares(x, y, p):
    """Natural cubic spline that minimises p Σ (y − f)² + (1 − p) ∫ f″², as stacked least squares by QR.

    ∫ f″² = |L⁻¹ Qᵀ f|² with the Gram matrix R = L Lᵀ of the hat functions: no normal equations, so no squared
    condition number; dense, and nothing in common with the banded elimination under test.
    """
    step = np.diff(x)
    inner = np.arange(len(x) - 2)
    differences = np.zeros((len(x) - 2, len(x)))
    differences[inner, inner] = 1 / step[:-1]
    differences[inner, inner + 1] = -1 / step[:-1] - 1 / step[1:]
    differences[inner, inner + 2] = 1 / step[1:]
    gram = np.diag((step[:-1] + step[1:]) / 3) + np.diag(step[1:-1] / 6, 1) + np.diag(step[1:-1] / 6, -1)
    roughness = solve_triangular(np.linalg.cholesky(gram), differences, lower=True)
    stacked = np.vstack([np.sqrt(p) * np.eye(len(x)), np.sqrt(1 - p) * roughness])
    q, r = np.linalg.qr(stacked)
    fitted = solve_triangular(r, q.T @ np.concatenate([np.sqrt(p) * y, np.zeros(len(x) - 2)]))
    return CubicSpline(x, fitted, bc_type="natural")


def published_continuum(wave, flux, p=1e-6, q=0.5, clip=(-1.0, 3.0), half_width=30.0, n_iterations=3):
    """The iteration as Zhang et al. (2021) describe it, written plainly, one spectrum."""

    def fit(good):
        spline = smoothing_spline_by_least_squares(wave[good], flux[good], p)
        first, last = wave[good][0], wave[good][-1]
        inside = spline(np.clip(wave, first, last))
        beyond = (wave < first) * (wave - first) * spline(first, 1) + (wave > last) * (wave - last) * spline(last, 1)
        return inside + beyond

    finite = np.isfinite(flux)
    good = finite.copy()
    first, last = wave[finite][[0, -1]]
    centres = np.linspace(first, last, int(np.ceil((last - first) / half_width)) + 1)
    for _ in range(n_iterations):
        residual = flux - fit(good)
        near = np.abs(wave - centres[:, None]) <= half_width
        scatter = [np.std(residual[good & bin_]) for bin_ in near]
        deviation = (residual - np.quantile(residual[finite], q)) / np.interp(wave, centres, scatter)
        good &= finite & (deviation > clip[0]) & (deviation < clip[1])
    return fit(good)


@pytest.mark.parametrize("settings", [{}, {"p": 1e-4}, {"q": 0.7, "clip": (-2.0, 2.0)}, {"half_width": 17.0}])
def test_agrees_with_plain_algorithm_on_an_independent_solver(settings):
    wave = 5000 + 300 * np.linspace(0, 1, 500) ** 1.1  # no even grid
    flux, _ = absorption_spectra(wave, 3, seed=1)
    flux[1, [0, 1, 57, 200, 201, 202, 499]] = np.nan
    flux[2, 300] *= 40  # a cosmic ray
    continuum = fit_continuum(wave, flux, **settings)
    for row, ours in zip(flux, continuum):
        expected = published_continuum(wave, row, **settings)
        np.testing.assert_allclose(ours, expected, rtol=1e-7)


def test_single_fit_agrees_with_scipy_at_full_size():
    wave = np.linspace(5000, 5300, 3347)
    flux, _ = absorption_spectra(wave, 1, seed=2)
    ours = fit_continuum(wave, flux[0], n_iterations=0)
    scipys = make_smoothing_spline(wave, flux[0], lam=(1 - 1e-6) / 1e-6)(wave)
    # scipy's B-spline equations reproduce a constant to 1e-6 only at this much smoothing.
    np.testing.assert_allclose(ours, scipys, rtol=3e-6)


@pytest.mark.parametrize(("wave_min", "wave_max", "n_pixels"), [(5000, 5300, 3347), (6350, 6750, 3509)])
def test_few_knots_give_the_same_spline(wave_min, wave_max, n_pixels):
    """To a part in a million once lines and spikes are clipped; where a pixel falls on the other side, 3e-4."""
    wave = np.linspace(wave_min, wave_max, n_pixels)
    flux = np.concatenate([absorption_spectra(wave, 8, seed=8, snr=snr)[0] for snr in (5, 20, 100)])
    flux[3, 1000:1040] = np.nan
    flux[4, -30:] = np.nan
    flux[5, 2000] *= 30
    once = fit_continuum(wave, flux, exact=False, n_iterations=0) / fit_continuum(wave, flux, n_iterations=0) - 1
    assert np.abs(once).max() < 5e-5
    clipped = np.abs(fit_continuum(wave, flux, exact=False) / fit_continuum(wave, flux) - 1)
    assert np.median(clipped.max(1)) < 5e-6
    assert clipped.max() < 3e-4


def test_few_knots_need_a_spline_that_is_smooth():
    wave = np.linspace(5000, 5300, 3347)
    assert smoothing_length(wave, 1e-6) == pytest.approx((1e6 * 300 / 3346) ** 0.25, rel=1e-6)
    assert fitter(wave, 1e-6) is not None
    assert fitter(wave, 0.5) is None  # bends from pixel to pixel
    flux, _ = absorption_spectra(wave, 1, seed=9)
    np.testing.assert_array_equal(fit_continuum(wave, flux, p=0.5, exact=False), fit_continuum(wave, flux, p=0.5))


def test_roughness_of_a_parabola():
    """B-splines of unit weights sum to one, and with weights k² (k the centre) to a parabola of f″ = 2/h²: ∫ f″²."""
    bands = roughness_bands(20, 5.0)
    matrix = sum(np.diag(bands[d:, d], -d) + (np.diag(bands[d:, d], d) if d else 0) for d in range(4))
    centres = np.arange(23.0)
    assert np.abs(matrix @ np.ones(23)).max() < 1e-14 and np.abs(matrix @ centres).max() < 1e-12
    assert centres**2 @ matrix @ centres**2 == pytest.approx(100 * (2 / 25) ** 2)


@pytest.mark.parametrize("exact", [True, False])
def test_straight_line_is_its_own_continuum(exact):
    wave = np.linspace(5000, 5300, 3347)
    lines = np.stack([np.full_like(wave, 7.0), 100 + 0.3 * (wave - 5000)])
    np.testing.assert_allclose(fit_continuum(wave, lines, exact=exact), lines, rtol=1e-8)


def test_finds_the_continuum_under_lines_and_cosmic_rays():
    wave = np.linspace(5000, 5300, 3347)
    flux, level = absorption_spectra(wave, 5, seed=3, snr=100.0)
    clean = fit_continuum(wave, flux)
    # 60 lines of 1.2 Å in 300 Å: the noise and the line wings bias a σ-clipped fit by less than 2 % of the
    # continuum.
    assert np.abs(clean / level - 1).max() < 0.02
    assert np.abs(fit_continuum(wave, flux, n_iterations=0) / level - 1).max() > 0.05
    hit = flux.copy()
    hit[:, 1000] += 50 * level[1000]
    # A spike fifty times as high as the continuum moves it by less than the noise of one pixel.
    assert np.abs(fit_continuum(wave, hit) / clean - 1).max() < 0.01


def test_scales_with_the_flux():
    wave = np.linspace(6350, 6750, 3509)
    flux, _ = absorption_spectra(wave, 2, seed=4)
    continuum = fit_continuum(wave, flux)
    np.testing.assert_array_equal(fit_continuum(wave, flux * 2.0**-40), continuum * 2.0**-40)
    np.testing.assert_allclose(fit_continuum(wave, flux * 3e-17), continuum * 3e-17, rtol=1e-8)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("threads", [2, 3, 40])
def test_row_depends_on_nothing_but_itself(threads, exact):
    wave = np.linspace(5000, 5300, 700)
    flux, _ = absorption_spectra(wave, 21, seed=5)
    flux[4, 100:140] = np.nan
    together = fit_continuum(wave, flux, exact=exact)
    order = np.random.default_rng(0).permutation(21)
    again = fit_continuum(wave, flux[order], exact=exact, threads=threads)
    np.testing.assert_array_equal(again, together[order])
    for row, expected in zip(flux[:5], together):
        np.testing.assert_array_equal(fit_continuum(wave, row, exact=exact), expected)


def test_pixels_that_are_not_finite_are_bridged_and_ignored():
    wave = np.linspace(5000, 5300, 1000)
    flux, level = absorption_spectra(wave, 1, seed=6, snr=200.0)
    flux[0, 400:430] = np.nan
    flux[0, :20] = np.nan
    continuum = fit_continuum(wave, flux[0])
    assert np.abs(continuum / level - 1)[410:420].max() < 0.02
    assert np.ptp(np.diff(continuum[:20])) < 1e-8 * continuum[0]  # straight on, beyond the first pixel
    infinite = np.where(np.isnan(flux[0]), np.inf, flux[0])
    np.testing.assert_array_equal(fit_continuum(wave, infinite), continuum)
    normalised, _, _ = normalise(wave, flux[0])
    np.testing.assert_array_equal(np.isnan(normalised), np.isnan(flux[0]))


@pytest.mark.parametrize("exact", [True, False])
def test_too_few_pixels_give_a_row_of_nan(exact):
    wave = np.linspace(5000, 5300, 200)
    flux = np.full((4, 200), np.nan)
    flux[1, : FEWEST_PIXELS - 1] = 1.0
    flux[2, :FEWEST_PIXELS] = 1.0
    flux[3] = -5.0
    continuum = fit_continuum(wave, flux, exact=exact)
    assert np.isnan(continuum[[0, 1, 3]]).all()
    np.testing.assert_allclose(continuum[2], 1.0, rtol=1e-8)


@pytest.mark.parametrize("exact", [True, False])
def test_numbers_beyond_float_do_not_hang_or_crash(exact):
    wave = np.linspace(5000, 5300, 3347)
    flux = np.ones((2, 3347))
    flux[0] = 1e308 * np.random.default_rng(0).choice([-1, 1], 3347)
    continuum = fit_continuum(wave, flux, exact=exact)
    assert not np.isfinite(continuum[0]).all()
    np.testing.assert_allclose(continuum[1], 1.0, rtol=1e-8)


def test_normalise_divides_flux_and_sigma():
    wave = np.linspace(5000, 5300, 500)
    flux, _ = absorption_spectra(wave, 2, seed=7)
    normalised, sigma, continuum = normalise(wave, flux.astype(np.float32), np.full_like(flux, 10.0), q=0.6)
    expected = fit_continuum(wave, flux.astype(np.float32), q=0.6)
    np.testing.assert_array_equal(continuum, expected)
    np.testing.assert_allclose(normalised * continuum, flux, rtol=1e-6)
    np.testing.assert_allclose(sigma * continuum, 10.0)
    assert normalise(wave, flux)[1] is None


def test_no_flux_is_normalised_by_a_continuum_that_is_not_positive():
    wave = np.linspace(5000, 5300, 300)
    flux = np.linspace(-5.0, 5.0, 300)
    normalised, sigma, continuum = normalise(wave, flux, np.ones(300))
    np.testing.assert_array_equal(np.isnan(normalised), continuum <= 0)
    np.testing.assert_array_equal(np.isnan(sigma), continuum <= 0)
    assert (continuum <= 0).any() and (continuum > 0).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([3.0, 2.0, 1.0], [1.0, 1.0, 1.0]), "ascending"),
        (([1.0, 2.0, 2.0], [1.0, 1.0, 1.0]), "ascending"),
        (([1.0, np.nan, 2.0], [1.0, 1.0, 1.0]), "ascending"),
        (([1.0, 2.0], [1.0, 1.0, 1.0]), "do not match"),
        (([1.0, 2.0], [[[1.0, 1.0]]]), "do not match"),
    ],
)
def test_refuses_what_cannot_be_fitted(arguments, message):
    with pytest.raises(ValueError, match=message):
        fit_continuum(*map(np.array, arguments))


@pytest.mark.parametrize(
    "settings", [{"p": 0.0}, {"p": 1.0}, {"q": 1.5}, {"clip": (3, -1)}, {"half_width": 0.0}, {"threads": 0}]
)
def test_refuses_settings_out_of_range(settings):
    with pytest.raises(ValueError, match="accepted"):
        fit_continuum(np.arange(20.0) + 1, np.ones(20), **settings)


@pytest.mark.parametrize("seed", range(30))
def test_quantile_agrees_with_numpy(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.choice([1, 2, 11, 64, 65, 500, 3347]))
    values = rng.normal(size=n) * 10.0 ** rng.uniform(-20, 20)
    if seed % 3 == 0:
        values = np.round(rng.normal(size=n))  # ties
    if seed % 4 == 0:
        values[rng.integers(n)] = 1e30  # an outlier that bisection must come back from
    for q in (0.0, 0.5, rng.uniform(), 1.0):
        assert quantile(values.copy(), q) == pytest.approx(np.quantile(values, q), rel=1e-12, abs=1e-300)
