"""The MIST loader on a small tree of files in the genuine .track.eep layout, and on broken ones."""

import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest

from dioscuri.stars import analytic, mist
from dioscuri.stars.tracks import COLUMNS, TrackGrid, load_tracks

FEH, MASS = (-0.25, 0.0, 0.25), (0.5, 0.6, 0.8, 1.0, 1.5)

_KNOWN = runpy.run_path(str(Path(__file__).with_name("mist_files.py")))


@pytest.fixture(scope="module")
def embedded() -> TrackGrid:
    *axes, provenance = analytic.build(feh=FEH)
    return TrackGrid(*axes, provenance)


@pytest.fixture(scope="module")
def isochrones_home(tmp_path_factory, embedded) -> Path:
    home = tmp_path_factory.mktemp("isochrones")
    _KNOWN["write_tree"](home, embedded, FEH, MASS)
    return home


@pytest.fixture
def broken(isochrones_home, tmp_path) -> Path:
    """A copy of the tree to damage."""
    return Path(shutil.copytree(isochrones_home / "mist" / "tracks", tmp_path / "tracks"))


def test_tracks_arrive_as_written(isochrones_home, embedded):
    grid = load_tracks("mist", mist_dir=isochrones_home)
    assert grid.feh.tolist() == list(FEH)
    assert grid.mass.tolist() == list(MASS)
    assert (grid.eep[0], grid.eep[-1]) == (1, 605)
    assert grid.provenance["source"] == "mist"
    assert grid.provenance["n_tracks"] == 15
    for feh in FEH:
        for mass in MASS:
            last = 454 if mass <= 0.6 else 605
            expected = embedded.evaluate(mass, np.arange(202, last + 1), feh)
            found = grid.evaluate(mass, np.arange(202, last + 1), feh)
            # 17 digits in the files; the age and the radius pass through powers of ten.
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)
            assert np.isnan(grid.evaluate(mass, last + 0.5, feh)).all()
    assert len(COLUMNS) == grid.values.shape[-1]


def test_pairs_on_mist_include_contracting_secondaries(isochrones_home):
    pairs = load_tracks("mist", mist_dir=isochrones_home).pairs(1.5, 0.5, 0.1, [203.0, 400.0])
    assert pairs.status.tolist() == [0, 0]
    assert pairs.secondary[0, -1] < 202 < pairs.secondary[1, -1]


def test_any_subset(isochrones_home):
    grid = load_tracks("mist", mist_dir=isochrones_home / "mist" / "tracks", feh=[0.25, 0.0], mass_max=1.0)
    assert grid.feh.tolist() == [0.0, 0.25]
    assert grid.mass.tolist() == [0.5, 0.6, 0.8, 1.0]


def test_isochrones_variable_names_the_folder_even_after_import(isochrones_home, monkeypatch):
    pytest.importorskip("isochrones.config", reason="isochrones is not installed")
    monkeypatch.setenv("ISOCHRONES", str(isochrones_home))
    assert mist.tracks_folder() == isochrones_home / "mist" / "tracks"
    assert load_tracks("mist").provenance["folder"] == str(isochrones_home / "mist" / "tracks")


def test_auto_takes_mist_where_it_is(isochrones_home):
    assert load_tracks("auto", mist_dir=isochrones_home).provenance["source"] == "mist"


def test_cache_knows_the_files(broken, tmp_path):
    cache = tmp_path / "mist.npz"
    first = load_tracks("mist", mist_dir=broken, cache=cache)
    made = cache.stat().st_mtime_ns
    again = load_tracks("mist", mist_dir=broken, cache=cache)
    assert cache.stat().st_mtime_ns == made
    np.testing.assert_array_equal(first.values, again.values)
    (broken / mist.folder_name(0.0) / "00150M.track.eep").unlink()
    changed = load_tracks("mist", mist_dir=broken, cache=cache)
    assert cache.stat().st_mtime_ns != made
    assert changed.provenance["absent"] == [[0.0, 1.5]]
    assert np.isnan(changed.evaluate(1.2, 300.0, 0.1)).all()
    assert np.isfinite(changed.evaluate(0.9, 300.0, 0.1)).all()


def test_other_files_in_the_folder_do_not_matter(broken):
    (broken / mist.folder_name(0.0) / "all_masses.h5").write_text("a cache of isochrones")
    (broken / "MIST_v1.2_feh_p0.00_afe_p0.0_vvcrit0.4_EEPS.txz").write_text("the archive")
    assert load_tracks("mist", mist_dir=broken).values.shape[:2] == (3, 5)


def test_missing_folder_and_metallicity(broken, tmp_path):
    with pytest.raises(
        mist.MistError, match=r"nowhere: found no such folder; expected .*feh_p0\.00.*download-mist --folder .*nowhere"
    ):
        load_tracks("mist", mist_dir=tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(mist.MistError, match="found a folder without any"):
        load_tracks("mist", mist_dir=tmp_path / "empty")
    with pytest.raises(
        mist.MistError, match=r"\[Fe/H\] = -2 is not in .*found -0\.25, \+0\.00, \+0\.25; .*feh_m2\.00.*--feh -2`"
    ):
        load_tracks("mist", mist_dir=broken, feh=[-2.0, 0.0])
    with pytest.raises(mist.MistError, match="a grid needs two or more"):
        load_tracks("mist", mist_dir=broken, feh=[0.0])
    with pytest.raises(mist.MistError, match=r"no track of 0\.3 M☉ or less"):
        load_tracks("mist", mist_dir=broken, mass_max=0.3)


def damage(path: Path, change) -> None:
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[: len(text) // 2], r"truncated or corrupt: its header promises 705 rows, found 3\d\d"),
        (lambda text: text[:300], "header of 12 lines, found it broken off"),
        (lambda text: "", "expected a MIST track, found a first line of ''"),
        (
            lambda text: "<html>404 not found</html>\n" + text,
            "expected a MIST track, found a first line of '<html>",
        ),
        (lambda text: text.replace("log_Teff", "log_Tuff"), "expected columns log_Teff, found star_age"),
        (lambda text: text.replace("N_EEP", "x").replace("# EEPs:", "# none"), None),
        (
            lambda text: text.replace("# EEPs:        1", "# EEPs:      one"),
            "expected N_pts and EEPs in lines 8 and 9",
        ),
        (lambda text: text.replace("1.3500000000000000E+02", "*" * 22), "truncated or corrupt: .*found 0"),
    ],
)
def test_broken_files_are_named(broken, change, message):
    path = broken / mist.folder_name(0.0) / "00100M.track.eep"
    damage(path, change)
    if message is None:  # wording of the header beside its numbers does not matter
        assert load_tracks("mist", mist_dir=broken).mass.size == 5
        return
    with pytest.raises(mist.MistError, match=message) as caught:
        load_tracks("mist", mist_dir=broken)
    assert str(path) in str(caught.value)
    assert f"`dioscuri download-mist --folder {broken} --feh 0` unpacks it again" in str(caught.value)
