"""Exposures in the 'flt' layout: what is written is what is read, and what is no such exposure is refused."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from dioscuri.cluster.frames import SATURATED, DataQuality, Frame, FrameError, read_flt, write_flt

SHAPE = (40, 60)
SCALE = 0.03962


def chip(extension: int, roll: float = 20.0, seed: int = 1) -> Frame:
    rng = np.random.default_rng([seed, extension])
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = (
        ["RA---TAN", "DEC--TAN"],
        [245.9, -26.5],
        [30.5, 45.5 - 50 * extension],
    )
    c, s = np.cos(np.radians(roll)), np.sin(np.radians(roll))
    wcs.wcs.cd = np.array([[-c, s], [s, c]]) * SCALE / 3600
    return Frame(
        science=rng.normal(10, 3, SHAPE).astype(np.float32),
        error=rng.uniform(3, 4, SHAPE).astype(np.float32),
        dq=rng.choice([0, 0, 0, 4, 256, 2048, 4096, 32768], SHAPE),
        wcs=wcs,
        filter="F775W",
        exposure_time=20.0,
        exposure="icaa01x1q",
        extension=extension,
        chip=3 - extension,
        pixel_scale=SCALE,
        orientation=roll,
        read_noise=3.1,
        zero_point=25.6,
    )


@pytest.fixture
def flt(tmp_path):
    path = tmp_path / "icaa01x1q_flt.fits"
    write_flt(path, [chip(1), chip(2)], {"TARGNAME": "NGC6121"})
    return path


def edited(path, change):
    """The file with `change(hdus)` made to it."""
    with fits.open(path, memmap=False) as hdus:
        change(hdus)
        hdus.writeto(path, overwrite=True)
    return path


def test_round_trip(flt):
    frames = read_flt(flt)
    assert [(frame.extension, frame.chip) for frame in frames] == [(1, 2), (2, 1)]
    for frame in frames:
        original = chip(frame.extension)
        for name in ("science", "error", "dq"):
            np.testing.assert_array_equal(getattr(frame, name), getattr(original, name))
        for name in ("filter", "exposure", "exposure_time", "read_noise"):
            assert getattr(frame, name) == getattr(original, name)
        assert frame.pixel_scale == pytest.approx(SCALE, rel=1e-9)
        assert frame.orientation == pytest.approx(20.0, abs=1e-9)
        assert frame.zero_point == pytest.approx(25.6, abs=1e-6)
        assert frame.pixel_area == 1.0
        sky, expected = (wcs.all_pix2world([3.0, 50.0], [7.0, 30.0], 0) for wcs in (frame.wcs, original.wcs))
        np.testing.assert_allclose(sky, expected, atol=1e-9)


def test_genuine_layout(flt):
    """What the WFC3 Data Handbook (chapter 2) says of a flt file, seen with another FITS reader."""
    fitsio = pytest.importorskip("fitsio")
    with fitsio.FITS(flt) as hdus:
        assert [(hdu.get_extname(), hdu.get_extver()) for hdu in hdus[1:]] == [
            (name, version) for version in (1, 2) for name in ("SCI", "ERR", "DQ")
        ]
        primary, science = hdus[0].read_header(), hdus[1].read_header()
        assert primary["NAXIS"] == 0 and primary["NEXTEND"] == 6
        assert primary["FILTER"] == "F775W" and primary["TELESCOP"] == "HST" and primary["EXPTIME"] == 20.0
        assert science["BUNIT"] == "ELECTRONS" and science["CCDCHIP"] == 2 and science["ORIENTAT"] == 20.0
        assert {"CRPIX1", "CRVAL1", "CD1_1", "CD2_2", "PHOTFLAM", "PHOTZPT", "PHOTMODE"} <= set(science)
        assert science["BITPIX"] == -32 and hdus[3].read_header()["BITPIX"] == 16
        np.testing.assert_array_equal(hdus["DQ", 2].read().astype(np.uint16), chip(2).dq)


def test_same_content_same_bytes(flt, tmp_path):
    again = tmp_path / "again" / flt.name
    write_flt(again, [chip(1), chip(2)], {"TARGNAME": "NGC6121"})
    assert again.read_bytes() == flt.read_bytes()


def test_flags():
    frame = chip(1)
    assert (frame.bad() == (frame.dq > 0)).all()
    warm = Frame(**{**vars(frame), "dq": np.full(SHAPE, int(DataQuality.WARM))})
    assert not warm.bad().any()
    assert warm.bad(DataQuality.WARM).all()
    assert (frame.saturated() == np.isin(frame.dq, [256, 2048])).all() and int(SATURATED) == 256 | 2048
    broken = Frame(**{**vars(warm), "science": np.full(SHAPE, np.nan)})
    assert broken.bad().all()


def test_constant_error_is_one_keyword(flt):
    """STScI may store a constant ERR or DQ image as the keyword PIXVALUE of an HDU without data."""

    def constant(hdus):
        for name, value in (("ERR", 3.5), ("DQ", 0)):
            hdus[name, 1].data = None
            hdus[name, 1].header["PIXVALUE"] = value

    frame = read_flt(edited(flt, constant))[0]
    assert (frame.error == 3.5).all() and (frame.dq == 0).all() and frame.error.shape == SHAPE


def test_other_instruments_name_the_filter_twice(flt):
    def acs(hdus):
        del hdus[0].header["FILTER"]
        hdus[0].header["FILTER1"], hdus[0].header["FILTER2"] = "CLEAR1L", "F814W"

    assert read_flt(edited(flt, acs))[0].filter == "F814W"


def _drizzled(hdus):
    hdus["ERR", 1].name = "WHT"


def _counts(hdus):
    hdus["SCI", 2].header["BUNIT"] = "COUNTS"


def _no_dq(hdus):
    del hdus["DQ", 2]


def _no_science(hdus):
    del hdus[1:]


def _two_filters(hdus):
    hdus[0].header["FILTER1"] = "F606W"


def _no_time(hdus):
    hdus[0].header["EXPTIME"] = 0.0


def _no_wcs(hdus):
    for keyword in ("CTYPE1", "CTYPE2", "CD1_1", "CD1_2", "CD2_1", "CD2_2"):
        del hdus["SCI", 1].header[keyword]


def _no_place(hdus):
    del hdus["SCI", 1].header["CRVAL1"]


def _singular(hdus):
    for keyword in ("CD1_1", "CD1_2", "CD2_1", "CD2_2"):
        hdus["SCI", 1].header[keyword] = 0.0


def _all_flagged(hdus):
    hdus["DQ", 2].data[:] = DataQuality.FULL_WELL


def _no_error(hdus):
    del hdus["ERR", 1]


def _all_nan(hdus):
    hdus["SCI", 2].data[:] = np.nan


def _error_zero(hdus):
    hdus["ERR", 1].data[:] = 0


def _no_unit(hdus):
    del hdus["SCI", 1].header["BUNIT"]


def _rate(hdus):
    hdus["SCI", 1].header["BUNIT"] = "ELECTRONS/S"


def _no_flat(hdus):
    hdus[0].header["FLATCORR"] = "OMIT"


def _mosaic(hdus):
    hdus[0].header["TELESCOP"] = "JWST"
    hdus["DQ", 1].name = "WHT"


def _other_shape(hdus):
    hdus["ERR", 1].data = hdus["ERR", 1].data[:-1]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_drizzled, "drizzled"),
        (_counts, "SCI,2 has BUNIT 'COUNTS'"),
        (_no_dq, "SCI,2 has no DQ"),
        (_no_science, "no SCI extension"),
        (_two_filters, "FILTER names no single filter"),
        (_no_time, "EXPTIME is 0.0"),
        (_no_wcs, r"SCI,1 has no celestial WCS \(no CTYPE1, CTYPE2\)"),
        (_no_place, r"SCI,1 has no celestial WCS \(no CRVAL1\)"),
        (_singular, "CTYPE and the CD matrix do not lead from pixels to the sky"),
        (_all_flagged, "SCI,2: 0% of the pixels have no flag in DQ that forbids their use"),
        (_other_shape, r"ERR,1 has shape \(39, 60\)"),
        (_no_error, "SCI,1 has no ERR"),
        (_all_nan, "0% of the pixels have a finite value in SCI"),
        (_error_zero, "0% of the pixels have an error above 0 in ERR"),
        (_no_unit, "no BUNIT: counts or electrons"),
        (_rate, "'ELECTRONS/S', a rate: .* multiply SCI and ERR by EXPTIME"),
        (_no_flat, "FLATCORR is 'OMIT': not flat-fielded"),
        (_mosaic, "an image of JWST, a resampled mosaic"),
    ],
)
def test_refused(flt, change, told):
    with pytest.raises(FrameError, match=told) as refused:
        read_flt(edited(flt, change))
    assert str(flt) in str(refused.value)


def test_damaged(flt, tmp_path):
    with pytest.raises(FrameError, match="No such file"):
        read_flt(tmp_path / "none_flt.fits")
    text = tmp_path / "text_flt.fits"
    text.write_text("no FITS")
    with pytest.raises(FrameError, match=r"text_flt.fits: not a FITS file: it begins with"):
        read_flt(text)
    flt.write_bytes(flt.read_bytes()[:20_000])
    with pytest.raises(FrameError):
        read_flt(flt)


def test_pixel_area_from_distortion(flt):
    """u' = u + a u², v' = v + b u v has the area (1 + 2 a u)(1 + b u)."""
    a, b = 2e-4, 1e-4

    def distort(hdus):
        header = hdus["SCI", 1].header
        header["CTYPE1"], header["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"
        header["A_ORDER"], header["B_ORDER"] = 2, 2
        header["A_2_0"], header["B_1_1"] = a, b

    first, second = read_flt(edited(flt, distort))
    u = np.arange(SHAPE[1]) + 1 - first.wcs.wcs.crpix[0]
    expected = np.broadcast_to((1 + 2 * a * u) * (1 + b * u), SHAPE)
    np.testing.assert_allclose(first.pixel_area, expected, atol=2e-6)
    np.testing.assert_allclose(
        first.area_at(np.array([10.2, 500.0]), np.array([3.0, 3.0])), expected[3, [10, -1]], atol=2e-6
    )
    assert second.pixel_area == 1.0


def test_pixel_area_map_of_a_subarray(flt, tmp_path):
    def subarray(hdus):
        hdus["SCI", 1].header["LTV1"], hdus["SCI", 1].header["LTV2"] = -100.0, -7.0

    area = np.random.default_rng(3).uniform(0.95, 1.05, (60, 200)).astype(np.float32)
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(area)]).writeto(tmp_path / "pam.fits")
    first, second = read_flt(edited(flt, subarray), {2: tmp_path / "pam.fits"})
    np.testing.assert_array_equal(first.pixel_area, area[7:47, 100:160])
    assert second.pixel_area == 1.0
    assert first.corner == (100, 7) and second.corner == (0, 0)
    write_flt(tmp_path / "again_flt.fits", [first, second])
    assert [frame.corner for frame in read_flt(tmp_path / "again_flt.fits")] == [(100, 7), (0, 0)]
    with pytest.raises(FrameError, match="chips \\[4\\]"):
        read_flt(flt, {4: tmp_path / "pam.fits"})
    fits.PrimaryHDU(area[:20]).writeto(tmp_path / "small.fits")
    with pytest.raises(FrameError, match="does not cover"):
        read_flt(flt, {2: tmp_path / "small.fits"})
