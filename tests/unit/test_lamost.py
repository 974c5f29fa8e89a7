"""LAMOST MRS files: both layouts, their oddities, and a refusal for everything else."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from dioscuri.flags import Quality, Refusal
from dioscuri.lamost.dates import barycentric_date, parse_date
from dioscuri.lamost.exposures import COADD, Exposure
from dioscuri.lamost.files import ObservedFile
from dioscuri.lamost.fits_units import LARGEST, RefusedFile
from dioscuri.lamost.mrs_files import read_mrs
from dioscuri.lamost.mrs_writer import write_mrs_file

LMJM = 83_734_392  # 2018-01-30 21:12 in Beijing
N_PIXELS = 60


def exposure(arm: str, lmjm: int = LMJM, wave_min: float | None = None) -> Exposure:
    """A short spectrum with something different in every pixel, on values that float32 holds exactly."""
    start = wave_min or {"blue": 5000.0, "red": 6400.0}[arm]
    wave = (start + 0.125 * np.arange(N_PIXELS)).astype(np.float32).astype(float)
    flux = np.arange(N_PIXELS) * 2.0 + 100
    mask = np.arange(N_PIXELS) % 7 == 0
    name = f"COADD_{arm[0].upper()}" if lmjm == COADD else f"{arm[0].upper()}-{lmjm}"
    mjd_mid = LMJM / 1440 - 8 / 24 + 600 / 86400 if lmjm == COADD else lmjm / 1440 - 8 / 24 + 600 / 86400
    return Exposure(name, arm, lmjm, mjd_mid, 1200.0, 21.5, wave, flux, np.full(N_PIXELS, 0.25), mask)


def mrs_file(path: Path, *exposures: Exposure) -> ObservedFile:
    return ObservedFile(
        path=path,
        obsid=636909191,
        designation="LAMOST J054413.47+290911.0",
        object_name="2006912396372680960",
        gaia_id=2006912396372680960,
        ra=86.056158,
        dec=29.15306,
        planid="HIP265740401",
        spid=9,
        fiberid=191,
        lmjd=58149,
        fiber_type="Obj",
        object_type="Star",
        data_version="LAMOST DR9",
        helio_rv=20.76393,
        magnitudes={"bp": 10.94, "rp": 9.91},
        exposures=exposures,
    )


@pytest.fixture
def pair() -> tuple[Exposure, ...]:
    return exposure("blue"), exposure("red"), exposure("blue", COADD), exposure("red", COADD)


@pytest.mark.parametrize("layout", ["loglam", "wavelength"])
def test_a_file_comes_back_as_it_was_written(tmp_path, pair, layout):
    path = tmp_path / "med.fits"
    write_mrs_file(path, written := mrs_file(path, *pair), layout)
    found = read_mrs(path)
    for name in (
        "obsid",
        "designation",
        "gaia_id",
        "ra",
        "dec",
        "planid",
        "spid",
        "fiberid",
        "lmjd",
        "helio_rv",
    ):
        assert getattr(found, name) == getattr(written, name)
    assert [e.name for e in found.exposures] == [f"B-{LMJM}", f"R-{LMJM}", "COADD_B", "COADD_R"]
    for ours, theirs in zip(found.exposures, pair, strict=True):
        assert (ours.arm, ours.lmjm, ours.snr) == (theirs.arm, theirs.lmjm, theirs.snr)
        # log10 λ as float32 is good to 2.4e-7, and so λ to 3e-7: 0.1 km/s
        np.testing.assert_allclose(ours.wave, theirs.wave, rtol=3e-7 if layout == "loglam" else 0)
        np.testing.assert_array_equal(ours.flux, theirs.flux)
        np.testing.assert_array_equal(ours.ivar, theirs.ivar)
        np.testing.assert_array_equal(ours.mask, theirs.mask)


@pytest.mark.parametrize("layout", ["loglam", "wavelength"])
def test_written_files_are_good_fits_with_lamosts_columns(tmp_path, pair, layout):
    path = tmp_path / "med.fits.gz"
    write_mrs_file(path, mrs_file(path, *pair), layout)
    with fits.open(path) as units:
        units.verify("exception")
        assert [unit.name for unit in units] == [
            "Information",
            "COADD_B",
            "COADD_R",
            f"B-{LMJM}",
            f"R-{LMJM}",
        ]
        single, red, coadd = units[3], units[4], units[1]
        if layout == "loglam":
            assert single.columns.names == ["FLUX", "IVAR", "LOGLAM", "PIXMASK"]
            assert single.columns.formats == ["E", "E", "E", "I"]
            assert np.all(np.diff(red.data["LOGLAM"]) < 0), "single red exposures run from red to blue"
            assert np.all(np.diff(units[2].data["LOGLAM"]) > 0), "co-adds do not"
        else:
            assert single.columns.names == ["FLUX", "IVAR", "WAVELENGTH", "PIXMASK", "NORMALIZATION"]
            assert single.columns.formats == [f"{N_PIXELS}E"] * 3 + [f"{N_PIXELS}I", f"{N_PIXELS}E"]
            assert single.header["DATE-OBS"] == "2018-01-30T13:22:0.000"
        assert coadd.header["LMJMLIST"] == str(LMJM)


def test_genuine_tables_made_by_astropy(tmp_path):
    """Independent of our own writer: one row per pixel, descending, as DR7 has it."""
    loglam = np.linspace(3.805, 3.80, 500, dtype=np.float32)
    flux = np.linspace(1, 2, 500, dtype=np.float32)
    columns = [
        fits.Column("FLUX", "E", array=flux),
        fits.Column("IVAR", "E", array=np.ones(500)),
        fits.Column("LOGLAM", "E", array=loglam),
        fits.Column("PIXMASK", "I", array=np.arange(500) == 3),
    ]
    unit = fits.BinTableHDU.from_columns(columns, name=f"R-{LMJM}")
    unit.header["EXPTIME"] = 600
    primary = fits.PrimaryHDU()
    for key, value in {
        "TELESCOP": "LAMOST",
        "OBSID": 1,
        "RA": 1.0,
        "DEC": 2.0,
        "SPID": 3,
        "FIBERID": 4,
    }.items():
        primary.header[key] = value
    primary.header["LMJD"] = 58149
    fits.HDUList([primary, unit]).writeto(path := tmp_path / "x.fits")
    (found,) = read_mrs(path).exposures
    np.testing.assert_allclose(found.wave, 10.0 ** loglam[::-1].astype(float), rtol=1e-12)
    np.testing.assert_array_equal(found.flux, flux[::-1])
    assert found.mask[-4] and found.mask.sum() == 1
    assert found.snr == pytest.approx(np.median(flux)), "no SNR in the header: median of flux √ivar"
    assert found.mjd_mid == pytest.approx(LMJM / 1440 - 8 / 24 + 300 / 86400, abs=1e-9)


def test_gzip_data_under_a_plain_name(tmp_path, pair):
    path = tmp_path / "med.fits"
    write_mrs_file(path, mrs_file(path, *pair), compress=True)
    assert path.read_bytes()[:2] == b"\x1f\x8b"
    assert len(read_mrs(path).exposures) == 4


def broken(kind: str, path: Path, pair: tuple[Exposure, ...]) -> None:
    """Put a wreck of the given kind at `path`."""
    write_mrs_file(path, mrs_file(path, *pair), compress=kind.startswith("gzip"))
    content = path.read_bytes()
    primary = fits.PrimaryHDU()
    primary.header["TELESCOP"] = "LAMOST"
    match kind:
        case "missing":
            path.unlink()
        case "folder":
            path.unlink()
            path.mkdir()
        case "empty":
            path.write_bytes(b"")
        case "web page":
            path.write_bytes(b"<!DOCTYPE html><html>404</html>")
        case "gzip cut":
            path.write_bytes(content[: len(content) // 2])
        case "gzip flipped":
            path.write_bytes(content[:200] + bytes([content[200] ^ 255]) + content[201:])
        case "sparse giant":
            with open(path, "r+b") as stream:
                stream.truncate(40_000_000_000)
        case "gzip bomb":
            path.write_bytes(gzip.compress(bytes(LARGEST + 1), compresslevel=1))
        case "pipe":
            path.unlink()
            os.mkfifo(path)
        case "RA = T" | "OBSID = 12.7":
            with fits.open(path, mode="update") as units:
                units[0].header[kind.split()[0]] = True if "T" in kind else 12.7
        case "cut":
            path.write_bytes(content[:-2500])
        case "odd magnitude":
            path.write_bytes(content.replace(b"MAG1    =                10.94", b"MAG1    =              'odd'  "))
        case "cut in a header":
            path.write_bytes(content[:3000])
        case "another telescope":
            unit = fits.PrimaryHDU(np.zeros((4, 4)))
            unit.header["TELESCOP"] = "ALMA"
            unit.writeto(path, overwrite=True)
        case "low resolution image":
            unit = fits.PrimaryHDU(np.zeros((5, 100), np.float32))
            unit.header["TELESCOP"] = "LAMOST"
            unit.writeto(path, overwrite=True)
        case "low resolution table":
            table = fits.BinTableHDU.from_columns([fits.Column("FLUX", "E", array=[1.0])], name="COADD")
            fits.HDUList([primary, table]).writeto(path, overwrite=True)
        case "no exposure":
            primary.writeto(path, overwrite=True)
        case "negative size":
            path.write_bytes(content.replace(b"PCOUNT  =                    0", b"PCOUNT  =                -8640"))
        case "lost extension":
            path.write_bytes(content.replace(b"XTENSION= 'BINTABLE'", b"XTENSIO?= 'BINTABLE'", 1))
        case "lost column":
            path.write_bytes(content.replace(b"'IVAR    '", b"'RAVI    '"))
        case "widened column":
            path.write_bytes(content.replace(b"TFORM2  = 'E       '", b"TFORM2  = 'D       '", 1))


@pytest.mark.parametrize(
    ("kind", "reason", "detail"),
    [
        ("missing", Refusal.UNREADABLE, "No such file"),
        ("folder", Refusal.UNREADABLE, "directory"),
        ("empty", Refusal.TRUNCATED, "empty"),
        ("web page", Refusal.NOT_FITS, "DOCTYPE"),
        ("gzip cut", Refusal.TRUNCATED, "end early"),
        ("gzip flipped", Refusal.TRUNCATED, "corrupt"),
        ("cut in a header", Refusal.TRUNCATED, "HDU 0: .*not multiple of 2880: 3000"),
        ("another telescope", Refusal.FOREIGN, "ALMA"),
        ("low resolution image", Refusal.FOREIGN, "lamost_lrs"),
        ("low resolution table", Refusal.FOREIGN, "lamost_lrs"),
        ("no exposure", Refusal.NO_EXPOSURE, "COADD_B"),
        ("negative size", Refusal.TRUNCATED, "HDU 1: 2880 bytes of data where the header announces -"),
        ("lost column", Refusal.UNREADABLE, "COADD_B: no column IVAR"),
        ("sparse giant", Refusal.TOO_LARGE, "40,000,000,000 bytes"),
        ("gzip bomb", Refusal.TOO_LARGE, "hold more than"),
        ("pipe", Refusal.UNREADABLE, "a pipe"),
        ("RA = T", Refusal.UNREADABLE, "RA = True, accepted is a number"),
        ("OBSID = 12.7", Refusal.UNREADABLE, "OBSID = 12.7, accepted is a whole number"),
    ],
)
def test_wrecks_are_refused_with_their_reason(tmp_path, pair, kind, reason, detail):
    path = tmp_path / "med.fits"
    broken(kind, path, pair)
    with pytest.raises(RefusedFile, match=detail) as caught:
        read_mrs(path)
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    ("kind", "lost", "detail"),
    [
        ("cut", f"R-{LMJM}", "cut short"),
        ("lost extension", "COADD_B", "HDU 1: its header does not begin with XTENSION"),
        ("widened column", "COADD_B", "columns of 20 bytes do not fill its rows of 16"),
    ],
)
def test_one_bad_hdu_costs_one_exposure(tmp_path, pair, kind, lost, detail):
    path = tmp_path / "med.fits"
    broken(kind, path, pair)
    found = read_mrs(path)
    assert len(found.exposures) == 3 and all(e.flags & Quality.INCOMPLETE_FILE for e in found.exposures)
    (item,) = found.lost
    assert item.reason is Refusal.TRUNCATED and item.detail.startswith(lost) and detail in item.detail


def test_an_odd_magnitude_costs_that_magnitude(tmp_path, pair):
    path = tmp_path / "med.fits"
    broken("odd magnitude", path, pair)
    assert b"'odd'" in path.read_bytes()
    assert read_mrs(path).magnitudes == {}


def test_flipped_bytes_never_raise_anything_but_a_refusal(tmp_path, pair):
    path = tmp_path / "med.fits"
    write_mrs_file(path, mrs_file(path, *pair[:2]), "wavelength")
    content = np.frombuffer(path.read_bytes(), np.uint8)
    rng = np.random.default_rng(3)
    refused = 0
    for _ in range(300):
        damaged = content.copy()
        where = rng.integers(0, len(damaged), rng.integers(1, 40))
        damaged[where] = rng.integers(0, 256, len(where))
        path.write_bytes(damaged.tobytes())
        try:
            read_mrs(path)
        except RefusedFile:
            refused += 1
    assert 0 < refused < 300


def test_pixels_without_wavelength_or_with_the_same_are_dropped(tmp_path):
    wave = np.array([5000.0, np.nan, 5001.0, 5001.0, -1.0, 5000.5, np.inf])
    n = len(wave)
    spectrum = Exposure(
        f"B-{LMJM}",
        "blue",
        LMJM,
        58000.0,
        600.0,
        9.0,
        wave,
        np.arange(n) + 0.0,
        np.ones(n),
        np.zeros(n, bool),
    )
    write_mrs_file(path := tmp_path / "x.fits", mrs_file(path, spectrum), "wavelength")
    (found,) = read_mrs(path).exposures
    assert found.wave.tolist() == [5000.0, 5000.5, 5001.0]
    assert found.flux.tolist() == [0.0, 5.0, 2.0]


def test_seconds_of_the_start_are_used_where_the_exposure_has_them(tmp_path):
    """LMJM is cut to the minute; DR9 says the second."""
    start = LMJM / 1440 + 52 / 86400
    single = exposure("blue")
    single = Exposure(**{**single.__dict__, "mjd_mid": start - 8 / 24 + 600 / 86400})
    for layout, expected in (("wavelength", start), ("loglam", LMJM / 1440)):
        write_mrs_file(path := tmp_path / f"{layout}.fits", mrs_file(path, single), layout)
        (found,) = read_mrs(path).exposures
        assert found.mjd_mid == pytest.approx(expected - 8 / 24 + 600 / 86400, abs=0.1 / 86400)


@pytest.mark.parametrize(
    ("text", "mjd"),
    [
        ("2018-01-30T13:30:0.000", 58148.5625),
        ("2018-05-29T17:41:00", 58267 + (17 * 60 + 41) / 1440),
        ("1858-11-17T00:00:0.0", 0.0),
        ("2018-13-30T13:30:00", None),
        ("yesterday", None),
        (None, None),
    ],
)
def test_dates(text, mjd):
    assert parse_date(text) == (mjd if mjd is None else pytest.approx(mjd, abs=1e-9))


def test_gzip_of_several_members_is_read_whole(tmp_path, pair):
    path = tmp_path / "med.fits"
    write_mrs_file(path, mrs_file(path, *pair))
    content = path.read_bytes()
    path.write_bytes(gzip.compress(content[:10000]) + gzip.compress(content[10000:]))
    assert len(read_mrs(path).exposures) == 4


def test_barycentric_dates_follow_the_earth_around_the_sun():
    """To the ecliptic pole light takes as long all year; in the plane it leads and lags by 499 s (1 au)."""
    mjd = 58119.0 + np.arange(0.0, 365.25, 5.0)
    # UTC to TDB: 37 leap seconds, 32.184 s, and less than 2 ms of relativity
    pole = (barycentric_date(mjd, np.full_like(mjd, 270.0), np.full_like(mjd, 66.56071)) - 2400000.5 - mjd) * 86400
    plane = (barycentric_date(mjd, np.full_like(mjd, 0.0), np.full_like(mjd, 0.0)) - 2400000.5 - mjd) * 86400
    assert np.abs(pole - 69.184).max() < 6.0, "the Sun's own wobble about the barycentre, and the Earth's radius"
    assert plane.max() - 69.184 == pytest.approx(499, abs=8)
    assert plane.min() - 69.184 == pytest.approx(-499, abs=8)
    assert mjd[plane.argmax()] == pytest.approx(58119 + 265, abs=6), "the Earth passes under RA 0 in late September"
    assert np.isnan(barycentric_date(np.array([np.nan]), np.zeros(1), np.zeros(1)))[0]
