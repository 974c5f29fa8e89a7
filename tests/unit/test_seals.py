"""Any changed bit of our own files is noticed, other readers are not disturbed; released models are as listed."""

import json
import shutil

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from dioscuri import io, seals
from dioscuri.catalogs.evidence import Evidence
from dioscuri.evaluation.lrs_models import load_folder
from dioscuri.evaluation.lrs_scores import load_scorer
from dioscuri.learn.images.inference import Classifier
from dioscuri.learn.spectra.models import load_model, load_released, save_released
from dioscuri.paths import models_folder
from dioscuri.predict.images import find_networks
from dioscuri.seals import DamagedFile, verified
from dioscuri.spectra.templates import load_templates


def table(rows: int = 500) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame({"key": np.arange(rows), "p": rng.random(rows), "name": ["å"] * rows})


def flipped(path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(bytes(content))
    seals._verify.cache_clear()  # two states of a file within one tick of the clock look alike
    seals._sha256.cache_clear()


def write_rows(path) -> None:
    """In pieces, as large tables are written."""
    with io.atomic(path) as temporary:
        whole = pa.Table.from_pandas(table(), preserve_index=False)
        with pq.ParquetWriter(temporary, whole.schema, compression="zstd") as writer:
            for start in range(0, len(whole), 100):
                writer.write_table(whole.slice(start, 100))


def write_whole(path) -> None:
    with io.atomic(path) as temporary:
        table().to_parquet(temporary, index=False)


@pytest.mark.parametrize("write", [write_rows, write_whole])
def test_sealed_tables_read_as_ever_by_all_ways(tmp_path, write):
    write(path := tmp_path / "scores.parquet")
    assert seals.MAGIC in path.read_bytes()
    pd.testing.assert_frame_equal(pd.read_parquet(verified(path)), table())
    assert pq.ParquetFile(path).read_row_group(0).num_rows and pq.read_metadata(path).num_rows == 500
    assert pd.read_parquet(path, filters=[("key", "<", 7)], columns=["p"]).shape == (7, 1)


@pytest.mark.parametrize("suffix", [".parquet", ".h5"])
def test_every_flipped_byte_is_noticed(tmp_path, suffix):
    """In data, footer and checksum; where the seal itself is lost, the content is as it was written."""
    path = tmp_path / f"file{suffix}"
    if suffix == ".parquet":
        write_whole(path)
    else:
        with io.atomic(path) as temporary, h5py.File(temporary, "w") as stream:
            stream["x"] = np.arange(300.0)
    sound = path.read_bytes()
    own = sound.index(seals.MAGIC)
    for place in np.linspace(0, len(sound) - 1, 97).astype(int):
        if own <= place < own + len(seals.MAGIC):
            continue
        flipped(path, place)
        with pytest.raises((ValueError, OSError)):  # DamagedFile, or no longer a file of its kind
            (pd.read_parquet if suffix == ".parquet" else h5py.File)(verified(path))
        path.write_bytes(sound)
    seals._verify.cache_clear()
    verified(path)


def test_tables_without_a_seal_pass(tmp_path):
    table().to_parquet(path := tmp_path / "own.parquet")
    assert len(pd.read_parquet(verified(path))) == 500


def test_json_with_a_digest(tmp_path):
    content = {"b": [1.5, None], "a": {"x": 1e-300}, "2": "ü"}
    io.write_json(path := tmp_path / "x.json", content, sealed=True)
    assert io.read_json(path, "numbers") == content
    path.write_text(path.read_text(encoding="utf-8").replace("1.5", "1.6"), encoding="utf-8")
    with pytest.raises(DamagedFile, match=r"x\.json: its content does not match its digest.*numbers"):
        io.read_json(path, "numbers")
    for text in ("[1]", "", '{"a": ', "\udcff"):
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(ValueError, match=r"x\.json: .*expected numbers"):
            io.read_json(path, "numbers")


# --- networks ----------------------------------------------------------------------------------------------


def test_a_changed_header_is_noticed(tmp_path, products):
    products.write_model(tmp_path / "seed1", seed=1)
    save_released(path := tmp_path / "blue.safetensors", [load_model(tmp_path / "seed1")])
    content = path.read_bytes()
    path.write_bytes(content.replace(b'\\"penalty\\": 16.0', b'\\"penalty\\": 32.0'))
    assert path.read_bytes() != content
    with pytest.raises(DamagedFile, match="header"):
        load_released(path)


def test_one_wrong_seed_alone_is_refused(tmp_path, products):
    """A copy of another seed under a name of its own: refused without the other beside it."""
    products.write_model(tmp_path / "seed1", seed=1)
    (tmp_path / "seed2").mkdir()
    shutil.copy(tmp_path / "seed1/model.ckpt", tmp_path / "seed2")
    with pytest.raises(ValueError, match="seed 1, a copy: train seed 2 again"):
        load_model(tmp_path / "seed2")


def test_a_checkpoint_that_says_other_things_of_its_training_is_refused(tmp_path, products):
    from dioscuri.learn.model_files import sealed_checkpoint

    products.write_model(tmp_path / "seed1", seed=1)
    content = torch.load(tmp_path / "seed1/model.ckpt", weights_only=True)
    sealed = sealed_checkpoint(content["state_dict"], content["model"])
    torch.save(sealed, tmp_path / "seed1/model.ckpt")
    load_model(tmp_path / "seed1")
    torch.save(sealed | {"model": sealed["model"] | {"penalty": 99.0}}, tmp_path / "seed1/model.ckpt")
    with pytest.raises(DamagedFile, match="header"):
        load_model(tmp_path / "seed1")


# --- released models ---------------------------------------------------------------------------------------


def load(survey: str, folder) -> None:
    """All that `dioscuri predict` reads of a survey's models."""
    if survey == "lamost_mrs":
        load_templates(folder / survey / "templates.h5", ["blue", "red"])
        Evidence.load(folder / survey / "evidence.json")
        for arm in ("blue", "red"):
            load_released(folder / survey / f"{arm}.safetensors", arm)
    elif survey == "lamost_lrs":
        load_templates(folder / survey / "templates.h5", ["velocity"])
        load_scorer(folder / survey)
    else:
        assert find_networks(survey, folder) is not None


RELEASED = sorted(
    (path.parent.name, path.name) for path in models_folder().glob("*/*") if path.is_file() and path.name != seals.SUMS
)


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(models_folder(), tmp_path / "models")
    return tmp_path / "models"


def test_every_released_file_is_listed():
    for survey in {survey for survey, _ in RELEASED}:
        listed = (models_folder() / survey / seals.SUMS).read_text(encoding="utf-8").splitlines()
        assert sorted(line.split()[1] for line in listed[1:]) == sorted(n for s, n in RELEASED if s == survey)
        load(survey, models_folder())
    begun = models_folder() / "lamost_mrs/at_rest"  # what the release is trained further from has a list of its own
    listed = (begun / seals.SUMS).read_text(encoding="utf-8").splitlines()[1:]
    assert sorted(line.split()[1] for line in listed) == ["blue.safetensors", "red.safetensors"]
    for path in begun.glob("*.safetensors"):
        seals.verify(path)


@pytest.mark.parametrize(("survey", "name"), RELEASED)
def test_an_altered_or_foreign_file_of_the_release_is_refused(copy, survey, name):
    path = copy / survey / name
    sound = path.read_bytes()
    flipped(path, len(sound) // 3)
    with pytest.raises(ValueError, match=name):
        load(survey, copy)
    others = [s for s, n in RELEASED if s != survey and n.split(".")[-1] == name.split(".")[-1]]
    path.write_bytes(next((models_folder() / others[0]).glob(f"*.{name.split('.')[-1]}")).read_bytes())
    with pytest.raises(ValueError, match=name):
        load(survey, copy)
    path.write_bytes(sound)
    load(survey, copy)


def test_swapped_files_and_strangers_of_the_release_are_refused(copy):
    one, other = copy / "lamost_mrs/blue.safetensors", copy / "lamost_mrs/red.safetensors"
    blue, red = one.read_bytes(), other.read_bytes()
    one.write_bytes(red), other.write_bytes(blue)
    with pytest.raises(DamagedFile, match=r"blue\.safetensors: altered, or of another release"):
        load("lamost_mrs", copy)
    shutil.copy(copy / "lamost_lrs/calibration.h5", copy / "lamost_lrs/mine.h5")
    with pytest.raises(DamagedFile, match="not among the released models"):
        load_scorer(copy / "lamost_lrs", copy / "lamost_lrs/mine.h5")


def test_what_we_write_into_a_release_is_listed_at_once(copy):
    path = copy / "lamost_mrs/evidence.json"
    Evidence.load(path).save(path)
    load("lamost_mrs", copy)
    assert (copy / "lamost_mrs" / seals.SUMS).read_text(encoding="utf-8").count("evidence.json") == 1


def test_a_calibration_of_other_networks_is_refused(copy):
    (copy / "csst" / seals.SUMS).unlink()
    shutil.copy(copy / "hst/calibration.json", copy / "csst/calibration.json")
    with pytest.raises(ValueError, match="belongs to other networks"):
        Classifier.load([copy / "csst/compact.safetensors", copy / "csst/calibration.json"])


@pytest.mark.parametrize("change", [{"teff": [6000, 4000]}, {"chi2_max": None}, {"evolved": [[5000]]}, {"teff": "x"}])
def test_a_range_that_is_none_is_refused(copy, change):
    (copy / "lamost_lrs" / seals.SUMS).unlink()
    path = copy / "lamost_lrs/range.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content.pop("digest", None)
    path.write_text(json.dumps(content | change), encoding="utf-8")
    with pytest.raises(ValueError, match=r"range\.json: "):
        load_folder(copy / "lamost_lrs")
