"""Second stars of candidates: their values and whether the errors are what they say."""

import numpy as np
import pytest

from dioscuri.psf.optics import OPTICS, optical_psf
from dioscuri.stamps.companions import PairFit, fit_pair
from dioscuri.stamps.mocks import SIZE, Law, Noise, Renderer, draw_sources, make_stamps

NOISE = Noise(sigma=0.59)


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(optical_psf(OPTICS["csst_u"], size=25))


def pairs(renderer: Renderer, law: Law, n: int, seed: int = 21, **options):
    sources = draw_sources(n, seed, law, binary_share=1.0, **options)
    return sources, make_stamps(sources, renderer, NOISE, seed + 1)


def between_axes(angle: np.ndarray) -> np.ndarray:
    """Angle between two lines, without direction."""
    return np.abs((angle + np.pi / 2) % np.pi - np.pi / 2)


def test_noiseless_pairs_are_found(renderer):
    law = Law(flux_ratio="uniform", flux_ratio_min=0.2, sep_min=0.8, flux_min=20_000)
    sources = draw_sources(6, 5, law, binary_share=1.0)
    fit = fit_pair(renderer.render_pairs(sources), NOISE.variance, renderer)
    np.testing.assert_allclose(fit.sep, sources["sep"], atol=0.03)
    unequal = sources["flux_ratio"] < 0.9
    assert unequal.sum() >= 4
    np.testing.assert_allclose(fit.flux_ratio[unequal], sources["flux_ratio"][unequal], atol=0.04)
    # Medians of nearly equal stars lie below 1, beyond which there is nothing.
    assert np.all(np.abs(fit.flux_ratio - sources["flux_ratio"]) < fit.flux_ratio_high - fit.flux_ratio_low)
    assert np.all(fit.flux_ratio_high - fit.flux_ratio_low < 0.2)
    np.testing.assert_allclose(fit.flux, sources["flux"], rtol=2e-3)
    np.testing.assert_allclose(np.c_[fit.x, fit.y], np.c_[sources["x"], sources["y"]], atol=0.01)
    turn = (fit.position_angle - sources["position_angle"] + np.pi) % (2 * np.pi) - np.pi
    assert np.abs(turn).max() < 0.02
    assert np.all(np.abs(fit.position_angle) <= np.pi)
    assert np.all(fit.delta_chi2 > 200)


def test_intervals_hold_the_truth_as_often_as_they_say(renderer):
    """Pairs drawn from the prior: 68 % of the intervals hold it, whether the pair is evident or not."""
    n = 100
    sources, stamps = pairs(renderer, Law(flux_ratio="uniform"), n)
    fit = fit_pair(stamps, NOISE.variance, renderer)
    evident = fit.delta_chi2 > 30
    assert 0.5 * n < evident.sum() < 0.9 * n
    inside = (
        (fit.sep_low < sources["sep"]) & (sources["sep"] < fit.sep_high),
        (fit.flux_ratio_low < sources["flux_ratio"]) & (sources["flux_ratio"] < fit.flux_ratio_high),
        between_axes(fit.position_angle - sources["position_angle"])[evident] < fit.position_angle_err[evident],
    )
    for covered in inside:
        assert covered.mean() == pytest.approx(0.683, abs=3.2 * np.sqrt(0.683 * 0.317 / len(covered)))
    away = np.cos(fit.position_angle - sources["position_angle"]) < 0
    assert away.sum() == pytest.approx(fit.opposite.sum(), abs=3.2 * np.sqrt(fit.opposite.sum()))
    pull = (fit.flux - sources["flux"]) / fit.flux_err
    assert abs(pull.mean()) < 3.2 / np.sqrt(n) and pull.std() == pytest.approx(1, abs=3.2 / np.sqrt(2 * n))


def test_close_pairs_show_elongation_only(renderer):
    """At 0.4 px separation and flux ratio cannot be told apart, their combination can; the intervals say so."""
    law = Law(flux_ratio="uniform", flux_ratio_min=0.4)
    _, stamps = pairs(renderer, law, 12, sep=0.4, snr=150.0)
    fit = fit_pair(stamps, NOISE.variance, renderer)
    assert np.median(fit.flux_ratio_high - fit.flux_ratio_low) > 0.4  # of 0.68 that no data at all would leave
    assert np.median((fit.sep_high - fit.sep_low) / fit.sep) > 0.1
    wide = fit_pair(pairs(renderer, law, 12, sep=1.6, snr=150.0)[1], NOISE.variance, renderer)
    assert np.median(wide.flux_ratio_high - wide.flux_ratio_low) < 0.1
    assert np.median((wide.sep_high - wide.sep_low) / wide.sep) < 0.05


def test_equal_stars_have_no_direction(renderer):
    fit = fit_pair(pairs(renderer, Law(sep_min=1.2, flux_min=15_000), 12)[1], NOISE.variance, renderer)
    assert np.median(fit.opposite) > 0.2
    assert np.all(fit.flux_ratio_high > 0.9)
    assert np.all(fit.position_angle_err < 0.05)  # and yet the axis is known


def test_single_stars_gain_nothing(renderer):
    sources = draw_sources(30, 3, Law(), binary_share=0.0)
    fit = fit_pair(make_stamps(sources, renderer, NOISE, 4), NOISE.variance, renderer)
    assert np.all(fit.delta_chi2 > -0.5) and np.median(fit.delta_chi2) < 6 and fit.delta_chi2.max() < 20
    assert np.all(fit.sep_low < 0.4)


def test_limits_of_the_law_and_bad_pixels(renderer):
    sources, stamps = pairs(renderer, Law(flux_ratio="uniform", sep_min=0.5, sep_max=1.5), 6, snr=100.0)
    law = Law(flux_ratio="uniform", flux_ratio_min=0.5, sep_min=0.5, sep_max=1.0)
    fit = fit_pair(stamps, NOISE.variance, renderer, law=law)
    assert np.all((fit.sep_low >= 0.5) & (fit.sep_high <= 1.0) & (fit.flux_ratio_low >= 0.5))
    variance = np.full(stamps.shape, NOISE.variance)
    variance[:, 6:8, 6:8] = np.inf
    spoilt = stamps.copy()
    spoilt[:, 6:8, 6:8] = -1e5
    fit = fit_pair(spoilt, variance, renderer)
    whole = fit_pair(stamps, NOISE.variance, renderer)
    assert np.median(fit.sep_high - fit.sep_low) > 1.3 * np.median(whole.sep_high - whole.sep_low)
    assert np.median(np.abs(fit.sep - sources["sep"]) / (fit.sep_high - fit.sep_low)) < 1


def test_an_empty_list_and_hopeless_stamps(renderer):
    assert fit_pair(np.zeros((0, SIZE, SIZE)), NOISE.variance, renderer).sep.shape == (0,)
    fit = fit_pair(np.full((1, SIZE, SIZE), np.nan), NOISE.variance, renderer)
    assert isinstance(fit, PairFit)
    assert all(np.isfinite(getattr(fit, name)).all() for name in ("sep", "flux_ratio", "delta_chi2"))
