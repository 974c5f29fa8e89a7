"""Drill of whole runs: Snakemake is killed, interrupted, put on a full or read-only disk, in every stage of both lines.

    python tests/drill/runs.py                       all faults, a table (about 20 CPU minutes)
    python tests/drill/runs.py --only "mrs ingest"   those whose name has these words

Files of one's own are scored by the released models (observation), networks trained in tests/presets/tiny.yaml
(training). A finished run is the reference. Each fault takes the outputs of one stage away, starts the run again,
strikes while that stage works, and runs once more, as a user would: after a hard kill with `--unlock`, which Snakemake
asks for. The product must have the same content as before.
"""

import argparse
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from astropy.io import fits

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/fuzz"))

from dioscuri.seals import tensors_digest  # noqa: E402

LONGEST = 3600  # s
READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
LARGEST_FILE = 3_000  # bytes: a disk that takes no larger one
OWN = """\
preset: drill
lamost_mrs: {spectra: [observed/med*.fits], models: released, ingest: {files_per_shard: 1}, inference: {draws: 4}}
lamost_lrs: {spectra: [observed/spec*.fits], models: released, files_per_shard: 1}
"""
MODEL = "blue/cnn_s/lambda16/seed1"


@dataclass(frozen=True)
class Line:
    """A run: its settings, its results, and the product below them by which two runs are compared."""

    settings: str
    results: str
    product: str


