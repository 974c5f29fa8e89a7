"""benchmarks/gpu.py: every piece runs at tiny size, with nothing but the packages of a bare GPU machine."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

# What has to be missing: only torch, lightning, numpy, numba, h5py and timm are there.
ABSENT = ["astropy", "fitsio", "pandas", "photutils", "pyarrow", "pydantic", "galsim", "snakemake"]


def test_the_dry_run_measures_every_piece_on_a_bare_machine(root: Path, tmp_path: Path) -> None:
    code = f"""
import runpy, sys, torch
torch.set_num_threads(1)
for name in {ABSENT}:
    sys.modules[name] = None
sys.argv = ["gpu.py", "--dry-run", "--output", {str(tmp_path / "gpu.json")!r}]
runpy.run_path({str(root / "benchmarks/gpu.py")!r}, run_name="__main__")
"""
    environment = {"PYTHONPATH": str(root / "workflow/src"), "PATH": "/usr/bin:/bin", "HOME": str(Path.home())}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    content = json.loads((tmp_path / "gpu.json").read_text())
    assert content["dry run"] and len(content["rows"]) == 19
    assert not [row for row in content["rows"] if "failed" in row or "skipped" in row]
    scored = [row for row in content["rows"] if row["name"].endswith("bf16") and "scoring" in row["name"]]
    assert len(scored) == 2 and all(row["largest |dp|"] < row["allowed |dp|"] for row in scored)


@pytest.mark.bench  # a minute: several processes, two range tests of a hundred steps
def test_the_recipes_are_compared_in_pieces_that_resume(root: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(root / "benchmarks/recipes.py"), "--folder", str(tmp_path), "--minutes", "0"]
    command += ["--stamps", "16", "--epochs", "6", "--upscale", "16", "--accelerator", "cpu"]
    command += ["--networks", "compact", "resnet34_authors"]
    environment = {"PYTHONPATH": str(root / "workflow/src"), "PATH": "/usr/bin:/bin", "HOME": str(Path.home())}
    said = []
    for _ in range(40):
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr[-2000:]
        said.append(done.stdout)
        if done.stdout.startswith("done"):
            break
        command[5] = "5"
    assert "call again" in said[0] and said[-1].startswith("done")
    table = json.loads((tmp_path / "table.json").read_text())
    assert [row["network"] for row in table] == ["compact", "resnet34_authors"]
    assert all(row["epochs"] == 6 and 0 <= row["accuracy"] <= 1 for row in table)
