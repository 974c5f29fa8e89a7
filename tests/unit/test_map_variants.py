"""One observed map in many dialects: read alike, refused with its own reason, or doubted."""

import gzip
import re

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from dioscuri.analogues.catalogue import Frame
from dioscuri.analogues.observation.maps import check_channel, read_map
from dioscuri.analogues.observation.query import prepare

RA, DEC, PIXEL, N, BEAM = 52.2656, 31.2672, 0.1, 81, 0.4  # deg, deg, arcsec, pixels, arcsec
FREQUENCY = 230e9
CHANNEL = "continuum_1300um"
FRAME = Frame(pixel_au=20.0, beam_au=(80.0, 80.0, 0.0), separation_au=200.0)
STERADIAN = np.pi / (4 * np.log(2)) * np.radians(BEAM / 3600) ** 2
PIXEL_SR = np.radians(PIXEL / 3600) ** 2


def header(**cards) -> fits.Header:
    """The header of a good map; a card that is None is left out."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---SIN", "DEC--SIN"], [RA, DEC], [41.0, 41.0]
    wcs.wcs.cdelt = [-PIXEL / 3600, PIXEL / 3600]
    out = wcs.to_header()
    out.update(BUNIT="Jy/beam", BMAJ=BEAM / 3600, BMIN=BEAM / 3600, BPA=0.0, RESTFRQ=FREQUENCY)
    for key, value in cards.items():
        if value is None:
            out.remove(key, ignore_missing=True)
        else:
            out[key] = value
    return out


def axis(number: int, kind: str, value: float, step: float, unit: str = "") -> dict:
    """Cards of one more axis."""
    found = {f"CTYPE{number}": kind, f"CRVAL{number}": value, f"CDELT{number}": step, f"CRPIX{number}": 1.0}
    return found | ({f"CUNIT{number}": unit} if unit else {})


@pytest.fixture(scope="module")
def sky() -> np.ndarray:
    """Two stars 200 AU apart at 200 pc in noise, Jy/beam."""
    y, x = np.indices((N, N)) - 40
    image = np.random.default_rng(0).normal(0, 2e-3, (N, N))
    for up, peak in ((5.0, 1.0), (-5.0, 0.4)):
        image += peak * np.exp(-4 * np.log(2) * (x**2 + (y - up) ** 2) * (PIXEL / BEAM) ** 2)
    return image


def write(path, data, head):
    fits.PrimaryHDU(np.asarray(data, np.float32), head).writeto(path, overwrite=True)
    return path


def query_of(path, channel=CHANNEL, **settings):
    observed = read_map(path)
    doubts = check_channel(observed, channel)
    query = prepare(observed, FRAME, 25, **({"distance_pc": 200.0} | settings))
    return query, [*query.history["doubts"], *doubts]


@pytest.fixture(scope="module")
def reference(sky, tmp_path_factory):
    query, doubts = query_of(write(tmp_path_factory.mktemp("map") / "map.fits", sky, header()))
    assert doubts == []
    return query


KELVIN = 1e-26 * 2.99792458e8**2 / (2 * 1.380649e-23 * FREQUENCY**2)  # per Jy/sr
STOKES4, STOKES3 = axis(4, "STOKES", 1.0, 1.0), axis(3, "STOKES", 1.0, 1.0)
FREQ = axis(3, "FREQ", FREQUENCY, 1e9, "Hz")
SAME = {
    "mJy/beam": lambda d: (1e3 * d, header(BUNIT="mJy/beam")),
    "Jy beam-1": lambda d: (d, header(BUNIT="Jy beam-1")),
    "Jy.beam-1": lambda d: (d, header(BUNIT="Jy.beam-1")),
    "JY/BEAM": lambda d: (d, header(BUNIT="JY/BEAM")),
    "jy/beam": lambda d: (d, header(BUNIT="jy/beam")),
    "Jy /beam": lambda d: (d, header(BUNIT="Jy /beam ")),
    "Jy/pixel": lambda d: (d / STERADIAN * PIXEL_SR, header(BUNIT="Jy/pixel")),
    "JY/PIXEL": lambda d: (d / STERADIAN * PIXEL_SR, header(BUNIT="JY/PIXEL")),
    "Jy/sr": lambda d: (d / STERADIAN, header(BUNIT="Jy/sr")),
    "MJy/sr": lambda d: (d / STERADIAN / 1e6, header(BUNIT="MJy/sr")),
    "Jy/arcsec2": lambda d: (d / STERADIAN * np.radians(1 / 3600) ** 2, header(BUNIT="Jy/arcsec2")),
    "K": lambda d: (d / STERADIAN * KELVIN, header(BUNIT="K")),
    "K (Tb)": lambda d: (d / STERADIAN * KELVIN, header(BUNIT="K (Tb)")),
    "K with RESTFREQ": lambda d: (d / STERADIAN * KELVIN, header(BUNIT="K", RESTFRQ=None, RESTFREQ=FREQUENCY)),
    "frequency and Stokes of length 1": lambda d: (d[None, None], header(**FREQ, **STOKES4)),
    "frequency step 0": lambda d: (d[None, None], header(**(FREQ | {"CDELT3": 0.0}), **STOKES4)),
    "frequency axis without RESTFRQ": lambda d: (d[None], header(**FREQ, RESTFRQ=None)),
    "axes that the data no longer have": lambda d: (d, header(**FREQ, **STOKES4, RESTFRQ=None, WCSAXES=4)),
    "a cube of one, its Stokes axis dropped": lambda d: (d[None], header(**FREQ, **STOKES4, WCSAXES=4)),
    "Stokes IQUV, third axis": lambda d: (np.stack([d, d / 10, d / 20, 0 * d]), header(**STOKES3)),
    "Stokes IQUV, fourth axis": lambda d: (np.stack([d, d / 10, d / 20, 0 * d])[:, None], header(**FREQ, **STOKES4)),
    "Stokes QUI": lambda d: (np.stack([d / 10, d / 20, d]), header(**axis(3, "STOKES", 3.0, -1.0))),
    "east to the right": lambda d: (d[:, ::-1], header(CDELT1=PIXEL / 3600)),
    "only BMAJ": lambda d: (d, header(BMIN=None, BPA=None)),
    "scaled integers": lambda d: (d, header(BSCALE=1.0, BZERO=0.0)),
    "no RADESYS": lambda d: (d, header(RADESYS=None)),
    "a bad DATE-OBS": lambda d: (d, header(**{"DATE-OBS": "yesterday"})),
}


@pytest.mark.parametrize("name", SAME)
def test_the_same_map_in_another_dialect(tmp_path, sky, reference, name):
    query, doubts = query_of(write(tmp_path / "map.fits", *SAME[name](sky)))
    np.testing.assert_allclose(query.image, reference.image, rtol=3e-3, atol=3e-3 * reference.image.max())
    assert query.unit == "Jy/sr" and doubts == []


def test_files_in_other_wrappings(tmp_path, sky, reference):
    """gzip; an empty primary; weights, primary beam and errors beside the sky, before it and behind."""
    raw = write(tmp_path / "map.fits", sky, header()).read_bytes()
    (tmp_path / "map.fits.gz").write_bytes(gzip.compress(raw))
    image, ones = (np.float32(data) for data in (sky, np.ones_like(sky)))
    beam = np.float32(np.exp(-np.hypot(*(np.indices(sky.shape) - 40)) / 50))
    wrapped = {
        "empty.fits": [fits.PrimaryHDU(), fits.ImageHDU(image, header(), name="SCI"), fits.ImageHDU(beam, name="WHT")],
        "ones.fits": [fits.PrimaryHDU(ones, header()), fits.ImageHDU(image, header(), name="SCI")],
        "pb.fits": [fits.PrimaryHDU(), fits.ImageHDU(beam, header(), name="PB"), fits.ImageHDU(image, header())],
        "err.fits": [fits.PrimaryHDU(image, header()), fits.ImageHDU(beam, header(), name="ERR")],
    }
    for name, hdus in wrapped.items():
        fits.HDUList(hdus).writeto(tmp_path / name)
    for path in ("map.fits.gz", *wrapped):
        query, doubts = query_of(tmp_path / path)
        np.testing.assert_allclose(query.image, reference.image, rtol=1e-5, atol=1e-6 * reference.image.max())
        assert doubts == []


def test_the_beam_of_a_table_of_beams(tmp_path, sky, reference):
    columns = [fits.Column("BMAJ", "E", "arcsec", array=[BEAM]), fits.Column("BMIN", "E", "arcsec", array=[BEAM])]
    table = fits.BinTableHDU.from_columns([*columns, fits.Column("BPA", "E", "deg", array=[0.0])], name="BEAMS")
    head = header(BMAJ=None, BMIN=None, BPA=None, CASAMBM=True)
    path = tmp_path / "casa.fits"
    fits.HDUList([fits.PrimaryHDU(np.float32(sky), head), table]).writeto(path)
    query, doubts = query_of(path)
    np.testing.assert_allclose(query.image, reference.image, rtol=1e-4, atol=1e-5 * reference.image.max())
    assert doubts == []


CUBE = header(**axis(3, "VRAD", -8000.0, 500.0, "m/s"))
REFUSED = {
    "no BUNIT": (lambda d: (d, header(BUNIT=None)), "no BUNIT"),
    "Jy": (lambda d: (d, header(BUNIT="Jy")), "BUNIT 'Jy' is not accepted"),
    "counts": (lambda d: (d, header(BUNIT="counts")), "BUNIT 'counts' is not"),
    "mag/arcsec2": (lambda d: (d, header(BUNIT="mag/arcsec2")), "BUNIT 'mag/arcsec2' is not accepted"),
    "integrated line": (lambda d: (d, header(BUNIT="Jy/beam km/s")), "is not (a unit|accepted)"),
    "MJY/BEAM": (lambda d: (d, header(BUNIT="MJY/BEAM")), "is not a unit"),
    "no beam": (lambda d: (d, header(BMAJ=None, BMIN=None)), "no beam size"),
    "beam of zero": (lambda d: (d, header(BMAJ=0.0, BMIN=0.0)), "no beam size"),
    "negative beam": (lambda d: (d, header(BMAJ=-1e-4)), "0 < BMIN ≤ BMAJ"),
    "text for a beam": (lambda d: (d, header(BMAJ="NaN")), "BMAJ is 'NaN'"),
    "truth for a beam": (lambda d: (d, header(BMAJ=True)), "BMAJ is True"),
    "beam in arcsec": (lambda d: (d, header(BMAJ=BEAM, BMIN=BEAM)), "wider than the map"),
    "BMIN above BMAJ": (lambda d: (d, header(BMIN=2 * BEAM / 3600)), "0 < BMIN ≤ BMAJ"),
    "33 GHz": (lambda d: (d, header(RESTFRQ=33e9)), "a map at 9085 µm; channel 'continuum_1300um' is at 1300 µm"),
    "100 GHz": (lambda d: (d, header(RESTFRQ=100e9)), "a map at 2998 µm"),
    "K without frequency": (lambda d: (d, header(BUNIT="K", RESTFRQ=None)), "no frequency in the header"),
    "K with text": (lambda d: (d, header(BUNIT="K", RESTFRQ=None, RESTFREQ="230 GHz")), "RESTFREQ = '230 GHz'"),
    "velocities": (lambda d: (d, header(BUNIT="km/s")), "found velocities"),
    "a line cube": (lambda d: (np.stack([d * np.exp(-((k - 16) ** 2) / 8) for k in range(33)]), CUBE), "found velocit"),
    "a cube without velocities": (
        lambda d: (np.stack([d, d, d]), header(RESTFRQ=None, **FREQ)),
        "a cube of 3 channels",
    ),
    "Stokes QU": (lambda d: (np.stack([d, d]), header(**axis(3, "STOKES", 2.0, 1.0))), "none of them 1"),
    "five axes": (lambda d: (np.stack([d] * 4).reshape(2, 2, N, N), header(**FREQ)), "4 axes longer than 1"),
    "no coordinates": (lambda d: (d, fits.Header({"BUNIT": "Jy/sr"})), "no pixel scale"),
    "all NaN": (lambda d: (d * np.nan, header()), "nothing on the map: every pixel is nan"),
    "all zero": (lambda d: (d * 0, header()), "nothing on the map: every pixel is 0"),
    "all one": (lambda d: (d * 0 + 1, header(BUNIT="Jy/sr")), "nothing on the map: every pixel is 1"),
    "noise alone": (lambda d: (np.random.default_rng(1).normal(size=d.shape), header()), "nothing detected"),
    "oblong pixels": (lambda d: (d, header(CDELT1=-2 * PIXEL / 3600)), "square pixels are needed"),
    "8 pixels": (lambda d: (d[36:44, 36:44], header(CRPIX1=5.0, CRPIX2=5.0)), "the whole map is"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_map_that_cannot_be_right_is_refused_with_its_own_reason(tmp_path, sky, name):
    make, reason = REFUSED[name]
    path = write(tmp_path / "map.fits", *make(sky))
    with pytest.raises(ValueError, match=reason) as refusal:
        query_of(path)
    assert str(path) in str(refusal.value)


def test_files_that_are_not_maps(tmp_path, sky):
    raw = write(tmp_path / "map.fits", sky, header()).read_bytes()
    table = fits.BinTableHDU.from_columns([fits.Column("x", "E", array=[1.0])])
    files = {"half.fits": raw[: len(raw) // 2], "head.fits": raw[:2000], "jpeg.fits": b"\xff\xd8\xff\xe0" + raw[:99]}
    for name, content in ({"nothing.fits": b""} | files).items():
        (tmp_path / name).write_bytes(content)
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "table.fits")
    fits.HDUList([fits.PrimaryHDU(np.float32(sky), header()), fits.ImageHDU(np.float32(sky[::-1]))]).writeto(
        tmp_path / "two.fits"
    )
    for path in sorted(tmp_path.glob("*.fits")):
        if path.name != "map.fits":
            with pytest.raises(ValueError, match=path.name):
                read_map(path)
    with pytest.raises(ValueError, match="No such file"):
        read_map(tmp_path / "missing.fits")
    with pytest.raises(ValueError, match=tmp_path.name):
        read_map(tmp_path)


def padded(d):
    y, x = np.indices(d.shape) - 40
    return np.where(np.hypot(x, y) > 36, 0.0, d)


DOUBTED = {
    "no frequency": (lambda d: (d, header(RESTFRQ=None)), {}, "no frequency in the header"),
    "no beam, Jy/sr": (lambda d: (d / STERADIAN, header(BUNIT="Jy/sr", BMAJ=None)), {}, "no beam in the header"),
    "zeros around": (lambda d: (padded(d), header()), {}, "zeros at the edge, taken as missing"),
    "a small field": (
        lambda d: (d[31:50, 31:50], header(CRPIX1=10.0, CRPIX2=10.0)),
        {},
        r"\d+ AU of the map are compared, 2 times the stars' separation in the catalogue \(200 AU\) are needed",
    ),
    "another separation": (
        lambda d: (d, header()),
        {"primary": (RA, DEC + 2 / 3600), "secondary": (RA, DEC)},
        "stars 400 AU apart .*200 AU in the catalogue",
    ),
}


@pytest.mark.parametrize("name", DOUBTED)
def test_what_had_to_be_assumed_is_said(tmp_path, sky, name):
    make, settings, words = DOUBTED[name]
    _, doubts = query_of(write(tmp_path / "map.fits", *make(sky)), **settings)
    assert len(doubts) == 1
    assert re.search(words, doubts[0])


def test_missing_pixels_are_filled_and_counted(tmp_path, sky, reference):
    """NaN beyond the primary beam, and the same place padded with zeros: one answer."""
    y, x = np.indices(sky.shape) - 40
    beyond = np.hypot(x, y) > 36
    nan, _ = query_of(write(tmp_path / "nan.fits", np.where(beyond, np.nan, sky), header()))
    zero, _ = query_of(write(tmp_path / "zero.fits", padded(sky), header()))
    np.testing.assert_array_equal(nan.image, zero.image)


@pytest.mark.parametrize(("distance", "words"), [(1e9, "two beams across"), (0.05, "the whole map is"), (np.inf, "0")])
def test_distances_that_cannot_be(tmp_path, sky, distance, words):
    with pytest.raises(ValueError, match=words):
        query_of(write(tmp_path / "map.fits", sky, header()), distance_pc=distance)


def test_velocities_want_a_velocity_channel(tmp_path, sky):
    path = write(tmp_path / "moment1.fits", sky, header(BUNIT="km/s"))
    assert check_channel(read_map(path), "moment1_warm") == ()
    with pytest.raises(ValueError, match="accepted for channel 'moment1_warm'"):
        check_channel(read_map(write(tmp_path / "map.fits", sky, header())), "moment1_warm")
