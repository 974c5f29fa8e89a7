"""FERRE grids: files written in the genuine layout come back as libraries; spoilt ones say what is wrong."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from dioscuri.arms import air_to_vacuum
from dioscuri.libraries.ferre import FerreError, read_ferre

WINDOW = {"blue": (5160.0, 5190.0)}
MG_AIR, MG_VACUUM = 5172.684, 5174.125  # Mg b2 (NIST)


def eddington_flux(teff: float, logg: float, feh: float, wave: np.ndarray) -> np.ndarray:
    """H_λ of a made-up star: one line at Mg b2 in air, R = 10,000, deeper with [Fe/H]."""
    depth = 0.3 + 0.2 * feh + 0.05 * (logg - 4)
    sigma = MG_AIR / 1e4 / 2.3548
    return 1e5 * (teff / 5000) ** 4 * (1 - depth * np.exp(-0.5 * ((wave - MG_AIR) / sigma) ** 2))


def write_grid(path: Path, teff: tuple[float, float, int], *, spoil: str = "", logw: int = 1) -> Path:
    """A three-parameter grid as FERRE writes it: labels in its own order, last parameter fastest."""
    n_pixels = 1200
    start, step = {0: (5130.0, 0.05), 1: (np.log10(5130.0), 4.3e-6), 2: (np.log(5130.0), 9.9e-6)}[logw]
    axis = start + step * np.arange(n_pixels)
    wave = axis if logw == 0 else (10.0 if logw == 1 else np.e) ** axis
    feh, logg = (-0.5, 0.5, 3), (4.0, 0.5, 2)
    header = f""" &SYNTH
 ID = 'nsc-test'
 DATE = '2018'
 N_OF_DIM = 3
 N_P = {feh[2]} {teff[2]} {logg[2]}
 NPIX = {n_pixels}
 LABEL(1) = 'METALS'
 LABEL(2) = 'TEFF'
 LABEL(3) = 'LOGG'
 LLIMITS = {feh[0]} {teff[0]}
   {logg[0]}
 STEPS = {feh[1]} {teff[1]} {logg[1]}
 COMMENTS1 = 'a comment, with = signs and numbers 1 2 3'
 WAVE = {start:.12f} {step:.6e}
 LOGW = {logw}
 RESOLUTION = 10000.0
 VACUUM = 0
 INVALID_CODE = -999.
 /
"""
    rows = []
    for i in range(feh[2]):
        for j in range(teff[2]):
            for k in range(logg[2]):
                flux = eddington_flux(teff[0] + j * teff[1], logg[0] + k * logg[1], feh[0] + i * feh[1], wave)
                rows.append(" ".join(f"{value:13.6E}" for value in flux))
    if spoil == "invalid":
        rows[5] = " ".join(["-999."] * n_pixels)
    elif spoil == "truncated":
        rows = rows[:-2]
    elif spoil == "cut":
        rows[-1] = rows[-1][:200]
    elif spoil == "words":
        rows[3] = rows[3].replace("E", "x", 1)
    elif spoil == "transposed":
        header = header.replace(" LOGW", " TRANSPOSED = 1\n LOGW")
    elif spoil == "unlabelled":
        header = header.replace("'TEFF'", "'AGE'")
    elif spoil == "resolution":
        header = header.replace(" RESOLUTION = 10000.0\n", "")
    elif spoil == "endless":
        header = header.replace("\n /\n", "\n")
    elif spoil == "sizes":
        header = header.replace("N_OF_DIM = 3", "N_OF_DIM = 4")
    path.write_text(header + "\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("logw", [0, 1, 2])
def test_grid_becomes_a_library_in_vacuum_and_surface_flux(tmp_path, logw):
    path = write_grid(tmp_path / "nsc1.dat", (5000.0, 250.0, 3), logw=logw)
    library = read_ferre(path, WINDOW)
    assert library.resolution == 10000.0
    assert library.limits == {"teff": (5000, 5500), "logg": (4, 4.5), "feh": (-0.5, 0.5), "afe": (0, 0)}
    wave = library.grid("blue")
    for teff, logg, feh in ((5000, 4.0, -0.5), (5250, 4.5, 0.0), (5500, 4.0, 0.5)):
        flux = library.flux("blue", np.array([[teff, logg, feh, 0.0]]))[0].double().numpy()
        sigma = MG_VACUUM / 1e4 / 2.3548
        depth = 0.3 + 0.2 * feh + 0.05 * (logg - 4)
        expected = 4 * np.pi * 1e5 * (teff / 5000) ** 4
        expected = expected * (1 - depth * np.exp(-0.5 * ((wave - MG_VACUUM) / sigma) ** 2))
        assert np.abs(flux / expected - 1).max() < 1e-3
        level = library.continuum("blue", np.array([[teff, logg, feh, 0.0]]))[0].numpy()
        assert np.abs(level / (4 * np.pi * 1e5 * (teff / 5000) ** 4) - 1).max() < 0.01


def test_files_are_stitched_over_teff_and_may_be_gzipped(tmp_path):
    cool = write_grid(tmp_path / "nsc1.dat", (5000.0, 250.0, 3))
    warm = write_grid(tmp_path / "nsc2.dat", (5500.0, 500.0, 2))
    packed = tmp_path / "nsc2.dat.gz"
    packed.write_bytes(gzip.compress(warm.read_bytes()))
    library = read_ferre([cool, packed], WINDOW)
    assert library.axes["teff"].tolist() == [5000, 5250, 5500, 6000]
    assert library.present.all()
    assert library.covered(np.array([[5800.0, 4.2, 0.1, 0.0]])).all()


def test_air_and_resolution_can_be_stated_by_hand(tmp_path):
    path = write_grid(tmp_path / "g.dat", (5000.0, 250.0, 3), spoil="resolution")
    with pytest.raises(FerreError, match="no RESOLUTION"):
        read_ferre(path, WINDOW)
    label = np.array([[5000.0, 4.0, 0.0, 0.0]])
    library = read_ferre(path, WINDOW, air=False, resolution=10000.0)
    deepest = library.grid("blue")[library.flux("blue", label)[0].argmin()]
    assert deepest == pytest.approx(MG_AIR, abs=0.05)


def test_invalid_nodes_are_holes(tmp_path):
    library = read_ferre(write_grid(tmp_path / "g.dat", (5000.0, 250.0, 3), spoil="invalid"), WINDOW)
    assert (~library.present).sum() == 1
    assert not library.covered(np.array([[5500.0, 4.5, -0.5, 0.0]])).any()


def test_segments_and_other_dimensions(tmp_path):
    """MULTI = 2: two more header blocks, rows of both segments; a microturbulence axis to choose on."""
    path = tmp_path / "multi.dat"
    blue, red = 5130 + 0.05 * np.arange(1200), 6500 + 0.05 * np.arange(900)
    header = """ &SYNTH
 MULTI = 2
 N_OF_DIM = 4
 N_P = 2 2 1 2
 NPIX = 2100
 LABEL(1) = '[M/H]'
 LABEL(2) = 'LOG10VDOP'
 LABEL(3) = 'LOGG'
 LABEL(4) = 'TEFF'
 LLIMITS = -1.0 0.0 4.0 5000.
 STEPS = 1.0 0.3 0.5 500.
 RESOLUTION = 10000
 VACUUM = 1
 /
 &SYNTH
 NPIX = 1200
 WAVE = 5130.0 0.05
 LOGW = 0
 /
 &SYNTH
 NPIX = 900
 WAVE = 6500.0 0.05
 LOGW = 0
 /
