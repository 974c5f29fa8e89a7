"""Everything that a cluster does to jobs, injected one by one: the catalogue is the same each time.

DIOSCURI_SLURM_TEST=1 DIOSCURI_SLURM_DRILL=1 pytest -s tests/slurm/test_drill.py     (minutes)
Two hundred jobs besides, with what SLURM and Snakemake cost: DIOSCURI_SLURM_JOBS=200 (-k many_shards)
"""

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(
        os.environ.get("DIOSCURI_SLURM_DRILL") != "1", reason="minutes: only with DIOSCURI_SLURM_DRILL=1"
    ),
]

HERE = Path(__file__).parent
SHARDS = 6
JOBS = int(os.environ.get("DIOSCURI_SLURM_JOBS", "0"))
GROUP = 8  # of them in one submission, side by side: as many as a node has cores
PATIENT = "shard:runtime=30"  # minutes: a busy machine is no reason to count a job twice
TWO_AT_ONCE = ["shard:mem_mb=16000"]  # all that a node has: this machine has two cores
SITE = ["--slurm-status-command=squeue", "--slurm-no-account", "--slurm-init-seconds-before-status-checks=2"]
SITE += ["--seconds-between-status-checks=2", "--latency-wait=10"]
SITE += ["--default-resources", "slurm_partition=cpu", "mem_mb=500", "runtime=10"]


class Run:
    """A folder with its workflow, on the cluster."""

    def __init__(self, folder: Path, slurm: dict[str, str], root: Path, shards: int = SHARDS):
        self.folder, self.shards = folder, shards
        self.environment = {**os.environ, **slurm, "PYTHONPATH": str(root / "workflow/src")}
        self.profile = root / "profiles/slurm"
        for name in ("witness", "incidents"):
            (folder / name).mkdir(parents=True)

    def start(self, *options: str) -> subprocess.Popen:
        command = [
            sys.executable,
            "-m",
            "snakemake",
            "-s",
            str(HERE / "drill.smk"),
            "--profile",
            str(self.profile),
            *SITE,
        ]
        command += [f"--jobs={self.shards}", *options, "--config", f"shards={self.shards}", "--", "catalogue.txt"]
        with open(self.folder / "log.txt", "a", encoding="utf-8") as log:
            given = {"cwd": self.folder, "env": self.environment, "stdout": log, "stderr": subprocess.STDOUT}
            return subprocess.Popen(command, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), **given)

    def finish(self, *options: str) -> float:
        """Seconds of a run that has to succeed."""
        started = time.monotonic()
        run = self.start(*options)
        try:
            assert run.wait(3600) == 0, (self.folder / "log.txt").read_text()[-3000:]
        finally:
            run.kill()
        return time.monotonic() - started

    def tell(self, *command: str) -> str:
        return subprocess.run(command, env=self.environment, check=True, capture_output=True, text=True).stdout

    def signed_in(self, shard: int) -> list[list[str]]:
        """[shard, SLURM job, attempt, node] of each start of a shard."""
        return [path.name.split(".") for path in sorted((self.folder / "witness").glob(f"{shard:06d}.*"))]

    def first_start(self, shard: int) -> list[str]:
        wait_for(lambda: bool(self.signed_in(shard)), f"shard {shard} to run")
        return self.signed_in(shard)[0]

    def catalogue(self) -> bytes:
        return (self.folder / "catalogue.txt").read_bytes()


def wait_for(happened: Callable[[], bool], what: str, seconds: float = 600) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, f"waited for {what}"
        time.sleep(0.5)


@pytest.fixture(scope="module")
def undisturbed(slurm: dict[str, str], tmp_path_factory: pytest.TempPathFactory, root: Path) -> Run:
    run = Run(tmp_path_factory.mktemp("plain"), slurm, root)
    print(f"\nplain: {run.finish():.0f} s, {len(list((run.folder / 'witness').iterdir()))} shard jobs")
    return run


def test_grouped_jobs_make_the_same_with_fewer_submissions(undisturbed, slurm, tmp_path, root) -> None:
    run = Run(tmp_path / "grouped", slurm, root)
    seconds = run.finish("--group-components", "shards=3")
    jobs = {one[1] for shard in range(SHARDS) for one in run.signed_in(shard)}
    print(f"\ngrouped by three: {seconds:.0f} s, {len(jobs)} submissions of shards")
    assert len(jobs) == SHARDS // 3 and run.catalogue() == undisturbed.catalogue()


