"""PSFs against closed forms of optics, published widths, and files in the genuine formats."""

import dataclasses

import numpy as np
import pytest
from astropy.io import fits
from scipy.special import j1

from dioscuri.psf.effective import Psf
from dioscuri.psf.files import read_psf
from dioscuri.psf.optics import OPTICS, Optics, optical_psf, perturbed, psf_bank, random_wavefront

CSST, HST = OPTICS["csst_u"], OPTICS["hst_f775w_literal"]
ARCSEC = np.pi / 180 / 3600


@pytest.fixture(scope="module")
def csst() -> Psf:
    return optical_psf(CSST)


# --- optics -------------------------------------------------------------------------------------------------


def share_in_pixel(optics: Optics, x: float, y: float) -> float:
    """Flux share of a pixel at offset (x, y) px of an unobscured perfect telescope: ∫ MTF · jitter · pixel."""
    cutoff = optics.diameter / (optics.wavelength * 1e-9) * ARCSEC * optics.pixel_scale  # cycles a pixel
    k = (np.arange(-600, 601) + 0.0) / 600 * cutoff
    kx, ky = np.meshgrid(k, k)
    rho = np.minimum(np.hypot(kx, ky) / cutoff, 1)
    mtf = 2 / np.pi * (np.arccos(rho) - rho * np.sqrt(1 - rho**2))
    jitter = np.exp(-2 * np.pi**2 * (optics.jitter / optics.pixel_scale) ** 2 * (kx**2 + ky**2))
    wave = np.cos(2 * np.pi * (kx * x + ky * y))
    return float((mtf * jitter * np.sinc(kx) * np.sinc(ky) * wave).sum() * (k[1] - k[0]) ** 2)


@pytest.mark.parametrize(("x", "y"), [(0, 0), (0.5, 0.5), (1, 0), (-1.25, 0.75), (2.0, 1.5)])
def test_perfect_telescope_follows_its_transfer_function(csst, x, y):
    centre = csst.centre
    value = csst.samples[0, centre + round(4 * y), centre + round(4 * x)]
    assert value == pytest.approx(share_in_pixel(CSST, x, y), abs=2e-4 * csst.samples.max())


def test_published_widths(csst):
    assert csst.fwhm() == pytest.approx(0.1499, abs=5e-4)  # the paper: 0.15″
    assert csst.enclosed(14) == pytest.approx(0.983, abs=1e-3)
    assert optical_psf(HST).fwhm() == pytest.approx(0.080, abs=5e-4)


def test_samples_are_flux_shares_at_any_phase(csst):
    """Pixels at any sub-pixel phase, and so at any oversampling, hold the flux of the star."""
    for phase in range(4):
        pixels = csst.samples[0, phase::4, phase::4]
        assert pixels.sum() == pytest.approx(csst.samples.sum() / 16, abs=1e-3)
        assert pixels.sum() == pytest.approx(0.997, abs=2e-3)
    coarse = optical_psf(CSST, oversampling=2)
    np.testing.assert_allclose(coarse.samples[0], csst.samples[0, ::2, ::2], atol=1e-5)


def test_airy_rings_are_dark_where_they_must_be():
    fine = dataclasses.replace(CSST, pixel_scale=0.01, jitter=0.0)
    samples = optical_psf(fine, oversampling=1, size=101).samples[0]
    dark = 1.21967 * CSST.wavelength * 1e-9 / CSST.diameter / ARCSEC / 0.01  # px
    radii = np.arange(51)
    argument = np.pi * radii[1:] * 0.01 * ARCSEC * CSST.diameter / (CSST.wavelength * 1e-9)
    airy = np.concatenate([[1], (2 * j1(argument) / argument) ** 2])
    np.testing.assert_allclose(samples[50, 50:] / samples.max(), airy, atol=0.02)  # the pixel is not quite a point
    assert abs(radii[2:10][np.argmin(samples[50, 52:60])] - dark) < 0.6


@pytest.mark.parametrize("wfe_nm", [15.0, 40.0])
def test_wavefront_error_dims_the_peak_as_marechal_says(wfe_nm):
    fine = dataclasses.replace(CSST, pixel_scale=0.005, jitter=0.0)
    perfect = optical_psf(fine, oversampling=1, size=5).samples.max()
    strehl = np.mean(
        [optical_psf(fine, wfe_nm=wfe_nm, wfe_seed=s, oversampling=1, size=5).samples.max() for s in (0, 1)]
    )
    assert strehl / perfect == pytest.approx(np.exp(-((2 * np.pi * wfe_nm / CSST.wavelength) ** 2)), abs=0.02)


