"""The classical method on test pairs: two sharp stars show a double peak, one does not."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from dioscuri.arms import C_KMS, Arm
from dioscuri.evaluation.double_peak import score_pairs
from dioscuri.libraries.build import assemble
from dioscuri.libraries.grid import log_grid, window_of
from dioscuri.shards import mock_shard

ARM = Arm("blue", 5000.0, 5300.0, 1500, 7500.0)
LINES = np.random.default_rng(4).uniform(4990, 5310, 80)  # Å


def spectrum(wave, velocity=0.0, width=0.25):
    """Normalised flux of 80 Gaussian lines of σ `width` [Å]."""
    depth = np.zeros(len(wave))
    for line in LINES * (1 + velocity / C_KMS):
        near = np.abs(wave - line) < 6 * width
        depth[near] += 0.5 * np.exp(-0.5 * ((wave[near] - line) / width) ** 2)
    return np.exp(-depth)


@pytest.fixture(scope="module")
def library_path(tmp_path_factory):
    """A library whose every node is the same spectrum of sharp lines."""
    axes = {
        "teff": np.array([4000.0, 6000.0, 8000.0]),
        "logg": np.array([1.0, 3.0, 5.5]),
        "feh": np.array([-2.0, -0.5, 0.5]),
        "afe": np.array([-0.5, 0.0, 0.7]),
    }
    wave = log_grid(*window_of(ARM), 4.0)
    flux = spectrum(wave, width=0.1)
    nodes = ((node, {"blue": (flux, np.ones(len(wave)))}) for node in range(81))
    path = tmp_path_factory.mktemp("library") / "library.h5"
    assemble(axes, 30_000.0, {"blue": wave}, nodes, {}).save(path)
    return path


def test_double_lined_spectra_have_the_larger_statistic(library_path, tmp_path):
    n = 30
    rng = np.random.default_rng(0)
    dv = rng.choice([-1, 1], n) * rng.uniform(80, 200, n)
    single = np.stack([spectrum(ARM.wave)] * n)
    binary = np.stack([0.6 * spectrum(ARM.wave) + 0.4 * spectrum(ARM.wave, v) for v in dv])
    noise = rng.normal(0, 0.02, (2, n, ARM.n_pixels))
    for k, first in enumerate((0, n)):
        with mock_shard(tmp_path / f"{k}.h5", n, ("pair_id", "dv"), {"blue": ARM.n_pixels}, {}) as writer:
            labels = {"pair_id": first + np.arange(n), "dv": dv}
            writer.append(labels, {"blue": (single + noise[0] - 1, binary + noise[1] - 1)})
    score_pairs([tmp_path / "0.h5", tmp_path / "1.h5"], library_path, ARM, tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet")
    statistic, y = table["statistic"].to_numpy(), table["y"].to_numpy()
    assert np.array_equal(table["pair_id"].to_numpy(), np.r_[:n, :n, n : 2 * n, n : 2 * n])
    assert np.array_equal(y, np.repeat([0, 1, 0, 1], n))
    assert statistic[y == 1].min() > statistic[y == 0].max()
    assert np.array_equal(statistic[: 2 * n], statistic[2 * n :])  # the same spectra in another shard
