"""Rates of the LAMOST MRS product on mocks that take its own path (meter, fits, frame, networks, both arms).

    python benchmarks/rates/mrs_product.py survey|paper N SEED        rates beside the paper's on N pairs of that law
    python benchmarks/rates/mrs_product.py survey|paper N SEED fits   only what fits of one and two stars are good for

TPR at the paper's FPR of networks, fits, both together and the double peak of the correlation, in cells of labels;
errors of velocities, third stars and misfits. Mocks are of the release's library (`config/release.yaml`; made where it
is missing, two minutes of one core) and are kept in results/rates/. 4 ms of one core a pair, as much again for draws.
"""

import sys
from pathlib import Path

import numpy as np

from dioscuri.arms import Arm
from dioscuri.catalogs.evidence import Evidence
from dioscuri.catalogs.pairs import SUFFIX, of_arm
from dioscuri.catalogs.published_mrs import table_3
from dioscuri.evaluation.double_peak import score_pairs
from dioscuri.evaluation.mock_evidence import joint_logodds, scores_of_mocks
from dioscuri.evaluation.mock_path import Observer, read_seen_fits, write_seen
from dioscuri.io import digest, read_provenance
from dioscuri.learn.spectra.inference import Ensemble
from dioscuri.learn.spectra.models import load_released
from dioscuri.libraries.grid import SpectralLibrary
from dioscuri.libraries.sources import make_library
from dioscuri.mocks.pairs import write_mock_shard
from dioscuri.paths import models_folder
from dioscuri.shards import read_mock_labels
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
PENALTY, DRAWS = 16.0, 4
FOLDER = Path("results/rates")
Columns = dict[str, np.ndarray]


def libraries(number: int) -> list[SpectralLibrary]:
    """The release's library and its variants with jittered line strengths, made where they are not at hand."""
    found = []
    for variant in range(number):
        path = FOLDER / f"library{variant}.h5"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            make_library(path, ARMS, AXES, source="embedded", variant=variant, seed=20211115)
        found.append(SpectralLibrary.load(path))
    return found


def seen_mocks(law: str, n_pairs: int, seed: int, evidence: Evidence, observer: Observer) -> tuple[Path, Path, Path]:
    """Files of a law's mocks, in the recipe of the same name: as made, as seen, and what was fitted."""
    known = digest(  # what is seen depends on it
        [[model.weights.tolist() for model in evidence.pair.values()], [str(law) for law in evidence.limits.values()]]
    )
    ends = (".h5", f"_{known}_seen.h5", f"_{known}_fits.parquet")
    made, seen, fits = (FOLDER / f"{law}_{n_pairs}_{seed}{end}" for end in ends)
    if not made.exists():
        grids = libraries(1 if law == "paper" else 4)
        pairs = draw_pairs(n_pairs, seed, load_tracks("embedded", None, mass_max=2.2), grids[0].limits, law=law)
        write_mock_shard(made, arms=ARMS, libraries=grids, population=pairs, recipe=law, seed=seed)
    if not (seen.exists() and fits.exists()):
        write_seen(made, observer, evidence, seen, fits, seed=seed)
    return made, seen, fits


def rate(statistic: np.ndarray, y: np.ndarray, fpr: float) -> float:
    """Share of binaries above the value that a share `fpr` of singles exceeds."""
    statistic = np.nan_to_num(statistic, nan=-np.inf)
    return float(np.mean(statistic[y == 1] > np.quantile(statistic[y == 0], 1 - fpr, method="higher")))


def print_rates(methods: Columns, y: np.ndarray) -> None:
    """TPR at the paper's FPR and two others by method, and rates at p > ½ or log-odds > 3."""
    for name, statistic in methods.items():
        paper = table_3("red" if name.startswith("red") else "blue", PENALTY)
        tprs = ", ".join(f"{rate(statistic, y, fpr):.3f} at {fpr:g}" for fpr in (paper.fpr, 0.003, 0.01))
        limit = 3.0 if "log-odds" in name or "fit" in name else 0.5
        called = [np.mean(np.nan_to_num(statistic[y == k], nan=-np.inf) > limit) for k in (0, 1)]
        plain = "" if "peak" in name or "sum" in name else f"   above {limit}: FPR {called[0]:.4f}, TPR {called[1]:.3f}"
        print(f"  {name:34s} TPR {tprs} (paper {paper.tpr:.3f} at {paper.fpr:g}){plain}")


def print_cells(methods: Columns, y: np.ndarray, labels: Columns) -> None:
    """TPR at FPR 0.003 of all, in cells of labels."""
    dv, q, fast = np.abs(labels["dv"]), labels["q"], np.maximum(labels["vsini1"], labels["vsini2"])
    teff, snr = labels["teff1"], labels["snr"]
    cells = {
        "Teff1 < 5500 K": teff < 5500, "5500-6500 K": (teff >= 5500) & (teff < 6500), "> 6500 K": teff >= 6500,
        "q < 0.5": q < 0.5, "q 0.5-0.8": (q >= 0.5) & (q < 0.8), "q > 0.8": q >= 0.8,
        "Δv < 50": dv < 50, "50-100": (dv >= 50) & (dv < 100), "100-200": (dv >= 100) & (dv < 200), "> 200": dv >= 200,
        "S/N 5-20": snr < 20, "20-50": (snr >= 20) & (snr < 50), "> 50": snr >= 50,
        "v sin i < 60": fast < 60, "60-200": (fast >= 60) & (fast < 200), "> 200 ": fast >= 200,
        "slow, Δv > 60, q > 0.7": (fast < 60) & (dv > 60) & (q > 0.7),
    }  # fmt: skip
    print("  TPR at FPR 0.003 by cell: " + " | ".join(methods))
    found = {}
    for name, statistic in methods.items():
        statistic = np.nan_to_num(statistic, nan=-np.inf)
        found[name] = statistic[y == 1] > np.quantile(statistic[y == 0], 1 - 0.003, method="higher")
    for name, cell in cells.items():
        print(f"    {name:24s}" + " ".join(f"{np.mean(binary[cell]):6.3f}" for binary in found.values()), cell.sum())