def test_random_wavefronts():
    first = random_wavefront(3)
    np.testing.assert_array_equal(first, random_wavefront(3))
    assert not np.array_equal(first, random_wavefront(4))
    assert (first[:3] == 0).all() and (first**2).sum() == pytest.approx(1)
    many = np.array([random_wavefront(seed) for seed in range(300)])
    low, high = many[:, 3:6].std(), many[:, 28:36].std()  # radial orders 2 and 7
    assert low / high == pytest.approx((2 / 7) ** -1.5, rel=0.15)


def test_sizes_that_are_none():
    with pytest.raises(ValueError, match="accepted: odd sizes"):
        optical_psf(CSST, size=14)


# --- banks ----------------------------------------------------------------------------------------------------


def test_bank_begins_with_the_nominal_psf_and_stays_in_its_ranges():
    bank = psf_bank(CSST, members=6, jitter_fraction=0.05, wfe_nm=15.0, seed=2, size=15)
    np.testing.assert_array_equal(bank.samples[0], optical_psf(CSST, size=15).samples[0])
    assert bank.parameters["jitter"][0] == CSST.jitter and bank.parameters["wfe"][0] == 0
    assert (abs(bank.parameters["jitter"] / CSST.jitter - 1) <= 0.05).all()
    assert ((bank.parameters["wfe"] >= 0) & (bank.parameters["wfe"] <= 15)).all()
    assert len(np.unique(bank.parameters["wfe"])) == len(np.unique(bank.parameters["jitter"])) == 6
    fewer = psf_bank(CSST, members=3, jitter_fraction=0.05, wfe_nm=15.0, seed=2, size=15)
    np.testing.assert_array_equal(fewer.samples, bank.samples[:3])


def test_jitter_broadens():
    widths = [optical_psf(CSST, jitter=jitter, size=15).fwhm() for jitter in (0.050, 0.055, 0.060)]
    assert widths[0] < widths[1] - 0.002 < widths[2] - 0.004


def test_perturbed_is_the_bank_around_another_psf():
    choice = {"members": 2, "jitter_fraction": 0.05, "wfe_nm": 15.0, "seed": 2}
    nominal, bank = optical_psf(HST, size=15), psf_bank(HST, size=15, **choice)
    np.testing.assert_allclose(perturbed(nominal, HST, **choice).samples, bank.samples, atol=1e-12)
    other = optical_psf(HST, wfe_nm=45.0, wfe_seed=9, size=15)
    around = perturbed(dataclasses.replace(other, samples=other.samples[:, 2:-2, 2:-2]), HST, **choice)
    np.testing.assert_array_equal(around.samples[0], other.samples[0, 2:-2, 2:-2])
    changes = around.samples[1] - around.samples[0]
    assert 0.003 < abs(changes).max() / other.samples.max() < 0.1
    np.testing.assert_allclose(changes, (bank.samples[1] - bank.samples[0])[2:-2, 2:-2], atol=1e-9)
    with pytest.raises(ValueError, match="found 2 PSFs to perturb, 1 members"):
        perturbed(bank, HST, members=1)


def test_places_are_known_and_the_others_are_errors_about_them():
    """Field and focus make the places of a bank, errors the rest: each about the place that an observer assumes."""
    choice = {"jitter_fraction": 0.05, "wfe_nm": 15.0, "seed": 2}
    bank = psf_bank(OPTICS["hst_f775w"], members=5, places=2, focus_nm=10.0, size=15, **choice)
    assert bank.parameters["assumed"].tolist() == [0, 1, 0, 1, 0]
    assert (bank.parameters["wfe"][:2] == 0).all() and (bank.parameters["wfe"][2:] > 0).all()
    apart = abs(bank.samples[0] - bank.samples[1]).max() / bank.samples.max()
    assert 0.02 < apart < 0.3
    around = perturbed(dataclasses.replace(bank, samples=bank.samples[:2], parameters={}), HST, members=4, **choice)
    assert around.parameters["assumed"].tolist() == [0, 1, 0, 1]
    np.testing.assert_array_equal(around.samples[:2], bank.samples[:2])
    alone = perturbed(dataclasses.replace(bank, samples=bank.samples[:1], parameters={}), HST, members=3, **choice)
    np.testing.assert_allclose(around.samples[2] - bank.samples[0], alone.samples[1] - bank.samples[0], atol=1e-12)


