"""Training samples of real spectra: labels by the HR diagram through shards and catalogue, and composites."""

import numpy as np
import pandas as pd
import pytest

from dioscuri.catalogs.lrs_table import read_catalogue
from dioscuri.evaluation.lrs_labels import add_labels, trained_stars, write_labels
from dioscuri.evaluation.lrs_models import load_networks, train_network
from dioscuri.evaluation.lrs_training import composites, labelled_spectra, light_of_ratio
from dioscuri.learn.spectra.dense import DenseSettings, Sample, probabilities, train_dense
from dioscuri.learn.spectra.residual import load_residual
from dioscuri.learn.spectra.residual_training import Nights, ResidualSettings, train_residual
from dioscuri.shards import write_spectra_shard
from dioscuri.spectra import lrs_frame
from dioscuri.spectra.compressed import fit_components

N = 900
EXCESS = {0.71: 0.55, 0.93: 0.735}  # mag


@pytest.fixture
def files(tmp_path):
    """A shard of flat spectra whose first pixel is the star's number, and its catalogue: singles, and pairs on top."""
    random = np.random.default_rng(2)
    colour = random.uniform(1.6, 2.5, N)
    pair = random.random(N) < 0.2
    m_g = 4.2 + 2.6 * (colour - 1.5) + random.normal(0, 0.06, N) - np.where(pair, 0.58, 0.0)
    parallax = np.where(np.arange(N) < 20, 2.0, 5.0)  # the first are too far to train on
    g = m_g - 5 * np.log10(parallax / 100)
    table = pd.DataFrame({"obsid": np.arange(N), "source_id": 10**15 + np.arange(N) // 2, "teff": 5000.0, "logg": 4.6})
    table = table.assign(feh=0.0, g=g, ks=g - colour, parallax=parallax, ebv=0.0, snrg=50.0)
    table.to_parquet(tmp_path / "table.parquet")
    labelled = add_labels(read_catalogue(tmp_path / "table.parquet"), EXCESS)
    labelled.to_parquet(tmp_path / "labels.parquet")
    flux = np.zeros((N, len(lrs_frame.WAVE)), np.float32)
    flux[:, 0] = np.arange(N) / 1000
    columns = {"obsid": np.arange(N), "file": np.array([f"{i}.fits" for i in range(N)], object)}
    write_spectra_shard(tmp_path / "s.h5", columns | {"snrg": np.full(N, 50.0)}, {"full": (flux, flux)}, {})
    return tmp_path, pair


def test_spectra_get_the_class_of_their_place_in_the_diagram(files):
    folder, pair = files
    stars, flux, classes = labelled_spectra([folder / "s.h5"], folder / "labels.parquet")
    number = np.round(flux[:, 0].astype(float) * 1000).astype(int)
    assert number.min() >= 19  # nothing beyond 333 pc
    assert (pair[number[classes == 1]]).mean() > 0.97
    assert (~pair[number[classes == 0]]).mean() > 0.97
    assert np.array_equal(stars["system_id"], 10**15 + number // 2)
    assert np.array_equal(np.unique(stars["system_id"]), trained_stars(folder / "labels.parquet", "hrd"))
    singles = trained_stars(folder / "labels.parquet", "composites")
    assert np.array_equal(singles, np.unique(stars["system_id"][classes == 0]))


def test_what_a_catalogue_lacks_is_named(files):
    folder, _ = files
    pd.read_parquet(folder / "table.parquet").drop(columns=["ks"]).to_parquet(folder / "short.parquet")
    with pytest.raises(ValueError, match="no column ks"):
        write_labels(folder / "l", folder / "f", folder / "short.parquet", {}, None, None, training=True)


def test_composites_are_the_sum_of_two_stars_and_twins_of_two_alike():
    random = np.random.default_rng(0)
    teff = random.uniform(4300, 5600, 200)
    flux = np.tile((teff / 1e5)[:, None], (1, len(lrs_frame.WAVE)))
    stars = {"teff": teff, "feh": np.zeros(200), "snrg": np.full(200, 40.0), "system_id": np.arange(200)}
    made, blend, classes = composites(stars, flux, 100, 1)
    assert classes.sum() == (classes == 0).sum() == 100
    level = blend.astype(float)[:, 1000] * 1e5
    assert np.abs(level - made["teff"])[classes == 0].max() < 65
    assert (level < made["teff"] + 5)[classes == 1].all()
    assert (made["snrg"] > 40).all()  # two spectra have less noise than one


def test_the_cooler_star_gives_more_of_the_red_light():
    share = light_of_ratio(5500.0, 4500.0)
    assert share[0] < share[-1] < 0.5
    assert light_of_ratio(5000.0, 5000.0) == pytest.approx(0.5)


@pytest.mark.parametrize("observed", [True, False])
def test_a_dense_network_learns_and_is_calibrated(observed):
    random = np.random.default_rng(3)
    y = random.random(3000) < 0.2
    x = (random.normal(size=(3000, 6)) * 0.05 + np.where(y, 0.08, 0.0)[:, None]).astype(np.float32)
    sample = Sample(x, y, np.full(3000, 40.0), np.arange(3000), observed)
    net, history = train_dense(sample, 1e-6 * np.eye(6), 1, DenseSettings(epochs=6))
    again, _ = train_dense(sample, 1e-6 * np.eye(6), 1, DenseSettings(epochs=6))
    p = probabilities([net], x)
    assert np.array_equal(p, probabilities([again], x))
    assert len(history) == 6
    assert p[y].mean() - p[~y].mean() > 0.5
    even = np.concatenate([p[y], random.choice(p[~y], y.sum())])
    assert even.mean() == pytest.approx(0.5, abs=0.06)


def test_the_papers_network_learns_stops_early_and_survives_its_file(tmp_path):
    random = np.random.default_rng(5)
    n, n_pixels = 600, 160
    y = random.random(n) < 0.25
    line = np.exp(-0.5 * ((np.arange(n_pixels) - 80) / 4.0) ** 2)
    flux = (np.where(y, -0.25, -0.1)[:, None] * line).astype(np.float16)
    nights = Nights(0.002 * random.standard_normal((50, n_pixels)), np.ones(n_pixels), np.arange(n_pixels) > 5)
    sample = Sample(flux, y, np.full(n, 30.0), np.arange(n))
    settings = ResidualSettings(channels=4, hidden=16, learning_rate=3e-3, patience=3, epochs=12)
    info = train_residual(sample, nights, 1, tmp_path / "model.safetensors", settings)
    assert info["stop_reason"]
    nets, header = load_residual(tmp_path / "model.safetensors")
    assert header["models"][0]["n_binaries"] == y.sum()
    seen = flux + (random.standard_normal(flux.shape) / 30.0) * (np.arange(n_pixels) > 5)
    p = probabilities(nets, seen.astype(np.float32))
    assert p[y].mean() - p[~y].mean() > 0.6
    assert not (tmp_path / "resume").exists()


def test_either_network_is_trained_and_read_by_its_name(tmp_path):
    random = np.random.default_rng(6)
    n = 400
    y = (np.arange(n) % 4 == 0).astype(int)
    flux = 0.02 * random.standard_normal((n, 1)) * np.sin(lrs_frame.WAVE / 50) - 0.1 * y[:, None] * (
        lrs_frame.WAVE < 5000
    )
    components = fit_components(flux.astype(np.float32), n_components=5)
    stars = {"snrg": np.full(n, 60.0), "system_id": np.arange(n)}
    for network in ("dense", "cnn"):
        path = tmp_path / network / "model.safetensors"
        path.parent.mkdir()
        train_network(network, stars, flux.astype(np.float16), y, components, 3, path, epochs=1)
        nets, header = load_networks(path)
        assert len(nets) == 1 and header["models"][0]["seed"] == 3
        assert header["models"][0]["observed"] is False
