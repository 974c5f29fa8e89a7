"""All rows of `make bench` in one table, each with what physics allows here and the share reached; and their plot.

    python benchmarks/summary.py results/paper/bench/*.json --table benchmarks.csv --plot speed.png

A limit is the time that the least work of an item takes at the best speed that this machine shows at that kind of
work: multiplications at the speed of a matrix product, memory at that of a copy, decompression at zlib's, transforms
at scipy's.
"""

import argparse
import json
import re
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import scipy.fft
import torch

from dioscuri.io import atomic

# Multiply-adds of networks and sizes of grids: networks.multiply_adds, library.py, kinematics.py, ingest.py.
NETWORK, BLUE, LIBRARY = 2 * 621_972, 3347, 4919  # FLOP of a spectrum; pixels of the arm and of the library's window
STENCIL, TRANSFORM = 81, 6000  # nodes of a quadratic interpolation on four axes; pixels of a padded window
ITERATIONS, BAND = 4, 25  # of the continuum; operations a pixel of a pentadiagonal solution
FILE = 10 * (4136 * 14 + 2 * 2880)  # bytes of the HDUs of four exposures and the co-add in two arms
STAMP = 14 * 14

# name of the row, what binds, how much of it an item needs at least, and why
LIMITS: tuple[tuple[str, str, float, str], ...] = (
    ("scoring, 100 evaluations", "product", 100 * NETWORK, "multiply-adds of five networks and 20 draws"),
    ("training, batch", "product", 3 * NETWORK, "multiply-adds forward, and twice that backward"),
    ("reproducible normals", "product", 1e6 * 40, "a million of them: ten rounds of Philox and Box-Muller"),
    ("library interpolation", "product", 2 * STENCIL * LIBRARY, "81 nodes of the window, multiplied and added"),
    ("kinematics", "transform", 2 * TRANSFORM, "one transform and its inverse"),
    ("continuum, exact", "product", 2 * ITERATIONS * BAND * 4136, "four pentadiagonal solutions in float64"),
    ("continuum, few knots", "product", 2 * ITERATIONS * BAND * 4136 / 4, "the same of a quarter of the nodes"),
    ("mock pairs, paper", "transform", 6 * TRANSFORM, "three spectra moved: a transform and its inverse each"),
    ("mock pairs, survey", "transform", 6 * TRANSFORM, "three spectra moved: a transform and its inverse each"),
    ("reading .fits.gz", "inflate", FILE, "decompression"),
    ("ingest, both arms", "inflate", FILE / 5, "decompression"),
    ("dioscuri predict", "inflate", FILE / 5, "decompression"),
    ("velocities", "transform", 11 * 8192, "a transform, and an inverse one for each of ten templates"),
    ("fits of one and two stars", "product", 2 * 22 * 201 * BLUE / 8, "products with templates at all velocities"),
    ("pairs of stars from tracks", "copy", 2 * 8 * 12 * 8, "corners of two cells of the grid, twelve columns"),
    ("mock stamps", "copy", 2 * 4 * STAMP, "pixels, written once"),
)
SHOWN = (  # rows of the plot, and what they are called there
    ("reading .fits.gz, against astropy", "read a file"),
    ("ingest, both arms", "ingest"),
    ("scoring, 100 evaluations, against a per", "score, 100 evaluations"),
    ("training, batch 256, against a textbook", "train"),
    ("library interpolation.*one by one", "interpolate in the library"),
    ("kinematics, against direct", "rotation, velocity, resolution"),
    ("continuum, exact, against laspec's way \\(", "continuum"),
    ("velocities", "velocity"),
    ("mock pairs, survey.*published", "mock pairs"),
    ("mock stamps with noise, against a photutils", "mock stamps"),
    ("dioscuri predict", "predict: files to table"),
)
COLORS = {"limit": "0.85", "ours": "C0", "published": "C1"}


