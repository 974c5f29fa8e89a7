"""Stamps: the renderer against galsim, the random numbers against their distributions, the laws, the files."""

from pathlib import Path

import galsim
import numpy as np
import pytest
from scipy import stats

from dioscuri.io import read_provenance
from dioscuri.psf.effective import Psf
from dioscuri.psf.optics import OPTICS, optical_psf
from dioscuri.psf.render import add_star_slopes
from dioscuri.stamps.draws import poisson, uniforms
from dioscuri.stamps.mocks import (
    CENTRE,
    COLUMNS,
    SIZE,
    Law,
    Noise,
    Renderer,
    draw_sources,
    flux_of_snr,
    make_stamps,
    read_stamps,
    signal_to_noise,
    write_stamps,
)

CSST = OPTICS["csst_u"]
NOISE = Noise(sigma=0.59)


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(optical_psf(CSST, size=25))


def gaussian(*widths: float, size: int = 25, oversampling: int = 4) -> Psf:
    """Round PSFs of the given rms widths [pixels]."""
    half = size * oversampling // 2
    axis = np.arange(-half, half + 1) / oversampling
    square = axis**2 + axis[:, None] ** 2
    return Psf(np.stack([np.exp(-0.5 * square / w**2) / (2 * np.pi * w**2) for w in widths]), oversampling, 0.075)


# --- renderer ---------------------------------------------------------------------------------------------------


def test_renderer_agrees_with_galsim(renderer):
    star = galsim.Convolve(
        galsim.OpticalPSF(lam=CSST.wavelength, diam=CSST.diameter, oversampling=1.5, pad_factor=2.0),
        galsim.Gaussian(sigma=CSST.jitter),
        galsim.Pixel(CSST.pixel_scale),
        gsparams=galsim.GSParams(maximum_fft_size=16384),
    )
    for x, y in np.random.default_rng(1).uniform(CENTRE - 2.5, CENTRE + 2.5, (15, 2)):
        offset = (x - CENTRE, y - CENTRE)
        expected = star.drawImage(nx=SIZE, ny=SIZE, scale=CSST.pixel_scale, method="no_pixel", offset=offset).array
        assert np.abs(renderer.render(x, y, 1.0)[0] - expected).max() < 2e-4 * expected.max()


def test_a_star_on_a_sample_is_the_sample():
    psf = gaussian(0.9)
    image = Renderer(psf).render(6.25, 7.5, 100.0)[0]
    centre = psf.samples.shape[1] // 2
    rows, columns = centre + 4 * np.arange(SIZE) - 30, centre + 4 * np.arange(SIZE) - 25
    np.testing.assert_allclose(image, 100 * psf.samples[0][np.ix_(rows, columns)], rtol=0, atol=1e-12)


@pytest.mark.parametrize("oversampling", [1, 3, 4, 5])
def test_any_oversampling_and_size(oversampling):
    psf = gaussian(1.5, oversampling=oversampling)
    image = Renderer(psf).render(20.3, 3.8, 5.0, size=31)[0]
    x, y = np.arange(31) - 20.3, (np.arange(31) - 3.8)[:, None]
    expected = 5 * np.exp(-0.5 * (x**2 + y**2) / 1.5**2) / (2 * np.pi * 1.5**2)
    inside = (np.abs(x) < 11) & (np.abs(y) < 11)
    tolerance = {1: 5e-3, 3: 1e-4, 4: 3e-5, 5: 2e-5}[oversampling] * expected.max()
    np.testing.assert_allclose(image[inside], expected[inside], rtol=0, atol=tolerance)
    np.testing.assert_array_equal(image[:, np.abs(x) > 13], 0)  # beyond the samples there is nothing


def test_stars_outside_leave_the_stamp_dark(renderer):
    for x, y in ((-40.0, 6.0), (6.0, 60.0), (-1e6, 1e6)):
        assert not renderer.render(x, y, 1e5).any()


def test_slopes_are_derivatives(renderer):
    x, y, flux, step = 6.2, 7.1, 800.0, 1e-4
    layers = np.zeros((3, SIZE, SIZE))
    add_star_slopes(renderer.phases[0], renderer.n_samples, x, y, flux, layers)
    sides = renderer.render([x + step, x - step, x, x], [y, y, y + step, y - step], flux)
    np.testing.assert_allclose(layers[0], renderer.render(x, y, flux)[0], atol=1e-9)
    np.testing.assert_allclose(layers[1], (sides[0] - sides[1]) / (2 * step), atol=1e-4)
    np.testing.assert_allclose(layers[2], (sides[2] - sides[3]) / (2 * step), atol=1e-4)