def test_the_model_of_hst_is_as_sharp_as_the_telescope():
    """STScI's grid of F775W has 0.0705 to 0.0766 arcsec; with a peak of 0.165 to 0.199 of the light within 5 px."""
    psf = optical_psf(OPTICS["hst_f775w"])
    assert 0.0705 < psf.fwhm() < 0.0766
    assert 0.165 < psf.samples.max() / psf.enclosed(10) < 0.199


@pytest.mark.parametrize(
    "wrong", [{"members": 0}, {"members": 1, "jitter_fraction": 1.0}, {"members": 1, "wfe_nm": -1.0}]
)
def test_banks_that_are_none(wrong):
    with pytest.raises(ValueError, match="accepted: 1 or more members"):
        psf_bank(CSST, **wrong)


# --- the class ------------------------------------------------------------------------------------------------


def grid_of(function) -> Psf:
    """A 3 × 2 grid of PSFs whose value everywhere is function(x, y), its members in no order."""
    x, y = np.tile([0.0, 100.0, 300.0], 2), np.repeat([0.0, 50.0], 3)
    order = np.array([4, 0, 3, 1, 5, 2])
    x, y = x[order], y[order]
    return Psf(np.ones((6, 5, 5)) * function(x, y)[:, None, None], 4, 0.04, {"x": x, "y": y})


def test_position_grids_are_bilinear_and_end_at_their_border():
    def plane(x, y):
        return 1 + 0.01 * x - 0.02 * y + 3e-4 * x * y

    grid = grid_of(plane)
    for x, y in [(0, 0), (300, 50), (30, 20), (100, 10), (250, 49)]:
        one = grid.at(x, y)
        assert one.n_members == 1 and one.samples[0, 2, 2] == pytest.approx(plane(x, y))
        assert one.parameters["x"] == [x]
    assert grid.at(-50, 900).samples[0, 0, 0] == pytest.approx(plane(0, 50))
    assert one.at(7, 7) is one


def test_a_bank_has_no_position():
    bank = Psf(np.ones((2, 5, 5)), 4, 0.04, {"jitter": np.array([0.1, 0.2])})
    with pytest.raises(ValueError, match=r"no positions; choose one by member"):
        bank.at(1, 2)
    assert bank.member(1).parameters["jitter"] == [0.2]
    with pytest.raises(ValueError, match="no member 2; accepted: 0 to 1"):
        bank.member(2)
    odd = grid_of(lambda x, y: x)
    with pytest.raises(ValueError, match="5 positions form no grid"):
        dataclasses.replace(odd, samples=odd.samples[:5], parameters={k: v[:5] for k, v in odd.parameters.items()}).at(
            1, 1
        )


def test_gaussian_width_and_flux():
    """A Gaussian, whose width and enclosed flux are known."""
    from scipy.special import erf

    sigma = 1.3  # px
    offsets = (np.arange(161) - 80) / 4
    edge = 0.5 * (erf((offsets + 0.5) / sigma / 2**0.5) - erf((offsets - 0.5) / sigma / 2**0.5))
    gaussian = Psf(np.outer(edge, edge)[None], 4, 0.1)
    blurred = np.sqrt(sigma**2 + 1 / 12)  # to second order
    assert gaussian.fwhm() == pytest.approx(2.3548 * blurred * 0.1, rel=3e-3)
    for size in (3, 4, 7):
        assert gaussian.enclosed(size) == pytest.approx(erf(size / 2 / sigma / 2**0.5) ** 2, abs=1e-4)
    with pytest.raises(ValueError, match="60 px are more than"):
        gaussian.enclosed(60)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"samples": np.ones((1, 4, 4))}, r"shape \(1, 4, 4\); accepted: .*n odd"),
        ({"samples": np.ones((5, 5))}, r"shape \(5, 5\)"),
        ({"samples": np.full((1, 5, 5), np.nan)}, "not finite"),
        ({"oversampling": 0}, "oversampling 0"),
        ({"pixel_scale": -1.0}, r"pixel scale -1\.0"),
        ({"parameters": {"x": np.ones(2)}}, r"'x' has the shape \(2,\), expected \(1,\)"),
    ],
)
def test_psfs_that_are_none(wrong, message):
    with pytest.raises(ValueError, match=message):
        Psf(**{"samples": np.ones((1, 5, 5)), "oversampling": 4, "pixel_scale": 0.04} | wrong)


