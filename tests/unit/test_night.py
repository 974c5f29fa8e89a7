"""The simulated night: genuine files, a truth table that ingest confirms, same seed, same bytes."""

import csv
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from dioscuri.arms import Arm
from dioscuri.catalogs.user_table import read_stars
from dioscuri.door import expand_inputs
from dioscuri.flags import Refusal
from dioscuri.lamost.exposures import COADD
from dioscuri.lamost.fits_units import RefusedFile
from dioscuri.lamost.ingest import ingest_files
from dioscuri.lamost.mrs import MRS
from dioscuri.lamost.mrs_files import read_mrs
from dioscuri.lamost.night import simulate_night
from dioscuri.lamost.simulated_stars import IMPOSTORS, Star, System, draw_system
from dioscuri.lamost.telescope import DETECTORS, observe
from dioscuri.libraries.build import assemble
from dioscuri.libraries.grid import SpectralLibrary, log_grid, window_of
from dioscuri.spectra.velocity import Templates, VelocityMeter

ARMS = [Arm("blue", 5000.0, 5300.0, 3347, 7500.0), Arm("red", 6350.0, 6750.0, 3509, 7500.0)]
N_SB2, N_SINGLE = 2, 3


@pytest.fixture(scope="module")
def library() -> SpectralLibrary:
    """A toy library: 150 lines per arm that weaken with temperature; no atmosphere needed."""
    axes = {"teff": [4000, 5500, 7000], "logg": [4.0, 5.0], "feh": [-0.5, 0.5], "afe": [0.0]}
    windows = {arm.name: log_grid(*window_of(arm), 4.0) for arm in ARMS}
    rng = np.random.default_rng(5)
    depths = {}
    for name, wave in windows.items():
        centres, strengths = rng.uniform(wave[0], wave[-1], (150, 1)), rng.uniform(0.1, 0.8, (150, 1))
        depths[name] = strengths * np.exp(-0.5 * ((wave - centres) / 0.15) ** 2)
    nodes = [(teff, logg, feh) for teff in axes["teff"] for logg in axes["logg"] for feh in axes["feh"]]

    def spectra():
        for i, (teff, _, feh) in enumerate(nodes):
            level = (teff / 5500) ** 4 * 1e6
            weaker = 5500 / teff * 10 ** (0.2 * feh)
            flux = {name: level * np.prod(1 - depth * weaker * 0.7, axis=0) for name, depth in depths.items()}
            yield i, {name: (values, np.full_like(values, level)) for name, values in flux.items()}

    return assemble({k: np.array(v, float) for k, v in axes.items()}, 20000.0, windows, spectra(), {})


