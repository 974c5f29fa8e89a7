"""What an interferometer keeps: tracks against closed forms, scales that are lost, files, and members seen alike."""

import numpy as np
import pytest
from astropy.io import fits

from dioscuri.analogues.observation.interferometer import (
    ARCSEC,
    Response,
    filtered,
    read_antennas,
    read_uv,
    response_of,
    tracks,
    transfer,
)

N, PIXEL = 64, 0.1  # pixels, arcsec


def gaussian(fwhm: float) -> np.ndarray:
    """A round Gaussian of unit flux and `fwhm` [arcsec] in mid-image."""
    x = (np.arange(N) - (N - 1) / 2) * PIXEL
    sigma = fwhm / np.sqrt(8 * np.log(2))
    one = np.exp(-0.5 * (x / sigma) ** 2)
    return np.outer(one, one) / one.sum() ** 2


def test_what_is_smooth_on_the_largest_scale_is_lost():
    """Of a Gaussian of width w, 1 − G(θ) leaves exactly that Gaussian less one of width √(w² + θ²)."""
    kept = transfer(Response(largest_scale=1.5), N, PIXEL, 0.0)
    found = filtered(gaussian(0.8), kept)
    np.testing.assert_allclose(found, gaussian(0.8) - gaussian(np.hypot(0.8, 1.5)), atol=2e-3 * gaussian(0.8).max())
    assert abs(found.sum()) < 1e-3  # no total flux without short spacings
    wide = np.ones((2, N, N), np.float32)
    assert np.abs(filtered(wide, kept)).max() < 1e-5


def test_nothing_is_lost_by_a_telescope_that_measures_everything():
    assert not Response(calibration_error=0.1).filters
    everything = transfer(Response(largest_scale=1e6), N, PIXEL, 0.0)
    everything[0, 0] = 1.0
    np.testing.assert_allclose(filtered(gaussian(0.8), everything), gaussian(0.8), atol=1e-9)


def test_an_east_west_baseline_draws_an_ellipse():
    """Thompson, Moran & Swenson: u = b cos H, v = b sin H sin δ for an east–west baseline of length b."""
    u, v = tracks(np.array([[0.0, 0, 0], [100.0, 0, 0]]), -23.0, 40.0, (-6, 6)).T
    np.testing.assert_allclose((u / 100) ** 2 + (v / (100 * np.sin(np.deg2rad(40)))) ** 2, 1, rtol=1e-12)
    assert u.max() == pytest.approx(100) and v.max() == pytest.approx(100 * np.sin(np.deg2rad(40)))


def test_at_the_zenith_baselines_are_seen_as_they_lie():
    antennas = np.array([[0.0, 0, 0], [30.0, 40.0, 0]])
    np.testing.assert_allclose(tracks(antennas, -23.0, -23.0, (0, 0)), [[30.0, 40.0]], atol=1e-12)
    with pytest.raises(ValueError, match="accepted are two between"):
        tracks(antennas, 0.0, 0.0, (2, -2))


@pytest.mark.parametrize("angle", [0.0, 90.0, 30.0])
def test_coverage_turns_with_the_image(angle):
    """Fringes along the only baseline are kept, those across are not, wherever up is."""
    along = 10 / (2 * N * PIXEL)  # 1/arcsec
    uv = np.array([[along, 0.0], [60 * along, 0.0]]) / ARCSEC  # east–west; a long one so that little lies beyond
    kept = transfer(Response(uv=uv), N, PIXEL, angle)
    up, right = np.meshgrid(np.fft.fftfreq(2 * N, PIXEL), np.fft.rfftfreq(2 * N, PIXEL), indexing="ij")
    turn = np.deg2rad(angle)
    east, north = up * np.sin(turn) - right * np.cos(turn), up * np.cos(turn) + right * np.sin(turn)
    near = np.hypot(np.abs(east) - along, north) < 0.5 / (N * PIXEL) / 2
    across = np.hypot(east, np.abs(north) - along) < 0.5 / (N * PIXEL)
    assert near.any() and across.any()
    assert kept[near].min() == 1 and kept[across].max() == 0 and kept[0, 0] == 0


def test_files_of_coverage(tmp_path):
    table = tmp_path / "uv.csv"
    table.write_text("u [klambda],v [klambda]\n10,-20\n30,5\n")
    np.testing.assert_allclose(read_uv(str(table), None), [[1e4, -2e4], [3e4, 5e3]])
    table.write_text("u [m],v [m]\n13,26\n")
    np.testing.assert_allclose(read_uv(str(table), 1300.0), [[1e4, 2e4]])
    for text, said in (("u,v\n1,2\n", "accepted: lambda"), ("x,y\n1,2\n", "columns x, y"), ("u [m],v [m]\n", "not a")):
        table.write_text(text)
        with pytest.raises(ValueError, match=said):
            read_uv(str(table), 1300.0)
    data = fits.GroupData(
        np.zeros((3, 1, 1, 1, 3), np.float32), parnames=["UU", "VV"], bitpix=-32,
        pardata=[np.array([1e-7, 2e-7, 0]), np.array([0, 1e-7, 3e-7])],
    )  # fmt: skip
    hdu = fits.GroupsHDU(data)
    hdu.header["CTYPE4"], hdu.header["CRVAL4"] = "FREQ", 2.3e11
    hdu.writeto(tmp_path / "a.uvfits")
    np.testing.assert_allclose(read_uv(str(tmp_path / "a.uvfits"), None)[1], [4.6e4, 2.3e4], rtol=1e-6)
    (tmp_path / "b.uvfits").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="no uv coverage; accepted: UVFITS"):
        read_uv(str(tmp_path / "b.uvfits"), None)


def test_antenna_lists(tmp_path):
    path = tmp_path / "alma.cfg"
    path.write_text(
        "# observatory=ALMA\n# coordsys=LOC (local tangent plane)\n# x y z diam pad#\n0 0 0 12 A1\n150 20 3 12 A2\n"
    )
    antennas, latitude = read_antennas(str(path))
    assert antennas.tolist() == [[0, 0, 0], [150, 20, 3]] and latitude == pytest.approx(-23.03, abs=0.01)
    uv = response_of({"antennas": str(path), "hour_angles": (0, 0)}, -23.029, 1000.0).uv
    np.testing.assert_allclose(uv, [[150e3, 20e3]], rtol=1e-3)
    for text, said in (
        ("# coordsys=XYZ\n1 2 3\n4 5 6\n", "coordinates in 'XYZ'"),
        ("1 2 3\n", "1 antennas"),
        ("a b c\n", "line per"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=said):
            read_antennas(str(path))
    path.write_text("0 0 0\n1 1 1\n")
    with pytest.raises(ValueError, match="give latitude"):
        response_of({"antennas": str(path)}, 0.0, 1300.0)
    with pytest.raises(ValueError, match="give one of them"):
        response_of({"antennas": str(path), "uv": "a.csv"}, 0.0, 1300.0)
