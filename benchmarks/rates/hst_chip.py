"""False positives and recall over a chip of WFC3/UVIS, painted with a real grid of PSFs, through `dioscuri predict`.

    python benchmarks/rates/hst_chip.py GRID OUT [--stars 4000] [--focus nm] [--jitter share] [--given] [--seed 1]
        [--bound]

GRID: STScI's STDPSF file of F775W (or a grid of ours, .npz), of which chip 2 is painted: 4096 × 2051 px, 15 % pairs of
0.1 to 2 px and any flux ratio, 5,000 to 25,000 electrons, cosmic rays of 350 s of which the flags miss 5 %. --focus
[nm rms] and --jitter [share] change the PSF that paints, not GRID. Without --given the PSF is fitted to the stars.
--bound: also the Bayes factor of who knows PSF and sky, on the same stars: nobody's can mean more.
OUT: folder for the frame, the table of `predict` and rates.json; a table of 4 × 4 tiles is printed.
"""

import argparse
import dataclasses
import json
import math
import resource
import time
from pathlib import Path

import numpy as np
import pandas as pd
from astropy.wcs import WCS
from scipy.spatial import cKDTree

from dioscuri.cluster.detector import Detector, expose
from dioscuri.cluster.exposure_psf import chip_psf
from dioscuri.cluster.frames import Frame, read_flt, write_flt
from dioscuri.cluster.scene import Scene
from dioscuri.cluster.scoring import score_stars
from dioscuri.predict import hst
from dioscuri.psf.effective import Psf
from dioscuri.psf.optics import OPTICS, optical_psf
from dioscuri.psf.render import SIZE
from dioscuri.psf.sources import read_any
from dioscuri.stamps.judge import MISFIT, UNSETTLED, Search
from dioscuri.stamps.mocks import Law, draw_sources

SHAPE = 2051, 4096  # px
APART = 24.0  # px between systems: how they crowd is another question
SKY, EXPOSURE = 4.0, 350.0  # e/px, s
MATCH = 1.5  # px
PAIRS = 0.15  # share
LAW = Law(flux_ratio="uniform", flux_min=5000.0, flux_max=25000.0)
OPTICS_HERE = OPTICS["hst_f775w"]