def test_files_of_ours_come_back(tmp_path):
    bank = psf_bank(CSST, members=2, jitter_fraction=0.1, size=5)
    bank.save(tmp_path / "bank.npz")
    again = Psf.load(tmp_path / "bank.npz")
    np.testing.assert_array_equal(again.samples, bank.samples)
    np.testing.assert_array_equal(again.parameters["jitter"], bank.parameters["jitter"])
    assert (again.oversampling, again.pixel_scale) == (4, 0.075)
    assert again.provenance == bank.provenance
    bank.save(tmp_path / "twin.npz")
    assert (tmp_path / "twin.npz").read_bytes() == (tmp_path / "bank.npz").read_bytes()


def test_files_of_others_are_refused(tmp_path):
    (tmp_path / "text.npz").write_text("no archive")
    np.save(tmp_path / "array.npy", np.ones(3))
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    for name in ("text.npz", "array.npy", "other.npz"):
        with pytest.raises(ValueError, match=rf"{name}: .*accepted: PSFs"):
            Psf.load(tmp_path / name)


# --- files of others --------------------------------------------------------------------------------------------


def drawn(oversampling: int, n: int, centre: tuple[float, float], *, pixel: bool) -> np.ndarray:
    """The CSST PSF as a simulator would write it: n × n samples, the star at `centre` [samples]."""
    import galsim

    parts = [galsim.Airy(lam=CSST.wavelength, diam=CSST.diameter), galsim.Gaussian(sigma=CSST.jitter)]
    parts += [galsim.Pixel(CSST.pixel_scale)] if pixel else []
    scale = CSST.pixel_scale / oversampling
    shift = ((centre[0] - (n - 1) / 2) * scale, (centre[1] - (n - 1) / 2) * scale)
    star = galsim.Convolve(parts).shift(*shift)
    return star.drawImage(nx=n, ny=n, scale=scale, method="no_pixel").array.astype(np.float32)


@pytest.mark.parametrize("pixel", [True, False])
@pytest.mark.parametrize(("oversampling", "centre"), [(4, (127.5, 127.5)), (4, (126.2, 129.9)), (8, (128.0, 128.0))])
def test_any_oversampled_image(tmp_path, csst, oversampling, centre, pixel):
    """256 × 256 samples, of whatever centre and normalisation, with the pixel or without."""
    image = 7e5 * drawn(oversampling, 256, centre, pixel=pixel)
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image)]).writeto(tmp_path / "psf.fits")
    psf = read_psf(tmp_path / "psf.fits", oversampling=oversampling, pixel_scale=0.075, pixel_integrated=pixel)
    assert psf.oversampling == oversampling and psf.samples.sum() / oversampling**2 == pytest.approx(1, abs=2e-3)
    middle = slice(psf.centre - 8 * oversampling, psf.centre + 8 * oversampling + 1, oversampling // 4)
    expected = csst.samples[0, 48:113, 48:113] / csst.enclosed(min(256 // oversampling, 41))
    np.testing.assert_allclose(psf.samples[0, middle, middle], expected, atol=6e-3 * expected.max())


def test_native_sampling_is_interpolated_and_said(tmp_path, csst, caplog):
    fits.writeto(tmp_path / "native.fits", drawn(1, 48, (23.5, 23.5), pixel=True))
    psf = read_psf(tmp_path / "native.fits", oversampling=1, pixel_scale=0.075, pixel_integrated=True)
    assert psf.oversampling == 4 and "1 samples a pixel" in caplog.text
    np.testing.assert_allclose(psf.samples[0, psf.centre - 30 :: 4][:16, psf.centre - 30 :: 4][:, :16],
                               csst.samples[0, 50:111:4, 50:111:4], atol=1e-2 * csst.samples.max())  # fmt: skip
    assert psf.fwhm() == pytest.approx(csst.fwhm(), rel=0.06)  # what a spline makes of 2 px a FWHM


def test_images_that_are_no_psf(tmp_path):
    options = {"oversampling": 4, "pixel_scale": 0.075, "pixel_integrated": True}
    (tmp_path / "text.fits").write_text("no FITS at all")
    fits.PrimaryHDU().writeto(tmp_path / "empty.fits")
    fits.writeto(tmp_path / "nan.fits", np.full((9, 9), np.nan))
    for name, message in [
        ("text", "a FITS file"),
        ("empty", "no two-dimensional image"),
        ("nan", "not finite"),
    ]:
        with pytest.raises(ValueError, match=rf"{name}\.fits: .*{message}"):
            read_psf(tmp_path / f"{name}.fits", **options)
    with pytest.raises(ValueError, match=r"absent\.fits: No such file"):
        read_psf(tmp_path / "absent.fits", **options)
