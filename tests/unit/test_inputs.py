"""Patterns to files, and files to shards that stay as they are."""

import os

import pytest

from dioscuri.lamost.inputs import InputError, expand_inputs, plan_shards


@pytest.fixture
def tree(tmp_path, monkeypatch):
    for name in ("a/one.fits", "a/deep/two.fits.gz", "a/.hidden.fits", "a/notes.txt", "b/three.fits"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["a"], ["a/deep/two.fits.gz", "a/one.fits"]),
        (
            ["b/*.fits", "a/one.fits", "a/../a/one.fits", "b"],
            ["a/../a/one.fits", "a/one.fits", "b/three.fits"],
        ),
        (["**/*.fits"], ["a/one.fits", "b/three.fits"]),
        (["a/notes.txt"], ["a/notes.txt"]),
    ],
)
def test_patterns(tree, patterns, expected):
    assert [str(path) for path in expand_inputs(patterns)] == expected


def test_all_wrong_patterns_are_named_at_once(tree):
    with pytest.raises(InputError) as caught:
        expand_inputs(["a", "empty", "a/*.gz", "a/dep/two.fits.gz"])
    message = str(caught.value)
    assert "empty: the folder holds no file" in message
    assert "a/*.gz: no file matches" in message
    assert "a/dep/two.fits.gz: no such file" in message and "'a' exists, 'dep' is not in it" in message
    assert len(message.splitlines()) == 4
    with pytest.raises(InputError, match="no spectra were named"):
        expand_inputs([])


def test_brackets_in_a_real_name_are_no_pattern(tree):
    (tree / "b" / "x[1].fits").touch()
    assert [path.name for path in expand_inputs(["b/x[1].fits"])] == ["x[1].fits"]


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
