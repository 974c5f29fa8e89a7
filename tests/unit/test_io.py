"""Files appear whole or not at all; shards give back what went in; keys and digests never change."""

import json
import os
import subprocess
import sys

import h5py
import numpy as np
import pytest

from dioscuri import io, seals, shards

PIXELS = {"blue": 5, "red": 7}


def test_failed_writer_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")

    def fail_halfway():
        with io.atomic(path) as temporary:
            temporary.write_text("half of the n")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail_halfway()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["table.csv"]


def test_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "new" / "spectrum.fits.gz"
    with io.atomic(path) as temporary:
        assert temporary.parent == path.parent and temporary.name.endswith(".fits.gz")
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"


def test_files_have_the_rights_that_the_umask_leaves(tmp_path):
    before = os.umask(0o027)
    try:
        io.write_json(tmp_path / "a.json", {})
    finally:
        os.umask(before)
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o640


def test_killed_writer_leaves_no_file_under_the_final_name(tmp_path):
    code = (
        "import os, signal; from dioscuri.io import atomic\n"
        "with atomic('out.txt') as temporary:\n"
        "    temporary.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False)
    assert not (tmp_path / "out.txt").exists()


def test_leftovers_of_killed_writers_are_swept_by_the_next(tmp_path):
    code = (
        "import os, signal; from dioscuri.io import atomic\n"
        "with atomic('out.txt') as temporary:\n"
        "    temporary.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False)
    assert len(os.listdir(tmp_path)) == 1
    with io.atomic(tmp_path / "out.txt") as twin:
        with io.atomic(tmp_path / "out.txt") as temporary:
            temporary.write_text("whole")
        assert twin.exists(), "its writer lives"
        twin.write_text("again")
    assert os.listdir(tmp_path) == ["out.txt"]


def test_any_changed_bit_of_a_shard_is_noticed(tmp_path):
    path = tmp_path / "s.h5"
    shards.write_spectra_shard(path, {"key": np.arange(20)}, {"blue": (np.ones((20, 50)), np.ones((20, 50)))}, {"a": 1})
    content = path.read_bytes()
    rng = np.random.default_rng(1)
    for place in rng.integers(0, len(content) - seals.SIZE, 60):
        damaged = bytearray(content)
        damaged[place] ^= 1 << rng.integers(8)
        path.write_bytes(bytes(damaged))
        with pytest.raises(seals.DamagedFile, match=r"s.h5: its content does not match its checksum"):
            shards.read_spectra(path, "blue")
    path.write_bytes(content[:-200])
    with pytest.raises(seals.DamagedFile, match=r"s.h5: not an HDF5 file, or a damaged one"):
        shards.read_spectra(path, "blue")
    path.write_bytes(content)
    assert shards.read_exposures(path)["key"].tolist() == list(range(20))


def test_json_of_numpy_values(tmp_path):
    io.write_json(tmp_path / "a.json", {"n": np.int64(3), "x": np.float32(0.5), "v": np.arange(2), "p": tmp_path})
    assert json.loads((tmp_path / "a.json").read_text()) == {
        "n": 3,
        "x": 0.5,
        "v": [0, 1],
        "p": str(tmp_path),
    }
    with pytest.raises(TypeError, match="set"):
        io.write_json(tmp_path / "b.json", {"s": {1}})
    assert not (tmp_path / "b.json").exists()


def test_digest_is_of_the_content_alone():
    assert io.digest({"a": 1, "b": [2.5, None]}) == io.digest({"b": [2.5, None], "a": 1})
    assert io.digest({"a": 1}) != io.digest({"a": 2})
    assert io.digest([1, 2]) != io.digest([2, 1])
    # Written into files of every earlier run: this value must never change.
    assert io.digest({"preset": "demo", "seed": 1}) == "17ebaecee7dc"


def test_observation_keys_are_stable_positive_and_distinct():
    keys = {io.observation_key(obsid, exposure) for obsid in range(300) for exposure in range(300)}
    assert len(keys) == 300 * 300
    assert min(keys) >= 0 and max(keys) < 2**63
    assert io.observation_key(1, 23) != io.observation_key(12, 3)
    assert io.observation_key("770801234", 84700000) == io.observation_key(770801234, "84700000")
    # The noise draws of every earlier catalogue hang on this value: it must never change.
    assert io.observation_key(770801234, 84700000) == 1104063360141258494


def _batch(first, size, rng):
    spectra = {arm: (rng.normal(size=(size, n)), rng.normal(size=(size, n))) for arm, n in PIXELS.items()}
    return {"pair_id": np.arange(first, first + size), "snr": rng.uniform(5, 100, size)}, spectra


def test_mock_shard_gives_back_its_batches(tmp_path):
    rng, path = np.random.default_rng(1), tmp_path / "shard.h5"
    batches = [_batch(0, 3, rng), _batch(3, 4, rng)]
    with shards.mock_shard(path, 7, ("pair_id", "snr"), PIXELS, {"seed": 1}) as shard:
        for labels, spectra in batches:
            shard.append(labels, spectra)
        assert not path.exists()
    labels = shards.read_mock_labels(path)
    np.testing.assert_array_equal(labels["pair_id"], np.arange(7))
    with io.open_shard(path, shards.MOCK_SCHEMA) as stream:
        for arm in PIXELS:
            for position, kind in enumerate(("single", "binary")):
                wanted = np.concatenate([spectra[arm][position] for _, spectra in batches])
                assert stream[f"{arm}/{kind}"].id.get_offset() is not None, "contiguous, for memory maps"
                # float16 has 11 significant bits
                np.testing.assert_allclose(stream[f"{arm}/{kind}"][:], wanted, rtol=2**-11)
    assert io.read_provenance(path) == {"seed": 1}


@pytest.mark.parametrize("n_pairs", [2, 4])
def test_mock_shard_of_another_size_than_declared_does_not_appear(tmp_path, n_pairs):
    def write_three_pairs():
        with shards.mock_shard(tmp_path / "shard.h5", n_pairs, ("pair_id", "snr"), PIXELS, {}) as shard:
            shard.append(*_batch(0, 3, np.random.default_rng(1)))

    with pytest.raises(ValueError, match="3"):
        write_three_pairs()
    assert os.listdir(tmp_path) == []


def test_observed_shard_gives_back_columns_masks_and_text(tmp_path):
    flux = np.array([[0.1, -0.2], [np.nan, np.nan]])
    exposures = {
        "source_id": np.array(["J0634+1832", "η Car"]),
        "obsid": np.array([1, 2]),
        "snr_B": [30.0, 4.0],
    }
    shards.write_spectra_shard(tmp_path / "shard.h5", exposures, {"blue": (flux, flux + 1)}, {"files": ["a.fits"]})
    columns = shards.read_exposures(tmp_path / "shard.h5")
    assert columns["source_id"].tolist() == ["J0634+1832", "η Car"]
    assert columns["obsid"].tolist() == [1, 2]
    read, sigma = shards.read_spectra(tmp_path / "shard.h5", "blue")
    assert read.dtype == np.float16
    np.testing.assert_array_equal(np.isnan(read), np.isnan(flux))
    np.testing.assert_allclose(sigma[0], flux[0] + 1, rtol=2**-11)


def test_empty_observed_shard_is_a_shard(tmp_path):
    exposures = {"source_id": np.array([], object), "key": np.array([], np.int64)}
    shards.write_spectra_shard(tmp_path / "shard.h5", exposures, {"blue": (np.empty((0, 5)),) * 2}, {})
    assert len(shards.read_exposures(tmp_path / "shard.h5")["source_id"]) == 0
    assert shards.read_spectra(tmp_path / "shard.h5", "blue")[0].shape == (0, 5)


def test_shard_of_another_kind_is_named(tmp_path):
    with h5py.File(tmp_path / "old.h5", "w") as stream:
        stream.attrs["schema"] = "dioscuri/mocks/0"
    with pytest.raises(ValueError, match=r"old\.h5.*'dioscuri/mocks/1'.*'dioscuri/mocks/0'"):
        shards.read_mock_labels(tmp_path / "old.h5")
