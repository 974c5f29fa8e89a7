"""A survey of any size through the workflow itself: files in the genuine layout, ingest to candidates, stage by stage.

    python benchmarks/survey_scale.py --folder /tmp/scale --exposures 4000 16000 64000

A step of 4,000 exposures takes a minute on one core and 330 MB. CPU and memory are what the jobs say of themselves
at the end of their logs; the CPU of all processes together, Snakemake's own included, is what the system counted.
"""

import argparse
import gzip
import json
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import yaml

from dioscuri.arms import C_KMS
from dioscuri.lamost.exposures import Exposure
from dioscuri.lamost.files import ObservedFile
from dioscuri.lamost.mrs_writer import write_mrs_file
from dioscuri.paths import models_folder
from dioscuri.spectra.templates import load_templates
from ingest import LMJM, SPANS

ROOT = Path(__file__).resolve().parents[1]
PER_FILE = 5  # exposures, the co-add one of them, each of both arms
PART = 4000 // PER_FILE  # files of a folder and of a shard
PATTERNS = 64  # files of different stars, dates and noise; the others repeat their data under other headers
DOUBLES = 0.2  # share of them with two stars
STAGES = {
    "plan": "plan_shards",
    "ingest": "ingest_shard",
    "fit of two stars": "fit_pairs",
    "scores": "infer_shard",
    "catalogue": "build_catalog",
    "candidates": "select_candidates",
    "refused": "list_rejected",
}
COST = re.compile(r"took ([\d.]+) s of CPU, at most (\d+) MB")
SURVEY, CORES = 5.9e6, 20 * 32  # exposures of two arms; cores of twenty nodes
# The settings are the papers' but for the size of a shard: 50,000 exposures there.
SETTINGS = {"ingest": {"files_per_shard": PART, "exposures_per_shard": 2 * PART * PER_FILE}}
TARGETS = ("catalogs/mrs.fits", "catalogs/candidates.fits", "ingest/rejected.parquet")


# --- files ------------------------------------------------------------------------------------------------


def make_files(folder: Path, parts: int) -> list[Path]:
    """`parts` folders of PART files each; those that are there are kept."""
    folders = [folder / f"files/part{part:04d}" for part in range(parts)]
    if missing := [part for part in range(parts) if not (folders[part] / ".whole").exists()]:
        patterns = [_pattern(folder / "pattern.fits.gz", k) for k in range(PATTERNS)]
        for part in missing:
            folders[part].mkdir(parents=True, exist_ok=True)
            for k in range(part * PART, (part + 1) * PART):
                header, data = patterns[k % PATTERNS]
                name, named = _named(k, header)
                # Two gzip members, one of the header and one of the data: data are packed once.
                (folders[part] / name).write_bytes(gzip.compress(named, 6, mtime=0) + data)
            (folders[part] / ".whole").touch()
    return folders