def changed(grid: Psf, focus: float, jitter: float) -> Psf:
    """The grid with `focus` [nm rms] of defocus and a jitter larger by a share, as optics change by those."""
    if not (focus or jitter):
        return grid
    size = 2 * -(-(grid.samples.shape[1] - 1) // (2 * grid.oversampling)) + 1
    form = {"oversampling": grid.oversampling, "size": size}
    other = optical_psf(OPTICS_HERE, jitter=OPTICS_HERE.jitter * (1 + jitter), focus_nm=focus, **form)
    change = other.samples - optical_psf(OPTICS_HERE, **form).samples
    inner = slice(other.centre - grid.centre, other.centre + grid.centre + 1)
    return dataclasses.replace(grid, samples=grid.samples + change[:, inner, inner])


def paint(folder: Path, grid: Psf, n: int, seed: int) -> tuple[Path, pd.DataFrame]:
    """Write the exposure; return its path and the systems on it (photocentre, flux, is_binary, sep, flux_ratio)."""
    rng = np.random.default_rng(seed)
    places: list[np.ndarray] = []
    while len(places) < n:
        tried = rng.uniform((20, 20), (SHAPE[1] - 20, SHAPE[0] - 20), (n, 2))
        everything = np.array([*places, *tried])
        close = cKDTree(everything).query_pairs(APART, output_type="ndarray")
        keep = np.setdiff1d(np.arange(len(everything)), close.max(1) if len(close) else [])
        places = list(everything[keep][:n])
    centre = np.array(places)
    sources = pd.DataFrame(draw_sources(n, seed, LAW, binary_share=PAIRS))
    shift = centre - sources[["x", "y"]].to_numpy()
    for one in ("", "1", "2"):
        sources[f"x{one}"] += shift[:, 0]
        sources[f"y{one}"] += shift[:, 1]
    expected, scene = np.full(SHAPE, SKY), Scene(grid)
    for one in ("1", "2"):
        scene.paint(expected, *(sources[f"{name}{one}"].to_numpy() for name in ("x", "y", "flux")))
    detector = Detector(hot_pixels=0.0, bad_pixels=0.0, bad_columns=0)
    science, error, dq = expose(np.maximum(expected, 0), EXPOSURE, detector, rng)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [245.9, -26.5]
    wcs.wcs.crpix, wcs.wcs.cd = [SHAPE[1] / 2, SHAPE[0] / 2], np.diag([-0.03962, 0.03962]) / 3600
    frame = Frame(
        science, error, dq, wcs, "F775W", EXPOSURE, "chip00001q", chip=2, pixel_scale=0.03962, read_noise=3.1
    )  # fmt: skip
    path = folder / "chip00001q_flt.fits"
    write_flt(path, [frame], {"TARGNAME": "PAINTED", "PROPOSID": 0})
    return path, sources


def pair_share(log_bf: np.ndarray) -> float:
    """The share of pairs that makes Bayes factors of many stars most likely: what a frame tells of its own prior."""
    log_bf, share = log_bf[np.isfinite(log_bf)], 0.5
    for _ in range(200):
        probability = 1 / (1 + np.exp(np.clip(even_odds(share) - log_bf, -60, 60)))
        share = float(np.clip(probability.mean(), 1e-4, 1 - 1e-4))
    return share


def even_odds(share: float) -> float:
    """ln of the Bayes factor from which a pair is more probable than a star, where a share of all are pairs."""
    return math.log((1 - share) / share)


def rates(table: pd.DataFrame, sources: pd.DataFrame) -> tuple[dict, pd.DataFrame]:
    """What became of the systems: numbers over the chip, and false positives in 4 × 4 tiles."""
    table = table[np.isfinite(table["p"].astype(float)) | np.isfinite(table["log_bf"].astype(float))]
    distance, near = cKDTree(table[["x", "y"]]).query(sources[["x", "y"]])
    found = distance < MATCH
    kept = [name for name in ("p", "log_bf", "chi2_single", "status", "optimum") if name in table]
    seen = sources[found].assign(**{k: table[k].to_numpy()[near[found]] for k in kept})
    row = np.minimum(seen["y"] * 4 // SHAPE[0], 3).astype(int)
    column = np.minimum(seen["x"] * 4 // SHAPE[1], 3).astype(int)
    single, ok = ~seen["is_binary"], seen["status"].str.startswith("ok")
    wide = seen["is_binary"] & (seen["sep"] > 0.7)
    bright = wide & (seen["flux_ratio"] > 0.3)
    share = pair_share(seen["log_bf"][ok].to_numpy(float))
    # Where `predict` asks for the Bayes factor by default (`stamps.judge`).
    asked = (seen["p"] > UNSETTLED) | (seen["chi2_single"] > 1 + MISFIT * math.sqrt(2 / SIZE**2))
    said = {
        "p": seen["p"] > 0.5,
        "log_bf": seen["log_bf"] > 0,
        "log_bf_asked": asked & (seen["log_bf"] > 0),
        "log_bf_prior": seen["log_bf"] > even_odds(share),
        "verdict": (seen["p"] > 0.5) & (seen["log_bf"] > 0) & ok,
    }
    if "optimum" in seen:
        said |= {"optimum": seen["optimum"] > 0, "optimum_prior": seen["optimum"] > even_odds(share)}
    numbers: dict = {
        "systems": len(sources),
        "pair_share": share,
        "scored": int(found.sum()),
        "doubtful": float((~ok).mean()),
    }
    tiles = []
    for name, yes in said.items():
        by_tile = yes[single].groupby([row[single], column[single]]).mean()
        tiles.append(by_tile.unstack().to_numpy())
        numbers[name] = {
            "false_positives": float(yes[single].mean()),
            "worst_tile": float(by_tile.max()),
            "tpr_wide": float(yes[wide].mean()),
            "tpr_wide_bright": float(yes[bright].mean()),
            "accuracy": float(0.5 * (yes[seen["is_binary"]].mean() + 1 - yes[single].mean())),
        }
    shown = pd.DataFrame(100 * np.concatenate(tiles), index=[f"{name} {i}" for name in said for i in range(4)])
    return numbers, shown


def bound(path: Path, psf: Psf, table: pd.DataFrame) -> np.ndarray:
    """ln of the Bayes factor with the true PSF and sky, NaN where `table` has no score: what nobody can better."""
    known = np.flatnonzero(np.isfinite(table["flux"].to_numpy(float)))
    stars = table.iloc[known][["x", "y", "flux"]].astype(float).assign(flags=0, background=SKY).reset_index(drop=True)
    scored = np.flatnonzero(np.isfinite(table["log_bf"].to_numpy(float)[known]))
    scores = score_stars(read_flt(path)[0], psf, stars, scored, Search(LAW, exact=True))
    found = np.full(len(table), np.nan)
    found[known[scored]] = scores["log_bf"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("grid", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--stars", type=int, default=4000)
    parser.add_argument("--focus", type=float, default=0.0)
    parser.add_argument("--jitter", type=float, default=0.0)
    parser.add_argument("--given", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bound", action="store_true")
    parser.add_argument("--models", type=Path)
    parser.add_argument("--likelihood", default="all", choices=("needed", "all"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    grid = chip_psf(read_any(options.grid), 2, chip=2)
    true = changed(grid, options.focus, options.jitter)
    path, sources = paint(options.out, true, options.stars, options.seed)
    began, cpu = time.perf_counter(), time.process_time()
    table, _ = hst.predict(
        [path], psf=options.grid if options.given else None, models=options.models, likelihood=options.likelihood
    )
    taken = time.perf_counter() - began, time.process_time() - cpu
    if options.bound:
        table["optimum"] = bound(path, true, table)
    table.to_parquet(options.out / "predicted.parquet", index=False)
    sources.to_parquet(options.out / "sources.parquet", index=False)
    numbers, tiles = rates(table, sources)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    numbers |= {"minutes": taken[0] / 60, "cpu_minutes": taken[1] / 60, "memory_gib": peak}
    (options.out / "rates.json").write_text(json.dumps(numbers, indent=1))
    print(json.dumps(numbers, indent=1))
    print("false positives [%] in 4 x 4 tiles\n", tiles.round(1).to_string())


if __name__ == "__main__":
    main()
