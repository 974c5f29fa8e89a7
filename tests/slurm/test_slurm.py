"""The tiny preset through a real SLURM: partitions, GPUs, a failure, a cancelled job, a stop and a resume."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slurm

# What a site would write into profiles/slurm: this one has no accounting, and GPUs in a partition of their own.
SITE = [
    "--slurm-status-command=squeue",
    "--slurm-no-account",
    "--slurm-init-seconds-before-status-checks=3",
    "--slurm-keep-successful-logs",
    "--seconds-between-status-checks=3",
    "--latency-wait=5",
    "--jobs=4",
    "--default-resources",
    "slurm_partition=cpu",
    "mem_mb=1000",
    "runtime=10",
    "--set-resources",
    "train_model:slurm_partition=gpu",
]
TARGETS = ["results/tiny/lamost_mrs/catalogs/candidates.fits"]

# Stands before every script of the copy: each job signs in, and the first one of some rules goes wrong.
WITNESS = """\
import json, os, sys, time
from pathlib import Path
rule = snakemake.rule
folder = Path("witness")
first = not list(folder.glob(f"{rule}.*"))
names = ("SLURM_JOB_ID", "SLURM_JOB_PARTITION", "CUDA_VISIBLE_DEVICES")
seen = {name: os.environ.get(name) for name in names}
(folder / f"{rule}.{os.environ['SLURM_JOB_ID']}").write_text(json.dumps(seen))
if first and rule == "build_tracks":
    sys.exit("injected failure")
if first and rule in ("build_library", "simulate_night"):
    time.sleep(120)  # long enough to be cancelled, or stopped with the whole run
"""


@pytest.fixture(scope="module")
def checkout(repository_copy: Path) -> Path:
    """A copy of the repository in which every job leaves a note of where it ran."""
    (repository_copy / "witness").mkdir()
    for script in (repository_copy / "workflow/scripts").glob("*.py"):
        script.write_text(WITNESS + script.read_text())
    return repository_copy


@pytest.fixture(scope="module")
def environment(slurm: dict[str, str], checkout: Path) -> dict[str, str]:
    return {**os.environ, **slurm, "PYTHONPATH": str(checkout / "workflow/src")}


def start(checkout: Path, environment: dict[str, str]) -> subprocess.Popen:
    command = [sys.executable, "-m", "snakemake", "--profile", "profiles/slurm", *SITE]
    command += ["--configfile", "tests/presets/tiny.yaml", "--", *TARGETS]
    with open(checkout / "snakemake.log", "a") as log:
        return subprocess.Popen(command, cwd=checkout, env=environment, stdout=log, stderr=subprocess.STDOUT)


def witnesses(checkout: Path) -> list[tuple[str, dict]]:
    """(rule, what its job saw) of all jobs so far."""
    return [
        (path.name.split(".")[0], json.loads(path.read_text())) for path in (checkout / "witness").iterdir()
    ]


def wait_for(happened: Callable[[], bool], seconds: float, run: subprocess.Popen, checkout: Path) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        if run.poll() is not None or time.monotonic() > deadline:
            run.kill()
            pytest.fail((checkout / "snakemake.log").read_text()[-4000:])
        time.sleep(0.5)


def job_of(rule: str, checkout: Path) -> str | None:
    """SLURM number of the rule's job, once it runs."""
    return next((seen["SLURM_JOB_ID"] for name, seen in witnesses(checkout) if name == rule), None)


def test_tiny_run_survives_failure_cancellation_and_stop(checkout: Path, environment: dict[str, str]) -> None:
    run = start(checkout, environment)
    wait_for(lambda: job_of("build_library", checkout) is not None, 90, run, checkout)
    subprocess.run(["scancel", str(job_of("build_library", checkout))], env=environment, check=True)
    wait_for(lambda: job_of("simulate_night", checkout) is not None, 120, run, checkout)
    run.send_signal(signal.SIGINT)
    assert run.wait(60) != 0
    queue = subprocess.run(["squeue", "-h", "-t", "R,PD"], env=environment, capture_output=True, text=True)
    assert queue.stdout == "", "a stopped run leaves nothing in the queue"
    stopped = Counter(rule for rule, _ in witnesses(checkout))

    resumed = start(checkout, environment)
    assert resumed.wait(400) == 0, (checkout / "snakemake.log").read_text()[-4000:]
    assert all((checkout / target).exists() for target in TARGETS)

    jobs = witnesses(checkout)
    times = Counter(rule for rule, _ in jobs)
    assert times["build_tracks"] == 2, "failed once, retried once"
    assert times["build_library"] == 2, "cancelled once, retried once"
    assert stopped["build_tracks"] == 2, "the retry did not wait for the second run"
    assert times["simulate_night"] == 2, "stopped with the first run, made by the second"
    assert times["ingest_shard"] == 3 and times["infer_shard"] == 6
    assert {seen["SLURM_JOB_PARTITION"] for rule, seen in jobs if rule != "train_model"} == {"cpu"}
    trained = [seen for rule, seen in jobs if rule == "train_model"]
    assert len(trained) == 2
    assert all(seen["SLURM_JOB_PARTITION"] == "gpu" for seen in trained)
    assert all(seen["CUDA_VISIBLE_DEVICES"] in ("0", "1") for seen in trained)
