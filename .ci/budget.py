"""Prints the budget table: minutes and memory per stage of the demo, minutes per folder of tests."""

import xml.etree.ElementTree as xml
from collections import defaultdict
from pathlib import Path

import pandas as pd

BENCHMARKS = Path("results/demo/benchmarks")
TIMES = Path(".pytest_cache/times")


def demo_stages() -> pd.DataFrame:
    """CPU minutes, and the memory of the largest job, of every rule of the demo."""
    rows = []
    for path in sorted(BENCHMARKS.rglob("*.tsv")):
        job = pd.read_csv(path, sep="\t", na_values="-")
        rule = path.relative_to(BENCHMARKS).parts[0].removesuffix(".tsv")
        rows.append({"rule": rule, "seconds": job["s"].sum(), "memory": job["max_rss"].max()})
    jobs = pd.DataFrame(rows, columns=["rule", "seconds", "memory"]).groupby("rule")
    table = jobs.agg(jobs=("seconds", "size"), seconds=("seconds", "sum"), memory=("memory", "max"))
    return table.sort_values("seconds", ascending=False)


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
    print("| demo: rule | jobs | job minutes | largest job, MB |\n|---|---:|---:|---:|")
    stages = demo_stages()
    for stage in stages.itertuples():
        print(f"| {stage.Index} | {stage.jobs} | {stage.seconds / 60:.2f} | {stage.memory:.0f} |")
    print(
        f"| **all** | {stages.jobs.sum()} | {stages.seconds.sum() / 60:.2f} | {stages.memory.max():.0f} |\n"
    )
    print("| tests | number | minutes (of one core) |\n|---|---:|---:|")
    for name, (number, duration) in test_folders().items():
        print(f"| {name} | {number} | {duration / 60:.2f} |")
