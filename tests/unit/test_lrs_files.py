"""The LRS reader on every layout, and what it refuses."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from dioscuri.flags import Refusal
from dioscuri.lamost.fits_units import RefusedFile
from dioscuri.lamost.lrs_files import LRSFile, read_lrs
from dioscuri.lamost.lrs_reduction import cleaned
from dioscuri.lamost.lrs_writer import N_PIXELS as N
from dioscuri.lamost.lrs_writer import WAVE, write_lrs_file


def spectrum() -> tuple[np.ndarray, np.ndarray]:
    """Flux and ivar (N,) of a smooth star with noise of S/N 50."""
    level = 1000.0 * np.exp(-(((WAVE - 6500) / 4000) ** 2))
    return level * (1 + 0.02 * np.random.default_rng(0).normal(size=N)), (0.02 * level) ** -2


def write_lrs(path: Path, layout: str, *, flux=None, ivar=None, mask=None, compress=False, **cards) -> Path:
    """A K star of S/N_g 50; `cards` replace what stands in its header, None removes."""
    made, weight = spectrum()
    file = LRSFile(
        path, 101, "LAMOST J0", "LAMOST DR8", 10.0, 20.0, 57000, "STAR", "K3", 29.979, 50.0, WAVE,
        made if flux is None else flux, weight if ivar is None else ivar, np.zeros(N) if mask is None else mask,
    )  # fmt: skip
    write_lrs_file(path, file, layout, compress=compress)
    if cards:
        with fits.open(path, mode="update") as units:
            for name, value in cards.items():
                if value is None:
                    units[0].header.remove(name, ignore_missing=True)
                else:
                    units[0].header[name] = value
    return path


@pytest.mark.parametrize("layout", ["subcontinuum", "image", "table"])
@pytest.mark.parametrize("compress", [False, True])
def test_every_layout_reads_alike(tmp_path, layout, compress):
    file = read_lrs(write_lrs(tmp_path / "star.fits", layout, compress=compress))
    assert (file.star_class, file.snrg) == ("STAR", 50.0)
    known = (-1, "") if layout == "subcontinuum" else (101, "LAMOST DR8")
    assert (file.obsid, file.release) == known
    assert np.allclose(file.wave, WAVE, rtol=1e-7)
    assert np.allclose(file.flux, spectrum()[0], rtol=1e-6)
    assert file.z == pytest.approx(29.98, abs=0.01)


def refused(path, **options) -> RefusedFile:
    with pytest.raises(RefusedFile) as caught:
        cleaned(read_lrs(path), **options)
    return caught.value


def at(snr: float) -> np.ndarray:
    """ivar (N,) of this S/N."""
    return spectrum()[1] * (snr / 50) ** 2


def half_masked() -> np.ndarray:
    return np.where(np.arange(N) % 5 < 3, 1.0, 0.0)


@pytest.mark.parametrize(
    ("reason", "made", "says"),
    [
        (Refusal.FOREIGN, {"TELESCOP": "SDSS 2.5-M"}, "SDSS"),
        (Refusal.NOT_STELLAR, {"CLASS": "GALAXY"}, "GALAXY"),
        (Refusal.NOT_STELLAR, {"CLASS": "QSO"}, "QSO"),
        (Refusal.NOT_STELLAR, {"CLASS": "Unknown"}, "Unknown"),
        (Refusal.LOW_SNRG, {"SNRG": 20.0, "ivar": at(20.0)}, "= 20"),
        (Refusal.LOW_SNRG, {"SNRG": -9999.0}, "missing"),
        (Refusal.LOW_SNRG, {"SNRG": None}, "missing"),
        (Refusal.FEW_GOOD, {"mask": half_masked()}, "at least half"),
        (Refusal.FEW_GOOD, {"ivar": np.where(half_masked(), 0.0, spectrum()[1])}, "at least half"),
        (Refusal.EMPTY, {"flux": np.zeros(N)}, "zero"),
        (Refusal.BAD_GRID, {"COEFF0": 0.0}, "begins at 1.0"),
        (Refusal.UNREADABLE, {"RA": 1000.0}, "RA"),
    ],
)
def test_bad_inputs_have_their_own_reason(tmp_path, reason, made, says):
    error = refused(write_lrs(tmp_path / "star.fits", "image", **made))
    assert error.reason == reason
    assert says in error.detail


def test_the_limit_of_snr_is_a_setting(tmp_path):
    file = read_lrs(write_lrs(tmp_path / "star.fits", "image", SNRG=12.0, ivar=at(12.0)))
    assert len(cleaned(file, snrg_min=10.0)[0]) == N


def test_files_that_are_no_fits_or_cut_short(tmp_path):
    path = write_lrs(tmp_path / "star.fits", "image")
    content = path.read_bytes()
    for name, damaged, reason in (
        ("empty.fits", b"", Refusal.TRUNCATED),
        ("text.fits", b"no fits at all" * 300, Refusal.NOT_FITS),
        ("cut.fits", content[: len(content) // 2], Refusal.TRUNCATED),
    ):
        (tmp_path / name).write_bytes(damaged)
        assert refused(tmp_path / name).reason == reason


def test_spikes_are_bridged_and_lines_are_not(tmp_path):
    flux, _ = spectrum()
    spiked, deep = flux.copy(), flux.copy()
    spiked[2000] *= 3
    deep[1500:1504] *= 0.4
    for values, changed in ((spiked, 1), (deep, 0)):
        path = tmp_path / f"{changed}.fits"
        _, bridged, _, good = cleaned(read_lrs(write_lrs(path, "image", flux=values)))
        assert (~good).sum() == changed
    assert bridged[1502] / np.median(bridged[1480:1500]) < 0.5
