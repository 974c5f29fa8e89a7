"""Settings of a library reach the readers: air, flux scale, wavelength file, further dimensions."""

import numpy as np
import pytest
from pydantic import ValidationError

from dioscuri.arms import Arm, air_to_vacuum
from dioscuri.libraries.ferre import FerreError
from dioscuri.libraries.grid import REACH_KMS, SpectralLibrary, window_of
from dioscuri.libraries.sources import make_library
from dioscuri.libraries.tabulated import SpectrumTableError
from dioscuri.settings.lamost_mrs import Contaminants, Library

ARM = Arm("blue", 5160.0, 5180.0, 200, 7500.0)
LINE = 5170.0
AXIS = {"min": 4000, "max": 8000, "step": 250}
AXES = {"teff": AXIS, "logg": AXIS, "feh": AXIS, "afe": AXIS}
WAVE = np.linspace(window_of(ARM, REACH_KMS)[0] - 8, window_of(ARM, REACH_KMS)[1] + 8, 3000)


def made(tmp_path, source, files, **keys) -> tuple[float, float]:
    """Wavelength of the line and flux beside it, of the library that settings lead to, as the rule builds it."""
    block = Library.model_validate({"source": source, "files": [str(f) for f in files], "variants": 1, **AXES, **keys})
    path = tmp_path / "library.h5"
    make_library(path, [ARM], {}, **block.model_dump(exclude={"variants", *AXES}))
    library = SpectralLibrary.load(path)
    label = np.array([[values[0] for values in library.axes.values()]])
    flux = library.flux("blue", label)[0].numpy()
    return float(library.grid("blue")[flux.argmin()]), float(np.median(flux))


def spectrum(level: float) -> np.ndarray:
    return level * (1 - 0.5 * np.exp(-0.5 * ((WAVE - LINE) / 0.15) ** 2))


@pytest.fixture
def bosz(tmp_path):
    """A table of spectra without wavelengths, and the file that has them (the layout of BOSZ 2024)."""
    np.savetxt(tmp_path / "wave.txt", WAVE)
    rows = ["teff,logg,feh,afe,path"]
    for number, teff in enumerate((5000, 5250)):
        np.savetxt(tmp_path / f"s{number}.txt", np.column_stack([spectrum(1e5), np.full(len(WAVE), 1e5)]))
        rows.append(f"{teff},4.5,0.0,0.0,s{number}.txt")
    (tmp_path / "grid.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "grid.csv"


@pytest.fixture
def ferre(tmp_path):
    """A grid with a microturbulence axis: twice the flux at the second node."""
    header = f""" &SYNTH
 N_OF_DIM = 4
 N_P = 2 2 1 1
 NPIX = {len(WAVE)}
 LABEL(1) = 'LOG10VDOP'
 LABEL(2) = 'TEFF'
 LABEL(3) = 'LOGG'
 LABEL(4) = 'METALS'
 LLIMITS = 0.0 5000. 4.5 0.0
 STEPS = 0.3 250. 0.5 0.5
 WAVE = {WAVE[0]:.8f} {WAVE[1] - WAVE[0]:.10f}
 LOGW = 0
 RESOLUTION = 10000
 VACUUM = 1
 /
"""
    rows = [" ".join(f"{f:.6E}" for f in spectrum(1e5 * k)) for k in (1, 1, 2, 2)]
    (tmp_path / "grid.dat").write_text(header + "\n".join(rows) + "\n")
    return tmp_path / "grid.dat"


def test_table_in_air_with_a_scale_and_wavelengths_apart(tmp_path, bosz):
    keys = {"wave_file": str(tmp_path / "wave.txt"), "resolution": 10000}
    line, flux = made(tmp_path, "table", [bosz], **keys)
    assert line == pytest.approx(LINE, abs=0.05) and flux == pytest.approx(1e5, rel=0.01)
    line, flux = made(tmp_path, "table", [bosz], air=True, flux_scale=4 * np.pi, **keys)
    assert line == pytest.approx(air_to_vacuum(LINE), abs=0.05) and flux == pytest.approx(4e5 * np.pi, rel=0.01)


def test_wavelengths_that_do_not_fit_are_named(tmp_path, bosz):
    np.savetxt(tmp_path / "short.txt", WAVE[:-1])
    with pytest.raises(SpectrumTableError, match=r"row 1: .*s0.txt: 2999 wavelengths for 3000 fluxes"):
        made(tmp_path, "table", [bosz], wave_file=str(tmp_path / "short.txt"))
    with pytest.raises(SpectrumTableError, match=r"cannot read the wavelengths in .*absent\.txt"):
        made(tmp_path, "table", [bosz], wave_file=str(tmp_path / "absent.txt"))
    (tmp_path / "words.txt").write_text("lambda\n" * 20)
    with pytest.raises(SpectrumTableError, match=r"words.txt: wavelengths must be one column of numbers"):
        made(tmp_path, "table", [bosz], wave_file=str(tmp_path / "words.txt"))
    np.savetxt(tmp_path / "falling.txt", WAVE[::-1])
    with pytest.raises(SpectrumTableError, match="accepted: one ascending column"):
        made(tmp_path, "table", [bosz], wave_file=str(tmp_path / "falling.txt"))


def test_ferre_with_a_further_dimension(tmp_path, ferre):
    line, flux = made(tmp_path, "ferre", [ferre], fixed={"LOG10VDOP": 0.3})
    assert line == pytest.approx(LINE, abs=0.05) and flux == pytest.approx(8e5 * np.pi, rel=0.01)
    line, flux = made(tmp_path, "ferre", [ferre], fixed={"LOG10VDOP": 0.0}, air=True, flux_scale=1.0)
    assert line == pytest.approx(air_to_vacuum(LINE), abs=0.05) and flux == pytest.approx(1e5, rel=0.01)
    with pytest.raises(FerreError, match=r"'LOG10VDOP' is none of .* nodes \[0.0, 0.3\]"):
        made(tmp_path, "ferre", [ferre])
    with pytest.raises(FerreError, match=r"grid.dat: fixed names \['VMICRO'\], but the dimensions are"):
        made(tmp_path, "ferre", [ferre], fixed={"LOG10VDOP": 0.0, "VMICRO": 1.0})


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"source": "embedded", "wave_file": "w.txt"}, "source 'embedded' has no use for library.wave_file"),
        ({"source": "ferre", "files": ["a"], "wave_file": "w"}, "library.wave_file: it is for table"),
        ({"source": "table", "files": ["a"], "fixed": {"V": 1}}, "library.fixed: it is for ferre"),
        ({"source": "embedded", "air": False}, "library.air: it is for ferre and table"),
        ({"source": "embedded", "flux_scale": 2.0}, "library.flux_scale"),
        ({"source": "table", "files": ["a", "b"]}, "reads one table, library.files has 2"),
    ],
)
def test_keys_that_a_source_cannot_use_are_refused(keys, words):
    with pytest.raises(ValidationError, match=words):
        Library.model_validate({"variants": 1, **AXES, **keys})


def test_shares_of_contaminants_leave_room_for_ordinary_pairs():
    assert sum(Contaminants().model_dump().values()) == 0
    with pytest.raises(ValidationError, match=r"the shares add up to 1.2; accepted: at most 1"):
        Contaminants(sb1=0.6, triple=0.6)
