"""The simulated survey against its truth: who is called a binary, how pure lists are, and whether orbits are right."""

import os
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from dioscuri.catalogs.columns import read_columns
from dioscuri.catalogs.files import read_catalog
from dioscuri.io import atomic, write_json
from dioscuri.job import provenance
from dioscuri.learn.metrics import binomial_interval
from dioscuri.stars.census import census
from dioscuri.stars.tracks import TrackGrid

# Shares among observed stars that purity is computed for, beside the census' share of double-lined ones; the rest is
# single. No survey has counted them: round numbers, to be replaced where somebody knows better.
PREVALENCE = {
    "sb1": 0.10,
    "cool_giant": 0.02,
    "fast_rotator": 0.03,
    "triple": 0.003,
    "moonlight": 0.01,
    "nebular_halpha": 0.02,
    "neighbour": 0.005,
}
TRUE_CLASS = {"sb2": "sb2", "triple": "sb2", "neighbour": "sb2", "sb1": "sb1"}  # lines that are seen; else single
VISIBLE = 50.0  # km/s; an SB2 that never was this far apart is none that a spectrum can show
DRAWS = 4000
MESS_ACCURACY = 0.95  # of classes S1, SB1, SB2 on simulated MRS spectra at S/N 50, as MESS (2026) reports


def describe_survey(
    catalog_path: str | os.PathLike,
    candidates_path: str | os.PathLike,
    sources_path: str | os.PathLike,
    truth_csv: str | os.PathLike,
    tracks_path: str | os.PathLike,
    out_csv: str | os.PathLike,
    out_json: str | os.PathLike,
    *,
    limits: Mapping[str, tuple[float, float]],
    seed: int = 0,
    settings: Any = None,
) -> None:
    """Write how often each kind of star is called (CSV), and purity, completeness, classes and orbits (JSON).

    `limits`: label → range of the library: what the census counts.
    """
    table = known_stars(catalog_path, candidates_path, sources_path, truth_csv)
    rates = rates_by_kind(table)
    counted = census(200_000, seed, TrackGrid.load(tracks_path), limits)
    content = {
        "census": {"binaries": counted.binary_fraction, "sb2": counted.sb2_fraction, "systems": counted.n_systems},
        "prevalence": PREVALENCE,
        "lists": {rule: purity(rates, rule, counted.sb2_fraction, seed) for rule in RULES},
        "classes": classes(table),
        "orbits": orbits(table),
        "residual": residuals(table),
        "provenance": provenance(settings),
    }
    with atomic(out_csv) as temporary:
        rates.to_csv(temporary, index=False, lineterminator="\n")
    write_json(out_json, content)


RULES = ("paper", "joint", "class")  # p0 > 0.5 in both arms; joint log-odds of an exposure; class of the source


def known_stars(
    catalog_path: str | os.PathLike,
    candidates_path: str | os.PathLike,
    sources_path: str | os.PathLike,
    truth_csv: str | os.PathLike,
) -> pd.DataFrame:
    """One row per simulated star in the catalogue: truth (kind, q, period …), what the tables say, which rules call it.

    Columns `paper`, `joint` and `class` are bool; `found_class`, `q_found`, `period_found`, … those of the sources.
    """
    catalog = read_columns(catalog_path, ["file", "source_id", "residual_B", "residual_R"])
    truth = pd.read_csv(truth_csv, converters={"kind": str, "object": str})
    names = ("q", "period", "gamma", "k1", "k2", "ecc", "vsini1")
    stars = truth.groupby("object").agg(
        kind=("kind", "first"), snr=("snr_blue", "median"), dv=("dv", "max"), **{n: (n, "first") for n in names}
    )
    rows = pd.DataFrame({name: catalog[name][:] for name in ("file", "source_id")})
    rows["residual"] = np.fmin(catalog["residual_B"], catalog["residual_R"]).astype(float)
    rows["object"] = rows["file"].map(truth.drop_duplicates("file").set_index("file")["object"])
    seen = rows.groupby("object").agg(source_id=("source_id", "first"), residual=("residual", "median"))
    table = stars.join(seen, how="inner").reset_index()
    for rule, extension in (("paper", "CANDIDATES"), ("joint", "JOINT")):
        called = np.asarray(read_catalog(candidates_path, extension)["source_id"]).astype(str)
        table[rule] = table["source_id"].isin(called)
    sources = read_catalog(sources_path).to_pandas().set_index("source_id").add_suffix("_found")
    table = table.join(sources, on="source_id")
    table["class"] = (table["class_found"] == "sb2") & (table["remark_found"] != "neighbour")
    return table


