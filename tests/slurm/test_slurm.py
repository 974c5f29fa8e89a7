"""The tiny preset through a real SLURM: partitions, GPUs, a failure, a cancelled job, a stop and a resume."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.slurm

# What a site writes into profiles/slurm: this one has no accounting, and GPUs in a partition of their own.
SITE = [
    "--slurm-status-command=squeue",
    "--slurm-no-account",
    "--slurm-init-seconds-before-status-checks=3",
    "--slurm-keep-successful-logs",
    "--seconds-between-status-checks=3",
    "--latency-wait=5",
    "--jobs=4",
    # The node advertises eight cores and has two; eight workers would each compile the same kernels at once.
    "--set-threads=build_library=2",
    "--default-resources",
    "slurm_partition=cpu",
    "mem_mb=1000",
    "runtime=10",
    "--set-resources",
    "train_spectra:slurm_partition=gpu",
]
# Two shards of observations, and networks that are taught at rest: fewer jobs of the same kinds.
FEWER = "lamost_mrs={mocks: {seen: false}, ingest: {files_per_shard: 5}}"
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


# Stands behind every script: each job that came to its end signs out.
FAREWELL = """
(Path("finished") / f"{rule}.{os.environ['SLURM_JOB_ID']}").touch()
"""


@pytest.fixture(scope="module")
def checkout(repository_copy: Path) -> Path:
    """A copy of the repository in which every job leaves a note of where it ran."""
    for folder in ("witness", "finished"):
        (repository_copy / folder).mkdir()
    for script in (repository_copy / "workflow/scripts").rglob("*.py"):
        script.write_text(WITNESS + script.read_text() + FAREWELL)
    return repository_copy


@pytest.fixture(scope="module")
def environment(slurm: dict[str, str], checkout: Path) -> dict[str, str]:
    return {**os.environ, **slurm, "PYTHONPATH": str(checkout / "workflow/src")}


@contextmanager
def workflow(checkout: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen]:
    """Start the workflow; whatever becomes of the test, it does not outlive it."""
    command = [sys.executable, "-m", "snakemake", "--profile", "profiles/slurm", *SITE]
    command += ["--configfile", "tests/presets/tiny.yaml", "--config", FEWER, "--", *TARGETS]
    with open(checkout / "snakemake.log", "a", encoding="utf-8") as log:
        run = subprocess.Popen(
            command,
            cwd=checkout,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            # A CI runner may have started us in the background, where SIGINT is ignored, and that is inherited.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    try:
        yield run
    except (AssertionError, subprocess.TimeoutExpired):
        print((checkout / "snakemake.log").read_text())
        raise
    finally:
        run.kill()
        run.wait()


def witnesses(checkout: Path) -> list[tuple[str, dict]]:
    """(rule, what its job saw) of all jobs so far."""
    return [(path.name.split(".")[0], json.loads(path.read_text())) for path in (checkout / "witness").iterdir()]


def job_of(rule: str, checkout: Path, run: subprocess.Popen, seconds: float = 400) -> str:
    """SLURM number of the rule's first job, as soon as it runs."""
    deadline = time.monotonic() + seconds
    while True:
        for name, seen in witnesses(checkout):
            if name == rule:
                return seen["SLURM_JOB_ID"]
        assert run.poll() is None and time.monotonic() < deadline, f"{rule} did not start"
        time.sleep(0.5)


def test_tiny_run_survives_failure_cancellation_and_stop(checkout: Path, environment: dict[str, str]) -> None:
    with workflow(checkout, environment) as run:
        subprocess.run(["scancel", job_of("build_library", checkout, run)], env=environment, check=True)
        job_of("simulate_night", checkout, run)
        run.send_signal(signal.SIGINT)
        assert run.wait(60) != 0
    command = ["squeue", "--noheader", "--states=RUNNING,PENDING"]
    queue = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert queue.stdout == "", "a stopped run leaves nothing in the queue"

    with workflow(checkout, environment) as resumed:
        assert resumed.wait(600) == 0
    assert all((checkout / target).exists() for target in TARGETS)

    jobs = witnesses(checkout)
    times = Counter(rule for rule, _ in jobs)
    assert times["build_library"] == 2, "cancelled, then retried; not made again after the stop"
    assert times["simulate_night"] == 2, "stopped with the first run, made by the second"
    assert times["build_tracks"] == 2, "failed, then retried"
    assert {times[rule] for rule in ("plan_lamost_mrs_shards", "build_catalog", "select_candidates")} == {1}
    # What ran when the run was stopped starts again; what was finished does not.
    finished = Counter(path.name.split(".")[0] for path in (checkout / "finished").iterdir())
    assert {finished[rule] for rule in ("build_tracks", "build_library", "simulate_night")} == {1}
    assert (finished["make_spectra"], finished["ingest_shard"], finished["infer_shard"]) == (3, 2, 4)

    trained = [seen for rule, seen in jobs if rule == "train_spectra"]
    assert len(trained) == 2
    assert {seen["SLURM_JOB_PARTITION"] for seen in trained} == {"gpu"}
    assert all(seen["CUDA_VISIBLE_DEVICES"] in ("0", "1") for seen in trained)
    others = [seen for rule, seen in jobs if rule != "train_spectra"]
    assert {seen["SLURM_JOB_PARTITION"] for seen in others} == {"cpu"}
    assert {seen["CUDA_VISIBLE_DEVICES"] for seen in others} == {None}
    print(f"{len(jobs)} SLURM jobs: {dict(times)}")
