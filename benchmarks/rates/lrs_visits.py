"""A simulated survey whose stars are seen several times: what the paper tests on its own, and the truth.

snakemake --configfile benchmarks/rates/lrs_visits.yaml --cores 1 results/lrs_visits/lamost_lrs/catalogs/lrs.parquet
python benchmarks/rates/lrs_visits.py results/lrs_visits/lamost_lrs: files → scores → catalogue, released networks.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from dioscuri.catalogs import published_lrs as paper
from dioscuri.evaluation.lrs_merits import NOT_COUNTED, survey_merits
from dioscuri.seals import verified

STEADY = 5.0  # km/s over all visits


def main(results: str) -> None:
    """Print samples by velocity and kind, repeats of stars, and how the maximum grows with visits."""
    folder = Path(results)
    catalog = pd.read_parquet(verified(folder / "catalogs/lrs.parquet"))
    truth = pd.read_parquet(verified(folder / "survey/truth.parquet"))
    found = survey_merits(catalog, truth)
    print(f"{found['n_spectra']} spectra of {found['n_stars']} stars; above .5, .8: {found['share_above']}")
    print(f"singles called binary {found['singles_called_binary']:.3f}, pairs of 0.6 < q < 0.93 found "
          f"{found['intermediate_found']:.3f}, AUC {found['auc']:.3f}")  # fmt: skip
    for name in ("EA", "EW"):
        print(f"{name} (paper {paper.ECLIPSING[name]:.3f}): {share(found[name]['found'], found[name]['n'])}")
    for name, published in (("variable", paper.RV_VARIABLE), ("constant", 1 - paper.RV_CONSTANT)):
        one = found[name]
        print(f"RV-{name} (paper {published:.3f} called binary): {share(one['called_binary'], one['n'])}; with a "
              f"detectable secondary {one['with_detectable_secondary']:.2f}")  # fmt: skip
    rows = catalog.merge(truth[["obsid", "q"]], on="obsid", suffixes=("", "_true"))
    rows = rows[(rows["flags"] & int(NOT_COUNTED)) == 0]
    repeats(rows)
    growth(rows)


def share(value: float, n: int) -> str:
    """A share with its binomial error and number."""
    return f"{value:.3f} ± {np.sqrt(value * (1 - value) / max(n, 1)):.3f} of {n}"


def repeats(rows: pd.DataFrame) -> None:
    """Flips at 0.5 and the correlation of logits between the first two visits of a star."""
    first = rows.groupby("source_id").nth(0).set_index("source_id")
    second = rows.groupby("source_id").nth(1).set_index("source_id")
    p = np.clip(np.stack([first.loc[second.index, "p_b"], second["p_b"]]), 1e-4, 1 - 1e-4)
    logit = np.log(p / (1 - p))
    flips = ((p[0] > 0.5) != (p[1] > 0.5)).mean()
    print(f"two visits: {share(flips, p.shape[1])} flip at 0.5; correlation of logits {np.corrcoef(logit)[0, 1]:.2f}")


def growth(rows: pd.DataFrame) -> None:
    """Constant single stars by number of visits: share with p > 0.5 of the maximum, the median and one visit."""
    stars = rows[rows["q_true"] == 0].groupby("source_id")
    spread = stars["rv"].max() - stars["rv"].min()
    table = pd.DataFrame({"n": stars.size(), "max": stars["p_b"].max(), "median": stars["p_b"].median(),
                          "first": stars["p_b"].first(), "steady": spread < STEADY})  # fmt: skip
    for low, high in ((1, 1), (2, 2), (3, 3), (4, 5), (6, 8), (9, 12)):
        for name, chosen in (("singles", table), (f"with velocities within {STEADY:g} km/s", table[table["steady"]])):
            these = chosen[chosen["n"].between(low, high)]
            if len(these) < 20 or (low == 1 and name != "singles"):
                continue
            words = [
                f"{key} {share(float((these[key] > 0.5).mean()), len(these))}" for key in ("max", "median", "first")
            ]
            print(f"{name}, {low}-{high} visits: {'; '.join(words)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
