"""False-positive rate per kind: counted by hand, and old shards as they are."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dioscuri import shards
from dioscuri.evaluation.kinds import rates_by_kind
from dioscuri.stars.contaminants import KINDS


def write_shard(path, pair_id, kind=None):
    labels = {"pair_id": np.asarray(pair_id)} | ({} if kind is None else {"kind": np.asarray(kind, float)})
    record = {} if kind is None else {"kinds": KINDS}
    with shards.mock_shard(path, len(pair_id), tuple(labels), {"blue": 3}, record) as shard:
        empty = np.zeros((len(pair_id), 3), shards.FLUX_DTYPE)
        shard.append(labels, {"blue": (empty, empty)})


def write_scores(path, pair_id, single, binary):
    table = {"pair_id": [*pair_id, *pair_id], "y": [0] * len(pair_id) + [1] * len(pair_id), "p": [*single, *binary]}
    pq.write_table(pa.table(table), path)


def test_rates_of_every_kind(tmp_path):
    write_shard(tmp_path / "a.h5", [1, 2, 3, 4], [0, 0, 1, 1])
    write_shard(tmp_path / "b.h5", [5, 6], [4, 0])
    order = [4, 1, 6, 3, 2, 5]
    single = dict(zip(range(1, 7), (0.1, 0.9, 0.8, 0.7, 0.2, 0.1)))
    write_scores(tmp_path / "s.parquet", order, [single[k] for k in order], [0.9] * 5 + [0.4])
    ordinary, giants, moon = rates_by_kind(tmp_path / "s.parquet", [tmp_path / "a.h5", tmp_path / "b.h5"])
    assert (ordinary["kind"], ordinary["n"], ordinary["fpr"], ordinary["tpr"]) == ("ordinary", 3, 1 / 3, 1.0)
    assert (giants["kind"], giants["n"], giants["fpr"]) == ("cool_giant", 2, 1.0)
    assert (moon["kind"], moon["n"], moon["fpr"], moon["tpr"]) == ("moonlight", 1, 0.0, 0.0)
    assert ordinary["fpr_low"] < 1 / 3 < ordinary["fpr_high"] and giants["fpr_high"] == 1.0


def test_shards_without_kinds_are_ordinary(tmp_path):
    write_shard(tmp_path / "a.h5", [1, 2])
    write_scores(tmp_path / "s.parquet", [1, 2], [0.1, 0.6], [0.9, 0.9])
    (row,) = rates_by_kind(tmp_path / "s.parquet", [tmp_path / "a.h5"])
    assert (row["kind"], row["n"], row["fpr"], row["tpr"]) == ("ordinary", 2, 0.5, 1.0)
    (strict,) = rates_by_kind(tmp_path / "s.parquet", [tmp_path / "a.h5"], threshold=0.7)
    assert strict["fpr"] == 0.0


def test_scores_of_other_shards_are_an_error(tmp_path):
    write_shard(tmp_path / "a.h5", [1])
    write_scores(tmp_path / "s.parquet", [1, 7], [0.1, 0.6], [0.9, 0.9])
    with pytest.raises(ValueError, match=r"1 scored pairs \(first: 7\) are in none of the 1 shards"):
        rates_by_kind(tmp_path / "s.parquet", [tmp_path / "a.h5"])
