"""Files to shards that stay as they are."""

import os

import pytest

from dioscuri.lamost.inputs import plan_shards


@pytest.fixture
def tree(tmp_path):
    return tmp_path


def plan(tree, names, per_shard=2):
    return {
        i: [path.name for path in files]
        for i, files in plan_shards(map(tree.__truediv__, names), per_shard, tree / "m.json").items()
    }


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
    assert plan(tree, "cx") == {1: ["c", "d"], 2: ["x"]}
    assert plan(tree, "abcdx") == {0: ["a", "b"], 1: ["c", "d"], 2: ["x"]}


def test_bad_settings_and_manifests(tree):
    with pytest.raises(ValueError, match="found 0"):
        plan(tree, "a", per_shard=0)
    (tree / "m.json").write_text('{"schema": "other"}')
    with pytest.raises(ValueError, match="expected schema 'dioscuri/shards/1', found 'other'"):
        plan(tree, "a")
