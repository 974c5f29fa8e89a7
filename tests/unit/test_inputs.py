"""Files to shards that stay as they are."""

import gzip
import os

import numpy as np
import pytest

from dioscuri.lamost.inputs import plan_shards, read_manifest
from dioscuri.shards import write_spectra_shard


@pytest.fixture
def tree(tmp_path):
    for name in "Aabcdefx":
        (tmp_path / name).write_text(name)
    return tmp_path


def plan(tree, names, per_shard=2):
    """Shard number → names of its files."""
    shards = plan_shards(map(tree.__truediv__, names), per_shard, tree / "m.json")
    manifest = read_manifest(tree / "m.json")
    return {int(i): [name.removeprefix(f"{tree}/") for name in manifest.files(int(i))] for i in shards}


def test_new_files_make_new_shards(tree):
    assert plan(tree, "dbac") == {0: ["a", "b"], 1: ["c", "d"]}
    assert plan(tree, "abcde") == {0: ["a", "b"], 1: ["c", "d"], 2: ["e"]}
    # shard 2 is not full, and yet stays as it is; a new file may sort before old ones
    assert plan(tree, "A abcdef".replace(" ", "")) == {0: ["a", "b"], 1: ["c", "d"], 2: ["e"], 3: ["A", "f"]}


def test_nothing_new_leaves_the_manifest_untouched(tree):
    plan(tree, "abc")
    os.utime(tree / "m.json", ns=(1, 1))
    assert plan(tree, "cab", per_shard=7) == {0: ["a", "b"], 1: ["c"]}
    assert (tree / "m.json").stat().st_mtime_ns == 1


def test_unwanted_shards_keep_their_number(tree):
    plan(tree, "abcd")
    assert plan(tree, "cd") == {1: ["c", "d"]}
    assert plan(tree, "cx") == {1: ["c"], 2: ["x"]}, "rows of a file that is no longer wanted would be wrong"
    assert plan(tree, "abcdx") == {0: ["a", "b"], 1: ["c", "d"], 2: ["x"]}


def test_bad_settings_and_manifests(tree):
    with pytest.raises(ValueError, match="found 0"):
        plan(tree, "a", per_shard=0)
    (tree / "m.json").write_text('{"schema": "other"}')
    with pytest.raises(ValueError, match="expected schema 'dioscuri/shards/2', found 'other'"):
        plan(tree, "a")


def test_a_shard_follows_the_contents_of_its_files(tree, caplog):
    files = [tree / name for name in "abcd"]
    first = plan_shards(files, 2, tree / "m.json")
    os.utime(tree / "a")
    assert plan_shards(files, 2, tree / "m.json") == first, "touched, and the same"
    (tree / "c").write_text("other")
    second = plan_shards(files, 2, tree / "m.json")
    assert second["000000"] == first["000000"] and second["000001"] != first["000001"]
    assert f"{tree / 'c'}: changed since the last run" in caplog.text
    (tree / "d").unlink()
    third = plan_shards(files[:3], 2, tree / "m.json")
    assert third["000000"] == first["000000"] and third["000001"] != second["000001"]
    assert read_manifest(tree / "m.json").files(1) == [str(tree / "c")]
    assert f"{tree / 'd'}: no longer there" in caplog.text


def test_a_lost_manifest_is_made_again_from_the_shards(tree, caplog):
    files = [tree / name for name in "abcd"]
    first = plan_shards([*files[2:]], 2, tree / "m.json")
    first = plan_shards(files, 2, tree / "m.json")
    for i in range(2):
        made_of = {"sources": {"files": read_manifest(tree / "m.json").files(i)}}
        write_spectra_shard(tree / f"shard{i:06d}.h5", {"key": np.arange(2)}, {}, made_of)
    (tree / "m.json").unlink()
    assert plan_shards(files, 2, tree / "m.json") == first
    assert "made again from 2 shards" in caplog.text
    (tree / "m.json").write_text("{")
    with pytest.raises(ValueError, match=r"m.json: damaged .* delete it"):
        plan(tree, "a")


def test_a_shard_is_closed_by_exposures_as_well_as_by_files(tree):
    """By the size that gzip data have unpacked: a time-domain file of fifty exposures fills a shard alone."""
    exposure = 145_000
    for name, exposures, pack in (("p", 3, gzip.compress), ("q", 50, gzip.compress), ("r", 3, bytes), ("s", 3, bytes)):
        (tree / name).write_bytes(pack(bytes(exposures * exposure)))
    assert (tree / "q").stat().st_size < exposure
    shards = plan_shards([tree / name for name in "pqrs"], 100, tree / "m.json", exposures=10)
    manifest = read_manifest(tree / "m.json")
    assert [[name[-1] for name in manifest.files(int(i))] for i in shards] == [["p"], ["q"], ["r", "s"]]
