"""One row per observed star: its class, mass ratio, systemic velocity and orbit."""

import logging
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from dioscuri.catalogs.columns import read_columns
from dioscuri.catalogs.epochs import FITTED, Source, sources
from dioscuri.catalogs.files import Column, fill, read_catalog, table_of, write_parquet
from dioscuri.catalogs.orbits import fit_orbit
from dioscuri.catalogs.source_classes import CLASSES, PRIOR, classify, unmoving
from dioscuri.catalogs.sources import duplicates, group, name_sources
from dioscuri.catalogs.wilson import wilson
from dioscuri.flags import Quality

log = logging.getLogger(__name__)

CLASS_COLUMNS = (
    Column("source_id", "A", "", "name of the source"),
    Column("ra", "D", "deg", "Right Ascension (J2000)"),
    Column("dec", "D", "deg", "Declination (J2000)"),
    Column("n_epochs", "J", "", "single exposures with a velocity"),
    Column("n_nights", "J", "", "nights of these"),
    Column("n_resolved", "J", "", "exposures that show both stars"),
    *(Column(f"p_{name}", "E", "", f"probability of the class {name}, all epochs together") for name in CLASSES),
    Column("class", "A", "", "the likeliest class"),
    Column("remark", "A", "", "neighbour: two sets of lines that never move"),
    Column("rv_range", "E", "km s-1", "largest minus smallest velocity of the one-star fit"),
    Column("light_ratio", "E", "", "line strength of the secondary over the primary's, median"),
    Column("q", "E", "", "mass ratio m2/m1 by Wilson's method or, where there is one, the orbit"),
    Column("q_err", "E", "", "its error"),
    Column("gamma", "E", "km s-1", "systemic velocity"),
    Column("gamma_err", "E", "km s-1", "its error"),
    Column("period", "D", "d", "orbital period, the likeliest"),
    Column("period_err", "D", "d", "its error within this mode"),
    Column("period_share", "E", "", "share of the evidence that this period has"),
    Column("aliases", "A", "", "other periods [d] with their shares"),
    Column("bjd0", "D", "d", "BJD of a superior conjunction of the primary"),
    Column("ecc", "E", "", "eccentricity"),
    Column("ecc_err", "E", "", "its error"),
    Column("k1", "E", "km s-1", "semi-amplitude of the primary"),
    Column("k1_err", "E", "km s-1", "its error"),
    Column("k2", "E", "km s-1", "semi-amplitude of the secondary"),
    Column("k2_err", "E", "km s-1", "its error"),
)
LEAST_RESOLVED, LEAST_EPOCHS = 3, 6  # for a mass ratio; for an orbit of unknown period
PART = 500_000  # rows that are combined at once
WORTH_AN_ORBIT = 0.5  # probability of being a binary
PRIOR_Q = np.linspace(0.2, 1.0, 200)  # before anything is known


def describe_sources(
    catalog_path: str | os.PathLike,
    stars_path: str | os.PathLike | None,
    out: str | os.PathLike,
    *,
    prior: Mapping[str, float] = PRIOR,
    seed: int = 0,
    settings: Any = None,
) -> None:
    """Write the table of sources (Parquet, CLASS_COLUMNS) of a catalogue; `stars_path` gives periods of eclipses."""
    known = {}
    if stars_path is not None:
        stars = read_catalog(stars_path)
        known = {str(r["source_id"]): (float(r["period"]), float(r["bjd0"])) for r in stars if np.isfinite(r["bjd0"])}
    parts = [classified(part, known, prior, seed) for part in _parts(catalog_path)]
    table = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
    values = {c.name: fill(c, _plain(table[c.name], c), len(table)) for c in CLASS_COLUMNS}
    write_parquet(out, table_of(CLASS_COLUMNS, values), settings)
    counts = ", ".join(f"{int((table['class'] == name).sum())} {name}" for name in CLASSES)
    log.info("%d sources: %s; %d orbits: %s", len(table), counts, int(table["period"].notna().sum()), out)