def rates_by_kind(table: pd.DataFrame) -> pd.DataFrame:
    """Rows rule × kind: stars, how many are called, the share and its 68 % interval; SB2s by their largest |Δv|."""
    kinds = table["kind"].where(table["kind"] != "sb2", np.where(table["dv"] >= VISIBLE, "sb2", "sb2_narrow"))
    rows = []
    for rule in RULES:
        for kind, group in table.groupby(kinds):
            called, n = int(group[rule].sum()), len(group)
            low, high = binomial_interval(called, n)
            rows.append((rule, kind, n, called, called / n, float(low), float(high)))
    return pd.DataFrame(rows, columns=["rule", "kind", "stars", "called", "share", "low", "high"])


def purity(rates: pd.DataFrame, rule: str, sb2_fraction: float, seed: int) -> dict[str, float]:
    """Purity and completeness of a list with their 68 % intervals, at the prevalence of each kind.

    Shares called are drawn from their Beta posteriors (Jeffreys' prior), so that kinds of which few were simulated
    are as uncertain as they are. A triple counts as a double-lined binary, which it is.
    """
    rng = np.random.default_rng(seed)
    mine = rates[rates["rule"] == rule].set_index("kind")

    def share(kind: str) -> np.ndarray:
        called, n = (mine["called"].get(kind, 0), mine["stars"].get(kind, 0))
        return rng.beta(called + 0.5, n - called + 0.5, DRAWS)

    single = 1 - sb2_fraction - sum(PREVALENCE.values())
    found = sb2_fraction * share("sb2") + PREVALENCE["triple"] * share("triple")
    false = single * share("single")
    false = false + sum(part * share(kind) for kind, part in PREVALENCE.items() if kind != "triple")
    result: dict[str, float] = {}
    for name, values in (("purity", found / (found + false)), ("completeness", share("sb2"))):
        low, middle, high = np.percentile(values, [16, 50, 84])
        result |= {name: float(middle), f"{name}_low": float(low), f"{name}_high": float(high)}
    return result


def classes(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Share of stars whose class is the true one, by epochs and by S/N; an SB2 never seen apart counts as single-lined
    or single, whatever it is called."""
    true = table["kind"].map(TRUE_CLASS).fillna("single")
    narrow = (true == "sb2") & (table["dv"] < VISIBLE)
    right = (true == table["class_found"]) | narrow
    rows = []
    for by, values, edges in (
        ("epochs", table["n_epochs_found"], [1, 3, 6, 1000]),
        ("snr", table["snr"], [5, 20, 50, 1000]),
    ):
        for low, high in pairwise(edges):
            inside = ((values >= low) & (values < high)).to_numpy()
            if inside.any():
                n, n_right = int(inside.sum()), int(right[inside].sum())
                interval = binomial_interval(n_right, n)
                rows.append(
                    {
                        "by": by,
                        "from": low,
                        "to": high,
                        "stars": int(inside.sum()),
                        "right": float(right[inside].mean()),
                    }
                    | {"low": float(interval[0]), "high": float(interval[1]), "mess": MESS_ACCURACY}
                )
    return rows


def orbits(table: pd.DataFrame) -> dict[str, float | int | None]:
    """Mass ratios and periods against truth among SB2s: shares with |Δq| < 0.05, the right period first, or listed."""
    binaries = table[table["kind"] == "sb2"]
    ratio = binaries[np.isfinite(binaries["q_found"])]
    off = (ratio["q_found"] - ratio["q"]).abs()
    sure = ratio["q_err_found"] < 0.05
    timed = binaries[np.isfinite(binaries["period_found"])]
    first = (timed["period_found"] / timed["period"] - 1).abs() < 0.01
    listed = [
        any(abs(float(one.split(":")[0]) / p - 1) < 0.01 for one in aliases.split())
        for aliases, p in zip(timed["aliases_found"], timed["period"])
    ]
    return {
        "binaries": len(binaries),
        "with_q": len(ratio),
        "q_within_0.05": float((off < 0.05).mean()) if len(ratio) else None,
        "q_within_0.05_where_err_below_0.05": float((off[sure] < 0.05).mean()) if sure.any() else None,
        "q_pull_median": float((off / ratio["q_err_found"]).median()) if len(ratio) else None,
        "with_period": len(timed),
        "period_right": float(first.mean()) if len(timed) else None,
        "period_right_or_among_aliases": float((first.to_numpy() | np.array(listed)).mean()) if len(timed) else None,
    }


def residuals(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Median residual of the best pair fit by kind, and the share beyond what 95 % of singles and SB2s keep."""
    plain = table[table["kind"].isin(["single", "sb2"])]["residual"].dropna()
    limit = float(np.percentile(plain, 95)) if len(plain) else float("nan")
    groups = table.groupby("kind")["residual"]
    return {
        str(kind): {"median": float(values.median()), "beyond": float((values > limit).mean())}
        for kind, values in groups
    }