def test_members_of_a_bank():
    bank = Renderer(gaussian(0.8, 1.1))
    images = bank.render(CENTRE, CENTRE, 1.0, member=[0, 1])
    np.testing.assert_array_equal(images[1], Renderer(gaussian(1.1)).render(CENTRE, CENTRE, 1.0)[0])
    assert images[0].max() > 1.5 * images[1].max()
    with pytest.raises(ValueError, match="member 2 asked for; the PSF has members 0 to 1"):
        bank.render(CENTRE, CENTRE, 1.0, member=2)


def test_renderer_refuses_what_is_not_finite(renderer):
    with pytest.raises(ValueError, match="finite"):
        renderer.render(np.nan, 3.0, 1.0)


# --- random numbers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mean", [0.02, 0.8, 5.0, 11.99, 12.0, 40.0, 130.0, 9000.0])
def test_poisson_counts_have_their_distribution(mean):
    n = 40_000
    counts = poisson(np.full((n // 200, 200), mean), np.arange(n // 200), seed=5, stream=1).ravel()
    assert np.all(counts == np.floor(counts))
    edges = np.unique(stats.poisson.ppf(np.linspace(0, 1, 21)[1:-1], mean))
    observed = np.bincount(np.searchsorted(edges, counts), minlength=len(edges) + 1)
    expected = n * np.diff(np.r_[0, stats.poisson.cdf(edges, mean), 1])
    assert stats.chisquare(observed, expected).pvalue > 1e-3
    assert counts.mean() == pytest.approx(mean, abs=4 * np.sqrt(mean / n))


def test_counts_depend_on_the_star_alone():
    mean = np.random.default_rng(0).uniform(-1, 60, (50, 7, 7))
    keys = np.arange(50) * 10**10
    counts = poisson(mean, keys, seed=3, stream=1)
    np.testing.assert_array_equal(poisson(mean[[31, 4]], keys[[31, 4]], seed=3, stream=1), counts[[31, 4]])
    assert (poisson(mean, keys, seed=4, stream=1) != counts).mean() > 0.5
    assert not counts[mean < 0].any()


def test_uniform_numbers_are_uniform_and_independent():
    u = uniforms(np.arange(20_000), 7, seed=1, stream=0)
    assert all(stats.kstest(column, "uniform").pvalue > 1e-3 for column in u.T)
    assert np.abs(np.corrcoef(u.T) - np.eye(7)).max() < 4 / np.sqrt(20_000)
    np.testing.assert_array_equal(uniforms(np.arange(5, 9), 3, seed=1, stream=0), u[5:9, :3])


# --- sources ----------------------------------------------------------------------------------------------------


def test_sources_do_not_depend_on_shards():
    law = Law(flux_ratio="uniform")
    whole = draw_sources(1000, 7, law, n_members=5)
    part = draw_sources(300, 7, law, n_members=5, start=400)
    assert tuple(whole) == COLUMNS
    for name in COLUMNS:
        np.testing.assert_array_equal(part[name], whole[name][400:700])


def test_sources_follow_their_law():
    law = Law(separation="grid", flux_ratio="uniform", flux_ratio_min=0.2)
    sources = draw_sources(40_000, 1, law)
    pair = sources["is_binary"]
    assert pair.sum() == 20_000
    np.testing.assert_allclose(np.unique(sources["sep"][pair]), np.arange(1, 21) / 10)
    assert stats.chisquare(np.unique(sources["sep"][pair].round(1), return_counts=True)[1]).pvalue > 1e-3
    for name, low, high in (("flux_ratio", 0.2, 1), ("position_angle", 0, 2 * np.pi), ("flux", 1000, 25000)):
        assert stats.kstest(sources[name][pair], "uniform", (low, high - low)).pvalue > 1e-3
    assert stats.ks_2samp(sources["flux"][pair], sources["flux"][~pair]).pvalue > 1e-3
    for axis in "xy":
        assert stats.kstest(sources[axis], "uniform", (CENTRE - 0.5, 1.0)).pvalue > 1e-3
    for name in ("sep", "flux_ratio", "flux2", "position_angle"):
        assert not sources[name][~pair].any()


@pytest.mark.parametrize("placement", ["photocentre_random", "primary_centred"])
def test_geometry_of_pairs(placement):
    sources = draw_sources(2000, 1, Law(placement=placement, flux_ratio="uniform"))
    flux1, flux2 = sources["flux1"], sources["flux2"]
    np.testing.assert_allclose(flux1 + flux2, sources["flux"])
    dx, dy = sources["x2"] - sources["x1"], sources["y2"] - sources["y1"]
    np.testing.assert_allclose(np.hypot(dx, dy)[sources["is_binary"]], sources["sep"][sources["is_binary"]])
    for axis in "xy":
        centre = (flux1 * sources[f"{axis}1"] + flux2 * sources[f"{axis}2"]) / sources["flux"]
        np.testing.assert_allclose(centre, sources[axis])
    pair = sources["is_binary"]
    angle = np.arctan2(dy[pair], dx[pair]) % (2 * np.pi)
    np.testing.assert_allclose(angle, sources["position_angle"][pair], atol=1e-9)
    on_centre = np.hypot(sources["x1"] - CENTRE, sources["y1"] - CENTRE) < 1e-9
    assert on_centre.all() if placement == "primary_centred" else not on_centre.any()


def test_cells_of_the_grids():
    at_snr = draw_sources(100, 1, Law(), snr=55.0)
    np.testing.assert_allclose(at_snr["snr"], 55)
    assert len(np.unique(at_snr["flux"])) == 1
    at_sep = draw_sources(100, 1, Law(), sep=0.7)
    np.testing.assert_allclose(at_sep["sep"][at_sep["is_binary"]], 0.7)
    np.testing.assert_array_equal(at_sep["flux"], draw_sources(100, 1, Law())["flux"])
    assert not draw_sources(50, 1, Law(), binary_share=0.0)["is_binary"].any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"placement": "centred"}, "placement is 'centred'; accepted: photocentre_random, primary_centred"),
        ({"sep_min": 3.0}, "0 < sep_min ≤ sep_max"),
        ({"flux_ratio_min": 1.0}, "flux_ratio_min is 1"),
        ({"flux_min": 0.0}, "0 < flux_min"),
    ],
)
def test_impossible_laws_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Law(**settings)


