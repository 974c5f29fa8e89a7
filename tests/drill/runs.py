"""Drill of whole runs: Snakemake is killed, interrupted, put on a full or read-only disk, in every stage of both lines.

    python tests/drill/runs.py                 all faults, a table (about 15 CPU minutes)
    python tests/drill/runs.py --only ingest   those whose name has this word

A finished run of tests/presets/tiny.yaml is the reference. Each fault takes the outputs of one stage away, starts the
run again, strikes while that stage works, and runs once more, as a user would: after a hard kill with `--unlock`,
which Snakemake asks for. The catalogue must have the same content as before.
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

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path("results/tiny")
CATALOGUES = {"lamost_mrs": "catalogs/mrs.parquet", "lamost_lrs": "catalogs/lrs.parquet"}
MODEL = "blue/cnn_s/lambda16/seed1"
NOBODY = 65534
LONGEST = 600  # s
TINY_FILES = 20_000  # bytes: a disk that takes no larger file


@dataclass(frozen=True)
class Fault:
    """Outputs of `stage` (globs below `line`) are taken away; `strike` while `rule` works, or before the run."""

    line: str
    stage: str
    outputs: tuple[str, ...]
    rule: str
    strike: str


STAGES = {
    ("lamost_mrs", "planning"): (("ingest/plan.json",), "plan_shards"),
    ("lamost_mrs", "ingest"): (("ingest/shard000000.h5", "ingest/rejected000000.parquet"), "ingest_shard"),
    ("lamost_mrs", "training"): ((f"{MODEL}/*",), "train_spectra"),
    ("lamost_mrs", "inference"): (("blue/inference/*.parquet",), "infer_shard"),
    ("lamost_mrs", "catalogue"): (("catalogs/*",), "build_catalog"),
    ("lamost_lrs", "models"): (("models/components.h5", "models/pair_fit.h5", "models/range.json"), "make_lrs_models"),
    ("lamost_lrs", "training"): (("dense/seed1/*",), "train_lrs_dense"),
    ("lamost_lrs", "ingest"): (("ingest/shard000000.h5",), "reduce_lrs_shard"),
    ("lamost_lrs", "inference"): (("inference/*.parquet",), "score_lrs_shard"),
    ("lamost_lrs", "catalogue"): (("catalogs/*",), "build_lrs_catalog"),
}
STRIKES = {
    "lamost_mrs": ("kill -9 of all", "kill -9 of Snakemake", "Ctrl-C"),
    "lamost_lrs": ("kill -9 of all", "Ctrl-C"),
}
FAULTS = (
    [
        Fault(line, stage, outputs, rule, strike)
        for (line, stage), (outputs, rule) in STAGES.items()
        for strike in STRIKES[line]
    ]
    + [
        Fault("lamost_mrs", stage, *STAGES["lamost_mrs", stage], strike)
        for strike in ("full disk", "read-only results")
        for stage in ("ingest", "inference", "catalogue")
    ]
    + [Fault("lamost_mrs", "training", *STAGES["lamost_mrs", "training"], "kill -9, resume/last.ckpt garbled")]
)


def command(folder: Path, line: str, *more: str) -> list[str]:
    """One core, the checkout elsewhere: as a group's shared checkout is used."""
    there = ["--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder), "--cores", "1"]
    target = str(RESULTS / line / CATALOGUES[line])
    return [
        sys.executable, "-m", "snakemake", *there, "--configfile", str(ROOT / "tests/presets/tiny.yaml"), *more,
        "--", target,
    ]  # fmt: skip


def run(folder: Path, line: str, *more: str, **options: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        command(folder, line, *more), capture_output=True, text=True, check=False, timeout=LONGEST, **options
    )  # type: ignore[call-overload]


def content(folder: Path, line: str) -> pd.DataFrame:
    return pd.read_parquet(folder / RESULTS / line / CATALOGUES[line])


def struck(folder: Path, fault: Fault) -> None:
    """Start the run, wait until the rule works, strike, and wait for the end of everything."""
    log = folder / "struck.log"
    with open(log, "w", encoding="utf-8") as stream:
        process = subprocess.Popen(
            command(folder, fault.line), stdout=stream, stderr=stream, start_new_session=True
        )  # its group is its own
        resume = folder / RESULTS / fault.line / MODEL / "resume/last.ckpt"
        started: Callable[[], bool] = lambda: f"rule {fault.rule}:" in log.read_text(encoding="utf-8")  # noqa: E731
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


def until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + LONGEST
    while not done():
        if time.monotonic() > end:
            raise TimeoutError("nothing happened")
        time.sleep(0.1)


def group_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def on_a_bad_disk(folder: Path, fault: Fault) -> str:
    """Run where nothing can be written; returns what the run said."""
    results = folder / RESULTS / fault.line
    if fault.strike == "full disk":
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (TINY_FILES, TINY_FILES))  # noqa: E731
        done = run(folder, fault.line, preexec_fn=limit)
    else:
        parts = [results, *(path for path in results.rglob("*") if path.is_dir())]
        modes = {path: path.stat().st_mode for path in parts}
        for path in parts:
            path.chmod(0o555)
        user = {}
        if os.geteuid() == 0:  # whom no mode stops
            for path in (folder, *(p for p in folder.rglob("*") if results not in p.parents and p != results)):
                os.chown(path, NOBODY, NOBODY)
            user = {"user": NOBODY, "group": NOBODY, "extra_groups": [], "env": {**os.environ, "HOME": str(folder)}}
        try:
            done = run(folder, fault.line, **user)
        finally:
            for path, mode in modes.items():
                path.chmod(mode)
            if os.geteuid() == 0:
                for path in (folder, *folder.rglob("*")):
                    os.chown(path, 0, 0)
    if done.returncode == 0:
        raise RuntimeError("a bad disk went unnoticed")
    logs = [path.read_text(encoding="utf-8", errors="replace") for path in folder.rglob("*.log")]
    return done.stdout + done.stderr + "".join(logs)


