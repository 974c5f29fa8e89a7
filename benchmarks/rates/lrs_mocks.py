"""What LRS models are worth on mocks of known truth: area, precision, calibration, q, and eclipsing pairs by cells.

snakemake --configfile config/release.yaml --cores 1 results/release/lamost_lrs/mocks/test.h5
python benchmarks/rates/lrs_mocks.py results/release/lamost_lrs/mocks/test.h5 [MODELS [NETWORKS]]: 4,000
systems of the law that trained, of a population of their own, at velocities off by 12 km/s and R within 15 %.
"""

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from dioscuri.evaluation.lrs_merits import mock_merits, score_mocks, seed_spread
from dioscuri.evaluation.lrs_models import true_classes
from dioscuri.evaluation.lrs_scores import load_scorer
from dioscuri.learn.calibration import reliability
from dioscuri.mocks.lrs_light import light_share
from dioscuri.paths import models_folder
from dioscuri.shards import read_field_mocks
from dioscuri.stars.field import KINDS

SEED = 9
CELLS = {"light of the second star": (0.0, 0.1, 0.3, 0.51), "v sin i of the first [km/s]": (0, 40, 80, 120, 301)}


def main(mocks: str, models: str | None = None, networks: str = "") -> None:
    """Print all numbers of `mock_merits`, those of each seed, and the share of EA and EW that is found by cells."""
    torch.set_num_threads(1)
    stars, flux = read_field_mocks(mocks)
    scorer = load_scorer(Path(models) if models else models_folder() / "lamost_lrs", networks=networks or ())
    scores = score_mocks(stars, flux, scorer, SEED)
    for name, value in mock_merits(scores).items():
        print(f"{name:24s} {words(value)}")
    each = seed_spread(stars, flux, scorer, SEED)["auc"]
    print(f"{'auc of each seed':24s} {', '.join(f'{value:.3f}' for value in each)}")
    calibration(scores)
    eclipsing(stars, scores)


def words(value: object) -> str:
    """A number, or a table of numbers, in a line."""
    if isinstance(value, dict):
        return "; ".join(f"{key} {words(one)}" for key, one in value.items())
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def calibration(scores: pd.DataFrame) -> None:
    """Print the promised and the true share by S/N: where the mean distance between them comes from."""
    classes, p = true_classes(scores["q"].to_numpy()), scores["p"].to_numpy()
    print("calibration error, mean probability and true share, classes weighing alike, by S/N:")
    for low, high in pairwise((20, 40, 60, 100, 201)):
        rows = (classes >= 0) & scores["snrg"].between(low, high, inclusive="left").to_numpy()
        weight = (classes[rows] == 1).sum() / max((classes[rows] == 0).sum(), 1)
        error = reliability(p[rows], classes[rows] == 1, penalty=weight).expected_error
        shares = [0.5 * sum(p[rows & (classes == one)].mean() for one in (0, 1)), 0.5]
        print(f"   {low}-{high} ({rows.sum()}): {error:.3f}; {shares[0]:.3f}, {shares[1]:.3f}")


def eclipsing(stars: dict[str, np.ndarray], scores: pd.DataFrame) -> None:
    """Print the share of EA and EW with p > 0.5, whole and by light and rotation."""
    values = {"light of the second star": light_share(stars), "v sin i of the first [km/s]": stars["vsini1"]}
    for number, kind in enumerate(KINDS):
        rows = stars["kind"] == number
        if kind not in ("EA", "EW"):
            continue
        found = (scores["p"] > 0.5).to_numpy()
        error = np.sqrt(found[rows].mean() * (1 - found[rows].mean()) / rows.sum())
        print(f"{kind} ({rows.sum()}): {found[rows].mean():.2f} ± {error:.2f} with p > 0.5")
        for name, edges in CELLS.items():
            cells = [(low, high, rows & (values[name] >= low) & (values[name] < high)) for low, high in pairwise(edges)]
            told = [f"{low:g}-{high:g} {found[c].mean():.2f} of {c.sum()}" for low, high, c in cells if c.any()]
            print(f"   by {name}: {'; '.join(told)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
