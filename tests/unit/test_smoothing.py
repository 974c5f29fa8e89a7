"""The Gaussian-smoothed continuum against its definition, pixel by pixel."""

import numpy as np
import pytest

from dioscuri.spectra.smoothing import smoothed

WAVE = np.linspace(3700.0, 9000.0, 1061)


def by_definition(flux: np.ndarray, good: np.ndarray, width: float) -> np.ndarray:
    """Jing et al. (2025), eqs. 1 and 2."""
    weight = np.exp(-(((WAVE[:, None] - WAVE) / width) ** 2)) * good
    return (weight * np.where(good, flux, 0)).sum(1) / weight.sum(1)


@pytest.mark.parametrize("width", [50.0, 350.0])
def test_agrees_with_its_definition(width):
    rng = np.random.default_rng(0)
    flux = 1 + 0.3 * rng.normal(size=(3, len(WAVE)))
    everywhere = np.ones(len(WAVE), bool)
    for ours, row in zip(smoothed(WAVE, flux, width=width), flux):
        np.testing.assert_allclose(ours, by_definition(row, everywhere, width), rtol=1e-10)


def test_pixels_that_are_not_good_weigh_nothing():
    rng = np.random.default_rng(1)
    flux = 1 + 0.3 * rng.normal(size=len(WAVE))
    good = rng.random(len(WAVE)) > 0.3
    spoilt = np.where(good, flux, 1e6)
    np.testing.assert_allclose(smoothed(WAVE, spoilt, good=good), by_definition(flux, good, 350.0), rtol=1e-8)
    missing = np.where(good, flux, np.nan)
    np.testing.assert_array_equal(smoothed(WAVE, missing), smoothed(WAVE, spoilt, good=good))


def test_far_from_every_good_pixel_there_is_no_continuum():
    good = WAVE < 5000
    level = smoothed(WAVE, np.ones(len(WAVE)), width=50.0, good=good)
    np.testing.assert_allclose(level[good], 1.0)
    assert np.isnan(level[WAVE > 5400]).all()


def test_refuses_what_it_cannot_smooth():
    with pytest.raises(ValueError, match="do not match"):
        smoothed(WAVE, np.ones(10))
    with pytest.raises(ValueError, match="equidistant and ascending"):
        smoothed(np.geomspace(3700, 9000, 100), np.ones(100))
    with pytest.raises(ValueError, match="found 0"):
        smoothed(WAVE, np.ones(len(WAVE)), width=0)