@pytest.fixture(scope="module")
def night(library, tmp_path_factory):
    """A small night, its truth, and what ingest makes of it."""
    folder = tmp_path_factory.mktemp("night")
    truth = simulate_night(folder, library, ARMS, 7, n_sb2=N_SB2, n_single=N_SINGLE, snr=(20, 60))
    with open(truth, encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    meters = {arm.name: VelocityMeter(Templates.from_library(library, arm), arm) for arm in ARMS}
    found = ingest_files(expand_inputs([folder]), MRS, ARMS, meters)
    return SimpleNamespace(folder=folder, rows=rows, found=found)


def test_truth_has_every_exposure(night):
    kinds = [row["kind"] for row in night.rows]
    per_object = 3 + 1  # exposures and the co-add
    assert [kinds.count(k) for k in ("sb2", "single", "empty", "nan")] == [8, 12, per_object, per_object]
    assert (kinds.count("truncated"), kinds.count("foreign")) == (1, 1)
    assert {row["layout"] for row in night.rows} == {"loglam", "wavelength", ""}


def test_layouts_and_compression_alternate(night):
    magics = {(path.name.endswith(".gz"), path.read_bytes()[:2]) for path in night.folder.glob("*.fits*")}
    gzipped = b"\x1f\x8b"
    assert magics == {(True, gzipped), (False, gzipped), (False, b"SI")}


def test_stars_are_ingested_and_wrecks_refused(night):
    table, by_kind = night.found.exposures, {}
    for row in night.rows:
        by_kind.setdefault(row["kind"], set()).add(row["file"])
    assert set(table["file"]) == by_kind["sb2"] | by_kind["single"]
    assert len(table["file"]) == 4 * (N_SB2 + N_SINGLE)
    reasons = {
        kind: {r["reason"] for r in night.found.rejected if r["file"] in files} for kind, files in by_kind.items()
    }
    assert reasons["nan"] == {Refusal.NOT_FINITE}
    assert reasons["truncated"] == {Refusal.TRUNCATED}
    assert reasons["foreign"] == {Refusal.FOREIGN}
    assert reasons["empty"] <= {Refusal.LOW_SNR, Refusal.EMPTY} and reasons["empty"]
    assert not reasons["sb2"] | reasons["single"]


def test_single_stars_have_their_true_velocity_and_snr(night):
    table = night.found.exposures
    truth = {(row["file"], int(row["exposure"])): row for row in night.rows if row["kind"] == "single"}
    pulls = []
    for i, key in enumerate(zip(table["file"], table["exposure"].tolist(), strict=True)):
        if row := truth.get(key):
            for arm, colour in (("B", "blue"), ("R", "red")):
                error = table[f"rv_obs_{arm}"][i] - float(row["v1"])
                assert abs(error) < 3.0, "heliocentric correction applied once, by the file alone"
                pulls.append(error / table[f"rv_obs_err_{arm}"][i])
                if key[1] != COADD:
                    assert table[f"snr_{arm}"][i] == pytest.approx(float(row[f"snr_{colour}"]), rel=0.03)
    assert len(pulls) == 2 * 4 * N_SINGLE
    assert 0.3 < np.std(pulls) < 2.0


def test_binaries_obey_their_orbit(night):
    rows = [row for row in night.rows if row["kind"] == "sb2"]
    for row in rows:
        q, gamma = float(row["q"]), float(row["gamma"])
        v1, v2 = float(row["v1"]), float(row["v2"])
        # momentum: K1 = q K2, so that v1 + q v2 = γ (1 + q)
        assert v1 + q * v2 == pytest.approx(gamma * (1 + q), abs=2e-3)
        assert float(row["dv"]) == pytest.approx(abs(v1 - v2), abs=2e-3)


def test_pixels_and_grids_are_genuine(night):
    loglam, wavelength = sorted(night.folder.glob("*sp01-00[12]*"))
    for path, coadds in ((loglam, 2), (wavelength, 2)):
        file = read_mrs(path)
        singles = [e for e in file.exposures if not e.is_coadd]
        assert len(file.exposures) - len(singles) == coadds
        for exposure in singles:
            step = np.diff(exposure.wave)
            low, high = {"blue": (0.10, 0.13), "red": (0.11, 0.16)}[exposure.arm]
            assert len(exposure.wave) == 4136 and low < step.min() and step.max() < high
        for coadd in file.exposures[-2:]:
            log_step = np.diff(np.log10(coadd.wave))
            assert np.median(log_step) == pytest.approx(1e-5, rel=0.05)
            assert coadd.ivar[0] == coadd.ivar[-1] == 0
            assert coadd.snr == pytest.approx(np.sqrt(3) * singles[0 if coadd.arm == "blue" else 1].snr, rel=0.05)


def test_same_seed_same_bytes_whatever_else_is_drawn(night, library, tmp_path):
    simulate_night(tmp_path, library, ARMS, 7, n_sb2=1, n_single=0, snr=(20, 60))
    first = sorted(night.folder.glob("med*"))[0].name
    assert (tmp_path / first).read_bytes() == (night.folder / first).read_bytes()
    simulate_night(tmp_path / "other", library, ARMS, 8, n_sb2=1, n_single=0, snr=(20, 60))
    assert (tmp_path / "other" / first).read_bytes() != (night.folder / first).read_bytes()


@pytest.mark.parametrize("snr", [10.0, 80.0])
def test_noise_is_what_ivar_says(snr):
    detector = DETECTORS["blue"]
    model = np.ones(4136)
    pulls, levels = [], []
    for seed in range(5):
        _, ivar, _, unhit = observe(model, detector, snr, np.random.default_rng(seed))
        clean = np.median(unhit)
        pulls.append((unhit - clean) * np.sqrt(ivar))
        levels.append(clean * np.median(np.sqrt(ivar)))
    assert np.std(pulls) == pytest.approx(1.0, abs=0.02)
    assert np.mean(levels) == pytest.approx(snr, rel=0.02)


def test_a_library_without_dwarfs_is_an_error(library):
    cool = SimpleNamespace(covered=lambda labels: np.zeros(len(labels), bool), limits={"teff": (3000, 3500)})
    with pytest.raises(ValueError, match="needs dwarfs"):
        draw_system("single", np.random.default_rng(0), cool, (10, 20))
    system = draw_system("sb2", np.random.default_rng(0), library, (10, 20))
    assert isinstance(system, System) and len(system.stars) == 2 and 10 <= system.snr <= 20


def test_several_nights_of_a_survey(library, tmp_path):
    """One star keeps its orbit over files, nights and designations; a user's table of it can be read."""
    truth = simulate_night(
        tmp_path, library, ARMS, 7, n_sb2=4, n_single=0, n_exposures=1, n_nights=3, n_impostors=1, snr=(20, 60)
    )
    table = pd.read_csv(truth, converters={"kind": str})
    assert set(table["kind"]) == {"sb2", *IMPOSTORS, "empty", "nan", "truncated", "foreign"}
    binaries = table[(table["kind"] == "sb2") & ~table["file"].str.contains("again")]
    visits = binaries.groupby("object")["obsid"].nunique()
    assert sorted(visits) == [1, 1, 2, 3]
    one = table[table["object"] == visits.idxmax()]
    assert one["period"].nunique() == one["q"].nunique() == 1 and one["v1"].nunique() >= 3
    names = {read_mrs(tmp_path / file).designation for file in table[table["object"] == "sb20"]["file"].unique()}
    again = table[table["file"].str.contains("again")]
    assert len(again) == 2 and set(again["object"]) == {"sb20"} and len(names) == 1
    stars = read_stars(tmp_path / "stars.csv")
    assert len(stars) == 4 + len(IMPOSTORS) and stars["g"].between(5, 18).all()
    assert (stars["bp_rp"].max() > 2.3) and (stars["parallax"].max() > 3)


def test_eclipses_come_when_the_stars_are_in_line():
    """Edge-on, equal stars of 1 R☉: the primary is hidden at bjd0, the secondary half a turn later."""
    stars = (Star(6000, 4.4, 0, 0, 1.0, 10, amplitude=90.0), Star(6000, 4.4, 0, 0, 1.0, 10, amplitude=-90.0))
    pair = System(stars, 1.0, 5.0, 50.0, 4.0, 0.0, 0.7, 2_458_820.3, np.pi / 2, 2.0)
    assert pair.eclipsing
    first, second = pair.light(pair.bjd0), pair.light(pair.bjd0 + 2.0)
    assert first[0] < 0.01 < 0.99 < first[1] and second[1] < 0.01 < 0.99 < second[0]
    assert pair.light(pair.bjd0 + 1.0).tolist() == [1.0, 1.0]
    assert pair.velocities(pair.bjd0) == pytest.approx((5.0, 5.0))
    assert pair.velocities(pair.bjd0 + 0.1)[0] < 5.0, "after its eclipse the primary approaches"


def test_truncated_file_is_truncated(night):
    (name,) = [row["file"] for row in night.rows if row["kind"] == "truncated"]
    with pytest.raises(RefusedFile, match="end early"):
        read_mrs(night.folder / name)