"""
    rows = []
    for feh in (-1, 0):
        for turbulence in (0, 1):
            for teff in (5000, 5500):
                level = 1e5 * (1 + turbulence) * teff / 5000 * (2 + feh)
                values = level * np.concatenate([np.ones(1200), 3 * np.ones(900)])
                rows.append(" ".join(f"{value:.5E}" for value in values))
    path.write_text(header + "\n".join(rows) + "\n")
    windows = {"blue": (blue[100], blue[-100]), "red": (red[100], red[-100])}
    with pytest.raises(FerreError, match=r"'LOG10VDOP' is none of .* nodes \[0.0, 0.3\]"):
        read_ferre(path, windows)
    library = read_ferre(path, windows, fixed={"LOG10VDOP": 0.3})
    label = np.array([[5500.0, 4.0, 0.0, 0.0]])
    assert library.flux("blue", label)[0, 50].item() == pytest.approx(4 * np.pi * 1e5 * 2 * 1.1 * 2, rel=1e-4)
    assert library.flux("red", label)[0, 50].item() == pytest.approx(4 * np.pi * 3e5 * 2 * 1.1 * 2, rel=1e-4)
    with pytest.raises(FerreError, match=r"0\.2 is not a node"):
        read_ferre(path, windows, fixed={"LOG10VDOP": 0.2})


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ("truncated", "ends after 16 of 18 spectra; it is truncated"),
        ("cut", "spectrum 18 has .* NPIX = 1200"),
        ("words", "spectrum 4 is not made of numbers"),
        ("transposed", "TRANSPOSED"),
        ("unlabelled", r"no dimension is teff; the labels are \('METALS', 'AGE', 'LOGG'\)"),
        ("endless", "does not end with '/'"),
        ("sizes", "N_OF_DIM = 4, but N_P has 3 values"),
    ],
)
def test_spoilt_files_say_what_is_wrong(tmp_path, spoil, words):
    with pytest.raises(FerreError, match=words) as error:
        read_ferre(write_grid(tmp_path / "bad.dat", (5000.0, 250.0, 3), spoil=spoil), WINDOW)
    assert "bad.dat" in str(error.value)


def test_wrong_files_say_what_is_wrong(tmp_path):
    with pytest.raises(FerreError, match=r"absent.dat: No such file"):
        read_ferre(tmp_path / "absent.dat", WINDOW)
    (tmp_path / "other.txt").write_text("5000 1.0\n5001 1.1\n")
    with pytest.raises(FerreError, match="expected '&SYNTH'"):
        read_ferre(tmp_path / "other.txt", WINDOW)
    with pytest.raises(FerreError, match="no FERRE file"):
        read_ferre([], WINDOW)
    path = write_grid(tmp_path / "g.dat", (5000.0, 250.0, 3))
    with pytest.raises(FerreError, match="a window needs 6350"):
        read_ferre(path, {"red": (6350.0, 6750.0)})


def test_the_lines_wavelength_is_that_of_the_conversion():
    assert air_to_vacuum(np.array([MG_AIR]))[0] == pytest.approx(MG_VACUUM, abs=2e-3)