def half_width(values: np.ndarray) -> str:
    """Half of their 16 to 84 %, and how many there are; – of less than 20."""
    values = values[np.isfinite(values)]
    return f"{np.ptp(np.quantile(values, (0.16, 0.84))) / 2:.2f} ({len(values)})" if len(values) >= 20 else "–"


def print_fits(fits: Columns, y: np.ndarray, labels: Columns, offset: float) -> None:
    """Pulls of velocities (half of their 16 to 84 %), and shares of spectra unlike the templates.

    The mocks' zero points scatter by `offset` km/s.
    """
    dv, snr = np.tile(labels["dv"], 2), np.tile(labels["snr"], 2)
    for arm in ARMS:
        fit = of_arm(fits, arm.name)
        sure = (y == 1) & (fit["pair_logodds"] > 2) & (np.abs(dv) > 50)
        apart = (np.abs(fit["v1"] - fit["v2"]) - np.abs(dv)) / np.hypot(fit["v1_err"], fit["v2_err"])
        one = (fit["vs"] - np.tile(labels["v1"], 2)) / np.hypot(fit["vs_err"], offset)
        pulls = []
        for low, high in ((5, 10), (10, 20), (20, 50), (50, 101)):
            cell = (snr >= low) & (snr < high)
            half = [half_width(v[cell & m]) for v, m in ((one, y == 0), (apart, sure))]
            pulls.append(f"S/N {low}-{high}: {half[0]}, {half[1]}")
        unlike = [np.mean(fit["unlike"][y == k] > 1) for k in (0, 1)]
        print(f"  {arm.name}: pulls of one star, of two: {'; '.join(pulls)}; unlike the templates {unlike}")


def main() -> None:
    law, n_pairs, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    folder, names = models_folder() / "lamost_mrs", [arm.name for arm in ARMS]
    evidence = Evidence.load(folder / "evidence.json")
    observer = Observer(load_templates(folder / "templates.h5", names))
    made, seen, tables = seen_mocks(law, n_pairs, seed, evidence, observer)
    fits, labels = read_seen_fits([tables]), read_mock_labels(made)
    y = fits["y"]
    print(f"law and recipe '{law}', seed {seed}, {len(y) // 2} pairs")
    offset = read_provenance(made).get("recipe", {}).get("velocity_offset", 0.0)
    if sys.argv[4:] == ["fits"]:
        print_fits(fits, y, labels, offset)
        return
    nets = {k: {n: Ensemble(load_released(folder / k / f"{n}.safetensors", n)) for n in names} for k in ("", "at_rest")}
    p = scores_of_mocks([seen], nets[""], PENALTY, draws=DRAWS)
    at_rest = {path: scores_of_mocks([path], nets["at_rest"], PENALTY) for path in (made, seen)}
    methods: Columns = {}
    for arm in ARMS:
        end = SUFFIX[arm.name]
        peaks = FOLDER / f"{made.stem}_{arm.name}_peaks.parquet"
        score_pairs([made], FOLDER / "library0.h5", arm, peaks)
        columns = of_arm(fits, arm.name)
        alone = evidence.logodds({arm.name: columns}, {arm.name: evidence.logits(p[f"p_{end}"], PENALTY)})
        methods |= {
            f"{arm.name}: network": p[f"p_{end}"],
            f"{arm.name}: network, p50 of {DRAWS} draws": p[f"p50_{end}"],
            f"{arm.name}: network taught at rest": at_rest[seen][f"p_{end}"],
            f"{arm.name}: … and shown mocks at rest": at_rest[made][f"p_{end}"],
            f"{arm.name}: fit of two stars": columns["pair_logodds"],
            f"{arm.name}: fit and network": alone,
            f"{arm.name}: double peak of the CCF": read_peaks(peaks),
        }
    methods["both arms: sum of logits"] = sum(evidence.logits(p[f"p_{end}"], PENALTY) for end in SUFFIX.values())
    cautious = {f"p_{end}": np.fmin(p[f"p_{end}"], p[f"p50_{end}"]) for end in SUFFIX.values()}  # as predict does
    methods["both arms: fits and networks"] = joint_logodds(evidence, fits, p)
    methods["both arms: log-odds of predict"] = joint_logodds(evidence, fits, cautious)
    print_rates(methods, y)
    short = ("blue: network", "red: network", "blue: fit of two stars", "both arms: fits and networks")
    print_cells({name: methods[name] for name in short}, y, labels)
    print_fits(fits, y, labels, offset)


def read_peaks(path: Path) -> np.ndarray:
    """The double-peak statistic, singles, then binaries."""
    import pyarrow.parquet as pq

    return pq.read_table(path)["statistic"].to_numpy()


if __name__ == "__main__":
    main()
