"""Running Snakemake in a copy of the repository, and reading what it means to do."""

import atexit
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

# Stands in for every script but the one that shares files out: outputs appear, nothing is computed.
STUB = """\
from pathlib import Path
for output in map(Path, snakemake.output):
    if output.suffix:
        output.write_text(snakemake.rule)
    else:
        output.mkdir()
        for number in range(7):
            (output / f"{number}.fits").write_text("")
"""


@cache
def starter() -> subprocess.Popen:
    """A process from which every Snakemake of this session is forked."""
    command = [sys.executable, str(Path(__file__).with_name("starter.py"))]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(lambda: process.communicate())
    return process


def snakemake(folder: Path, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess:
    """Run Snakemake in `cwd` (None: `folder`) with the package that lies in `folder`."""
    with TemporaryDirectory() as temporary:
        said = [Path(temporary) / name for name in ("output", "error")]
        request = {
            "cwd": str(cwd or folder),
            "environment": {**os.environ, "PYTHONPATH": str(folder / "workflow/src")},
            "arguments": ["--cores", "2", *arguments],
            **{path.name: str(path) for path in said},
            "seconds": 300,
        }
        process = starter()
        print(json.dumps(request), file=process.stdin, flush=True)
        status = int(process.stdout.readline())
        return subprocess.CompletedProcess(request["arguments"], status, *(path.read_text() for path in said))


def jobs_of(done: subprocess.CompletedProcess) -> Counter:
    """Rule → number of jobs that a dry run announced."""
    assert done.returncode == 0, done.stderr[-3000:]
    text = done.stdout + done.stderr
    if "Nothing to be done" in text:
        return Counter()
    table = text.split("Job stats:")[1].split("\n\n")[0]
    rows = re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)
    return Counter({rule: int(count) for rule, count in rows if rule not in ("job", "total")})


@pytest.fixture(scope="module")
def run(repository_copy: Path) -> Callable[..., subprocess.CompletedProcess]:
    """Snakemake in a checkout of the module's own."""
    return lambda *arguments: snakemake(repository_copy, *arguments)


@pytest.fixture(scope="session")
def snakemake_in() -> Callable[..., subprocess.CompletedProcess]:
    """Snakemake with the package of any folder, in any folder."""
    return snakemake


@pytest.fixture(scope="module")
def plan(run: Callable) -> Callable[..., Counter]:
    """Rule → number of jobs that a run with these arguments would start."""
    return lambda *arguments: jobs_of(run("--dry-run", "--quiet", "rules", *arguments))


@pytest.fixture(scope="session")
def read_plan() -> Callable[[subprocess.CompletedProcess], Counter]:
    """The jobs that the output of a dry run announces."""
    return jobs_of


@pytest.fixture(scope="module")
def stubbed(repository_copy: Path) -> Path:
    """A checkout with stubs for scripts, and files of the user's own to score."""
    scripts = repository_copy / "workflow/scripts"
    for script in scripts.rglob("*.py"):
        if script.name != "plan_shards.py":
            script.write_text(STUB)
    (repository_copy / "observed").mkdir()
    for number in range(4):
        (repository_copy / f"observed/night1-{number}.fits").write_text("")
    return repository_copy