def _parts(path: str | os.PathLike) -> Iterator[dict[str, np.ndarray]]:
    """The catalogue's columns that epochs need, all rows of some sources after the other: PART rows or so each."""
    names = [f"{name}_{end}" for name in (*FITTED, "flags") for end in "BR"]
    catalog = read_columns(path, ["source_id", "ra", "dec", "bjdmid", "logodds", *names])
    codes = catalog["source_id"].codes
    n_parts = max(1, -(-len(codes) // PART))
    part_of = codes.astype(np.int64) * n_parts // max(len(catalog["source_id"].names), 1)
    for part in range(n_parts):
        rows = np.flatnonzero(part_of == part)
        yield {name: values[rows] for name, values in catalog.items()}


def classified_exposures(exposures: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """CLASS_COLUMNS of the stars of exposures that are in no catalogue yet: rows of ingest with the pair fits' columns.

    An exposure of several files counts once, and rows of one star are found, as `tables.assemble` does; an arm that
    was left out is missing.
    """
    kept, _ = duplicates(exposures)
    rows = {name: np.asarray(values)[kept] for name, values in exposures.items() if len(values) == len(kept)}
    for name in (f"{stem}_{end}" for end in "BR" for stem in FITTED if f"{stem}_{end}" not in rows):
        rows[name] = np.full(int(kept.sum()), np.nan)
    for end in "BR":
        rows.setdefault(f"flags_{end}", np.full(int(kept.sum()), int(Quality.MISSING_ARM)))
    number = group(rows["gaia_id"], rows["source_id"], rows["ra"], rows["dec"])
    rows["source_id"], _ = name_sources(rows["source_id"], rows["gaia_id"], rows["obsid"], number)
    return classified(rows)


def classified(
    catalog: Mapping[str, np.ndarray],
    known_periods: Mapping[str, tuple[float, float]] | None = None,
    prior: Mapping[str, float] = PRIOR,
    seed: int = 0,
) -> pd.DataFrame:
    """CLASS_COLUMNS of every source with an epoch. `known_periods`: source_id → period [d], BJD of primary eclipse."""
    known_periods = known_periods or {}
    rows = []
    for source in sources(catalog):
        row = _row(source, prior, known_periods.get(source.source_id), seed)
        row |= {name: float(np.asarray(catalog[name])[source.rows[0]]) for name in ("ra", "dec")}
        rows.append(row)
    return pd.DataFrame(rows, columns=[column.name for column in CLASS_COLUMNS])


def _row(source: Source, prior: Mapping[str, float], known: tuple[float, float] | None, seed: int) -> dict[str, Any]:
    epochs, seen = source.epochs, source.epochs.resolved
    p = classify(source.single, source.single_err, source.logodds, prior)
    row: dict[str, Any] = {
        "source_id": source.source_id,
        "n_epochs": len(source.rows),
        "n_nights": len(np.unique(np.round(epochs.bjd))),
        "n_resolved": int(seen.sum()),
        **{f"p_{name}": value for name, value in p.items()},
        "class": max(p, key=lambda name: p[name]),
        "remark": "",
        "rv_range": float(np.ptp(source.single)),
        "aliases": "",
    }
    q = PRIOR_Q
    if seen.any() and row["class"] == "sb2":
        row["light_ratio"] = epochs.light
    if seen.sum() >= LEAST_RESOLVED and row["class"] == "sb2":
        pair = [values[seen] for values in (epochs.v1, epochs.v2, epochs.err1, epochs.err2)]
        if unmoving(*pair) and len(np.unique(np.round(epochs.bjd[seen]))) >= LEAST_RESOLVED:
            return row | {"remark": "neighbour"}
        found = wilson(*pair)
        q = found.samples(400, seed)
        row |= {"q": found.q, "q_err": found.q_err, "gamma": found.gamma, "gamma_err": found.gamma_err}
        epochs = _turned(epochs, np.flatnonzero(seen)[found.swapped])
    needed = LEAST_RESOLVED if known else LEAST_EPOCHS
    several = len(np.unique(np.round(epochs.bjd, 2))) >= needed and row["n_nights"] >= (2 if known else 3)
    double = row["class"] == "sb2" and bool(seen.any())
    if several and p["single"] < WORTH_AN_ORBIT and (double or row["class"] == "sb1"):
        row |= _orbit(epochs, q, known, seed, double)
    return row


def _orbit(epochs, q: np.ndarray, known: tuple[float, float] | None, seed: int, double: bool) -> dict[str, Any]:
    orbit = fit_orbit(epochs, q, known=known, seed=seed)
    names = ("gamma", "gamma_err", "period", "period_err", "bjd0", "ecc", "ecc_err", "k1", "k1_err")
    row = {name: getattr(orbit, name) for name in names}
    if double:
        row |= {name: getattr(orbit, name) for name in ("q", "q_err", "k2", "k2_err")}
    aliases = " ".join(f"{period:.5g}:{share:.2f}" for period, share in orbit.aliases)
    return row | {"period_share": orbit.share, "aliases": aliases}


def _turned(epochs, rows: np.ndarray):
    """The epochs with the two stars exchanged in `rows`."""
    v1, v2, err1, err2 = (np.array(values) for values in (epochs.v1, epochs.v2, epochs.err1, epochs.err2))
    v1[rows], v2[rows] = epochs.v2[rows], epochs.v1[rows]
    err1[rows], err2[rows] = epochs.err2[rows], epochs.err1[rows]
    return type(epochs)(epochs.bjd, v1, err1, v2, err2, epochs.vs, epochs.errs, epochs.light)


def _plain(values: pd.Series, column: Column) -> np.ndarray:
    return values.fillna("").to_numpy(dtype=str) if column.code == "A" else values.to_numpy(dtype=float)
