"""The science gate of the cluster line: artificial stars, chance pairs, fractions, and a known field's truth."""

import os
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from dioscuri.evaluation.mrs_checks import Check, at_least, at_most, unbounded
from dioscuri.io import read_json, write_json

# Printed by Wu et al. (2023, §4.3 and §4.4).
PAPER_FRACTION = {"binary": 8 / 102, "ms": 10 / 1848}
PAPER_CHANCE = {"binary": 0.3, "ms": 5.6}
PAPER_Z = 2.58
# What we promise, and why.
# A star in a few hundred that is neither a pair nor a blend: fewer than the paper's chance alignments.
FALSE_POSITIVES = 0.03
# Blends are pairs to any image; what else is on the list must be the exception.
PURITY_WITH_CHANCE = 0.8
# Of what the likelihood finds with the true PSF: the PSF's error and the demand that exposures agree cost the rest.
OPTIMUM_SHARE = 0.5
# Scatter of fluxes over what photons allow, in stars that photons and not the PSF decide upon.
ERROR_OVER_LIMIT, FAINT = 1.6, (-10.0, -8.0)


def write_cluster_checks(
    out: str | os.PathLike,
    artificial_csv: str | os.PathLike,
    regions_csv: str | os.PathLike,
    spatial_json: str | os.PathLike,
    *,
    truth_csv: str | os.PathLike | None = None,
    photometry_csv: str | os.PathLike | None = None,
    core_json: str | os.PathLike | None = None,
) -> None:
    """Write the checks of the cluster line as a JSON list; the last three files are those of a simulated field."""
    spatial = read_json(spatial_json, "the statistics of a cluster")
    checks = [*_artificial(pd.read_csv(artificial_csv)), *_regions(pd.read_csv(regions_csv)), *_spatial(spatial)]
    if truth_csv and photometry_csv and core_json:
        checks += [*_truth(pd.read_csv(truth_csv)), *_photometry(pd.read_csv(photometry_csv))]
        checks += list(_core(spatial, read_json(core_json, "the core of a cluster")))
    write_json(out, [asdict(check) for check in checks])


def _artificial(table: pd.DataFrame) -> Iterator[Check]:
    whole = table[table["sep_low"].isna() & (table["n"] > 0)].to_dict("records")
    for row in whole:
        values = (row["rate"], 0.5 * (row["high"] - row["low"]))
        if row["kind"] == "pair":
            yield unbounded("cluster.artificial_pairs_found", *values)
        else:
            yield at_most("cluster.artificial_stars_false", *values, FALSE_POSITIVES)


def _regions(table: pd.DataFrame) -> Iterator[Check]:
    for row in table.to_dict("records"):
        name = f"cluster.{row['region']}"
        yield unbounded(
            f"{name}.fraction", row["fraction"], row["fraction_err"], paper=PAPER_FRACTION.get(row["region"])
        )
        yield unbounded(
            f"{name}.chance_pairs", row["expected_scattered"], row["expected_scattered_err"],
            paper=PAPER_CHANCE.get(row["region"]),
        )  # fmt: skip


def _spatial(summary: dict[str, Any]) -> Iterator[Check]:
    for name in ("core", "outside"):
        if name in summary:
            part = summary[name]
            yield unbounded(f"cluster.{name}.fraction", part["fraction"], part["error"])
            yield unbounded(f"cluster.{name}.fraction_less_chance", part["bound"], part["bound_error"])
    if "z" in summary:
        yield unbounded("cluster.core_outside_z", summary["z"], 1.0, paper=PAPER_Z)
        yield unbounded("cluster.core_outside_z_less_chance", summary["z_bound"], 1.0)


def _truth(table: pd.DataFrame) -> Iterator[Check]:
    whole = table[table["sep_low"].isna()].set_index("quantity") if "sep_low" in table else table.set_index("quantity")
    half = {name: 0.5 * (row["high"] - row["low"]) for name, row in whole.iterrows()}
    rate = whole["rate"].to_dict()
    for name in ("completeness", "purity", "random", "optimum_completeness", "chance_pairs_found"):
        if name in rate and np.isfinite(rate[name]):
            yield unbounded(f"cluster.{name}", rate[name], half[name])
    if np.isfinite(rate["false_positives"]):
        yield at_most("cluster.false_positives", rate["false_positives"], half["false_positives"], FALSE_POSITIVES)
    if np.isfinite(rate["purity_with_chance"]):
        values = (rate["purity_with_chance"], half["purity_with_chance"])
        yield at_least("cluster.purity_with_chance", *values, PURITY_WITH_CHANCE)
    best = rate.get("optimum_completeness", np.nan)
    if np.isfinite(best) and best > 0:
        share = rate["completeness"] / best
        yield at_least("cluster.completeness_of_optimum", share, half["completeness"] / best, OPTIMUM_SHARE)


def _photometry(table: pd.DataFrame) -> Iterator[Check]:
    for band, part in table.groupby("filter"):
        faint = part[(part["mag"] > FAINT[0]) & (part["mag"] < FAINT[1])].dropna()
        if len(faint):
            ratio = float((faint["scatter"] / faint["limit"]).median())
            error = float((faint["scatter"] / faint["limit"]).std() / np.sqrt(len(faint))) if len(faint) > 1 else 0.3
            yield at_most(f"cluster.{band}.flux_error_over_photon_limit", ratio, error, ERROR_OVER_LIMIT)


def _core(found: dict[str, Any], true: dict[str, Any]) -> Iterator[Check]:
    """The difference between core and outside that the candidates show beside that of the true pairs."""
    if "core" in found and "core" in true:
        for name in ("core", "outside"):
            yield unbounded(f"cluster.{name}.true_fraction", true[name]["fraction"], true[name]["error"])
        yield unbounded("cluster.core_outside_z_of_true_pairs", true["z"], 1.0)
