"""Prints the budget table: minutes and memory per stage of the demo, minutes per folder of tests."""

import xml.etree.ElementTree as xml
from collections import defaultdict
from pathlib import Path

import pandas as pd

BENCHMARKS = Path("results/demo/benchmarks")
TIMES = Path(".pytest_cache/times")


def demo_stages() -> pd.DataFrame:
    """Jobs, minutes, CPU minutes, and the memory of the largest job, of every rule of the demo."""
    rows = []
    for path in sorted(BENCHMARKS.rglob("*.tsv")):
        job = pd.read_csv(path, sep="\t", na_values="-").sum()
        rule = path.relative_to(BENCHMARKS).parts[0].removesuffix(".tsv")
        rows.append((rule, job["s"] / 60, job["cpu_time"] / 60, job["max_rss"]))
    jobs = pd.DataFrame(rows, columns=["rule", "minutes", "cpu", "memory"]).groupby("rule")
    sums = {"jobs": ("cpu", "size"), "minutes": ("minutes", "sum"), "cpu": ("cpu", "sum")}
    return jobs.agg(**sums, memory=("memory", "max")).sort_values("minutes", ascending=False)


def test_folders() -> dict[str, tuple[int, float]]:
    """Tests and seconds of every folder of tests."""
    folders: dict[str, tuple[int, float]] = defaultdict(lambda: (0, 0.0))
    for path in sorted(TIMES.glob("*.xml")):
        for case in xml.parse(path).iter("testcase"):
            folder = ".".join(case.get("classname", "").split(".")[:2])
            count, seconds = folders[folder]
            folders[folder] = (count + 1, seconds + float(case.get("time", 0)))
    return folders


if __name__ == "__main__":
    print("| demo: rule | jobs | minutes | CPU minutes | largest job, MB |\n|---|---:|---:|---:|---:|")
    stages = demo_stages()
    for stage in stages.itertuples():
        print(f"| {stage.Index} | {stage.jobs} | {stage.minutes:.2f} | {stage.cpu:.2f} | {stage.memory:.0f} |")
    jobs, minutes, cpu, memory = stages.jobs.sum(), stages.minutes.sum(), stages.cpu.sum(), stages.memory.max()
    print(f"| **all** | {jobs} | {minutes:.2f} | {cpu:.2f} | {memory:.0f} |\n")
    print("| tests | number | minutes (of one core) |\n|---|---:|---:|")
    for name, (number, duration) in test_folders().items():
        print(f"| {name} | {number} | {duration / 60:.2f} |")
