"""Real and foreign stars, alone and in pairs, as LAMOST MRS files through `dioscuri predict`: the third test set.

    python benchmarks/rates/mrs_real_stars.py DATA N SEED [STARS …]   N exposures of singles and as many of pairs

DATA holds HARPS_Sun.fits, HARPS_Procyon.fits, PHOENIX and ATLAS9 spectra (tests/real/real_star_files.py). STARS: which
of Sun, Procyon, 5000, 5800, 6400, ATLAS9, all where none is named. Pairs of two of them at light ratios of 0.3–1
and 20–200 km/s; v sin i half 3–20, half 20–200 km/s; S/N log-uniform in 10–100, the blue arm's 0.5–1 of the red one's.
TPR at the paper's FPR of networks, fits, both arms together, and what singles are called. 20 ms of a core each; 1,000
exposures at a time, kept in results/rates/. A star `lines5500` is our synthesizer's dwarf of that Teff with the lines
of DATA/../lines/atomic_lines_3600_9037.txt.gz as they are, which neither library, networks nor log-odds were fitted to.
"""

import importlib.util
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from mrs_product import ARMS, FOLDER, PENALTY, rate

from dioscuri.catalogs.published_mrs import table_3
from dioscuri.io import digest
from dioscuri.paths import models_folder
from dioscuri.predict import predict
from dioscuri.spectra.templates import load_templates
from dioscuri.spectra.velocity import VelocityMeter

NAMES = ("Sun", "Procyon", "5000", "5800", "6400", "ATLAS9")
LINES = "lines/atomic_lines_3600_9037.txt.gz"
PART = 1000  # exposures at a time
PER_KIND = 10  # exposures that share stars and rotations, so that files hold more than one


def star_files():
    """The module of the tests that writes such files."""
    path = Path(__file__).parents[2] / "tests/real/real_star_files.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def drawn(n: int, names: tuple[str, ...], random: np.random.Generator, make) -> tuple[list, np.ndarray, pd.DataFrame]:
    """n exposures, the first half of singles: their stars, S/N (n, 2) and labels."""
    systems, labels = [], []
    for first in range(0, n, PER_KIND):
        pair = first >= n // 2
        kinds = random.choice(names, 2)
        vsini = np.where(random.random(2) < 0.5, random.uniform(3, 20, 2), random.uniform(20, 200, 2))
        for _ in range(PER_KIND):
            light, dv, rv = random.uniform(0.3, 1), random.uniform(20, 200), random.normal(0, 30)
            one = make(kinds[0], 1.0, rv, vsini[0])
            systems.append([one, make(kinds[1], light, rv + dv, vsini[1])] if pair else [one])
            labels.append((int(pair), "+".join(kinds) if pair else kinds[0], dv, light, vsini[: 1 + pair].max()))
    red = np.exp(random.uniform(np.log(10), np.log(100), n))
    snr = np.stack([red * random.uniform(0.5, 1, n), red], axis=1)
    return systems, snr, pd.DataFrame(labels, columns=["y", "kind", "dv", "light", "vsini"]).assign(snr=red)


