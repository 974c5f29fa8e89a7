"""Training samples of real spectra: labels by the HR diagram through shards and catalogue, and composites."""

import numpy as np
import pandas as pd
import pytest

from dioscuri.evaluation.lrs_training import composites, labelled_spectra, light_of_ratio
from dioscuri.learn.spectra.dense import DenseSettings, Sample, probabilities, train_dense
from dioscuri.shards import write_spectra_shard
from dioscuri.spectra import lrs_frame

N = 900


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
    flux = np.zeros((N, len(lrs_frame.WAVE)), np.float32)
    flux[:, 0] = np.arange(N) / 1000
    columns = {"obsid": np.arange(N), "file": np.array([f"{i}.fits" for i in range(N)], object)}
    write_spectra_shard(tmp_path / "s.h5", columns | {"snrg": np.full(N, 50.0)}, {"full": (flux, flux)}, {})
    return tmp_path, pair


def test_spectra_get_the_class_of_their_place_in_the_diagram(files):
    folder, pair = files
    stars, flux, classes = labelled_spectra([folder / "s.h5"], folder / "table.parquet", {})
    number = np.round(flux[:, 0].astype(float) * 1000).astype(int)
    assert number.min() >= 19  # nothing beyond 333 pc
    assert (pair[number[classes == 1]]).mean() > 0.97
    assert (~pair[number[classes == 0]]).mean() > 0.97
    assert np.array_equal(stars["system_id"], 10**15 + number // 2)


def test_what_a_catalogue_lacks_is_named(files):
    folder, _ = files
    pd.read_parquet(folder / "table.parquet").drop(columns=["ks"]).to_parquet(folder / "short.parquet")
    with pytest.raises(ValueError, match="no column ks"):
        labelled_spectra([folder / "s.h5"], folder / "short.parquet", {})


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