def drill(folder: Path, fault: Fault, reference: pd.DataFrame) -> tuple[str, str, float]:
    """Lost work, what came of it, and the seconds of the run that mended it."""
    results = folder / RESULTS / fault.line
    for pattern in fault.outputs:
        for path in results.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    told = ""
    if fault.strike in ("full disk", "read-only results"):
        said = on_a_bad_disk(folder, fault)
        words = "File too large" if fault.strike == "full disk" else "ermission denied"
        told = "refused by name, then " if words in said else "WRONG: no reason given; "
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
    again = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith(("rule ", "checkpoint "))]
    left = [
        str(path.relative_to(folder)) for path in results.rglob(".*") if path.is_file() and "snakemake" not in str(path)
    ]
    if left:
        return f"{len(again)} jobs", f"WRONG: {told}{left} stay", seconds
    same = content(folder, fault.line).equals(reference)
    return f"{len(again)} jobs", f"{told}identical" if same else f"WRONG: {told}another catalogue", seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", default=[], help="words that the name of a fault must have")
    options = parser.parse_args()
    chosen = [f for f in FAULTS if all(word in f"{f.line} {f.stage} {f.strike}" for word in options.only)]
    wrong = 0
    with tempfile.TemporaryDirectory() as base:
        folder = Path(base)
        folder.chmod(0o755)
        for line in dict.fromkeys(fault.line for fault in chosen):
            done = run(folder, line)
            if done.returncode:
                print((done.stdout + done.stderr)[-3000:])
                return 1
            reference = content(folder, line)
            for fault in [fault for fault in chosen if fault.line == line]:
                lost, what, seconds = drill(folder, fault, reference)
                wrong += what.startswith("WRONG")
                print(f"| {line} | {fault.stage} | {fault.strike} | {lost} | {seconds:.0f} s | {what} |", flush=True)
    print(f"{len(chosen)} faults, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