def scored(data: Path, n: int, names: tuple[str, ...], seed: int, part: int) -> pd.DataFrame:
    """One part through files and predict: labels beside what was said, a row per exposure."""
    known = digest((models_folder() / "lamost_mrs/SHA256SUMS").read_text())
    kept = FOLDER / f"real_{'_'.join(names)}_{n}_{seed}_{part}_{known}.parquet"
    if kept.exists():
        return pd.read_parquet(kept)
    templates = load_templates(models_folder() / "lamost_mrs/templates.h5", ["blue", "red"])
    files = star_files()
    factory = files.StarFactory(data, {name: VelocityMeter(t, arm) for name, (arm, t) in templates.items()})
    for name in names:
        if name.startswith("lines"):
            factory.synthesize(name, data.parent / LINES, (float(name.removeprefix("lines")), 4.5, 0.0, 0.0))
    systems, snr, labels = drawn(n, names, np.random.default_rng([seed, part]), files.Star)
    with tempfile.TemporaryDirectory() as folder:
        index = files.write_files(Path(folder), factory, systems, snr, seed=seed + part)
        table, _ = predict("lamost_mrs", [folder], penalty=PENALTY)
    table["number"] = [index[file.rsplit("/", 1)[-1], key] for file, key in zip(table["file"], table["exposure"])]
    for arm in ARMS:
        rows = table[table["arm"] == arm.name].set_index("number")
        for name in ("p", "p0", "p50", "pair_logodds", "logodds", "status", "v1", "v2"):
            labels[f"{name}_{arm.name}"] = rows[name].reindex(labels.index)
    kept.parent.mkdir(parents=True, exist_ok=True)
    labels.to_parquet(kept)
    return labels


def report(table: pd.DataFrame) -> None:
    """Rates at the paper's FPR, singles that are called, cells."""
    y = table["y"].to_numpy()
    table["logodds"] = table["logodds_blue"].fillna(table["logodds_red"])
    methods = {f"{arm.name}: {what}": f"{column}_{arm.name}" for arm in ARMS for what, column in
               (("network, p", "p"), ("network, p50", "p50"), ("fit of two stars", "pair_logodds"))}  # fmt: skip
    methods["both arms: log-odds of predict"] = "logodds"
    for name, column in methods.items():
        paper = table_3("red" if name.startswith("red") else "blue", PENALTY)
        values = table[column].to_numpy(float)
        tprs = ", ".join(f"{rate(values, y, fpr):.3f} at {fpr:g}" for fpr in (paper.fpr, 0.003, 0.01))
        limit = 3.0 if "odds" in column else 0.5
        called = [(values[y == k] > limit).mean() for k in (0, 1)]
        print(f"  {name:32s} TPR {tprs} | above {limit:g}: FPR {called[0]:.4f}, TPR {called[1]:.3f}")
    columns = {"blue p50": "p50_blue", "red p": "p_red", "red p50": "p50_red", "log-odds": "logodds"}
    called = pd.DataFrame({k: table[c] > (3.0 if c == "logodds" else 0.5) for k, c in columns.items()})
    single, pair = table["y"] == 0, table["y"] == 1
    print("singles called, by star:\n", called[single].groupby(table["kind"]).mean().round(4).to_string())
    apart, noise = pd.cut(table["dv"], [20, 40, 60, 80, 120, 200]), pd.cut(table["snr"], [10, 20, 40, 100])
    slow = pair & (table["vsini"] < 30) & (table["light"] >= 0.5)
    bright = table["snr"] >= 20
    for name, rows, cell in (
        ("Δv", slow, apart),
        ("Δv at S/N ≥ 20 (red)", slow & bright, apart),
        ("S/N (red)", slow, noise),
    ):
        print(f"pairs with v sin i < 30, light ratio ≥ 0.5, found, by {name}:")
        print(called[rows].groupby(cell, observed=True).agg(["mean", "size"]).round(3).to_string())
    for arm, low in (("blue", 60), ("red", 80)):
        found = called[slow & bright & (table["dv"] >= low)]
        print(f"Δv ≥ {low}, S/N ≥ 20 (red), {arm}: {found[f'{arm} p50'].mean():.3f} of {len(found)} by p50")


def main() -> None:
    data, n, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    names = tuple(sys.argv[4:]) or NAMES
    parts = [scored(data, min(PART, 2 * n - first), names, seed, first // PART) for first in range(0, 2 * n, PART)]
    table = pd.concat(parts, ignore_index=True)
    print(f"{len(table)} exposures of {', '.join(names)}, seed {seed}: {table['status_blue'].value_counts().to_dict()}")
    report(table)


if __name__ == "__main__":
    main()
