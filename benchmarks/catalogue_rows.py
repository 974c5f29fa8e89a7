"""Catalogues of millions of made-up rows through merge, candidates and figures: minutes and memory of each rule.

python benchmarks/catalogue_rows.py --rows 6000000 --folder /tmp/rows      (minutes; 5 GB of disk, kept between calls)
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from dioscuri.catalogs.candidates import select_candidates
from dioscuri.catalogs.evidence import Evidence
from dioscuri.catalogs.lrs_catalog import COLUMNS, print_table, write_catalog
from dioscuri.catalogs.merge import make_catalog
from dioscuri.catalogs.pairs import FIT_COLUMNS, SCHEMA, frames
from dioscuri.catalogs.scores import write_scores
from dioscuri.catalogs.source_table import describe_sources
from dioscuri.config import load_config
from dioscuri.paths import format_number, models_folder, shard_name, shipped
from dioscuri.plots import figures
from dioscuri.shards import write_spectra_shard

SHARD = 50_000  # rows
PER_FILE = 4  # three exposures and the co-add
VISITS = 2.5  # observations of a star
PENALTIES = [8.0, 16.0, 32.0]
FEW_COLUMNS = ("probability_blue", "probability_red", "candidates")
OF_STARS = ("neighbours", "candidate_diagram", "probability_vs_phase", "spectra_vs_phase", "known_binaries")


def make_shards(folder: Path, rows: int) -> None:
    """Shards, fits and scores of `rows` exposures of stars all over the sky, and the table of these stars."""
    n_stars = max(1, int(rows / PER_FILE / VISITS))
    rng = np.random.default_rng(0)
    stars = pd.DataFrame({"ra": rng.uniform(0, 360, n_stars), "dec": rng.uniform(-10, 60, n_stars)})
    stars["source_id"] = 2_100_000_000_000_000_000 + np.arange(n_stars)
    stars = stars.assign(g=rng.uniform(8, 15, n_stars), bp_rp=rng.uniform(0.3, 2.8, n_stars), ebv=0.05, ruwe=1.0)
    stars = stars.assign(parallax=rng.uniform(0.1, 5, n_stars), parallax_error=0.05, period=np.nan, bjd0=np.nan)
    stars.loc[: n_stars // 500, ["period", "bjd0"]] = [4.0, 2458820.0]
    stars.to_parquet(folder / "stars.parquet", index=False)
    stars[: n_stars // 500 + 1].to_parquet(folder / "binaries.parquet", index=False)
    for first in range(0, rows, SHARD):
        columns = _exposures(np.arange(first, min(first + SHARD, rows)), stars)
        name = shard_name(first // SHARD)
        masked = {arm: (np.full((len(columns["key"]), 1), np.nan),) * 2 for arm in ("blue", "red")}
        write_spectra_shard(folder / f"shard{name}.h5", columns, masked, {})
        _write_pairs(folder / f"pairs{name}.parquet", columns)
        double = np.random.default_rng(first).uniform(0, 1, len(columns["key"])) < 0.01
        base = np.where(double, 0.9, np.random.default_rng(first + 1).beta(0.3, 6, len(double)))
        for arm in ("blue", "red"):
            p = np.clip(base[:, None] * np.array([0.7, 0.9, 1.0, 1.05, 1.1]), 0, 1)
            numbers = [format_number(penalty) for penalty in PENALTIES]
            found = {f"pb_pct_{number}": p for number in numbers} | {f"pb_{number}": p[:, 2] for number in numbers}
            write_scores(folder / f"{arm}{name}.parquet", columns, arm, found)
        _lrs_rows(columns, base).to_parquet(folder / f"lrs{name}.parquet", index=False)
    _evidence().save(folder / "evidence.json")


def _exposures(row: np.ndarray, stars: pd.DataFrame) -> dict[str, np.ndarray]:
    """Columns of a shard; observations are dealt out to the stars, exposures to observations."""
    observation, n = row // PER_FILE, len(row)
    star = (observation * 7919) % len(stars)
    rng = np.random.default_rng(int(row[0]))
    columns: dict[str, Any] = {
        "file": np.array(
            [f"med-58820-PLAN{k // 4000:04d}_sp{k // 250 % 16 + 1:02d}-{k:09d}.fits.gz" for k in observation]
        ),
        "folder": np.full(n, "/survey/dr13"),
        "source_id": np.array([f"LAMOST J{k:09d}.{k:08d}" for k in star]),
        "gaia_id": stars["source_id"].to_numpy()[star],
        "obsid": 700_000_000 + observation,
        "exposure": np.where(row % PER_FILE == PER_FILE - 1, -1, 84_700_000 + 23 * (row % PER_FILE)),
        "key": row.astype(np.int64),
        "lmjd": np.full(n, 58820),
        "planid": np.array([f"PLAN{k // 4000:04d}" for k in observation]),
        "spid": np.full(n, 12, np.int16),
        "fiberid": (observation % 250).astype(np.int16),
        "ra": stars["ra"].to_numpy()[star],
        "dec": stars["dec"].to_numpy()[star],
        "bjdmid": 2_458_820.45 + rng.uniform(0, 900, n),
        "bprp0": np.full(n, np.nan, np.float32),
    }
    for end in "BR":
        columns[f"snr_{end}"] = rng.uniform(6, 100, n).astype("f4")
        for name, value in (("rv_obs", 30.0), ("rv_obs_err", 3.0), ("rv_teff", 5750.0), ("ccfmax", 0.8)):
            columns[f"{name}_{end}"] = np.full(n, value, np.float32)
        columns[f"npixbad_{end}"] = rng.integers(0, 60, n).astype("i4")
        columns[f"specflag_{end}"] = np.ones(n, bool)
        columns[f"flags_{end}"] = np.where(columns["exposure"] < 0, 32, 0).astype("i4")
    return columns


def _write_pairs(path: Path, columns: dict[str, np.ndarray]) -> None:
    n, rng = len(columns["key"]), np.random.default_rng(int(columns["key"][0]))
    fits: dict[str, np.ndarray] = {
        f"{name}_{end}": rng.uniform(1, 2, n).astype("f4") for end in "BR" for name in FIT_COLUMNS
    }
    fits |= frames(fits, ["blue", "red"])
    pq.write_table(pa.table({"key": columns["key"], **fits}).replace_schema_metadata({"schema": SCHEMA}), path)


def _evidence() -> Evidence:
    rng = np.random.default_rng(3)
    y = np.arange(200) % 2
    fits = {arm: {name: rng.uniform(0.1, 1, 200) + y for name in FIT_COLUMNS} for arm in ("blue", "red")}
    return Evidence.of_fits(fits, y, 16.0).joined(fits, y, {arm: rng.normal(0, 1, 200) + y for arm in fits})


def _lrs_rows(columns: dict[str, np.ndarray], p: np.ndarray) -> pd.DataFrame:
    """The same stars as rows of low-resolution scores."""
    table = pd.DataFrame({name: columns[name] for name in ("ra", "dec")} | {"obsid": columns["key"], "p": p})
    table = table.assign(source_id=columns["gaia_id"], flags=0, release="DR10")
    for column in COLUMNS:
        if column.code in "DE" and column.name not in table and column.name not in ("p_b", "p_max", "p_median"):
            table[column.name] = np.float32(1.0)
    return table


# --- the rules --------------------------------------------------------------------------------------------


def run_stage(stage: str, folder: Path) -> None:
    """What the job of a rule does."""

    def files(name: str, suffix: str) -> list[str]:
        return [str(path) for path in sorted(folder.glob(f"{name}[0-9]*.{suffix}"))]

    arms = {arm: files(arm, "parquet") for arm in ("blue", "red")}
    catalog, candidates, stars = (folder / name for name in ("mrs.parquet", "candidates.fits", "stars_seen.parquet"))
    if stage == "build_catalog":
        joined = (files("shard", "h5"), arms, files("pairs", "parquet"), folder / "evidence.json")
        zero = {"zero_point": {}, "zero_point_error": {}}
        more = {"stars_path": stars, "duplicates_path": folder / "duplicates.parquet"}
        table = {"path": folder / "stars.parquet"}
        make_catalog(*joined, folder / "mrs.fits", catalog, penalties=PENALTIES, table=table, **zero, **more)
    elif stage == "select_candidates":
        select_candidates(catalog, candidates, folder / "counts.json")
    elif stage in ("plot_mrs_catalog", "plot_mrs_sources"):
        names = FEW_COLUMNS if stage == "plot_mrs_catalog" else (*OF_STARS, "observations")
        facts = load_config([shipped("config") / f"{name}.yaml" for name in ("config", "surveys")])
        given = {"catalog": catalog, "candidates": candidates, "stars": stars, "shards": files("shard", "h5")}
        given |= {"templates": models_folder() / "lamost_mrs/templates.h5", "penalties": PENALTIES, "penalty": 16.0}
        given |= {"arms": facts.instruments["lamost_mrs"].model_dump()["arms"], "settings": {}}
        given["binaries"] = {"path": folder / "binaries.parquet", "columns": {}, "radius": 2.0}
        figures.draw("lamost_mrs", {name: str(folder / f"{name}.png") for name in names}, given)
    elif stage == "classify_sources":
        describe_sources(catalog, stars, folder / "sources.parquet")
    elif stage == "build_lrs_catalog":
        write_catalog(files("lrs", "parquet"), folder / "lrs.fits", folder / "lrs.parquet")
        print_table(folder / "lrs.parquet", folder / "table1.csv")
    elif stage == "plot_lrs_catalog":
        figures.draw("lamost_lrs", {"catalogue": str(folder / "catalogue.png")}, {"catalog": folder / "lrs.parquet"})


STAGES = ("build_catalog", "select_candidates", "plot_mrs_catalog", "plot_mrs_sources", "classify_sources")
LRS_STAGES = ("build_lrs_catalog", "plot_lrs_catalog")
SLOW = ("classify_sources",)  # fits every star: hours where there are millions


def measured(stage: str, folder: Path, rows: int) -> dict:
    """A row of the benchmark table: a stage in a process of its own."""
    command = [sys.executable, __file__, "--stage", stage, "--folder", str(folder)]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{stage}: {done.stderr[-2000:]}")
    cost = json.loads(done.stdout.splitlines()[-1])
    print(stage, cost, file=sys.stderr, flush=True)
    return {
        "name": f"{stage}, {rows:,} rows",
        "ours": rows / cost["cpu"],
        "unit": "rows per CPU second",
        "CPU seconds": cost["cpu"],
        "seconds": time.perf_counter() - started,
        "peak memory (MiB)": cost["mib"],
    }


def main() -> None:
    """Make the shards where there are none, then run every stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="where shards and catalogues are kept; none: nowhere")
    parser.add_argument("--stage", choices=[*STAGES, *LRS_STAGES], help="one rule alone, in this process")
    parser.add_argument("--classes", action="store_true", help=f"with {', '.join(SLOW)}")
    options = parser.parse_args()
    if options.stage:
        run_stage(options.stage, options.folder)
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
        print(json.dumps({"cpu": time.process_time(), "mib": round(peak)}))
        return
    with tempfile.TemporaryDirectory() as nowhere:
        folder = options.folder or Path(nowhere)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "evidence.json").exists():
            make_shards(folder, options.rows)
        stages = [stage for stage in (*STAGES, *LRS_STAGES) if options.classes or stage not in SLOW]
        json.dump([measured(stage, folder, options.rows) for stage in stages], sys.stdout, indent=2)


if __name__ == "__main__":
    main()