LINES = {
    "MRS": Line("own.yaml", "results/drill/lamost_mrs", "catalogs/mrs.parquet"),
    "LRS": Line("own.yaml", "results/drill/lamost_lrs", "catalogs/lrs.parquet"),
    "MRS training": Line(
        str(ROOT / "tests/presets/tiny.yaml"), "results/tiny/lamost_mrs", f"{MODEL}/model.ckpt"
    ),
    "LRS training": Line(
        str(ROOT / "tests/presets/tiny.yaml"), "results/tiny/lamost_lrs", "dense/seed1/model.safetensors"
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Fault:
    """Outputs of `stage` (globs below the results) and what follows are taken away.

    `strike` comes while `rule` works, or before the run.
    """

    line: str
    stage: str
    outputs: tuple[str, ...]
    rule: str
    strike: str


STAGES = [
    ("MRS", "planning", ("ingest/plan.json",), "plan_lamost_mrs_shards"),
    ("MRS", "ingest", ("ingest/shard000000.h5", "ingest/rejected000000.parquet"), "ingest_shard"),
    ("MRS", "inference", ("*/inference/*.parquet", "pairs/*.parquet"), "infer_shard"),
    ("MRS", "catalogue", ("catalogs/*",), "build_catalog"),
    ("LRS", "planning", ("ingest/plan.json",), "plan_lamost_lrs_shards"),
    ("LRS", "ingest", ("ingest/shard000000.h5",), "reduce_lrs_shard"),
    ("LRS", "inference", ("inference/*.parquet",), "score_lrs_shard"),
    ("LRS", "catalogue", ("catalogs/*",), "build_lrs_catalog"),
    ("MRS training", "training", (f"{MODEL}/*",), "train_spectra"),
    ("LRS training", "training", ("dense/seed1/*",), "train_lrs_network"),
]
KILLS = ("kill -9 of all", "kill -9 of Snakemake", "Ctrl-C")
DISKS = ("full disk", "read-only results")
GARBLED = "kill -9, resume/last.ckpt garbled"
FAULTS = [Fault(*stage, strike) for stage in STAGES for strike in KILLS]
FAULTS += [Fault(*stage, strike) for stage in STAGES if stage[1] in ("ingest", "catalogue") for strike in DISKS]
FAULTS += [Fault(*stage, GARBLED) for stage in STAGES if stage[0] == "MRS training"]


def observed(folder: Path) -> None:
    """Two files of each survey, and settings that name them."""
    from lrs import sound as lrs
    from mrs import sound as mrs

    (folder / "observed").mkdir()
    for number in (1, 2):
        paths = [folder / f"observed/{kind}-58820-P_sp0{number}-101.fits" for kind in ("med", "spec")]
        mrs(paths[0])
        lrs(paths[1], "table")
        for path in paths:
            with fits.open(path, mode="update") as units:
                units[0].header["OBSID"] = 123400000 + 1000 * number + 101
    (folder / "own.yaml").write_text(OWN, encoding="utf-8")


def command(folder: Path, line: str, *more: str) -> list[str]:
    """One core, the checkout elsewhere: as a group's shared checkout is used."""
    there = ["--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder), "--cores", "1"]
    run = LINES[line]
    target = f"{run.results}/{run.product}"
    return [sys.executable, "-m", "snakemake", *there, "--configfile", str(folder / run.settings), *more, "--", target]


def run(folder: Path, line: str, *more: str, **options: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        command(folder, line, *more), capture_output=True, text=True, check=False, timeout=LONGEST, **options
    )  # type: ignore[call-overload]


def content(folder: Path, line: str) -> object:
    """What two runs must have in common: a catalogue's rows, a network's weights."""
    path = folder / LINES[line].results / LINES[line].product
    if path.suffix == ".parquet":
        return pd.read_parquet(path).to_csv()
    if path.suffix == ".ckpt":
        return tensors_digest(torch.load(path, weights_only=True)["state_dict"])
    from safetensors.torch import load_file

    return tensors_digest(load_file(path))


def struck(folder: Path, fault: Fault) -> None:
    """Start the run, wait until the rule works, strike, and wait for the end of everything."""
    log = folder / "struck.log"
    with open(log, "w", encoding="utf-8") as stream:
        process = subprocess.Popen(
            command(folder, fault.line), stdout=stream, stderr=stream, start_new_session=True, preexec_fn=listening
        )  # its group is its own
        resume = folder / LINES[fault.line].results / MODEL / "resume/last.ckpt"
        started: Callable[[], bool] = lambda: f" {fault.rule}:" in log.read_text(encoding="utf-8")  # noqa: E731
        if "garbled" in fault.strike:
            started = resume.exists
        until(lambda: started() or process.poll() is not None)
        if process.poll() is not None:
            raise RuntimeError(f"the run ended before {fault.rule}: {log.read_text(encoding='utf-8')[-600:]}")
        time.sleep(0.0 if "garbled" in fault.strike else 1.5)  # the job is under way, not only announced
        if fault.strike == "kill -9 of Snakemake":
            os.kill(process.pid, signal.SIGKILL)  # its jobs live on
        else:
            os.killpg(process.pid, signal.SIGINT if fault.strike == "Ctrl-C" else signal.SIGKILL)
        process.wait()
        if fault.strike == "kill -9 of Snakemake":
            until(lambda: not group_alive(process.pid))
    if "garbled" in fault.strike:
        resume.write_bytes(b"garbage" * 200)


def listening() -> None:
    """A shell's background jobs ignore Ctrl-C, and so would all that they start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + LONGEST
    while not done():
        if time.monotonic() > end:
            raise RuntimeError("nothing happened")
        time.sleep(0.1)


def group_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def on_a_bad_disk(folder: Path, fault: Fault) -> str:
    """Run where nothing can be written; returns what the run said."""
    results = folder / LINES[fault.line].results
    if fault.strike == "full disk":
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))  # noqa: E731
        done = run(folder, fault.line, preexec_fn=limit)
    elif os.geteuid() == 0:  # whom no mode stops
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", READ_ONLY, str(results), *command(folder, fault.line)],
            capture_output=True, text=True, check=False, timeout=LONGEST,
        )  # fmt: skip
    else:
        parts = [results, *(path for path in results.rglob("*") if path.is_dir())]
        for path in parts:
            path.chmod(0o555)
        try:
            done = run(folder, fault.line)
        finally:
            for path in parts:
                path.chmod(0o755)
    if done.returncode == 0:
        raise RuntimeError("a bad disk went unnoticed")
    logs = [path.read_text(encoding="utf-8", errors="replace") for path in folder.rglob("*.log")]
    return done.stdout + done.stderr + "".join(logs)


def drill(folder: Path, fault: Fault, reference: object) -> tuple[str, str, float]:
    """Lost work, what came of it, and the seconds of the run that mended it."""
    results = folder / LINES[fault.line].results
    later = [stage for stage in STAGES if stage[0] == fault.line]
    later = later[[stage[1] for stage in later].index(fault.stage) :]
    for pattern in [pattern for _, _, outputs, _ in later for pattern in outputs]:
        for path in results.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    told = ""
    if fault.strike in ("full disk", "read-only results"):
        said = on_a_bad_disk(folder, fault)
        words = ("File too large",) if fault.strike == "full disk" else ("ead-only file system", "ermission denied")
        told = "refused by name, then " if any(w in said for w in words) else f"WRONG: no reason given: {said[-300:]}; "
    else:
        struck(folder, fault)
    began = time.monotonic()
    done = run(folder, fault.line, "--rerun-incomplete")
    if "LockException" in done.stdout + done.stderr:
        told += "unlocked, then "
        run(folder, fault.line, "--unlock")
        done = run(folder, fault.line, "--rerun-incomplete")
    seconds = time.monotonic() - began
    if done.returncode:
        return "", f"WRONG: {told}the rerun failed: {(done.stdout + done.stderr)[-500:]}", seconds
    again = [
        line
        for line in (done.stdout + done.stderr).splitlines()
        if line.strip().startswith(("rule ", "localrule ", "checkpoint ", "localcheckpoint "))
    ]
    left = [
        str(path.relative_to(folder)) for path in results.rglob(".*") if path.is_file() and "snakemake" not in str(path)
    ]
    if left:
        return f"{len(again)} jobs", f"WRONG: {told}{left} stay", seconds
    same = content(folder, fault.line) == reference
    return f"{len(again)} jobs", f"{told}identical" if same else f"WRONG: {told}another product", seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", default=[], help="words that a fault's name must have (again: or)")
    options = parser.parse_args()
    names = {fault: f"{fault.line} {fault.stage} {fault.strike}".split() for fault in FAULTS}
    wanted = [set(words.split()) for words in options.only] or [set()]
    chosen = [fault for fault, name in names.items() if any(words <= set(name) for words in wanted)]
    wrong = 0
    with tempfile.TemporaryDirectory() as base:
        folder = Path(base)
        folder.chmod(0o755)
        observed(folder)
        for line in dict.fromkeys(fault.line for fault in chosen):
            done = run(folder, line)
            if done.returncode:
                print((done.stdout + done.stderr)[-3000:])
                return 1
            reference = content(folder, line)
            for fault in [fault for fault in chosen if fault.line == line]:
                try:
                    lost, what, seconds = drill(folder, fault, reference)
                except RuntimeError as error:
                    lost, what, seconds = "", f"WRONG: {error}", 0.0
                wrong += what.startswith("WRONG")
                print(f"| {line} | {fault.stage} | {fault.strike} | {lost} | {seconds:.0f} s | {what} |", flush=True)
    print(f"{len(chosen)} faults, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
