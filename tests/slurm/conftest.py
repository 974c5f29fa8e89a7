"""A SLURM of three virtual nodes on this machine, for the test: without systemd, cgroups or accounting."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel")
# The inner srun of a Snakemake job drops SLURM_CONF: slurm.conf must also be reachable at its default place.
DEFAULT_CONF = Path("/etc/slurm/slurm.conf")
PORT = 26817
NODES = ("c1", "c2", "g1")
GPUS = 2

SLURM_CONF = """\
ClusterName=dioscuri
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={root}/munge/socket
CredType=cred/munge
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool/%n
SlurmctldPidFile={root}/run/slurmctld.pid
SlurmdPidFile={root}/run/slurmd.%n.pid
SlurmctldLogFile={root}/log/slurmctld.log
SlurmdLogFile={root}/log/slurmd.%n.log
# No cgroups: works in any container.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
# Nodes may advertise more than the machine has.
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=5,sched_min_interval=0,bf_interval=5
CompleteWait=0
KillWait=2
# Finished jobs stay visible to squeue, which stands in for sacct.
MinJobAge=600
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={root}/log/finished.txt
{nodes}
PartitionName=cpu Nodes=c1,c2 Default=YES MaxTime=INFINITE DefaultTime=10 State=UP
PartitionName=gpu Nodes=g1 MaxTime=INFINITE DefaultTime=10 State=UP
"""


def obstacle() -> str | None:
    """Why no cluster can be started here, or None."""
    if not (os.environ.get("CI") == "true" or os.environ.get("DIOSCURI_SLURM_TEST") == "1"):
        return "starts a SLURM on this machine: only in CI (CI=true) or on request (DIOSCURI_SLURM_TEST=1)"
    if os.geteuid() != 0:
        return "starting a SLURM needs root"
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        return f"not installed: {', '.join(missing)} (apt-get install slurm-wlm munge)"
    if DEFAULT_CONF.exists():
        return f"this machine has a SLURM of its own ({DEFAULT_CONF} exists)"
    return None


@pytest.fixture(scope="module")
def slurm() -> Iterator[dict[str, str]]:
    """Start the cluster, yield the environment variables that reach it, and leave nothing behind.

    Nodes c1 and c2 form the default partition `cpu`, g1 with two make-believe GPUs the partition `gpu`.
    """
    if reason := obstacle():
        pytest.skip(reason)
    root = Path(tempfile.mkdtemp(prefix="dioscuri-slurm-"))
    root.chmod(0o755)
    try:
        _write_settings(root)
        if DEFAULT_CONF.is_symlink():  # left dangling by a run that was killed
            DEFAULT_CONF.unlink()
        DEFAULT_CONF.parent.mkdir(exist_ok=True)
        DEFAULT_CONF.symlink_to(root / "slurm.conf")
        _start_daemons(root)
        yield {"SLURM_CONF": str(root / "slurm.conf")}
    finally:
        _stop_daemons(root)
        if DEFAULT_CONF.is_symlink() and DEFAULT_CONF.readlink() == root / "slurm.conf":
            DEFAULT_CONF.unlink()
        shutil.rmtree(root)


def _write_settings(root: Path) -> None:
    for folder in ("log", "run", "state", "dev", "munge", *(f"spool/{node}" for node in NODES)):
        (root / folder).mkdir(parents=True)
    host = socket.gethostname().split(".")[0]
    nodes = [
        f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={PORT + 100 + index} "
        "Sockets=1 CoresPerSocket=8 ThreadsPerCore=1 RealMemory=16000 State=UNKNOWN"
        + (f" Gres=gpu:fake:{GPUS}" if node == "g1" else "")
        for index, node in enumerate(NODES)
    ]
    (root / "slurm.conf").write_text(SLURM_CONF.format(root=root, host=host, port=PORT, nodes="\n".join(nodes)))
    for index in range(GPUS):
        _null_device(root / f"dev/gpu{index}")
    (root / "gres.conf").write_text(f"NodeName=g1 Name=gpu Type=fake File={root}/dev/gpu[0-{GPUS - 1}]\n")
    (root / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n")


def _null_device(path: Path) -> None:
    """Something that slurmd takes for a GPU: it insists on a character device."""
    try:
        os.mknod(path, 0o666 | 0o020000, os.makedev(1, 3))
    except PermissionError:  # a container without that right
        path.symlink_to("/dev/null")


def _start_daemons(root: Path) -> None:
    munge = root / "munge"
    (munge / "key").write_bytes(os.urandom(128))
    (munge / "key").chmod(0o400)
    files = {"socket": "socket", "key-file": "key", "seed-file": "seed", "log-file": "log", "pid-file": "pid"}
    _run(root, "munged", "--force", *(f"--{option}={munge / name}" for option, name in files.items()))
    _wait_for(root, "munge to answer", lambda: _answers(root, "munge", f"--socket={munge / 'socket'}", "-n"))
    _run(root, "slurmctld", "-c")
    _wait_for(root, "slurmctld to answer", lambda: _answers(root, "scontrol", "ping"))
    for node in NODES:
        _run(root, "slurmd", "-N", node)
    _wait_for(
        root,
        "the nodes to be idle",
        lambda: _output(root, "sinfo", "-h", "-N", "-o", "%t").split() == ["idle"] * 3,
    )


def _stop_daemons(root: Path) -> None:
    _answers(root, "scancel", "--user=root")
    pid_files = [*(root / "run").glob("slurmd.*.pid"), root / "run/slurmctld.pid", root / "munge/pid"]
    pids = [int(path.read_text()) for path in pid_files if path.exists()]
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 20
    while any(map(_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.1)
    for pid in filter(_alive, pids):
        os.kill(pid, signal.SIGKILL)


def _alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _environment(root: Path) -> dict[str, str]:
    return {**os.environ, "SLURM_CONF": str(root / "slurm.conf")}


def _run(root: Path, *command: str) -> None:
    """Start a daemon, which puts itself into the background."""
    done = subprocess.run(command, env=_environment(root), capture_output=True, text=True, timeout=30)
    if done.returncode:
        raise RuntimeError(f"{command[0]} did not start: {done.stderr.strip()}\n{_logs(root)}")


def _answers(root: Path, *command: str) -> bool:
    return subprocess.run(command, env=_environment(root), capture_output=True, timeout=30).returncode == 0


def _output(root: Path, *command: str) -> str:
    return subprocess.run(command, env=_environment(root), capture_output=True, text=True, timeout=30).stdout


def _wait_for(root: Path, what: str, happened: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited {seconds:.0f} s for {what}\n{_logs(root)}")
        time.sleep(0.2)


def _logs(root: Path) -> str:
    paths = [*sorted((root / "log").glob("*.log")), root / "munge/log"]
    return "\n".join(f"{path.name}:\n{path.read_text()[-2000:]}" for path in paths if path.exists())
