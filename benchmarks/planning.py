"""Planning of shards against the number of files: memory and CPU beside what reading the files themselves takes.

    python benchmarks/planning.py 1500000

The names are made up and nothing lies under them: size, date and digest of a file are made up too.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

from dioscuri.lamost import inputs

HERE = Path(__file__).parent
SHARD, EXPOSURES = 12_500, 50_000  # config.yaml
FILES = (50_000, 200_000)


def rows() -> list[dict]:
    """A row per number of files, each planned twice in a process of its own: all new, and all known."""
    numbers = [int(word) for word in sys.argv[1:]] or FILES
    found = []
    for n in numbers:
        code = f"import planning; planning.planned({n})"
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=HERE)
        found.append(json.loads(done.stdout.splitlines()[-1]))
    return found


def planned(n: int) -> None:
    """Plan `n` files and print the row."""
    before = _most_memory()
    with tempfile.TemporaryDirectory() as folder, _made_up():
        manifest = Path(folder) / "manifest.json"
        seconds = [_timed(n, manifest), _timed(n, manifest)]
        size = manifest.stat().st_size
    row = {"name": f"planning {n:,} files", "ours": n / seconds[0], "unit": "files per CPU second"}
    row |= {"CPU seconds, new": seconds[0], "CPU seconds, known": seconds[1], "manifest (MB)": size / 1e6}
    print(json.dumps(row | {"peak memory (MiB)": _most_memory(), "before (MiB)": before}))


def _made_up() -> mock._patch:
    def state(name: str, before: list | None) -> list:
        number = hash(name) & 0xFFFFFFFF
        return before or [330_000 + number % 1000, 1_700_000_000_000_000_000 + number, f"{number:08x}" * 4]

    return mock.patch.multiple(inputs, _state=state, unpacked_size=lambda name: 5 * inputs.EXPOSURE)


def _timed(n: int, manifest: Path) -> float:
    names = (Path(f"/survey/dr13/{k // 4000:05d}/med-58820-PLAN{k // 4000:04d}_sp12-{k:08d}.fits.gz") for k in range(n))
    started = time.process_time()
    inputs.plan_shards(names, SHARD, manifest, EXPOSURES)
    return time.process_time() - started


def _most_memory() -> int:
    return int(Path("/proc/self/status").read_text(encoding="utf-8").split("VmHWM:")[1].split()[0]) // 1024


if __name__ == "__main__":
    json.dump(rows(), sys.stdout, indent=2)
