"""Observed maps on a catalogue's pixels: positions, turns, units, beams, gaps; and images observed alike."""

import logging

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from dioscuri.analogues.catalogue import Frame
from dioscuri.analogues.observation.maps import read_map
from dioscuri.analogues.observation.query import (
    FWHM,
    beam_noise,
    fill_missing,
    matched_beam,
    observe_like,
    prepare,
    smooth,
)
from dioscuri.analogues.simulation.geometry import lines_of_sight

RA, DEC, PIXEL = 52.2656, 31.2672, 0.05  # deg, deg, arcsec
DISTANCE = 200.0  # pc: 10 AU per pixel
N = 161


def world(rotation: float = 0.0, flipped: bool = False) -> WCS:
    """A map with north up and east left, or turned by `rotation` [deg], or mirrored."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---SIN", "DEC--SIN"]
    wcs.wcs.crval, wcs.wcs.crpix = [RA, DEC], [81.0, 81.0]
    angle, step = np.deg2rad(rotation), PIXEL / 3600
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    wcs.wcs.cd = turn @ np.diag([step if flipped else -step, step])
    wcs.wcs.set()
    return wcs


def sky(east: float, north: float) -> tuple[float, float]:
    """ra, dec [deg] at offsets [arcsec] from the centre."""
    return RA + east / 3600 / np.cos(np.deg2rad(DEC)), DEC + north / 3600


def gaussians(wcs: WCS, sources, beam: float) -> np.ndarray:
    """Round Gaussians of FWHM `beam` [arcsec] at (east, north, peak)."""
    y, x = np.indices((N, N))
    image = np.zeros((N, N))
    for east, north, peak in sources:
        cx, cy = wcs.world_to_pixel_values(*sky(east, north))
        image += peak * np.exp(-0.5 * ((x - cx) ** 2 + (y - cy) ** 2) / (beam / PIXEL / FWHM) ** 2)
    return image


def write(path, image, wcs, unit="Jy/beam", beam=0.4, **cards):
    header = wcs.to_header()
    header["BUNIT"] = unit
    if beam:
        header["BMAJ"] = header["BMIN"] = beam / 3600
        header["BPA"] = 0.0
    header.update(cards)
    # As interferometers write it: two axes of length 1.
    fits.writeto(path, image[None, None].astype(np.float32), header, overwrite=True)
    return path


FRAME = Frame(pixel_au=20.0, beam_au=(80.0, 80.0, 0.0), separation_au=200.0)
BINARY = ((0.3, 0.4, 5.0), (-0.3, -0.4, 2.0))  # 1 arcsec apart, primary to the north-east


# --- geometry ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rotation", "flipped"), [(0, False), (30, False), (-75, False), (0, True), (40, True)])
def test_primary_is_exactly_above_secondary(tmp_path, rotation, flipped):
    """However the map is turned on its pixels, mirrored or not: 200 AU = 10 pixels apart about the middle."""
    wcs = world(rotation, flipped)
    observed = read_map(write(tmp_path / "map.fits", gaussians(wcs, BINARY, 0.4), wcs))
    query = prepare(observed, FRAME, 25, distance_pc=DISTANCE, primary=sky(0.3, 0.4), secondary=sky(-0.3, -0.4))
    assert query.image.shape == (25, 25) and query.image.dtype == np.float32
    rows, columns = np.indices((25, 25))
    for row, peak in ((17, 5.0), (7, 2.0)):
        near = np.hypot(rows - row, columns - 12) < 3
        weight = np.where(near, query.image, 0)
        assert (weight * rows).sum() / weight.sum() == pytest.approx(row, abs=0.05)
        assert (weight * columns).sum() / weight.sum() == pytest.approx(12, abs=0.05)
        solid_angle = np.pi / (4 * np.log(2)) * (0.4 / 206264.806) ** 2
        assert query.image[row, 12] == pytest.approx(peak / solid_angle, rel=5e-3)  # Jy/beam → Jy/sr
    assert query.history["separation_au"] == pytest.approx(200, rel=1e-4)
    assert query.history["position_angle"] == pytest.approx(np.rad2deg(np.arctan2(0.6, 0.8)), abs=1e-3)


def test_columns_run_to_the_right_of_the_observer(tmp_path):
    """North up: what lies to the west is on the right, and row 0 is south."""
    wcs = world()
    sources = ((0, 0, 5.0), (-1.0, 0, 2.0), (0, -1.5, 1.0))
    query = prepare(
        read_map(write(tmp_path / "map.fits", gaussians(wcs, sources, 0.4), wcs)),
        FRAME, 41, distance_pc=DISTANCE, centre="primary",
    )  # fmt: skip
    assert query.image[20, 30] == pytest.approx(0.4 * query.image[20, 20], rel=0.02)
    assert query.image[5, 20] == pytest.approx(0.2 * query.image[20, 20], rel=0.02)
    observed = read_map(tmp_path / "map.fits")
    turned = prepare(observed, FRAME, 41, distance_pc=DISTANCE, position_angle=90.0, centre="primary")
    assert turned.image[10, 20] == pytest.approx(0.4 * turned.image[20, 20], rel=0.02)  # east up: west is below


def test_centre_zoom_and_crop(tmp_path):
    wcs = world()
    observed = read_map(write(tmp_path / "map.fits", gaussians(wcs, BINARY, 0.4), wcs))
    stars = {"primary": sky(0.3, 0.4), "secondary": sky(-0.3, -0.4)}
    centred = prepare(observed, FRAME, 25, distance_pc=DISTANCE, centre="primary", **stars)
    assert np.unravel_index(centred.image.argmax(), (25, 25)) == (12, 12)
    zoomed = prepare(observed, FRAME, 25, distance_pc=DISTANCE, zoom=2.0, **stars)
    assert zoomed.history["separation_au"] == pytest.approx(400, rel=1e-4)
    assert zoomed.image[22, 12] == pytest.approx(zoomed.image.max(), rel=0.01)
    cropped = prepare(observed, FRAME, 25, distance_pc=DISTANCE, field_au=300.0, **stars)
    assert cropped.image.shape == (15, 15)
    whole = prepare(observed, FRAME, 25, distance_pc=DISTANCE, **stars)
    np.testing.assert_allclose(cropped.image, whole.image[5:20, 5:20], rtol=1e-5)


def test_a_map_smaller_than_the_catalogue_is_used_as_far_as_it_goes(tmp_path, caplog):
    wcs = world()
    observed = read_map(write(tmp_path / "map.fits", gaussians(wcs, BINARY, 0.4), wcs))
    with caplog.at_level(logging.INFO):
        query = prepare(observed, FRAME, 200, distance_pc=DISTANCE, primary=sky(0, 0), centre="primary")
    assert query.image.shape == (80, 80) and not query.missing.any() and "80 of 200 pixels" in caplog.text
    with pytest.raises(ValueError, match="does not cover"):
        prepare(observed, FRAME, 24, distance_pc=DISTANCE, primary=sky(100, 0))


def test_brightest_peak_stands_for_an_unnamed_primary(tmp_path):
    wcs = world(15)
    image = gaussians(wcs, ((0.83, -0.41, 5.0), (-1.5, 1.5, 3.0)), 0.4)
    observed = read_map(write(tmp_path / "map.fits", image, wcs))
    query = prepare(observed, FRAME, 25, distance_pc=DISTANCE, centre="primary")
    ra, dec = sky(0.83, -0.41)
    assert (query.history["ra"], query.history["dec"]) == pytest.approx((ra, dec), abs=0.1 * PIXEL / 3600)


@pytest.mark.parametrize(("angle", "zoom"), [(0.0, 1.0), (90.0, 1.0), (-130.0, 2.0)])
def test_without_a_secondary_the_primary_lies_where_those_of_the_catalogue_do(tmp_path, angle, zoom):
    """As the cone shows it: above the middle by half of the projected separation, here 100 AU or 5 pixels."""
    lines = lines_of_sight(np.array([300.0, 0, 100]), np.array([-100.0, 200, 0]), FRAME.separation_au)
    right, up = (0.5 * np.array([400.0, -200, 100]) @ axes[0] for axes in (lines.right, lines.north))
    assert (right, up) == pytest.approx((0, 100))
    wcs = world(20)
    observed = read_map(write(tmp_path / "map.fits", gaussians(wcs, ((0.2, -0.1, 5.0),), 0.4), wcs))
    settings = {"distance_pc": DISTANCE, "position_angle": angle, "zoom": zoom}
    query = prepare(observed, FRAME, 25, **settings)
    rows, columns = np.indices((25, 25)) - 12
    weight = np.where(query.image > 0.3 * query.image.max(), query.image, 0)
    weight /= weight.sum()
    assert ((weight * columns).sum(), (weight * rows).sum()) == pytest.approx((right / 20, up / 20), abs=0.05)
    unknown = prepare(observed, Frame(20.0, FRAME.beam_au), 25, **settings)  # of a catalogue with any separation
    assert np.unravel_index(unknown.image.argmax(), (25, 25)) == (12, 12)


# --- gaps ----------------------------------------------------------------------------------------------------


def test_missing_pixels_take_the_value_of_the_nearest(tmp_path):
    image = np.arange(12.0).reshape(3, 4)
    image[1, 1:3] = np.nan
    filled, missing = fill_missing(image)
    assert missing.sum() == 2 and filled[1, 1] in (0 + 1, 4, 9) and filled[1, 2] in (2, 7, 10)
    np.testing.assert_array_equal(filled[~missing], image[~missing])
    with pytest.raises(ValueError, match="without a single finite pixel"):
        fill_missing(np.full((3, 3), np.nan))
    wcs = world()
    gappy = gaussians(wcs, BINARY, 0.4)
    gappy[:60] = np.nan
    observed = read_map(write(tmp_path / "map.fits", gappy, wcs))
    query = prepare(observed, FRAME, 41, distance_pc=DISTANCE, primary=sky(0, 0), centre="primary")
    assert np.isfinite(query.image).all()
    # Map rows 0–59 are gaps; row 80 is the middle of both, two of them make a row of the query.
    assert query.missing[:10].all() and not query.missing[11:].any()
    assert query.history["filled_share"] == pytest.approx(query.missing.mean())


# --- beams and noise -----------------------------------------------------------------------------------------


def width_of(image: np.ndarray) -> tuple[float, float]:
    """FWHM along columns and rows of a single source, from its second moments."""
    rows, columns = np.indices(image.shape)
    total = image.sum()
    cx, cy = (image * columns).sum() / total, (image * rows).sum() / total
    variance = [(image * (axis - centre) ** 2).sum() / total for axis, centre in ((columns, cx), (rows, cy))]
    return tuple(FWHM * np.sqrt(variance))


def test_smoothing_adds_covariances():
    y, x = np.indices((64, 64)) - 31.5
    point = np.exp(-0.5 * (x**2 + y**2) / 2.0**2)
    covariance = np.array([[9.0, 4.0], [4.0, 16.0]])
    out = smooth(point, covariance)
    total = out.sum()
    found = np.array([[(out * a * b).sum() / total for b in (x, y)] for a in (x, y)])
    np.testing.assert_allclose(found, covariance + 4 * np.eye(2), rtol=1e-3)
    assert total == pytest.approx(point.sum(), rel=1e-3)
    np.testing.assert_allclose(smooth(np.full((3, 20, 30), 7.0), covariance), 7, rtol=1e-12)
    assert smooth(point.astype(np.float32), covariance).dtype == np.float32


def test_observed_beam_is_kept_where_the_synthetic_one_fits_into_it():
    beam, own, extra = matched_beam((100.0, 60.0, 20.0), (50.0, 50.0, 0.0), 20.0)
    assert beam == (100.0, 60.0, 20.0) and not own.any()
    axes = np.sqrt(np.linalg.eigvalsh(extra)) * FWHM
    np.testing.assert_allclose(axes, [np.sqrt(60**2 - 50**2), np.sqrt(100**2 - 50**2)])


@pytest.mark.parametrize("observed", [(30.0, 20.0, 10.0), (100.0, 40.0, 0.0), (0.0, 0.0, 0.0)])
def test_common_beam_holds_both(observed):
    synthetic = (50.0, 50.0, 0.0)
    beam, own, extra = matched_beam(observed, synthetic, 20.0)
    width = max(observed[0], 50.0)
    assert beam == (width, width, 0.0)
    for covariance in (own, extra):
        assert np.linalg.eigvalsh(covariance)[0] >= -1e-9
    assert np.sqrt(np.trace(extra) / 2) * FWHM == pytest.approx(np.sqrt(width**2 - 50**2))


@pytest.mark.parametrize("seen", [0.3, 0.9])  # 60 and 180 AU, on either side of the catalogue's 80 AU
def test_map_and_synthetic_image_of_one_point_look_alike(tmp_path, seen):
    wcs = world(25)
    observed = read_map(write(tmp_path / "map.fits", gaussians(wcs, ((0, 0, 1.0),), seen), wcs, beam=seen))
    query = prepare(observed, FRAME, 31, distance_pc=DISTANCE, noise=0.0, centre="primary")
    rows, columns = np.indices((31, 31)) - 15
    point = np.exp(-0.5 * (rows**2 + columns**2) / (80 / 20 / FWHM) ** 2)[None]
    synthetic = observe_like(point, ["a"], query)[0]
    assert query.beam_au[0] == pytest.approx(max(80, 200 * seen))
    expected = width_of(query.image)
    assert width_of(synthetic) == pytest.approx(expected, rel=0.01)
    assert expected[0] == pytest.approx(query.beam_au[0] / 20, rel=0.03)
    np.testing.assert_allclose(synthetic / synthetic.max(), query.image / query.image.max(), atol=0.01)


def test_turned_beams_turn_with_the_map(tmp_path):
    """A beam along north–south lies across an image whose up is east."""
    wcs = world()
    y, x = np.indices((N, N)) - 80
    image = np.exp(-0.5 * ((x / (0.5 / PIXEL / FWHM)) ** 2 + (y / (1.0 / PIXEL / FWHM)) ** 2))
    path = write(tmp_path / "map.fits", image, wcs, beam=0.5, BMAJ=1.0 / 3600)
    seen = {"position_angle": 90.0, "noise": 0.0, "centre": "primary"}
    query = prepare(read_map(path), FRAME, 41, distance_pc=DISTANCE, **seen)
    assert width_of(query.image) == pytest.approx((10, 5), rel=0.02)
    rows, columns = np.indices((41, 41)) - 20
    point = np.exp(-0.5 * (rows**2 + columns**2) / (80 / 20 / FWHM) ** 2)[None]
    assert width_of(observe_like(point, ["a"], query)[0]) == pytest.approx((10, 5), rel=0.03)


def test_noise_has_the_rms_and_the_correlation_of_the_beam():
    covariance = 2.0**2 * np.eye(2)
    noise = beam_noise([f"image{k}" for k in range(60)], 64, covariance, seed=1)
    assert noise.std() == pytest.approx(1, abs=0.02) and abs(noise.mean()) < 0.06
    for shift in (1, 2, 4):  # white noise behind a Gaussian: ρ = exp(−d² / 4σ²)
        correlation = np.mean(noise[:, :, shift:] * noise[:, :, :-shift])
        assert correlation == pytest.approx(np.exp(-(shift**2) / (4 * 2.0**2)), abs=0.03)


def test_noise_belongs_to_the_image_not_to_its_place():
    one = beam_noise(["a", "b", "c"], 32, np.eye(2), seed=1)
    np.testing.assert_array_equal(beam_noise(["c", "a"], 32, np.eye(2), seed=1), one[[2, 0]])
    assert not np.array_equal(beam_noise(["a"], 32, np.eye(2), seed=2)[0], one[0])


def test_an_envelope_is_no_noise(tmp_path):
    """Eight skies with a wide envelope six times the noise: their rms is found, on the mean to 6 %."""
    wcs, rms, found = world(), 0.02, []
    y, x = np.indices((N, N)) - N // 2
    envelope = 6 * rms * np.exp(-(x**2 + y**2) / (2 * (N / 4) ** 2))
    for seed in range(8):
        noise = rms * beam_noise([f"sky{seed}"], N, (0.3 / PIXEL / FWHM) ** 2 * np.eye(2), 0)[0]
        path = write(tmp_path / f"{seed}.fits", gaussians(wcs, BINARY, 0.3) + envelope + noise, wcs, beam=0.3)
        frame = Frame(FRAME.pixel_au, (30.0, 30.0, 0.0))
        query = prepare(read_map(path), frame, 61, distance_pc=DISTANCE, primary=sky(0, 0))
        found.append(query.noise * np.pi / (4 * np.log(2)) * (query.beam_au[0] / DISTANCE / 206264.806) ** 2 / rms)
    assert np.mean(found) == pytest.approx(1, abs=0.06)


def test_synthetic_images_get_the_maps_noise_crop_and_gaps(tmp_path):
    rng = np.random.default_rng(0)
    wcs = world()
    rms = 0.02
    image = gaussians(wcs, BINARY, 0.6) + rms * beam_noise(["sky"], N, (0.6 / PIXEL / FWHM) ** 2 * np.eye(2), 0)[0]
    image[:, :40] = np.nan
    path = write(tmp_path / "map.fits", image, wcs, beam=0.6)
    query = prepare(read_map(path), FRAME, 61, distance_pc=DISTANCE, primary=sky(0, 0))
    assert query.noise * np.pi / (4 * np.log(2)) * (0.6 / 206264.806) ** 2 == pytest.approx(rms, rel=0.1)
    members = np.full((20, 71, 71), 1e9, np.float32)
    members[:, 0, 0] = rng.random(20) * 1e12  # outside of the crop
    observed = observe_like(members, [f"m{k}" for k in range(20)], query)
    assert observed.shape == (20, 61, 61)
    inside = observed[:, :, 40:]
    assert inside.std() == pytest.approx(query.noise, rel=0.05) and inside.mean() == pytest.approx(1e9, rel=0.05)
    assert query.missing[:, :9].all()
    first = np.flatnonzero(~query.missing[30])[0]
    np.testing.assert_array_equal(observed[:, 30, first - 3], observed[:, 30, first])
    with pytest.raises(ValueError, match="cannot be cut to the 61 × 61 pixels"):
        observe_like(np.zeros((2, 40, 40)), ["a", "b"], query)


# --- files ---------------------------------------------------------------------------------------------------


def test_units_of_surface_brightness_agree(tmp_path):
    wcs = world()
    image = gaussians(wcs, BINARY, 0.4)
    beam = np.pi / (4 * np.log(2)) * 0.4**2
    kelvin = 1.222e3 * 1e3 / (230.0**2 * 0.4 * 0.4)  # T = 1.222e3 I[mJy/beam] / (ν² θ²), Rayleigh–Jeans
    reference = read_map(write(tmp_path / "a.fits", image, wcs))
    scaled = {"mJy/beam": 1e3, "Jy/pixel": PIXEL**2 / beam, "MJy/sr": 206264.806**2 / beam / 1e6, "K": kelvin}
    frequency = {"CTYPE3": "FREQ", "CUNIT3": "Hz", "CRVAL3": 230e9, "CRPIX3": 1.0, "CDELT3": 1e9}
    for unit, factor in scaled.items():
        found = read_map(write(tmp_path / "b.fits", image * factor, wcs, unit, **frequency))
        assert found.unit == "Jy/sr"
        np.testing.assert_allclose(found.image, reference.image, rtol=2e-3, atol=1e-9 * reference.image.max())


def test_velocity_maps(tmp_path):
    wcs = world()
    image = 7.5e3 + 1e-3 * np.arange(N * N).reshape(N, N) / N**2
    image[:50] = np.nan
    observed = read_map(write(tmp_path / "m1.fits", image, wcs, "m/s"), systemic_kms=7.0)
    assert observed.unit == "km/s" and np.nanmax(observed.image) == pytest.approx(0.5, abs=1e-5)
    query = prepare(observed, FRAME, 31, distance_pc=DISTANCE, primary=sky(0, 0.5), secondary=sky(0, -0.5))
    np.testing.assert_allclose(query.image, 0.5, rtol=1e-4)
    members = np.linspace(-1, 1, 31, dtype=np.float32) * np.ones((2, 31, 1), np.float32)
    np.testing.assert_array_equal(observe_like(members, ["a", "b"], query)[:, 15:], members[:, 15:])
    with pytest.raises(ValueError, match="give its position"):
        prepare(observed, FRAME, 31, distance_pc=DISTANCE)


@pytest.mark.parametrize(("radius", "n"), [(1.3, 31), (0.9, 21), (0.1, 17)])
def test_velocity_maps_are_cropped_to_what_was_seen(tmp_path, radius, n):
    """A disc of πr² fills half of a square of side r √(2π): 652, 451 and 50 AU; pixels are 20 AU, 17 at least."""
    wcs = world()
    y, x = np.indices((N, N)) - 80
    image = np.where(np.hypot(x, y) * PIXEL < radius, 1.0 + 1e-6 * x, np.nan)
    observed = read_map(write(tmp_path / "m1.fits", image, wcs, "km/s"))
    stars = {"primary": sky(0, 0.5), "secondary": sky(0, -0.5)}
    query = prepare(observed, FRAME, 31, distance_pc=DISTANCE, **stars)
    assert query.image.shape == (n, n) and query.history["field_au"] == n * 20.0
    assert prepare(observed, FRAME, 31, distance_pc=DISTANCE, field_au=400.0, **stars).image.shape == (21, 21)


def test_line_cubes_become_moment_maps(tmp_path):
    wcs = WCS(naxis=3)
    wcs.wcs.ctype, wcs.wcs.cunit = ["RA---SIN", "DEC--SIN", "VRAD"], ["deg", "deg", "km/s"]
    wcs.wcs.crval, wcs.wcs.crpix = [RA, DEC, -8.0], [81.0, 81.0, 1.0]
    wcs.wcs.cdelt = [-PIXEL / 3600, PIXEL / 3600, 0.5]
    velocity = -8 + 0.5 * np.arange(57)
    line = np.exp(-0.5 * ((velocity[:, None, None] - 8.0) / 0.8) ** 2) * np.ones((N, N))
    line[:, :, :80] *= 1e-4
    cube = line + 0.01 * np.random.default_rng(0).normal(size=line.shape)
    header = wcs.to_header()
    header.update(BUNIT="Jy/beam", BMAJ=0.4 / 3600, BMIN=0.4 / 3600, BPA=0.0, RESTFRQ=220e9)
    fits.writeto(tmp_path / "cube.fits", cube.astype(np.float32), header)
    observed = read_map(tmp_path / "cube.fits", systemic_kms=7.0)
    assert observed.unit == "km/s" and np.isnan(observed.image[:, :80]).all()
    # Noise of 0.01 in 21 channels makes 0.035 km/s here; 13 thousand pixels reach 4σ.
    np.testing.assert_allclose(observed.image[:, 80:], 1.0, atol=0.2)


def test_maps_that_cannot_be_used(tmp_path):
    (tmp_path / "text.fits").write_text("no map")
    with pytest.raises(ValueError, match="not a FITS file"):
        read_map(tmp_path / "text.fits")
    flat = WCS(naxis=2)
    flat.wcs.cunit, flat.wcs.cdelt = ["AU", "AU"], [1.0, 1.0]
    header = flat.to_header()
    header.update(BUNIT="Jy/sr", CDELT1=1.0, CDELT2=1.0, CUNIT1="AU", CUNIT2="AU")
    fits.writeto(tmp_path / "nosky.fits", np.ones((9, 9)), header)
    with pytest.raises(ValueError, match="no celestial coordinates"):
        read_map(tmp_path / "nosky.fits")
    with pytest.raises(ValueError, match="every pixel is nan"):
        read_map(write(tmp_path / "empty.fits", np.full((N, N), np.nan), world()))
    with pytest.raises(ValueError, match="no beam size"):
        read_map(write(tmp_path / "nobeam.fits", np.ones((N, N)), world(), beam=0))
    observed = read_map(write(tmp_path / "map.fits", gaussians(world(), BINARY, 0.4), world()))
    with pytest.raises(ValueError, match="must be above 0"):
        prepare(observed, FRAME, 25, distance_pc=0.0)
    with pytest.raises(ValueError, match="use midpoint or primary"):
        prepare(observed, FRAME, 25, distance_pc=DISTANCE, centre="barycentre")
