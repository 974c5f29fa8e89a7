"""A search for analogues, from FITS maps to ranks and estimates, with systems whose truth is known."""

import json

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from matplotlib.colors import to_hex

from dioscuri.analogues import benchmark, search
from dioscuri.analogues.catalogue import read_frame, read_images, read_metadata
from dioscuri.analogues.features import read_features
from dioscuri.analogues.observation.mock_observation import write_observation
from dioscuri.analogues.observation.query_files import load_query
from dioscuri.analogues.simulation import collapse
from dioscuri.analogues.synthetic import write_system_catalogue
from dioscuri.cli import main
from dioscuri.evaluation.protostar_checks import write_checks
from dioscuri.plots import trust
from dioscuri.settings import protostar

CONTINUUM, VELOCITY = "continuum_1300um", "moment1_cold"
CHANNELS = [CONTINUUM, VELOCITY]
SIZE = {"separation_au": 200.0, "n_pixels": 64, "fov_au": 1600.0, "beam_au": (60.0, 60.0, 0.0)}
NETWORK = {"architecture": "random_cnn", "weights": "none"}
CUT = {"kind": "quantile", "share": 0.05, "minimum": 5}
HEAD = {"recipes": ["corrected"], "seeds": [1, 2], "epochs": 1, "triplets": 256, "batch": 64, "learning_rate": 1e-3}
BENCHMARK = {
    "n_folds": 3, "n_queries": 40, "metric": "euclidean", "literal": False, "isotropic": False, "cut": CUT, "seed": 1,
    "head": HEAD | {"splits": ["projection"]},
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four systems with their images, and observations of the first one."""
    folder = tmp_path_factory.mktemp("search")
    for number in range(4):
        system = collapse.simulate(number, n_particles=1000, n_snapshots=8, duration=30.0, separation_au=200.0)
        write_system_catalogue(folder / f"system{number:03d}.h5", system, number, channels=CHANNELS, **SIZE)
        if number == 0:
            settings = {name: SIZE[name] for name in ("separation_au", "fov_au", "n_pixels")}
            write_observation(folder / "observation", system, channels=CHANNELS, beam_au=60.0, seed=1, **settings)
    return folder


@pytest.fixture(scope="module")
def shards(folder):
    return sorted(folder.glob("system*.h5"))


@pytest.fixture(scope="module")
def truth(folder):
    return json.loads((folder / "observation/truth.json").read_text())


@pytest.fixture(scope="module")
def prepared(folder, shards, truth):
    """Both maps on the pixels of the catalogue."""
    where = {"distance": truth["distance_pc"], "primary": truth["primary"], "secondary": truth["secondary"]}
    for channel in CHANNELS:
        search.prepare_query(folder / f"{channel}.npz", folder / f"observation/{channel}.fits", shards, where, channel)
    return {channel: load_query(folder / f"{channel}.npz") for channel in CHANNELS}


@pytest.fixture(scope="module")
def features(folder, shards, prepared):
    members, query = folder / "members.h5", folder / "query.h5"
    settings = {"decades": 4.0, "relative": False, "seed": 1}
    search.measure_catalogue(
        members, shards, CONTINUUM, NETWORK, query=folder / f"{CONTINUUM}.npz", query_out=query, **settings
    )
    return members, query


def test_an_observation_is_a_genuine_map(folder, truth):
    header = fits.getheader(folder / f"observation/{CONTINUUM}.fits")
    assert header["BUNIT"] == "Jy/beam"
    assert header["BMAJ"] * 3600 == pytest.approx(60 / truth["distance_pc"])
    assert fits.getheader(folder / f"observation/{VELOCITY}.fits")["BUNIT"] == "m/s"


def test_a_prepared_observation_is_the_image_that_it_was_made_from(prepared, shards, truth):
    """Turned on the sky, written in other units on finer pixels, and back: the same velocities, view by view."""
    query = prepared[VELOCITY].image
    metadata = read_metadata(shards[0])
    images = read_images(shards[0], VELOCITY)
    edge = (images.shape[1] - len(query)) // 2
    inner = slice(edge, edge + len(query))
    alike = []
    for image in images[:, inner, inner]:
        both = np.isfinite(image) & ~prepared[VELOCITY].missing
        alike.append(np.corrcoef(image[both], query[both])[0, 1] if both.sum() > 20 else -1.0)
    best = int(np.argmax(alike))
    assert alike[best] > 0.97
    assert metadata["projection"][best] == truth["projection"]
    assert metadata["time_kyr"][best] == pytest.approx(truth["time_kyr"])


def test_velocities_are_relative_to_the_object(folder, shards, truth, prepared):
    where = {name: truth[name] for name in ("primary", "secondary")} | {"distance": truth["distance_pc"]}
    settings = protostar.Query(maps={VELOCITY: "map.fits"}, systemic_kms=0.5, **where).model_dump(exclude={"maps"})
    search.prepare_query(folder / "moving.npz", folder / f"observation/{VELOCITY}.fits", shards, settings, VELOCITY)
    moving = load_query(folder / "moving.npz").image
    np.testing.assert_allclose(moving, prepared[VELOCITY].image - 0.5, atol=1e-4)


def test_the_beam_and_the_noise_of_the_map_are_found(prepared):
    query = prepared[CONTINUUM]
    assert query.beam_au[:2] == pytest.approx((60.0, 60.0), rel=1e-3)
    # The map's noise was 1/300 of its peak; what is faint and wide of the envelope is no noise.
    assert query.noise == pytest.approx(query.image.max() / 300, rel=0.3)


def test_the_true_snapshot_is_nearest(folder, shards, prepared, truth):
    """By most random networks; a single one is a lottery, and the collapse itself differs from machine to machine."""
    metadata, ranks = read_metadata(shards), []
    right = (metadata["system"] == "000") & (abs(metadata["time_kyr"] - truth["time_kyr"]) < 0.01)
    for seed in range(5):
        paths = folder / f"members{seed}.h5", folder / f"query{seed}.h5"
        search.measure_catalogue(
            paths[0], shards, CONTINUUM, NETWORK, decades=4.0, relative=False, seed=seed,
            query=folder / f"{CONTINUUM}.npz", query_out=paths[1],
        )  # fmt: skip
        _, found = search.distances_to_query({"net": paths[0]}, {"net": paths[1]}, ["euclidean"])
        distance = found["net", "euclidean"]
        ranks.append(1 + int(np.sum(distance < distance[right].min())))
    assert np.median(ranks) <= 2, ranks


def test_ranking_and_estimates_in_files(folder, shards, features, truth):
    members, query = features
    ranking, estimates = folder / "ranking.parquet", folder / "estimates.csv"
    search.rank_query(
        ranking,
        estimates,
        shards,
        {"net": members},
        {"net": query},
        metrics=["euclidean", "cosine"],
        cut=CUT,
        truth=truth,
    )
    table = pd.read_parquet(ranking)
    n = len(read_metadata(shards)["image_id"])
    assert table.groupby(["method", "metric"]).size().to_dict() == {
        ("net", "euclidean"): n, ("net", "cosine"): n, ("ensemble", "rank"): n
    }  # fmt: skip
    found = pd.read_csv(estimates).set_index(["method", "metric", "parameter"])
    assert (found["low68"] <= found["median"]).all()
    assert (found["low95"] <= found["low68"]).all()
    assert found.loc[("net", "euclidean", "m_total"), "truth"] == pytest.approx(truth["m1"] + truth["m2"])


@pytest.mark.parametrize("scale", [False, True])
def test_features_are_compared_as_they_are_or_in_units_of_their_scatter(features, scale):
    members, query = (read_features(path).features for path in features)
    networks = {"net": features[0]}, {"net": features[1]}
    _, found = search.distances_to_query(*networks, ["euclidean"], scale_features=scale)
    unit = members.std(axis=0, dtype=float) if scale else 1.0
    wanted = np.linalg.norm((members - query) / np.where(unit > 0, unit, np.inf), axis=1)
    np.testing.assert_allclose(found["net", "euclidean"], wanted, rtol=1e-4)


def test_features_of_another_catalogue_are_refused(shards, features):
    with pytest.raises(ValueError, match="measure them again"):
        search.ranking_table(np.array(["a", "b"]), {("net", "l1"): np.ones(2)}, read_metadata(shards))


def test_members_observed_again_are_found_again(folder, shards, features):
    out = folder / "true.csv"
    benchmark.find_true_snapshots(
        out, shards, features[0], folder / f"{CONTINUUM}.npz", CONTINUUM, NETWORK,
        n_queries=40, metric="euclidean", literal=False, scale_features=True, seed=1,
    )  # fmt: skip
    table = pd.read_csv(out)
    same = table[table["same_view"]].set_index("k")
    assert same.loc[10, "rate"] >= 0.8
    assert same.loc[10, "rate"] > 2 * same.loc[10, "random"]


def test_the_benchmark_lies_between_its_bounds(folder, shards):
    plain = folder / "plain.h5"
    search.measure_catalogue(plain, shards, CONTINUUM, NETWORK, decades=4.0, relative=False, seed=1)
    rows = folder / "rows.parquet"
    benchmark.recover_split(rows, shards, plain, "net", observation="noiseless", kind="projection", **BENCHMARK)
    recovery, heads = folder / "recovery.csv", folder / "heads.csv"
    benchmark.tabulate([rows], recovery, heads, ["net"])
    error = pd.read_csv(recovery).query("parameter == 'all'").set_index("method")["error"]
    assert list(error.index) == ["net/plain", "random", "oracle", "net/scaled", "net/corrected/1", "net/corrected/2"]
    for method in ("net/plain", "net/scaled"):
        assert error["oracle"] <= error[method] < error["random"]
    pairs = pd.read_csv(heads).query("parameter == 'all'").set_index(["method", "baseline"])
    assert list(pairs.index) == [
        ("net/scaled", "net/plain"), ("net/scaled", "random"), ("net/corrected", "net/plain"),
        ("net/corrected", "net/scaled"),
    ]  # fmt: skip
    assert pairs["n_seeds"].tolist() == [1, 1, 2, 2]
    for (_, baseline), change in pairs["error"].iloc[2:].items():
        assert change == pytest.approx(error[["net/corrected/1", "net/corrected/2"]].mean() - error[baseline])
    checks = folder / "checks.json"
    write_checks(checks, recovery, heads, [])
    names = {check["name"] for check in json.loads(checks.read_text())}
    assert {f"projection.net/corrected.error_change_from_{base}" for base in ("plain", "scaled")} <= names


def test_a_catalogue_is_compared_as_the_images_were_seen(folder, shards):
    """Without short spacings the catalogue must lose them, too: otherwise other brightnesses are compared."""
    seen = {
        "distance": 300.0,
        "declination": 0.0,
        "largest_scale": 2.0,
        "peak_to_noise": 200.0,
        "calibration_error": 0.05,
    }
    paths = {name: folder / f"{name}.h5" for name in ("noiseless", "las2")}
    for name, observation in (("noiseless", None), ("las2", seen)):
        search.measure_catalogue(
            paths[name], shards, CONTINUUM, NETWORK, decades=4.0, relative=False, seed=1, observation=observation
        )
    rows = {name: folder / f"{name}.parquet" for name in paths}
    common = BENCHMARK | {"kind": "leave_one_system_out", "n_queries": 20, "head": BENCHMARK["head"] | {"recipes": []}}
    benchmark.recover_split(rows["noiseless"], shards, paths["noiseless"], "net", observation="noiseless", **common)
    unlike = {"observation": "las2", "as_they_are": paths["noiseless"]}
    benchmark.recover_split(rows["las2"], shards, paths["las2"], "net", **unlike, **common)
    with pytest.raises(ValueError, match="compared on systems held out"):
        benchmark.recover_split(rows["las2"], shards, paths["las2"], "net", **unlike, **common | {"kind": "projection"})
    recovery, changes = folder / "seen.csv", folder / "changes.csv"
    benchmark.tabulate([*rows.values()], recovery, changes, ["net"])
    error = pd.read_csv(recovery).query("parameter == 'all'").set_index(["observation", "method"])["error"]
    assert error["las2", "net/scaled-unlike"] > error["las2", "net/scaled"] + 0.1
    checks = folder / "seen.json"
    write_checks(checks, recovery, changes, [])
    promised = {check["name"] for check in json.loads(checks.read_text()) if check["bound"]}
    assert "las2.leave_one_system_out.net/ridge.gain_over_random_in_errors" in promised
    assert not [name for name in promised if "unlike" in name]
    trust.coverage(folder / "coverage.png", recovery)
    assert (folder / "coverage.png").read_bytes().startswith(b"\x89PNG")


def test_the_frame_of_the_catalogue_says_how_it_was_seen(shards):
    frame = read_frame(shards[0])
    assert frame.separation_au == 200
    assert frame.pixel_au == pytest.approx(25.0)


def test_figures_of_a_search_are_drawn(folder, shards, features, truth):
    from dioscuri.plots import analogues as plots

    ranking, estimates = folder / "for_figures.parquet", folder / "for_figures.csv"
    networks = {"net": features[0]}, {"net": features[1]}
    search.rank_query(ranking, estimates, shards, *networks, metrics=["euclidean"], cut=CUT)
    known, query = folder / "observation/truth.json", folder / f"{CONTINUUM}.npz"
    one = {"method": "net", "metric": "euclidean"}
    plots.gallery(folder / "gallery.png", shards, CHANNELS, decades=4.0)
    plots.ranked_sheet(folder / "sheet.png", ranking, query, shards, CONTINUUM, decades=4.0, **one)
    plots.distance_distributions(folder / "distances.png", ranking, CUT)
    plots.evolution(folder / "evolution.png", [ranking], shards, channels=[CONTINUUM], truth=known, **one)
    given = ranking, shards, CUT, ["net"], "euclidean"
    plots.parameter_histograms(folder / "parameters.png", *given, truth=known)
    plots.parameter_histograms(folder / "weighed.png", *given, isotropic=True)
    trust.domain_distances(folder / "domain.png", [features[0]], [features[1]], shards)
    for name in ("gallery", "sheet", "distances", "evolution", "parameters", "weighed", "domain"):
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG"), name


@pytest.mark.parametrize("n", [1, 9, 27])
def test_every_tracer_and_method_has_its_colour(n):
    """Nine moment-1 maps (Fig. 4), nine networks (Fig. 7), three recipes of each: none may drop out of a figure."""
    from dioscuri.plots.analogues import colours

    assert len({to_hex(colour) for colour in colours(n)}) == n


def test_predict_ranks_a_map_against_shards(folder, shards, truth, tmp_path, capsys):
    out = tmp_path / "analogues.csv"
    where = [str(value) for name in ("primary", "secondary") for value in (f"--{name}", *truth[name])]
    arguments = ["predict", "--survey", "protostar", str(folder / f"observation/{CONTINUUM}.fits"), *where]
    arguments += ["--plot", str(tmp_path / "sheet.png"), "--top", "10", "-o", str(out)]
    arguments += ["--distance", str(truth["distance_pc"]), "--catalogue"]
    assert main([*arguments, *map(str, shards)]) == 0
    table = pd.read_csv(out)
    assert table["rank"].tolist() == list(range(1, 11))
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    assert "000" in set(table["system"].astype(str).str.zfill(3))
    (status,) = set(table["status"])
    assert status.startswith("doubtful: the catalogue has 4 systems") and "far from" not in status
    printed = " ".join(capsys.readouterr().out.split())
    assert "m_total" in printed and "toy catalogue" in printed and "by whole systems" in printed


def test_predict_knows_when_not_to_answer(folder, shards, truth, tmp_path, capsys):
    """A galaxy brighter than any envelope, and a blank field: nothing of it is in the catalogue.

    (Of four systems one is faint, and as far from the others by the features of EfficientNet-Lite0 as the galaxy is.)
    """
    with fits.open(folder / f"observation/{CONTINUUM}.fits") as hdus:
        header, image = hdus[0].header, np.squeeze(hdus[0].data).astype(float)
    rows, columns = image.shape
    y, x = np.indices(image.shape) - np.array([rows - 1, columns - 1])[:, None, None] / 2
    peak = np.nanmax(image)
    noise = 1e-3 * peak * np.random.default_rng(3).normal(size=image.shape)
    galaxy = noise + 10 * peak * np.exp(-np.hypot(x, y / 0.3) / (0.15 * columns))
    fits.writeto(tmp_path / "galaxy.fits", galaxy.astype(np.float32), header)
    arguments = ["predict", "--survey", "protostar", "--distance", str(truth["distance_pc"]), "--network", "random_cnn"]
    catalogue = ["-o", str(tmp_path / "galaxy.csv"), "--catalogue", *map(str, shards)]
    assert main([*arguments, str(tmp_path / "galaxy.fits"), *catalogue]) == 0  # read, written, and doubted
    assert pd.read_csv(tmp_path / "galaxy.csv")["status"].str.startswith("doubtful: far from every model").all()
    printed = " ".join(capsys.readouterr().out.split())
    assert "no estimate" in printed and "m_total" not in printed
    fits.writeto(tmp_path / "blank.fits", noise.astype(np.float32), header)
    assert main([*arguments, str(tmp_path / "blank.fits"), "--catalogue", *map(str, shards)]) == 2
    assert "nothing detected" in " ".join(capsys.readouterr().err.split())


def test_predict_wants_the_distance(folder, shards, capsys):
    arguments = ["predict", "--survey", "protostar", str(folder / f"observation/{CONTINUUM}.fits")]
    assert main([*arguments, "--catalogue", *map(str, shards)]) == 2
    assert "--distance" in capsys.readouterr().err


def test_a_file_that_is_no_query_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", image=np.ones(3))
    with pytest.raises(ValueError, match="make it again"):
        load_query(tmp_path / "other.npz")
