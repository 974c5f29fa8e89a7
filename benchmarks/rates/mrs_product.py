"""Rates of the LAMOST MRS product on mocks that take its own path (meter, fits, frames, networks, both arms).

    python benchmarks/rates/mrs_product.py calibrate OUT.json   4,000 pairs (survey law) → evidence.json of the release
    python benchmarks/rates/mrs_product.py survey|paper N [SEED]   rates beside the paper's on N pairs of other seeds

The library is coarser than the release's (steps of 500 K, 1 dex): a few minutes of one core, kept in resources/.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

from dioscuri.arms import Arm
from dioscuri.catalogs.evidence import Evidence
from dioscuri.catalogs.pairs import SUFFIX
from dioscuri.catalogs.published_mrs import table_3
from dioscuri.evaluation.mock_path import Observer, calibrate, observe_mocks
from dioscuri.learn.spectra.inference import Ensemble
from dioscuri.learn.spectra.models import load_released
from dioscuri.libraries.grid import SpectralLibrary
from dioscuri.libraries.sources import make_library
from dioscuri.mocks.pairs import write_mock_shard
from dioscuri.paths import models_folder
from dioscuri.shards import open_shard
from dioscuri.spectra.templates import load_templates
from dioscuri.stars.population import draw_pairs
from dioscuri.stars.tracks import load_tracks

ARMS = (Arm("blue", 5000.0, 5300.0, 3347, 7500.0), Arm("red", 6350.0, 6750.0, 3509, 7500.0))
AXES = {
    "teff": np.arange(4000.0, 8001.0, 500.0),
    "logg": np.arange(1.0, 5.1, 1.0),
    "feh": np.arange(-2.0, 0.51, 0.5),
    "afe": np.array([-0.5, 0.1, 0.7]),
}
PENALTY = 16.0
CALIBRATION_SEED, TEST_SEED = 11, 12


def libraries(folder: Path) -> list[SpectralLibrary]:
    """The library as it is and one with jittered line strengths, made where they are not at hand."""
    found = []
    for variant in (0, 1):
        path = folder / f"mrs_product_variant{variant}.h5"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            make_library(path, ARMS, AXES, source="embedded", variant=variant, seed=20211115)
        found.append(SpectralLibrary.load(path))
    return found


def mocks(path: Path, law: str, n_pairs: int, seed: int) -> None:
    """A shard of pairs of a law, in the recipe of the same name."""
    grids = libraries(Path("resources/library"))[: 1 if law == "paper" else 2]
    pairs = draw_pairs(n_pairs, seed, load_tracks("embedded", None, mass_max=2.2), grids[0].limits, law=law)
    write_mock_shard(path, arms=ARMS, libraries=grids, population=pairs, recipe=law, seed=seed)


def rate(statistic: np.ndarray, y: np.ndarray, fpr: float) -> float:
    """Share of binaries above the value that a share `fpr` of singles exceeds."""
    statistic = np.nan_to_num(statistic, nan=-np.inf)
    return float(np.mean(statistic[y == 1] > np.quantile(statistic[y == 0], 1 - fpr, method="higher")))


def report(seen: dict[str, np.ndarray], labels: dict[str, np.ndarray]) -> None:
    """Print TPR at the paper's FPR by method, rates at p50 > ½, and cells of the labels."""
    y = seen["y"]
    print(f"{len(y) // 2} pairs")
    methods = {f"{arm.name}: {name}": seen[f"{column}_{SUFFIX[arm.name]}"] for arm in ARMS for name, column in (
        ("network, mock as made (primary at rest)", "p_rest"),
        ("network, product's path", "p"),
        ("pair fit", "pair_logodds"),
        ("double peak of the CCF", "ccf"),
    )}  # fmt: skip
    methods["both arms: fits and networks"] = seen["logodds"]
    for name, statistic in methods.items():
        arm = "red" if name.startswith("red") else "blue"
        paper = table_3(arm, PENALTY)
        half = 0.5 if "network, " in name else 0.0
        called = [np.mean(np.nan_to_num(statistic[y == k], nan=-np.inf) > half) for k in (0, 1)]
        plain = "" if "CCF" in name else f"   above ½: FPR {called[0]:.4f}, TPR {called[1]:.3f}"
        tprs = ", ".join(f"{rate(statistic, y, fpr):.3f} at {fpr:g}" for fpr in (paper.fpr, 0.003, 0.01))
        print(f"  {name:46s} TPR {tprs} (paper {paper.tpr:.3f} at {paper.fpr:g}){plain}")
    joint = np.nan_to_num(seen["logodds"], nan=-np.inf)
    threshold = np.quantile(joint[y == 0], 0.99)
    dv, q, slow = np.abs(labels["dv"]), labels["q"], np.maximum(labels["vsini1"], labels["vsini2"]) < 60
    binary = joint[y == 1] > threshold
    print("  both arms at FPR 0.01, binaries in cells:")
    teff, snr = labels["teff1"], labels["snr"]
    cells = {
        "Δv 30-60": (dv > 30) & (dv < 60), "Δv 60-100": (dv > 60) & (dv < 100), "Δv > 100": dv > 100,
        "v sin i < 60": slow, "… and Δv > 60": slow & (dv > 60), "… and q > 0.7": slow & (dv > 60) & (q > 0.7),
        "S/N 5-20": snr < 20, "S/N 20-50": (snr >= 20) & (snr < 50), "S/N > 50": snr >= 50,
        "Teff1 < 5500 K": teff < 5500, "Teff1 > 6500 K": teff > 6500,
    }  # fmt: skip
    for name, cell in cells.items():
        if cell.any():
            print(f"    {name:16s} {np.mean(binary[cell]):.3f} of {cell.sum()}")
    print("  singles above that by v sin i:", end=" ")
    for low, high in ((0, 60), (60, 200), (200, 500)):
        cell = (labels["vsini1"] >= low) & (labels["vsini1"] < high)
        print(f"{low}-{high}: {np.mean(joint[y == 0][cell] > threshold):.4f} of {cell.sum()}", end="; ")
    print()


def main() -> None:
    task, folder = sys.argv[1], models_folder() / "lamost_mrs"
    names = [arm.name for arm in ARMS]
    observer = Observer(load_templates(folder / "templates.h5", names))
    ensembles = {name: Ensemble(load_released(folder / f"{name}.safetensors", arm=name)) for name in names}
    settings = {"penalty": PENALTY, "draws": 4}
    with tempfile.TemporaryDirectory() as scratch:
        shard = Path(scratch) / "mocks.h5"
        if task == "calibrate":
            mocks(shard, "survey", 4000, CALIBRATION_SEED)
            found = calibrate([shard], observer, ensembles, n_pairs=4000, seed=CALIBRATION_SEED, **settings)
            found.save(sys.argv[2], {"command": "benchmarks/rates/mrs_product.py calibrate", "seed": CALIBRATION_SEED})
            return
        n_pairs, seed = int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else TEST_SEED
        mocks(shard, task, n_pairs, seed)
        evidence = Evidence.load(folder / "evidence.json")
        seen = observe_mocks([shard], observer, ensembles, evidence, seed=seed, **settings)
        with open_shard(shard, "dioscuri/mocks/1") as stream:
            labels = {name: values[:] for name, values in stream["labels"].items()}
        print(f"law and recipe '{task}', seed {seed}: ", end="")
        # Blocks alternate kinds: bring all singles before all binaries, in the order of the labels.
        order = np.lexsort((np.searchsorted(labels["pair_id"], seen["pair_id"]), seen["y"]))
        report({name: values[order] for name, values in seen.items()}, labels)


if __name__ == "__main__":
    main()
