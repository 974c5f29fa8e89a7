"""ePSFs from stars of made-up undersampled frames, against the PSF that made them."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.table import Table
from photutils.psf import ImagePSF, PSFPhotometry
from scipy.ndimage import map_coordinates

from dioscuri.psf.effective import Psf
from dioscuri.psf.epsf import EpsfFit, fit_epsf, literal_epsf
from dioscuri.psf.epsf_equations import Spline, Star
from dioscuri.psf.optics import OPTICS, optical_psf

HST = OPTICS["hst_f775w_literal"]
SKY, READ_NOISE = 20.0, 3.1  # e-
ISOLATED = 32  # px between the PSF stars


@pytest.fixture(scope="module")
def start() -> Psf:
    return optical_psf(HST, size=31)


@pytest.fixture(scope="module")
def truth() -> Psf:
    """Another jitter, another wavefront: 12 % of the peak away from the start."""
    return optical_psf(HST, jitter=0.021, wfe_nm=40.0, wfe_seed=7, size=31)


def add(image: np.ndarray, psf: Psf, x: float, y: float, flux: float) -> None:
    """Add a star to an image: the samples between which its pixels lie, by cubic interpolation."""
    rows = np.arange(max(round(y) - 13, 0), min(round(y) + 14, len(image)))
    columns = np.arange(max(round(x) - 13, 0), min(round(x) + 14, len(image)))
    at = np.meshgrid((rows - y) * 4 + psf.centre, (columns - x) * 4 + psf.centre, indexing="ij")
    image[np.ix_(rows, columns)] += flux * map_coordinates(psf.samples[0], at, order=3, mode="mirror")


def frame(psf: Psf, seed: int, *, n: int = 5, crowd: int = 0) -> SimpleNamespace:
    """n × n bright stars on a loose grid, at any sub-pixel position, and `crowd` fainter ones among them."""
    rng = np.random.default_rng(seed)
    size = n * ISOLATED
    y, x = (np.indices((n, n)).reshape(2, -1) + 0.5) * ISOLATED + rng.uniform(-3, 3, (2, n * n))
    flux = np.exp(rng.uniform(np.log(3e4), np.log(4e5), n * n))
    faint = (
        rng.uniform(0, size, crowd),
        rng.uniform(0, size, crowd),
        np.exp(rng.uniform(np.log(2e2), np.log(2e4), crowd)),
    )
    image = np.zeros((size, size))
    for star in [*zip(x, y, flux), *zip(*faint)]:
        add(image, psf, *star)
    science = rng.poisson(np.maximum(image, 0) + SKY) + rng.normal(0, READ_NOISE, image.shape) - SKY
    error = np.sqrt(np.maximum(science + SKY, 0) + READ_NOISE**2)
    bad = np.zeros(image.shape, bool)
    return SimpleNamespace(x=x, y=y, flux=flux, faint=faint, science=science, error=error, bad=bad, seed=seed)


def fit(made: SimpleNamespace, start: Psf, **options) -> EpsfFit:
    """`fit_epsf` from positions and fluxes as a detection gives them."""
    rng = np.random.default_rng(made.seed)
    x, y = made.x + rng.uniform(-0.4, 0.4, len(made.x)), made.y + rng.uniform(-0.4, 0.4, len(made.x))
    return fit_epsf(made.science, made.error, made.bad, x, y, 1.1 * made.flux, start, **options)


def flux_scatter(psf: Psf, made: SimpleNamespace) -> float:
    """Robust relative scatter of the fluxes that photutils measures with an ePSF in 5 × 5 px."""
    begin = Table({"x": made.x + 0.05, "y": made.y - 0.03, "flux": made.flux})
    photometry = PSFPhotometry(ImagePSF(psf.samples[0], oversampling=4), (5, 5), aperture_radius=3)
    ratio = np.asarray(photometry(made.science, error=made.error, init_params=begin)["flux_fit"]) / made.flux
    return float(1.4826 * np.median(abs(ratio - np.median(ratio))) / np.median(ratio))


def differences(psf: Psf, truth: Psf, k: int = 0) -> np.ndarray:
    """What member k differs by within ±5 px, as a share of the peak, after the best scale and shift."""
    near, far = slice(psf.centre - 20, psf.centre + 21), slice(truth.centre - 20, truth.centre + 21)
    wanted = truth.samples[0, far, far]
    slope_y, slope_x = np.gradient(wanted)
    known = np.stack([wanted.ravel(), slope_x.ravel(), slope_y.ravel()], axis=1)
    found = psf.samples[k, near, near].ravel()
    return (found - known @ np.linalg.lstsq(known, found)[0]) / found.max()


def shape_error(psf: Psf, truth: Psf) -> float:
    """The largest of these differences."""
    return float(abs(differences(psf, truth)).max())


@pytest.fixture(scope="module")
def crowded(truth) -> SimpleNamespace:
    return frame(truth, 1, crowd=70)  # 2700 per 1000 × 1000 px


@pytest.fixture(scope="module")
def fitted(crowded, start) -> EpsfFit:
    return fit(crowded, start, neighbours=crowded.faint, draws=4)


@pytest.fixture(scope="module")
def others(truth) -> SimpleNamespace:
    """Stars of another frame."""
    return frame(truth, 2, n=7)


def test_fluxes_scatter_no_more_than_with_the_true_psf(fitted, start, truth, others):
    limit = flux_scatter(truth, others)
    assert limit < 0.004 < 0.01 < flux_scatter(start, others)
    assert flux_scatter(fitted.psf, others) < 1.3 * limit


def test_shape_positions_and_width(fitted, crowded, start, truth):
    assert shape_error(start, truth) > 0.04
    assert shape_error(fitted.psf, truth) < 0.012
    assert fitted.psf.fwhm() == pytest.approx(truth.fwhm(), rel=0.006)
    assert fitted.used.all() and fitted.change < 1e-3
    assert np.std(fitted.x - crowded.x) < 0.01 and np.std(fitted.y - crowded.y) < 0.01
    ratio = fitted.flux / crowded.flux
    assert np.std(ratio) < 0.01 and np.mean(ratio) == pytest.approx(1, abs=0.02)
    assert np.median(fitted.chi2) == pytest.approx(1, abs=0.25)


def test_draws_differ_by_about_the_error(fitted, truth):
    assert fitted.psf.n_members == 5
    spread = np.std([differences(fitted.psf, fitted.psf, k) for k in range(1, 5)], axis=0)
    error = differences(fitted.psf, truth)
    assert 0.3 < np.sqrt((spread**2).mean() / (error**2).mean()) < 1.5


def test_the_published_way_gives_a_psf(truth):
    made = frame(truth, 3, n=2)
    literal = literal_epsf(made.science, made.bad, made.x, made.y, pixel_scale=HST.pixel_scale, maxiters=1)
    assert literal.samples.shape == (1, 101, 101) and literal.oversampling == 4
    assert literal.samples.sum() / 16 == pytest.approx(1, abs=1e-6)


@pytest.mark.bench
def test_the_published_way_fails_where_this_holds(crowded, fitted, truth, others):
    literal = literal_epsf(crowded.science, crowded.bad, crowded.x, crowded.y, pixel_scale=HST.pixel_scale, maxiters=3)
    assert literal.fwhm() == pytest.approx(truth.fwhm(), rel=0.1)
    assert shape_error(literal, truth) > 3 * shape_error(fitted.psf, truth)
    assert flux_scatter(literal, others) > 3 * flux_scatter(fitted.psf, others)


def test_doubles_are_found_and_rays_and_bad_pixels_do_no_harm(truth, start, others):
    made = frame(truth, 4)
    rng = np.random.default_rng(5)
    for star in (3, 11, 17):
        second = np.zeros_like(made.science)
        add(second, truth, made.x[star] + 0.8, made.y[star] + 0.8, 0.5 * made.flux[star])
        made.science += second
    rays = rng.random(made.science.shape) < 1e-3
    made.science[rays] += rng.uniform(100, 3000, rays.sum())
    made.error = np.hypot(made.error, np.where(rays, 30.0, 0))
    row, column = round(made.y[20]), round(made.x[20])
    made.bad[row - 5 : row + 6, column - 5 : column + 6] = True
    made.science[made.bad] = np.nan
    found = fit(made, start)
    assert set(np.flatnonzero(~found.used)) >= {3, 11, 17, 20} and found.used.sum() >= 18
    assert np.isnan(found.flux[20]) and np.isnan(found.chi2[20]) and np.isfinite(np.delete(found.flux, 20)).all()
    assert flux_scatter(found.psf, others) < 0.006
    assert shape_error(found.psf, truth) < 0.02


def test_a_right_start_stays(truth):
    made = frame(truth, 6, n=4)
    found = fit(made, truth)
    assert shape_error(found.psf, truth) < 0.006
    assert found.psf.samples.sum() == pytest.approx(truth.samples.sum(), rel=1e-3)


def test_without_light_the_start_comes_back(start):
    """A strong prior leaves the start as it is, also beyond the cut-outs."""
    made = frame(start, 6, n=2)
    found = fit(made, start, size=11, amplitude=1e-6)
    np.testing.assert_allclose(found.psf.samples, start.samples, atol=1e-6)
    found = fit(made, start, size=11)
    np.testing.assert_allclose(found.psf.samples[:, :20], start.samples[:, :20], atol=1e-15)
    again = fit(made, start, size=11)
    np.testing.assert_array_equal(again.psf.samples, found.psf.samples)


def test_what_cannot_be_fitted(start):
    made = frame(start, 1, n=2)
    none = np.array([])
    arrays = (made.science, made.error, made.bad)
    with pytest.raises(ValueError, match="found no stars"):
        fit_epsf(*arrays, none, none, none, start)
    with pytest.raises(ValueError, match="start covers 30 px, cut-outs of 41 px need"):
        fit(made, start, size=41)
    two = dataclasses.replace(start, samples=np.repeat(start.samples, 2, axis=0), parameters={})
    with pytest.raises(ValueError, match="found 2 PSFs to start from"):
        fit(made, two)
    with pytest.raises(ValueError, match="none of 1 stars has good pixels"):
        fit_epsf(*arrays, np.array([-90.0]), np.array([5.0]), np.array([1e4]), start)
    with pytest.raises(ValueError, match="none of 1 stars lies 12 px within"):
        literal_epsf(made.science, made.bad, np.array([2.0]), np.array([2.0]), pixel_scale=0.04)


# --- the pieces ---------------------------------------------------------------------------------------------


@pytest.fixture
def star(start):
    image = np.zeros((40, 40))
    add(image, start, 19.8, 21.3, 1.0)
    return Star.cut(image, np.ones_like(image), np.zeros(image.shape, bool), 19.8, 21.3, 1.0, 9)


def test_spline_is_the_psf_between_its_samples(start, star):
    spline = Spline.of(start)
    np.testing.assert_allclose(spline.samples(), start.samples[0], atol=1e-12)
    np.testing.assert_allclose(spline.image(star, 19.8, 21.3), star.pixels, atol=1e-12)


def test_slopes_are_derivatives(start, star):
    spline = Spline.of(start)
    image, slope_x, slope_y = spline.image_and_slopes(star)
    step = 1e-5
    along_x = spline.image(star, 19.8 + step, 21.3) - spline.image(star, 19.8 - step, 21.3)
    along_y = spline.image(star, 19.8, 21.3 + step) - spline.image(star, 19.8, 21.3 - step)
    np.testing.assert_allclose(slope_x, along_x / (2 * step), atol=1e-8)
    np.testing.assert_allclose(slope_y, along_y / (2 * step), atol=1e-8)
    np.testing.assert_allclose(image, star.pixels, atol=1e-12)


def test_a_star_is_fitted_to_its_place(start, star):
    star.x, star.y, star.flux = 20.1, 21.0, 1.5
    star.subtract(Spline.of(start), np.empty((0, 3)))
    star.fit(Spline.of(start))
    np.testing.assert_allclose([star.x, star.y, star.flux], [19.8, 21.3, 1.0], atol=1e-6)
    star.begun = (17.0, 21.0)
    star.fit(Spline.of(start))
    assert star.lost and np.isnan(star.chi2(Spline.of(start)))
