"""Drill: what faults do to a run, one after the other, in a folder of their own; nothing may be silently different.

    python tests/drill/drill.py            all faults, a table
    python tests/drill/drill.py --short    those that take seconds

Each fault meets finished products (files to shards, models, scores) and says: refused by name, mended (and what it
cost), or bit-identical after a rerun.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "unit"), str(HERE)]

import mrs_products as products  # noqa: E402

from dioscuri import io, shards  # noqa: E402
from dioscuri.arms import Arm  # noqa: E402
from dioscuri.catalogs.evidence import Evidence  # noqa: E402
from dioscuri.catalogs.scores import read_scores, score_shard  # noqa: E402
from dioscuri.lamost.inputs import plan_shards, read_manifest  # noqa: E402
from dioscuri.learn import resume  # noqa: E402
from dioscuri.learn.spectra.models import load_model, load_released  # noqa: E402
from dioscuri.paths import models_folder  # noqa: E402
from dioscuri.seals import content_digest  # noqa: E402

BLUE = Arm("blue", 5000.0, 5006.0, products.N_PIXELS["blue"], 7500.0)
Fault = Callable[[Path], str]
FAULTS: dict[str, Fault] = {}


def fault(function: Fault) -> Fault:
    FAULTS[function.__name__.replace("_", " ")] = function
    return function


def refused(action: Callable[[], object], *said: str) -> str:
    """The action must raise an error that says all of `said`."""
    try:
        action()
    except Exception as error:
        missing = [text for text in said if text not in str(error)]
        return f"WRONG: the error does not say {missing}: {error}" if missing else "refused by name"
    return "WRONG: nothing was raised"


def identical(first: str, second: str, how: str) -> str:
    return f"identical: {how}" if first == second else f"WRONG: not identical: {how}"


def house(folder: Path) -> Path:
    """Four files, two shards, two models and their scores."""
    for number in range(4):
        (folder / f"night{number}.fits").write_bytes(bytes([number]) * 5000)
    plan_shards(sorted(folder.glob("night*")), 2, folder / "ingest/manifest.json")
    for number in range(2):
        files = read_manifest(folder / "ingest/manifest.json").files(number)
        columns = products.exposures(3, 10 * number)
        arms = {arm: (np.full((12, n), 0.01), np.full((12, n), 0.05)) for arm, n in products.N_PIXELS.items()}
        shard = folder / f"ingest/shard{number:06d}.h5"
        shards.write_spectra_shard(shard, columns, arms, {"sources": {"files": files}})
    products.write_pairs(folder / "pairs.parquet", products.exposures(3))
    for seed in (1, 2):
        products.write_model(folder / f"seed{seed}", seed=seed)
    score(folder)
    return folder


def score(folder: Path, out: str = "scores.parquet") -> str:
    models = [folder / "seed1", folder / "seed2"]
    shard, pairs = folder / "ingest/shard000000.h5", folder / "pairs.parquet"
    score_shard(shard, BLUE, pairs, models, folder / out, penalties=[16.0], draws=2)
    return content_digest(folder / out)


def flip(path: Path, place: float = 0.5) -> None:
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 4
    path.write_bytes(bytes(content))


# --- files that change -----------------------------------------------------------------------------------------------


@fault
def bit_flipped_in_a_shard(folder: Path) -> str:
    flip(folder / "ingest/shard000000.h5")
    return refused(lambda: score(folder), "shard000000.h5", "checksum", "delete this file")


@fault
def shard_cut_short(folder: Path) -> str:
    path = folder / "ingest/shard000000.h5"
    path.write_bytes(path.read_bytes()[:9000])
    return refused(lambda: score(folder), "shard000000.h5", "damaged")


@fault
def shard_emptied(folder: Path) -> str:
    (folder / "ingest/shard000000.h5").write_bytes(b"")
    return refused(lambda: score(folder), "shard000000.h5")


@fault
def bit_flipped_in_a_checkpoint(folder: Path) -> str:
    reference = score(folder, "before.parquet")
    flip(folder / "seed1/model.ckpt", 0.4)
    try:
        return identical(reference, score(folder), "the bit was of no consequence")
    except ValueError as error:
        return "refused by name" if "model.ckpt" in str(error) else f"WRONG: {error}"


@fault
def bit_flipped_in_scores(folder: Path) -> str:
    flip(folder / "scores.parquet")
    return refused(lambda: read_scores([folder / "scores.parquet"], [16.0]), "scores.parquet", "checksum", "delete")


@fault
def scores_cut_short(folder: Path) -> str:
    path = folder / "scores.parquet"
    path.write_bytes(path.read_bytes()[:700])
    return refused(lambda: read_scores([path], [16.0]), "scores.parquet")


@fault
def another_number_in_the_evidence(folder: Path) -> str:
    shutil.copy(models_folder() / "lamost_mrs/evidence.json", path := folder / "evidence.json")
    Evidence.load(path).save(path)
    path.write_text(path.read_text(encoding="utf-8").replace("16.0", "32.0", 1), encoding="utf-8")
    return refused(lambda: Evidence.load(path), "evidence.json", "digest", "make it again")


@fault
def released_model_of_another_survey(folder: Path) -> str:
    shutil.copytree(models_folder() / "lamost_mrs", folder / "released")
    shutil.copy(models_folder() / "hst/compact.safetensors", folder / "released/blue.safetensors")
    return refused(lambda: load_released(folder / "released/blue.safetensors"), "blue.safetensors", "another release")


@fault
def seed_copied_alone(folder: Path) -> str:
    shutil.copy(folder / "seed1/model.ckpt", folder / "seed2/model.ckpt")
    return refused(lambda: load_model(folder / "seed2"), "seed 1", "train seed 2 again")


@fault
def model_of_another_seed_copied(folder: Path) -> str:
    shutil.copy(folder / "seed1/model.ckpt", folder / "seed2/model.ckpt")
    return refused(lambda: score(folder), "seed 1", "copy")


@fault
def one_weight_not_a_number(folder: Path) -> str:
    import torch

    content = torch.load(folder / "seed1/model.ckpt", weights_only=True)
    next(iter(content["state_dict"].values())).reshape(-1)[0] = float("nan")
    torch.save(content, folder / "seed1/model.ckpt")
    return refused(lambda: score(folder), "seed1", "NaN")


@fault
def model_lost(folder: Path) -> str:
    (folder / "seed2/model.ckpt").unlink()
    return refused(lambda: score(folder), "seed2", "no such model")


@fault
def input_replaced(folder: Path) -> str:
    files, manifest = sorted(folder.glob("night*")), folder / "ingest/manifest.json"
    before = plan_shards(files, 2, manifest)
    files[0].write_bytes(b"repaired")
    after = plan_shards(files, 2, manifest)
    changed = [name for name in before if before[name] != after[name]]
    return "mended: one of two shards is made again" if changed == ["000000"] else f"WRONG: {changed}"


@fault
def input_touched(folder: Path) -> str:
    files, manifest = sorted(folder.glob("night*")), folder / "ingest/manifest.json"
    before = plan_shards(files, 2, manifest)
    os.utime(files[0])
    return identical(str(before), str(plan_shards(files, 2, manifest)), "nothing is made again")


@fault
def input_vanished(folder: Path) -> str:
    files, manifest = sorted(folder.glob("night*")), folder / "ingest/manifest.json"
    before = plan_shards(files, 2, manifest)
    files[3].unlink()
    after = plan_shards(files[:3], 2, manifest)
    gone = str(files[3]) not in read_manifest(manifest).files(1)
    return "mended: its shard is made again without it" if gone and before != after else "WRONG: its rows stay"


@fault
def manifest_lost(folder: Path) -> str:
    files, manifest = sorted(folder.glob("night*")), folder / "ingest/manifest.json"
    before = plan_shards(files, 2, manifest)
    manifest.unlink()
    return identical(str(before), str(plan_shards(files, 2, manifest)), "made again from the shards")


@fault
def manifest_garbled(folder: Path) -> str:
    manifest = folder / "ingest/manifest.json"
    manifest.write_text('{"schema', encoding="utf-8")
    return refused(lambda: plan_shards(sorted(folder.glob("night*")), 2, manifest), "manifest.json", "delete it")


# --- training --------------------------------------------------------------------------------------------------------


def states(folder: Path) -> Path:
    import torch

    (folder / "resume").mkdir()
    for name, epochs in (("previous.ckpt", 3), ("last.ckpt", 4)):
        torch.save({"fingerprint": "f", "history": [{}] * epochs}, folder / "resume" / name)
    return folder / "resume/last.ckpt"


@fault
def state_of_training_garbled(folder: Path) -> str:
    last = states(folder)
    last.write_bytes(b"garbage" * 100)
    found = resume.saved_state(last, "f")
    return "mended: one epoch is trained again" if found and len(found["history"]) == 3 else "WRONG"


@fault
def both_states_garbled(folder: Path) -> str:
    last = states(folder)
    for path in last.parent.iterdir():
        path.write_bytes(b"garbage" * 100)
    return "mended: training starts afresh" if resume.saved_state(last, "f") is None else "WRONG"


@fault
def state_of_other_settings(folder: Path) -> str:
    return "refused: training starts afresh" if resume.saved_state(states(folder), "other") is None else "WRONG"


# --- writers ---------------------------------------------------------------------------------------------------------


def killed_while_writing(folder: Path, number: int) -> None:
    code = (
        f"import os; from dioscuri.io import atomic\nwith atomic({str(folder / 'out.bin')!r}) as temporary:\n"
        f"    temporary.write_bytes(bytes(100000)); os.kill(os.getpid(), {number})"
    )
    subprocess.run([sys.executable, "-c", code], check=False, stderr=subprocess.DEVNULL)


def after_a_kill(folder: Path, number: int) -> str:
    (folder / "out.bin").write_bytes(b"old")
    killed_while_writing(folder, number)
    if (folder / "out.bin").read_bytes() != b"old":
        return "WRONG: the old file is gone"
    with io.atomic(folder / "out.bin") as temporary:
        temporary.write_bytes(b"new")
    left = [path.name for path in folder.iterdir() if path.name.startswith(".")]
    return f"WRONG: {left} stay" if left else "identical: the old file stays until the rerun, nothing is left over"


@fault
def kill_9_while_writing(folder: Path) -> str:
    return after_a_kill(folder, signal.SIGKILL)


@fault
def interrupted_while_writing(folder: Path) -> str:
    return after_a_kill(folder, signal.SIGINT)


@fault
def terminated_while_writing(folder: Path) -> str:
    return after_a_kill(folder, signal.SIGTERM)


@fault
def disk_full(folder: Path) -> str:
    """A file system that takes 50 kB: the limit on file sizes stands in for it."""
    reference = score(folder)
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"sys.path[:0] = {sys.path[:2]!r}\nfrom pathlib import Path\nimport drill\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        f"drill.score(Path({str(folder)!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode == 0 or content_digest(folder / "scores.parquet") != reference:
        return "WRONG: a full disk went unnoticed"
    return identical(reference, score(folder), "the old file stays, the rerun makes the same")


@fault
def two_writers_at_once(folder: Path) -> str:
    with io.atomic(folder / "out.bin") as one, io.atomic(folder / "out.bin") as other:
        one.write_bytes(b"same")
        other.write_bytes(b"same")
    return identical("same", (folder / "out.bin").read_text(encoding="utf-8"), "each writes its own file")


@fault
def clock_in_the_future(folder: Path) -> str:
    files, manifest = sorted(folder.glob("night*")), folder / "ingest/manifest.json"
    before = plan_shards(files, 2, manifest)
    os.utime(files[1], (4e9, 4e9))
    return identical(str(before), str(plan_shards(files, 2, manifest)), "contents count, not dates")


@fault
def scores_made_again(folder: Path) -> str:
    reference = content_digest(folder / "scores.parquet")
    (folder / "scores.parquet").unlink()
    return identical(reference, score(folder), "lost scores come back")


@fault
def checkpoint_is_a_web_page(folder: Path) -> str:
    (folder / "seed1/model.ckpt").write_bytes(b"<!DOCTYPE html><html>404</html>")
    return refused(lambda: load_model(folder / "seed1"), "seed1", "not a model.ckpt")


SLOW = ("disk full", "kill 9 while writing", "interrupted while writing", "terminated while writing")


def drill(names: list[str]) -> list[tuple[str, str, float]]:
    """Fault, what came of it, seconds; each in a house of its own."""
    found = []
    with tempfile.TemporaryDirectory() as base:
        for name in names:
            (folder := Path(base) / name.replace(" ", "-")).mkdir()
            house(folder)
            started = time.monotonic()
            found.append((name, FAULTS[name](folder), time.monotonic() - started))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="only faults that take seconds")
    options = parser.parse_args()
    found = drill([name for name in FAULTS if not options.short or name not in SLOW])
    for name, what, seconds in found:
        print(f"{name:32s} {seconds:6.1f} s  {what}")
    wrong = sum(what.startswith("WRONG") for _, what, _ in found)
    print(f"{len(found)} faults, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