def speeds() -> dict[str, float]:
    """What this machine does at best on one core, per second: FLOP in products, bytes copied and inflated, pixels."""
    torch.set_num_threads(1)
    square, one, other = torch.randn(1024, 1024), torch.randn(4_000_000), torch.empty(4_000_000)
    noise = np.random.default_rng(0).normal(1000, 30, 100_000).astype(">f4").tobytes()
    packed, lines = zlib.compress(noise, 6), np.random.default_rng(0).normal(0, 1, (32, TRANSFORM)).astype("f4")
    return {
        "product": 2 * 1024**3 / _least(lambda: torch.mm(square, square)),
        "copy": 2 * 4 * len(one) / _least(lambda: other.copy_(one)),
        "inflate": len(noise) / _least(lambda: zlib.decompress(packed)),
        "transform": lines.size / _least(lambda: scipy.fft.rfft(lines)),
    }


def _least(call: Callable[[], object], repeats: int = 9) -> float:
    """The least CPU time of a call in seconds."""
    found = []
    for _ in range(repeats):
        started = time.process_time()
        call()
        found.append(time.process_time() - started)
    return min(found[1:])


def with_limits(rows: list[dict], at_best: dict[str, float]) -> list[dict]:
    """The rows with `limit` in their unit, `share` of it, and `limited by`; what is no rate has none."""
    found = []
    for row in rows:
        known = [
            entry for entry in LIMITS if row["name"].startswith(entry[0]) and str(row.get("unit", "")).endswith("/s")
        ]
        judged: dict[str, object] = {}
        if re.search("GEMM|its limit", row["name"]):  # measured beside it
            judged = {"limit": row["published"], "limited by": "measured in turn with it"}
        elif known:
            _, kind, amount, why = known[0]
            judged = {"limit": at_best[kind] / amount, "limited by": f"{kind}: {why}"}
        if judged:
            judged["share"] = row["ours"] / judged["limit"]  # type: ignore[operator]
        found.append(row | judged)
    return found


def plot(rows: list[dict], out: Path) -> None:
    """Rates over those of the published way: ours, and what the machine allows."""
    chosen = [(words, row) for pattern, words in SHOWN for row in rows if re.match(pattern, row["name"])]
    figure, axes = plt.subplots(figsize=(7.2, 0.42 * len(chosen) + 1.1), layout="constrained")
    for place, (_, row) in enumerate(chosen):
        ours = row["ours"] / row["published"]
        if limit := row.get("limit"):
            axes.barh(-place, limit / row["published"], 0.78, left=0, color=COLORS["limit"])
        axes.barh(-place, ours, 0.5, color=COLORS["ours"])
        axes.barh(-place, 1, 0.5, color=COLORS["published"])
        rate = f"{row['ours']:,.0f}" if row["ours"] >= 10 else f"{row['ours']:.2g}"
        axes.text(ours * 1.08, -place, f"{rate} {row['unit']}", va="center", fontsize=8)
    axes.set_yticks([-place for place in range(len(chosen))], [words for words, _ in chosen])
    axes.set_xscale("log")
    axes.set_xlim(0.5, 1.3e4)
    axes.set_xlabel("speed of one core over that of the published way")
    for name, words in (("published", "published way"), ("ours", "dioscuri"), ("limit", "the machine's limit")):
        axes.barh(0, 0, color=COLORS[name], label=words)
    axes.legend(loc="lower right", fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    with atomic(out) as temporary:
        figure.savefig(temporary, dpi=140, format="png")


def main() -> None:
    """Join, judge, write and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="+", type=Path, help="JSON files of the pieces")
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--plot", type=Path, required=True)
    options = parser.parse_args()
    rows = [row for path in options.rows for row in json.loads(path.read_text(encoding="utf-8"))]
    judged = with_limits(rows, speeds())
    with atomic(options.table) as temporary:
        pd.DataFrame(judged).to_csv(temporary, index=False, float_format="%.4g")
    plot(judged, options.plot)


if __name__ == "__main__":
    main()