def _pattern(path: Path, k: int) -> tuple[bytes, bytes]:
    """Primary header of a file as it is, and its other HDUs compressed: four exposures and their co-add in two arms."""
    rng = np.random.default_rng(k)
    templates = load_templates(models_folder() / "lamost_mrs/templates.h5", tuple(SPANS))
    star, double = rng.integers(100), rng.uniform() < DOUBLES
    v1, v2, snr = rng.normal(0, 30), rng.normal(0, 100), rng.uniform(15, 80)
    exposures = []
    for arm, span in SPANS.items():
        wave, spectra = np.linspace(*span, 4136), templates[arm][1]
        coadd_wave = np.geomspace(*span, len(wave))
        one = spectra.flux[star % len(spectra.flux)]
        light = [np.interp(wave, spectra.wave * (1 + v / C_KMS), one, 1, 1) for v in (v1, v1 + v2)]
        model = 1000 * ((light[0] + 0.6 * light[1]) / 1.6 if double else light[0])
        for lmjm in [*(LMJM + 1440 * k + 23 * i for i in range(PER_FILE - 1)), -1]:
            name = f"COADD_{arm[0].upper()}" if lmjm < 0 else f"{arm[0].upper()}-{lmjm}"
            level = snr if lmjm > 0 else 2 * snr
            sigma = model.mean() / level * rng.uniform(0.9, 1.1, len(wave))
            flux = model + sigma * rng.standard_normal(len(wave))
            mask = np.zeros(len(wave), bool)
            if lmjm < 0:  # co-adds are uniform in log λ
                wave, flux = coadd_wave, np.interp(coadd_wave, wave, flux)
            middle = (lmjm if lmjm > 0 else LMJM + 1440 * k) / 1440 - 8 / 24
            exposures.append(Exposure(name, arm, lmjm, middle, 1200.0, level, wave, flux, sigma**-2, mask))
    facts = {"designation": "", "object_name": "", "gaia_id": 0, "ra": 290.0, "dec": 43.0, "planid": "PLAN0000"}
    facts |= {"spid": 1, "fiberid": 1, "lmjd": LMJM // 1440 + k, "fiber_type": "Obj", "object_type": "Star"}
    facts |= {"data_version": "DR7", "helio_rv": 0.0, "magnitudes": {}, "exposures": tuple(exposures)}
    write_mrs_file(path, ObservedFile(path=path, obsid=1, **facts))
    content = gzip.decompress(path.read_bytes())
    path.unlink()
    start = content.index(b"XTENSION=")
    return content[:start], gzip.compress(content[start:], 6, mtime=0)


def _named(k: int, header: bytes) -> tuple[str, bytes]:
    """Name of file `k` and its header: an observation of its own, of one star in eight files."""
    star, plan, spid, fiber = k // 8, f"PLAN{k // 4000:04d}", k // 250 % 16 + 1, k % 250 + 1
    lmjd = LMJM // 1440 + k % PATTERNS
    name = f"med-{lmjd}-{plan}_sp{spid:02d}-{fiber:03d}.fits.gz"
    values = {"OBSID": 700_000_000 + k, "FIBERID": fiber, "SPID": spid, "PLANID": f"'{plan:<8}'"}
    values |= {"RA": round(280 + 20 * (star % 997) / 997, 6), "DEC": round(36 + star / 4000, 6)}
    for key, value in values.items():
        card = header.index(f"{key:<8}=".encode())
        header = header[:card] + f"{key:<8}= {value!s:>20}".ljust(80).encode() + header[card + 80 :]
    return name, header


# --- the workflow -----------------------------------------------------------------------------------------


def run(folder: Path, files: list[Path], cores: int) -> list[dict]:
    """Rows of the table: each stage of the survey in `files`, in a folder of its own."""
    n = len(files) * PART * PER_FILE
    where = folder / f"run{n}"
    where.mkdir(exist_ok=True)
    given = {"preset": "scale", "surveys": ["lamost_mrs"], "lamost_mrs": SETTINGS | {"spectra": [*map(str, files)]}}
    (where / "scale.yaml").write_text(yaml.safe_dump(given), encoding="utf-8")
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--directory", str(where)]
    command += [
        "--configfile",
        str(where / "scale.yaml"),
        "--profile",
        str(ROOT / "profiles/local"),
        "--cores",
        str(cores),
    ]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with open(where / "snakemake.log", "w", encoding="utf-8") as log:
        command += ["--", *(f"results/scale/lamost_mrs/{target}" for target in TARGETS)]
        subprocess.run(command, check=True, stdout=log, stderr=subprocess.STDOUT)
    after, seconds = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - started
    every = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    costs = {stage: _costs(where, rule) for stage, rule in STAGES.items()}
    jobs = sum(cpu for found in costs.values() for cpu, _ in found)
    most = max(mb for found in costs.values() for _, mb in found)
    rows = [_row(stage, n, found) for stage, found in costs.items()]
    rows.append(_row("Snakemake itself and the starts of jobs", n, [(every - jobs, 0)]))
    return [*rows, _row("all", n, [(every, most)]) | {"wall": round(seconds)}]


def _costs(where: Path, rule: str) -> list[tuple[float, int]]:
    """CPU seconds and most memory [MB] of each job of a rule, from its log."""
    paths = [*where.rglob(f"{rule}.log"), *(path for path in where.rglob(f"{rule}/**/*.log"))]
    found = [COST.search(path.read_text(encoding="utf-8")) for path in paths]
    return [(float(match[1]), int(match[2])) for match in found if match]


def _row(stage: str, n: int, costs: list[tuple[float, int]]) -> dict:
    cpu = sum(seconds for seconds, _ in costs)
    return {
        "name": f"{stage}, {n:,} exposures of both arms",
        "ours": n / cpu,
        "unit": "exposures per CPU second",
        "jobs": len(costs),
        "CPU seconds": round(cpu, 1),
        "most memory of a job (MB)": max((mb for _, mb in costs), default=0),
        "hours of 5.9 million on one core": round(SURVEY / n * cpu / 3600, 2),
        "minutes on 20 nodes of 32 cores": round(SURVEY / n * cpu / 60 / CORES, 2),
    }


def main() -> None:
    """Make the files, then run each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where files and runs are kept")
    parser.add_argument("--exposures", type=int, nargs="+", default=[4000, 16000])
    parser.add_argument("--cores", type=int, default=1)
    options = parser.parse_args()
    parts = [max(1, round(n / PART / PER_FILE)) for n in options.exposures]
    files = make_files(options.folder, max(parts))
    rows = []
    for n in parts:
        rows += run(options.folder, files[:n], options.cores)
        (options.folder / "rows.json").write_text(json.dumps(rows, indent=2), encoding="utf-8")
    json.dump(rows, sys.stdout, indent=2)


if __name__ == "__main__":
    main()
