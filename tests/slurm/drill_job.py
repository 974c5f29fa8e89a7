"""The job of a shard: it signs in, meets the incident that is laid out for it, and writes its output whole."""

import os
import resource
import sys
import time
from contextlib import suppress
from pathlib import Path

from dioscuri.io import atomic


def cost_of_start(number: str) -> float:
    """CPU seconds that the Snakemakes of a SLURM job have taken so far: two, one within the other's srun."""
    ticks = 0
    for process in Path("/proc").iterdir():
        with suppress(OSError):
            own = f"SLURM_JOB_ID={number}\0".encode() in (process / "environ").read_bytes()
            if own and b"snakemake\0" in (process / "cmdline").read_bytes():
                after_name = (process / "stat").read_text(encoding="utf-8").rpartition(") ")[2].split()
                ticks += int(after_name[11]) + int(after_name[12])
    return ticks / os.sysconf("SC_CLK_TCK")


shard, out, mem_mb = sys.argv[1], sys.argv[2], int(sys.argv[3])
before = list(Path("witness").glob(f"{shard}.*"))
number = os.environ.get("SLURM_JOB_ID", "0")
Path(f"witness/{shard}.{number}.{len(before)}.{os.environ.get('SLURMD_NODENAME', '')}").write_text(
    f"{cost_of_start(number):.2f}", encoding="utf-8"
)
incident = Path(f"incidents/{shard}")
kind = incident.read_text(encoding="utf-8") if incident.exists() else ""
if kind == "memory":  # without cgroups the limit that was asked for is set here
    resource.setrlimit(resource.RLIMIT_AS, (mem_mb << 20, mem_mb << 20))
    needed = bytearray(600 << 20)
if kind == "stall" and not before:
    time.sleep(600)
if kind == "wait" and not before:
    time.sleep(90)
with atomic(out) as temporary:
    Path(temporary).write_text(f"{shard} {'x' * 1000}\n", encoding="utf-8")
