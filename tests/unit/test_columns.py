"""Columns and row groups of a catalogue are those of the whole table, however many groups it has."""

import importlib

import numpy as np
import pyarrow.parquet as pq
import pytest

from dioscuri.catalogs import sorted_files
from dioscuri.catalogs.columns import Text, read_columns, read_groups, select_rows
from dioscuri.catalogs.files import NULL, read_catalog
from dioscuri.catalogs.merge import make_catalog
from dioscuri.catalogs.scores import write_scores


@pytest.fixture(scope="module")
def catalog_path(tmp_path_factory, products):
    """24 rows of six sources from three shards out of order, in groups of seven rows; one name is not ASCII."""
    folder = tmp_path_factory.mktemp("groups")
    shards, pairs, scores = [], [], {"blue": [], "red": []}
    products.evidence().save(folder / "evidence.json")
    for k, first in enumerate((4, 0, 2)):
        columns = products.exposures(2, first)
        columns["planid"][:] = "天琴"
        shards.append(folder / f"{k}.h5")
        pairs.append(folder / f"{k}_pairs.parquet")
        products.write_spectra(shards[-1], columns)
        products.write_pairs(pairs[-1], columns)
        for arm, paths in scores.items():
            paths.append(folder / f"{k}_{arm}.parquet")
            p = np.random.default_rng(k).uniform(0, 1, (len(columns["key"]), 5))
            write_scores(paths[-1], columns, arm, products.score_columns({16.0: np.sort(p, axis=1)}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sorted_files, "ROW_GROUP", 7)
        given = (shards, scores, pairs, folder / "evidence.json", folder / "c.fits", folder / "c.parquet")
        make_catalog(*given, penalties=[16.0], zero_point={}, zero_point_error={})
    return folder / "c.parquet"


def test_rows_are_in_order_and_both_files_alike(catalog_path):
    assert pq.ParquetFile(catalog_path).num_row_groups == 4
    table, twin = read_catalog(catalog_path), read_catalog(catalog_path.with_suffix(".fits"))
    assert len(table) == 24 and (np.diff(table["obsid"]) >= 0).all()
    assert set(table["planid"]) == {"天琴"} and set(twin["planid"]) == {r"\u5929\u7434"}
    for name in ("obsid", "lmjm", "pb_pct_B_16", "flags_R", "v1_B"):
        ours, theirs = (np.ma.filled(one[name], NULL) for one in (table, twin))
        assert np.array_equal(np.asarray(ours), np.asarray(theirs), equal_nan=np.asarray(ours).dtype.kind == "f")


def test_columns_and_groups_are_the_tables(catalog_path):
    table = read_catalog(catalog_path)
    names = ["source_id", "lmjm", "pb_pct_R_16", ("pb_pct_R_16", 2), "specflag_R"]
    found = read_columns(catalog_path, names)
    assert list(found["source_id"][:]) == list(table["source_id"])
    assert np.array_equal(found["lmjm"], np.ma.filled(table["lmjm"], NULL))
    assert np.array_equal(found["pb_pct_R_16", 2], table["pb_pct_R_16"][:, 2], equal_nan=True)
    parts = list(read_groups(catalog_path, names[1:]))
    assert [len(part["lmjm"]) for part in parts] == [7, 7, 7, 3]
    for name in names[1:]:
        whole = np.concatenate([part[name] for part in parts])
        assert np.array_equal(whole, found[name], equal_nan=whole.dtype.kind == "f")
    rows = np.arange(24) % 5 == 0
    assert select_rows(catalog_path, rows)["obsid"].to_pylist() == table["obsid"][rows].tolist()
    assert len(select_rows(catalog_path, np.zeros(24, bool))) == 0
    with pytest.raises(ValueError, match=r"c.parquet: no column absent; found obsid"):
        read_columns(catalog_path, ["absent"])


def test_the_benchmark_of_millions_of_rows_runs_at_small_size(root, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    rows = importlib.import_module("catalogue_rows")
    monkeypatch.setattr(rows, "SHARD", 300)
    rows.make_shards(tmp_path, 800)
    for stage in ("build_catalog", "select_candidates", "classify_sources", "build_lrs_catalog"):
        rows.run_stage(stage, tmp_path)
    assert len(read_catalog(tmp_path / "mrs.parquet")) == 800 and (tmp_path / "table1.csv").exists()
    assert (
        pq.read_metadata(tmp_path / "sources.parquet").num_rows == pq.read_metadata(tmp_path / "stars.parquet").num_rows
    )


def test_text_sorts_and_compares_as_codes():
    text = Text.of([np.array(["b", "a"], object), np.array(["é", "b"], object)])
    assert text.names.to_pylist() == ["a", "b", "é"] and text.codes.tolist() == [1, 0, 2, 1]
    assert list(text[np.array([3, 2])]) == ["b", "é"]
    assert text.index(["é", "a", "z"]).tolist() == [0, 2]
    assert len(Text.of([])) == 0
