"""The MIST loader on a small tree of files in the genuine .track.eep layout, and on broken ones."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from dioscuri.stars import analytic, mist
from dioscuri.stars.tracks import COLUMNS, LOG_AGE, TrackGrid, load_tracks

FEH, MASS = (-0.25, 0.0, 0.25), (0.5, 0.6, 0.8, 1.0, 1.5)

# The 77 columns of a genuine file, in order.
GENUINE_COLUMNS = [
    "star_age", "star_mass", "star_mdot", "he_core_mass", "c_core_mass", "o_core_mass", "log_L",
    "log_L_div_Ledd", "log_LH", "log_LHe", "log_LZ", "log_Teff", "log_abs_Lgrav", "log_R", "log_g",
    "log_surf_z", "surf_avg_omega", "surf_avg_v_rot", "surf_num_c12_div_num_o16", "v_wind_Km_per_s",
    "surf_avg_omega_crit", "surf_avg_omega_div_omega_crit", "surf_avg_v_crit", "surf_avg_v_div_v_crit",
    "surf_avg_Lrad_div_Ledd", "v_div_csound_surf", "surface_h1", "surface_he3", "surface_he4",
    "surface_li7", "surface_be9", "surface_b11", "surface_c12", "surface_c13", "surface_n14", "surface_o16",
    "surface_f19", "surface_ne20", "surface_na23", "surface_mg24", "surface_si28", "surface_s32",
    "surface_ca40", "surface_ti48", "surface_fe56", "log_center_T", "log_center_Rho", "center_degeneracy",
    "center_omega", "center_gamma", "mass_conv_core", "center_h1", "center_he4", "center_c12", "center_n14",
    "center_o16", "center_ne20", "center_mg24", "center_si28", "pp", "cno", "tri_alfa", "burn_c", "burn_n",
    "burn_o", "c12_c12", "delta_nu", "delta_Pg", "nu_max", "acoustic_cutoff", "max_conv_vel_div_csound",
    "max_gradT_div_grada", "gradT_excess_alpha", "min_Pgas_div_P", "max_L_rad_div_Ledd", "e_thermal",
    "phase",
]  # fmt: skip


def write_track(path: Path, feh: float, mass: float, rows: dict[str, np.ndarray]) -> None:
    """One file as MIST v1.2 writes it: 12 header lines, 32 characters per column."""
    n = len(rows["star_age"])
    eeps = [eep for eep in (1, 202, 353, 454, 605, 631, 707, 808, 1409, 1710) if eep <= n]
    rule = "# " + "-" * 86
    zero = f"{0.0:32.16E}".replace("E+00", "E+000")
    header = [
        "# MIST version number  = 1.2     ",
        "# MESA revision number =     7503",
        rule,
        "#  Yinit        Zinit   [Fe/H]   [a/Fe]  v/vcrit                                        ",
        f"# {0.2703:.4f}  {0.0142857 * 10**feh:.5E}  {feh:7.2f}     0.00     0.40",
        rule,
        "#     initial_mass   N_pts   N_EEP   N_col   phase        type",
        f"# {mass:.10E} {n:7d} {len(eeps):7d} {len(GENUINE_COLUMNS):7d}     YES    low-mass",
        "# EEPs: " + " ".join(f"{eep:8d}" for eep in eeps),
        rule,
        "#" + "".join(f"{k + 1:32d}" for k in range(len(GENUINE_COLUMNS))),
        "#" + "".join(f"{name:>32}" for name in GENUINE_COLUMNS),
    ]
    with open(path, "w", encoding="latin-1") as stream:
        stream.write("\n".join(header) + "\n")
        for k in range(n):
            stream.write(" ")
            for name in GENUINE_COLUMNS:
                stream.write(f"{rows[name][k]:32.16E}" if name in rows else zero)
            stream.write("\n")


def mist_rows(grid: TrackGrid, feh: float, mass: float) -> dict[str, np.ndarray]:
    """Rows from EEP 1: a made-up contraction, the embedded track, and 100 rows beyond the giants' tip."""
    track = grid.evaluate(mass, grid.eep, feh)
    track = track[np.isfinite(track[:, LOG_AGE])]
    if mass == 0.6:
        track = track[: 454 - 202 + 1]  # as genuine solar files of 0.60–0.70 M☉ end
    k = np.arange(201)
    before = np.repeat(track[:1], 201, axis=0)
    before[:, LOG_AGE] = 3.3 + (track[0, LOG_AGE] - 3.3) * k / 201
    track = np.concatenate([before, track])
    if len(track) == 605:
        after = np.repeat(track[-1:], 100, axis=0)
        after[:, LOG_AGE] += 1e-6 * np.arange(1, 101)
        track = np.concatenate([track, after])
    age, log_t, logg, log_r, log_l, present = track.T
    constant = np.ones(age.size)
    return {
        "star_age": 10**age,
        "star_mass": present,
        "log_L": log_l,
        "log_Teff": log_t,
        "log_R": log_r,
        "log_g": logg,
        "log_surf_z": (np.log10(0.0142857) + feh) * constant,
        "surface_h1": 0.7154 * constant,
        "delta_nu": 135.0 * constant,
        "nu_max": 3090.0 * constant,
        "phase": 0.0 * constant,
    }


@pytest.fixture(scope="module")
def embedded() -> TrackGrid:
    *axes, provenance = analytic.build(feh=FEH)
    return TrackGrid(*axes, provenance)


@pytest.fixture(scope="module")
def isochrones_home(tmp_path_factory, embedded) -> Path:
    home = tmp_path_factory.mktemp("isochrones")
    for feh in FEH:
        folder = home / "mist" / "tracks" / mist.folder_name(feh)
        folder.mkdir(parents=True)
        for mass in MASS:
            write_track(folder / f"{round(mass * 100):05d}M.track.eep", feh, mass, mist_rows(embedded, feh, mass))
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
    path.write_text(change(path.read_text()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[: len(text) // 2], r"truncated or corrupt: expected 605 whole rows .*found 3\d\d"),
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
