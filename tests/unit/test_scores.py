"""Score tables: what is written is read back, masked arms are NaN, and sharding does not matter."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from dioscuri.arms import Arm
from dioscuri.catalogs.scores import PERCENTILES, read_scores, score_column, score_shard, write_scores

RED = Arm("red", 6350.0, 6356.0, 72, 7500.0)


@pytest.fixture
def percentiles():
    """Percentiles of 8 exposures at two penalties."""
    rng = np.random.default_rng(0)
    return {penalty: np.sort(rng.uniform(0, 1, (8, 5)), axis=1).astype("f4") for penalty in (0.5, 16.0)}


def test_column_names_hold_the_penalty_and_the_percentile():
    assert score_column(16.0, 50) == "pb_pct_16_p50"
    assert score_column(0.5, 0) == "pb_pct_0p5_p0"


def test_tables_of_two_shards_come_back_joined(tmp_path, percentiles, products):
    columns = [products.exposures(2, first) for first in (0, 2)]
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for path, part in zip(paths, columns):
        write_scores(path, part, "blue", products.score_columns(percentiles))
    scores = read_scores(paths, [0.5, 16])
    assert np.array_equal(scores["key"], np.concatenate([part["key"] for part in columns]))
    assert np.array_equal(scores["pb_pct_16"], np.tile(percentiles[16.0], (2, 1)))
    assert np.array_equal(scores["pb_16"], np.tile(percentiles[16.0][:, 2], 2))
    table = pq.read_table(paths[0])
    assert table.column_names[:6] == ["key", "source_id", "obsid", "exposure", "file", "arm"]
    assert table["source_id"].to_pylist() == columns[0]["source_id"].tolist()


def test_a_penalty_that_was_not_scored_is_named(tmp_path, percentiles, products):
    write_scores(tmp_path / "a.parquet", products.exposures(2), "blue", products.score_columns(percentiles))
    with pytest.raises(ValueError, match="not scored at penalty 32"):
        read_scores([tmp_path / "a.parquet"], [32])


def test_another_parquet_file_is_refused(tmp_path):
    import pyarrow as pa

    pq.write_table(pa.table({"key": [1]}), tmp_path / "other.parquet")
    with pytest.raises(ValueError, match="expected schema 'dioscuri/scores/4'"):
        read_scores([tmp_path / "other.parquet"], [16])


def test_scores_do_not_depend_on_sharding(tmp_path, products):
    """One shard of four sources or two of two: the same bits for each key; a masked arm is NaN."""
    for seed in (1, 2):
        products.write_model(tmp_path / f"seed{seed}", "red", 16, seed)
    parts = [products.exposures(2, 0), products.exposures(2, 2)]
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    keys, scores = [], []
    for number, columns in enumerate([whole, *parts]):
        products.write_spectra(tmp_path / f"shard{number}.h5", columns)
    # The spectra of a made-up shard depend on its size, so take the rows of the whole.
    import h5py

    for number, rows in ((1, slice(0, 8)), (2, slice(8, 16))):
        with (
            h5py.File(tmp_path / "shard0.h5") as source,
            h5py.File(tmp_path / f"shard{number}.h5", "r+") as shard,
        ):
            for name in ("red/flux", "red/sigma"):
                shard[name][:] = source[name][rows]
    for number in range(3):
        out = tmp_path / f"scores{number}.parquet"
        folders = [tmp_path / "seed1", tmp_path / "seed2"]
        products.write_pairs(pairs := tmp_path / f"pairs{number}.parquet", [whole, *parts][number])
        score_shard(tmp_path / f"shard{number}.h5", RED, pairs, folders, out, penalties=[16], draws=4, seed=7)
        table = read_scores([out], [16])
        keys.append(table["key"])
        scores.append(table["pb_pct_16"])
    assert np.array_equal(keys[0], np.concatenate(keys[1:]))
    assert np.array_equal(scores[0], np.concatenate(scores[1:]), equal_nan=True)
    masked = ~whole["specflag_R"]
    assert np.isnan(scores[0][masked]).all()
    assert np.isfinite(scores[0][~masked]).all()
    assert (np.diff(scores[0][~masked], axis=1) >= 0).all()
    assert len(PERCENTILES) == scores[0].shape[1]


def test_a_model_of_the_other_arm_is_refused(tmp_path, products):
    products.write_model(tmp_path / "blue", "blue")
    products.write_spectra(tmp_path / "shard.h5", products.exposures(1))
    with pytest.raises(ValueError, match="asked for the red arm"):
        score_shard(tmp_path / "shard.h5", RED, "", [tmp_path / "blue"], tmp_path / "out", penalties=[16])