# --- noise and S/N ------------------------------------------------------------------------------------------------


def test_signal_to_noise_of_the_paper():
    # §2.2 and Fig. 6: fluxes of 1000 to 25,000 photons are S/N 30 to 155.
    np.testing.assert_allclose(signal_to_noise(np.array([1000, 25_000]), NOISE), [30.6, 157.9], atol=0.05)
    for snr in (5.0, 30.0, 155.0):
        assert signal_to_noise(flux_of_snr(snr, NOISE), NOISE) == pytest.approx(snr, rel=1e-12)


def test_signal_to_noise_is_that_of_the_stamps(renderer):
    sources = draw_sources(3000, 2, Law(), binary_share=0.0, snr=30.0)
    total = make_stamps(sources, renderer, NOISE, 3).sum(axis=(1, 2))
    assert total.mean() / total.std() == pytest.approx(30.0, rel=0.05)


@pytest.mark.parametrize("noise", [NOISE, Noise(sigma=3.0, background=25.0)])
def test_noise_has_the_variance_of_photons_and_readout(renderer, noise):
    sources = draw_sources(4000, 5, Law(flux_ratio="uniform"))
    mean = renderer.render_pairs(sources)
    deviation = (make_stamps(sources, renderer, noise, 6) - mean) / np.sqrt(mean + noise.variance)
    n = deviation.size
    assert abs(deviation.mean()) < 4 / np.sqrt(n)
    assert deviation.std() == pytest.approx(1, abs=4 * np.sqrt(1.5 / n))
    neighbours = np.corrcoef(deviation[:, :, 1:].ravel(), deviation[:, :, :-1].ravel())[0, 1]
    assert abs(neighbours) < 4 / np.sqrt(n)


def test_stamps_do_not_depend_on_shards(renderer):
    sources = draw_sources(1500, 5, Law())
    whole = make_stamps(sources, renderer, NOISE, 6)
    assert whole.dtype == np.float32
    part = make_stamps({name: values[1100:1200] for name, values in sources.items()}, renderer, NOISE, 6)
    np.testing.assert_array_equal(part, whole[1100:1200])
    assert (make_stamps(sources, renderer, NOISE, 7) != whole).mean() > 0.9


# --- files ------------------------------------------------------------------------------------------------------


def test_stamps_survive_their_file(tmp_path: Path, renderer):
    sources = draw_sources(20, 5, Law())
    stamps = make_stamps(sources, renderer, NOISE, 6)
    write_stamps(tmp_path / "stamps.h5", stamps, sources, {"seed": 5}, psf="nominal")
    again, labels = read_stamps(tmp_path / "stamps.h5")
    np.testing.assert_array_equal(again, stamps)
    for name in COLUMNS:
        np.testing.assert_array_equal(labels[name], sources[name])
        assert labels[name].dtype == sources[name].dtype
    provenance = read_provenance(tmp_path / "stamps.h5")
    assert provenance["settings"] == {"seed": 5} and provenance["sources"] == {"psf": "nominal"}
