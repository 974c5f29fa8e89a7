"""What a wrong input leaves behind, stamp by stamp and over a file."""

import numpy as np
import pytest

from dioscuri.psf.effective import Psf
from dioscuri.stamps.companions import fit_pair
from dioscuri.stamps.mocks import Law, Noise, Renderer, draw_sources, make_stamps
from dioscuri.stamps.optimum import fit_single
from dioscuri.stamps.quality import WORST, Quality, advice, assess, doubts, faint_rays, population

LAW = Law(flux_min=5000, flux_max=25000)
NOISE = Noise(3.0)


def gaussian(sigma: float) -> Psf:
    offset = (np.arange(101) - 50) / 4
    return Psf((np.exp(-0.5 * (offset[:, None] ** 2 + offset**2) / sigma**2) / (2 * np.pi * sigma**2))[None], 4, 0.04)


RENDERER = Renderer(gaussian(0.85))


@pytest.fixture(scope="module")
def singles():
    sources = draw_sources(90, 3, LAW, binary_share=0.0)
    return make_stamps(sources, RENDERER, NOISE, 3).astype(float), sources["flux"]


def quality_of(stamps, variance=NOISE.variance, renderer=RENDERER) -> Quality:
    return assess(stamps, fit_single(stamps, variance, renderer).residual, variance)


def test_right_stamps_are_believed(singles):
    stamps, flux = singles
    found = quality_of(stamps)
    assert abs(found.chi2.mean() - 1) < 4 * found.chi2_err[0] / np.sqrt(90)
    assert not any(doubts(found, flux))
    why, lines = population(found, flux, np.zeros(90, bool))
    assert why == "" and len(lines) == 1 and "1 is right" in lines[0]
    assert not advice(why)


def test_a_cosmic_ray_and_sky_show_in_the_stamp(singles):
    stamps, flux = singles
    hit = stamps.copy()
    hit[:, 3, 9] += 300
    assert all("a cosmic ray" in reason or "cosmic ray" in reason for reason in doubts(quality_of(hit), flux))
    bright = quality_of(stamps + 6.0)
    assert all("left at the border" in reason for reason in doubts(bright, flux))
    np.testing.assert_allclose(bright.sky, 6.0, atol=2.5)


def test_a_faint_cosmic_ray_is_found_where_the_sky_is_not_accused():
    """One that `doubts` let pass; photons of a faint sky, however skewed, are no cosmic rays."""
    noise = Noise(0.6)
    sources = draw_sources(600, 5, Law(flux_min=15000, flux_max=25000), binary_share=0.0)
    clean = make_stamps(sources, RENDERER, noise, 5).astype(float)
    single = fit_single(clean, noise.variance, RENDERER)
    hit = clean.copy()
    hit[:, 4, 8] += 7.0 * np.sqrt(RENDERER.render(single.x, single.y, single.flux)[:, 4, 8] + noise.variance)
    shares = []
    for stamps in (clean, hit):
        found, reasons = quality_of(stamps, noise.variance), np.full(600, "", object)
        faint_rays(found, reasons)
        shares.append((reasons != "")[found.worst < WORST].mean())
    assert shares[0] < 0.01 and shares[1] > 0.5


def test_a_wide_neighbour_fits_neither(singles):
    stamps, flux = singles
    neighbour = RENDERER.render(11.0, 10.0, 2000.0)[0]
    assert all(doubts(quality_of(stamps + neighbour), flux))


def test_what_is_wrong_with_all_of_a_file(singles):
    stamps, flux = singles
    none = np.zeros(90, bool)
    assert "electrons (gain)" in population(quality_of(stamps / 2), flux, none)[0]
    assert "noise, sky or gain" in population(quality_of(stamps, NOISE.variance / 4), flux, none)[0]
    narrow = population(quality_of(stamps, renderer=Renderer(gaussian(0.82))), flux, none)[0]
    assert "the PSF" in narrow
    assert "--pixel-integrated" in advice(narrow)[0]


def test_a_few_stamps_say_nothing_of_the_psf(singles):
    stamps, flux = singles
    found = quality_of(stamps[:5], renderer=Renderer(gaussian(0.83)))
    assert population(found, flux[:5], np.zeros(5, bool))[0] == ""
    assert population(quality_of(stamps[:0]), flux[:0], np.zeros(0, bool)) == ("", [])


def test_most_called_pairs_is_told(singles):
    stamps, flux = singles
    why, lines = population(quality_of(stamps), flux, np.ones(90, bool))
    assert why == "" and "more than stars have" in lines[-1]


def test_the_best_pair_leaves_the_noise_alone():
    """χ² of a pair is that of its own model: not of one star's less a difference of ln L."""
    sources = draw_sources(40, 4, Law(sep_min=1.0, sep_max=2.0, flux_min=15000, flux_max=25000), binary_share=1.0)
    stamps = make_stamps(sources, RENDERER, NOISE, 4)
    pair = fit_pair(stamps, NOISE.variance, RENDERER)
    np.testing.assert_allclose(pair.chi2, (pair.residual.astype(float) ** 2).sum((1, 2)), rtol=1e-5)
    reduced = pair.chi2 / (14 * 14 - 6)
    assert abs(np.median(reduced) - 1) < 0.06 and reduced.max() < 1.6
    single = fit_single(stamps, NOISE.variance, RENDERER)
    assert np.median((single.chi2 - pair.delta_chi2) / 190) > 1.2