def test_memory_timeout_cancel_requeue_and_a_lost_node(undisturbed, slurm, tmp_path, root) -> None:
    run = Run(tmp_path / "incidents", slurm, root)
    conf = Path(slurm["SLURM_CONF"])
    conf.write_text(conf.read_text(encoding="utf-8") + "SlurmdTimeout=15\n", encoding="utf-8")
    run.tell("scontrol", "reconfigure")
    for shard, kind in enumerate(("memory", "stall", "wait", "wait", "wait")):
        (run.folder / f"incidents/{shard:06d}").write_text(kind)
    snakemake = run.start()
    try:
        run.tell("scancel", run.first_start(2)[1])
        run.tell("scontrol", "requeue", run.first_start(3)[1])
        _, job, _, node = run.first_start(4)
        kill_node(conf.parent, node)
        assert snakemake.wait(1200) == 0, (run.folder / "log.txt").read_text()[-3000:]
    finally:
        snakemake.kill()
    starts = {shard: len(run.signed_in(shard)) for shard in range(SHARDS)}
    print(f"\nstarts of each shard: {starts}; node {node} lost under job {job}")
    assert all(starts[shard] >= 2 for shard in range(5)) and starts[5] >= 1
    assert run.catalogue() == undisturbed.catalogue()
    assert not [path for path in run.folder.iterdir() if path.name.startswith(".shard")], "no half-written output"


def kill_node(root: Path, node: str) -> None:
    """End a node's daemon and all that it started, as when its power fails."""
    daemon = int((root / f"run/slurmd.{node}.pid").read_text())
    steps = [p for p in Path("/proc").iterdir() if p.name.isdecimal() and _belongs(p, root, node)]
    for pid in [daemon, *(int(p.name) for p in steps)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _belongs(process: Path, root: Path, node: str) -> bool:
    try:
        environment = (process / "environ").read_bytes()
        return f"SLURMD_NODENAME={node}\0".encode() in environment and str(root).encode() in environment
    except OSError:
        return False


def test_a_stopped_and_a_killed_snakemake(undisturbed, slurm, tmp_path, root) -> None:
    run = Run(tmp_path / "killed", slurm, root)
    (run.folder / "incidents/000001").write_text("wait")
    snakemake = run.start()
    run.first_start(1)
    snakemake.send_signal(signal.SIGINT)
    assert snakemake.wait(120) != 0
    assert run.tell("squeue", "--noheader", "--states=RUNNING,PENDING") == "", "SIGINT takes its jobs along"
    shutil.rmtree(run.folder / "witness")
    (run.folder / "witness").mkdir()
    snakemake = run.start()
    run.first_start(1)
    snakemake.kill()
    snakemake.wait()
    assert run.tell("squeue", "--noheader", "--states=RUNNING,PENDING") != "", "after SIGKILL its jobs go on"
    wait_for(lambda: run.tell("squeue", "--noheader", "--states=RUNNING,PENDING") == "", "the jobs left behind")
    run.tell(sys.executable, "-m", "snakemake", "-s", str(HERE / "drill.smk"), "-d", str(run.folder), "--unlock",
             "--config", f"shards={SHARDS}")  # fmt: skip
    seconds = run.finish()
    print(f"\nafter SIGINT and SIGKILL: {seconds:.0f} s for the rest")
    assert run.catalogue() == undisturbed.catalogue()


@pytest.mark.skipif(not JOBS, reason="minutes: only with DIOSCURI_SLURM_JOBS=200")
@pytest.mark.parametrize("way", ["grouped", "plain"])
def test_many_shards(way, slurm, tmp_path, root) -> None:
    run = Run(tmp_path / way, slurm, root, JOBS)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    options = TWO_AT_ONCE if way == "plain" else ["--group-components", f"shards={GROUP}"]
    seconds = run.finish("--set-resources", PATIENT, *options)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    outside = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    inside: dict[str, float] = {}  # SLURM job → CPU seconds of the Snakemakes in it
    for path in (run.folder / "witness").iterdir():
        job = path.name.split(".")[1]
        inside[job] = max(inside.get(job, 0.0), float(path.read_text(encoding="utf-8")))
    print(
        f"\n{way}: {JOBS} shards in {len(inside)} submissions, {seconds:.0f} s; CPU of Snakemake outside the jobs "
        f"{outside:.1f} s, {outside / JOBS:.2f} a shard; in the jobs {sum(inside.values()):.1f} s, "
        f"{sum(inside.values()) / len(inside):.2f} a submission, {sum(inside.values()) / JOBS:.2f} a shard"
    )
    assert len(inside) == (JOBS if way == "plain" else -(-JOBS // GROUP))
    lines = run.catalogue().splitlines()
    assert lines == sorted(lines) and len(lines) == JOBS
