"""Libraries from tables of spectra in FITS, npz and text; spoilt tables and spectra name the row at fault."""

import gzip
from pathlib import Path

import numpy as np
import pandas
import pytest
from astropy.io import fits
from astropy.table import Table

from dioscuri.libraries.tabulated import SpectrumTableError, read_spectrum, read_table

WINDOW = {"blue": (5150.0, 5190.0)}
WAVE = np.linspace(5140.0, 5200.0, 3000)
LABELS = [(teff, 4.5, feh, 0.0) for teff in (5000.0, 6000.0) for feh in (-0.5, 0.0)]


def flux_of(teff: float, feh: float) -> np.ndarray:
    line = np.exp(-0.5 * ((WAVE - 5170.0) / (5170 / 1e4 / 2.3548)) ** 2)
    return 1e6 * (teff / 5000) ** 4 * (1 - (0.4 + 0.3 * feh) * line)


def write_spectrum(path: Path, flux: np.ndarray) -> None:
    kind = "".join(path.suffixes)
    if kind == ".npz":
        np.savez(path, wave=WAVE, flux=flux, continuum=np.full_like(flux, flux.max()))
    elif kind == ".txt.gz":
        text = "\n".join(f"{w:.5f} {f:.6e} {flux.max():.6e}" for w, f in zip(WAVE, flux))
        path.write_bytes(gzip.compress(text.encode()))
    elif kind == ".image.fits":
        hdu = fits.PrimaryHDU(flux)
        hdu.header["CRVAL1"], hdu.header["CDELT1"] = WAVE[0], WAVE[1] - WAVE[0]
        hdu.writeto(path)
    else:
        Table({"WAVE": WAVE, "FLUX": flux}).write(path)


def write_table(folder: Path, suffix: str, kind: str = "csv") -> Path:
    rows = []
    for number, label in enumerate(LABELS):
        write_spectrum(folder / f"s{number}{suffix}", flux_of(label[0], label[2]))
        rows.append((*label, f"s{number}{suffix}"))
    frame = pandas.DataFrame(rows, columns=["teff", "logg", "feh", "afe", "path"])
    path = folder / f"grid.{kind}"
    if kind == "csv":
        frame.to_csv(path, index=False)
    elif kind == "parquet":
        frame.to_parquet(path)
    else:
        Table.from_pandas(frame).write(path, format="ascii.ecsv")
    return path


@pytest.mark.parametrize("suffix", [".npz", ".txt.gz", ".image.fits", ".table.fits"])
@pytest.mark.parametrize("kind", ["csv", "ecsv", "parquet"])
def test_every_kind_of_file_gives_the_same_library(tmp_path, suffix, kind):
    library = read_table(write_table(tmp_path, suffix, kind), WINDOW, resolution=1e4)
    assert library.present.all() and library.resolution == 1e4
    label = np.array([[6000.0, 4.5, -0.5, 0.0]])
    flux = library.flux("blue", label)[0].numpy()
    assert np.abs(flux / np.interp(library.grid("blue"), WAVE, flux_of(6000.0, -0.5)) - 1).max() < 2e-3
    level = library.continuum("blue", label)[0].numpy()
    assert np.abs(level / flux_of(6000.0, -0.5).max() - 1).max() < 5e-3


def test_missing_combinations_are_holes_and_flux_is_scaled(tmp_path):
    path = write_table(tmp_path, ".npz")
    rows = path.read_text().splitlines()
    path.write_text("\n".join(rows[:-1]) + "\n")
    library = read_table(path, WINDOW, resolution=1e4, flux_scale=4 * np.pi)
    assert library.present.tolist() == [True, True, True, False]
    flux = library.flux("blue", np.array([[5000.0, 4.5, 0.0, 0.0]]))
    assert float(flux.max()) == pytest.approx(4 * np.pi * 1e6, rel=1e-3)


def test_wavelengths_may_come_in_a_file_of_their_own(tmp_path):
    """BOSZ 2024: two columns, H_λ and continuum, and one wavelength file for all."""
    np.savetxt(tmp_path / "wave.txt", WAVE)
    rows = ["teff,logg,feh,afe,path"]
    for number, label in enumerate(LABELS):
        flux = flux_of(label[0], label[2])
        np.savetxt(tmp_path / f"bosz{number}.txt.gz", np.column_stack([flux, np.full_like(flux, flux.max())]))
        rows.append(",".join(map(str, label)) + f",bosz{number}.txt.gz")
    (tmp_path / "bosz.csv").write_text("\n".join(rows) + "\n")
    table = tmp_path / "bosz.csv"
    library = read_table(table, WINDOW, resolution=1e4, wave_file=tmp_path / "wave.txt", air=True)
    deepest = library.grid("blue")[library.flux("blue", np.array([LABELS[0]]))[0].argmin()]
    assert deepest == pytest.approx(5170.0 + 1.44, abs=0.05)  # air to vacuum at 5170 Å


def test_spoilt_tables_and_spectra_name_the_row(tmp_path):
    with pytest.raises(SpectrumTableError, match="no table of spectra at"):
        read_table(tmp_path / "absent.csv", WINDOW, resolution=1e4)
    (tmp_path / "grid.xls").write_text("x")
    with pytest.raises(SpectrumTableError, match=r"not '\.xls'"):
        read_table(tmp_path / "grid.xls", WINDOW, resolution=1e4)
    (tmp_path / "few.csv").write_text("teff,logg,path\n5000,4,a.npz\n")
    with pytest.raises(SpectrumTableError, match=r"no column \['feh', 'afe'\]"):
        read_table(tmp_path / "few.csv", WINDOW, resolution=1e4)
    (tmp_path / "text.csv").write_text("teff,logg,feh,afe,path\nhot,4,0,0,a.npz\n")
    with pytest.raises(SpectrumTableError, match="teff must hold finite numbers"):
        read_table(tmp_path / "text.csv", WINDOW, resolution=1e4)
    (tmp_path / "gone.csv").write_text("teff,logg,feh,afe,path\n5000,4,0,0,a.npz\n")
    with pytest.raises(SpectrumTableError, match=r"row 1: .*a.npz"):
        read_table(tmp_path / "gone.csv", WINDOW, resolution=1e4)
    table = write_table(tmp_path, ".npz")
    with pytest.raises(SpectrumTableError, match=r"row 1: .* the window needs 6350"):
        read_table(table, {"red": (6350.0, 6360.0)}, resolution=1e4)


def test_phoenix_and_its_logarithmic_axis(tmp_path):
    hdu = fits.PrimaryHDU(np.ones(500))
    hdu.header["CRVAL1"], hdu.header["CDELT1"], hdu.header["CTYPE1"] = np.log(5000.0), 1e-5, "AWAV-LOG"
    hdu.writeto(tmp_path / "lte.fits")
    wave, flux, continuum = read_spectrum(tmp_path / "lte.fits")
    assert wave[0] == pytest.approx(5000.0) and wave[100] == pytest.approx(5000.0 * np.exp(1e-3))
    assert flux.shape == wave.shape and continuum is None
    (tmp_path / "falling.txt").write_text("".join(f"{5000 - i} 1.0\n" for i in range(20)))
    with pytest.raises(ValueError, match="do not ascend"):
        read_spectrum(tmp_path / "falling.txt")
