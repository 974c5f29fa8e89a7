"""SB2 candidates: which spectra of the catalogue are taken, and what each cut leaves (§4.5 of the paper)."""

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.table import Table

from dioscuri.catalogs.columns import read_columns, select_rows
from dioscuri.catalogs.files import NULL, Column, astropy_table, table_of, write_fits
from dioscuri.catalogs.published_mrs import CANDIDATES, PAPER_STATISTICS
from dioscuri.catalogs.tables import SUFFIX, catalog_columns, probability_column
from dioscuri.flags import Quality
from dioscuri.io import write_json
from dioscuri.job import provenance
from dioscuri.paths import parse_number
from dioscuri.seals import verified

log = logging.getLogger(__name__)

# With a velocity that is a guess, a spectrum is not at rest, and no network has seen the like.
GUESSED_VELOCITY = Quality.WEAK_CCF | Quality.VELOCITY_EDGE

SOURCE_COLUMNS = (
    Column("source_id", "A", "", "name of the source: LAMOST designation of its first observation"),
    Column("ra", "D", "deg", "Right Ascension (J2000)"),
    Column("dec", "D", "deg", "Declination (J2000)"),
    Column("n_exposures", "J", "", "single exposures in the catalogue"),
    Column("n_flagged", "J", "", "single exposures that are candidates"),
    Column("n_joint", "J", "", "single exposures that are candidates by the joint rule"),
    Column("n_coadds_flagged", "J", "", "co-added spectra that are candidates"),
    Column("p0_max_B", "E", "", "highest p0 of the blue arm"),
    Column("p0_max_R", "E", "", "highest p0 of the red arm"),
    Column("rv_range_B", "E", "km s-1", "largest minus smallest rv_obs_B of the scored single exposures"),
    Column("rv_range_R", "E", "km s-1", "largest minus smallest rv_obs_R of the scored single exposures"),
    Column("snr_max_B", "E", "", "highest S/N of the blue arm"),
    Column("snr_max_R", "E", "", "highest S/N of the red arm"),
)


def select_candidates(
    catalog_path: str | os.PathLike,
    candidates_fits: str | os.PathLike,
    counts_json: str | os.PathLike,
    *,
    arms: Sequence[str] = ("blue", "red"),
    penalty: float = 16,
    npixbad_max: int = 100,
    bprp0_max: float | None = 2.5,
    sb2_prior: float = 0.02,
    settings: Any = None,
) -> None:
    """Write the SB2 candidates: extensions CANDIDATES and JOINT (rows of the catalogue) and SOURCES (a row each).

    By the paper's rule, CANDIDATES, a spectrum is one if, in every arm of `arms`, p0 at `penalty` exceeds 0.5 and
    npixbad is below `npixbad_max`, and (BP − RP)0 is below `bprp0_max` [mag] where it is known (None: no cut). Our own
    cuts, after the paper's: the velocity of no arm of `arms` is a guess (Quality.WEAK_CCF, VELOCITY_EDGE), and not all
    arms have the library's coolest or hottest template (TEFF_EDGE): such a star may lie beyond what models know.
    By the joint rule, JOINT, it is one if `logodds` of all fits and networks together, with the prior odds of
    `sb2_prior`, make it likelier than not, and the arms that were scored pass the same cuts.
    SOURCES has the stars of either rule. `counts_json`: what survives each cut, beside the paper's counts, and the
    share and the number of observations of candidate stars.
    """
    catalog = read_for_cuts(catalog_path, penalty)
    chosen, counts = cut(catalog, arms, penalty, npixbad_max, bprp0_max)
    joint, joint_counts = cut_joint(catalog, sb2_prior, npixbad_max, bprp0_max)
    sources = summarise_sources(catalog, chosen, penalty, joint)
    tables = {name: _rows(catalog_path, rows) for name, rows in (("CANDIDATES", chosen), ("JOINT", joint))}
    tables["SOURCES"] = table_of(SOURCE_COLUMNS, sources)
    remarks = [f"{row['spectra']} spectra of {row['sources']} sources: {row['description']}" for row in counts]
    write_fits(candidates_fits, tables, settings, remarks)
    content = {"cuts": counts, "joint": joint_counts, "sources": _statistics(catalog, sources)}
    write_json(counts_json, {**content, "provenance": provenance(settings)})
    for row in counts + joint_counts:
        log.info("%7d spectra %7d sources  %s", row["spectra"], row["sources"], row["description"])


def read_for_cuts(path: str | os.PathLike, penalty: float) -> Mapping[Any, Any]:
    """The columns of a catalogue (Parquet) that the cuts need, as `read_columns` gives them: 70 bytes a row."""
    found = _penalties(path)
    if penalty not in found:
        missing = ", ".join(probability_column(arm, penalty) for arm in SUFFIX)
        raise ValueError(
            f"the catalogue has no column {missing}: candidates need a released penalty, "
            f"found {', '.join(f'{value:g}' for value in found)}"
        )
    stems = ("specflag", "npixbad", "flags", "rv_obs", "snr")
    names = [f"{stem}_{end}" for stem in stems for end in SUFFIX.values()]
    p0 = [(probability_column(arm, penalty), 0) for arm in SUFFIX]
    return read_columns(path, ["source_id", "ra", "dec", "bprp0", "logodds", *names, *p0])


def cut(
    catalog: Mapping[Any, Any],
    arms: Sequence[str],
    penalty: float,
    npixbad_max: int,
    bprp0_max: float | None,
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Which rows survive all cuts (S,) bool, and the counts after each cut, in order, beside the paper's."""
    kept = np.ones(len(catalog["source_id"]), bool)
    counts = [_count(catalog, kept, "all", "in the catalogue")]
    for arm in arms:
        kept &= catalog[f"specflag_{SUFFIX[arm]}"]
    counts.append(_count(catalog, kept, "scored", f"scored in {_and(arms)}"))
    for arm in arms:
        kept &= catalog[probability_column(arm, penalty), 0] > 0.5  # p0, the least of all models and draws
    counts.append(_count(catalog, kept, "probability", f"p0 > 0.5 at penalty {penalty:g} in {_and(arms)}"))
    for arm in arms:
        kept &= ~_bad_pixels(catalog, SUFFIX[arm], npixbad_max)
    counts.append(_count(catalog, kept, "probability and bad pixels", f"npixbad < {npixbad_max} in {_and(arms)}"))
    if bprp0_max is not None:
        colour = catalog["bprp0"]
        kept &= ~(colour >= bprp0_max)  # an unknown colour (NaN) is kept
        unknown = int(np.isnan(colour[kept]).sum())
        said = f"(BP-RP)0 < {bprp0_max:g} mag where known ({unknown} unknown)"
        counts.append(_count(catalog, kept, "colour", said))
    for arm in arms:
        kept &= (catalog[f"flags_{SUFFIX[arm]}"] & GUESSED_VELOCITY) == 0
    names_of_flags = _and(Quality.describe(GUESSED_VELOCITY).split(","))
    counts.append(_count(catalog, kept, "velocity", f"without {names_of_flags} in {_and(arms)}"))
    beyond = [(catalog[f"flags_{SUFFIX[arm]}"] & Quality.TEFF_EDGE) > 0 for arm in arms]
    kept &= ~np.all(beyond, axis=0)
    said = f"without {Quality.describe(Quality.TEFF_EDGE)} in {_and(arms)} alike"
    counts.append(_count(catalog, kept, "temperature", said))
    return kept, counts


def cut_joint(
    catalog: Mapping[Any, Any], sb2_prior: float, npixbad_max: int, bprp0_max: float | None
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Which rows the joint rule takes (S,) bool, and the counts after each cut; an arm may be missing."""
    scored = {end: catalog[f"specflag_{end}"] for end in SUFFIX.values()}
    logodds = catalog["logodds"]
    kept = (scored["B"] | scored["R"]) & np.isfinite(logodds)
    counts = [_count(catalog, kept, "joint: scored", "with log-odds of any arm")]
    kept &= logodds + np.log(sb2_prior / (1 - sb2_prior)) > 0
    counts.append(_count(catalog, kept, "joint: probability", f"P(SB2) > 0.5 for {sb2_prior:g} of SB2s"))
    beyond = np.ones(len(logodds), bool)
    for end, used in scored.items():
        flags = catalog[f"flags_{end}"]
        bad = _bad_pixels(catalog, end, npixbad_max)
        kept &= ~used | ~(bad | ((flags & GUESSED_VELOCITY) > 0))
        beyond &= ~used | ((flags & Quality.TEFF_EDGE) > 0)
    kept &= ~beyond
    counts.append(_count(catalog, kept, "joint: quality", "pixels, velocities and templates as above"))
    if bprp0_max is not None:
        kept &= ~(catalog["bprp0"] >= bprp0_max)
        counts.append(_count(catalog, kept, "joint: colour", f"(BP-RP)0 < {bprp0_max:g} mag where known"))
    return kept, counts


def _statistics(catalog: Mapping[Any, Any], sources: dict[str, np.ndarray]) -> dict[str, Any]:
    """The numbers of §4.5: share of SB2 stars, medians of the numbers of observations, stars with six or more."""
    total = len(catalog["source_id"].names)
    found: dict[str, Any] = {}
    for rule, column in (("paper", "n_flagged"), ("joint", "n_joint")):
        rows = sources[column] > 0
        seen, flagged = sources["n_exposures"][rows], sources[column][rows]
        found[rule] = {
            "sources": int(rows.sum()),
            "f_sb2": float(rows.sum() / total) if total else None,
            "median_n_obs": float(np.median(seen)) if rows.any() else None,
            "median_n_candidates": float(np.median(flagged)) if rows.any() else None,
            "six_or_more": int((seen >= 6).sum()),
        }
    found["paper's"] = PAPER_STATISTICS
    return found


def summarise_sources(
    catalog: Mapping[Any, Any], chosen: np.ndarray, penalty: float = 16, joint: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """One row per source with a spectrum that either rule takes, SOURCE_COLUMNS, by falling number of candidates."""
    source, index = catalog["source_id"], catalog["source_id"].codes
    joint = np.zeros(len(source), bool) if joint is None else joint
    coadd = (catalog["flags_B"] | catalog["flags_R"]) & Quality.COADD > 0
    wanted = np.unique(index[chosen | joint])
    place = np.full(len(source.names), -1, np.int32)
    place[wanted] = np.arange(len(wanted))
    mine = place[index]  # each row's place among the sources wanted
    of_wanted = mine >= 0

    def count(rows: np.ndarray) -> np.ndarray:
        return np.bincount(mine[rows & of_wanted], minlength=len(wanted)).astype(np.int32)

    def extreme(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The largest value of each source over `rows`, NaN where it has none."""
        rows = rows & of_wanted & np.isfinite(values)
        largest = np.full(len(wanted), -np.inf)
        np.maximum.at(largest, mine[rows], values[rows])
        return np.where(np.isfinite(largest), largest, np.nan).astype(np.float32)

    rows = np.flatnonzero(of_wanted)
    first = np.full(len(wanted), len(source))
    np.minimum.at(first, mine[rows], rows)
    names = source.names.take(pa.array(wanted)).to_numpy(zero_copy_only=False).astype(str)
    every = np.ones(len(source), bool)
    table = {
        "source_id": names,
        "ra": catalog["ra"][first],
        "dec": catalog["dec"][first],
        "n_exposures": count(~coadd),
        "n_flagged": count(chosen & ~coadd),
        "n_joint": count(joint & ~coadd),
        "n_coadds_flagged": count(chosen & coadd),
    }
    for arm, end in SUFFIX.items():
        velocity = catalog[f"rv_obs_{end}"]
        single = ~coadd & catalog[f"specflag_{end}"]
        table[f"p0_max_{end}"] = extreme(catalog[probability_column(arm, penalty), 0], every)
        table[f"rv_range_{end}"] = extreme(velocity, single) + extreme(-velocity, single)
        table[f"snr_max_{end}"] = extreme(catalog[f"snr_{end}"], every)
    order = np.lexsort((names, -table["n_joint"], -table["n_flagged"]))
    return {column.name: table[column.name][order] for column in SOURCE_COLUMNS}


def _count(catalog: Mapping[Any, Any], kept: np.ndarray, name: str, description: str) -> dict[str, Any]:
    paper = CANDIDATES.get(name)
    sources = len(np.unique(catalog["source_id"].codes[kept]))
    return {
        "cut": name,
        "description": description,
        "spectra": int(kept.sum()),
        "sources": sources,
        "paper_spectra": paper[0] if paper else None,
        "paper_sources": paper[1] if paper else None,
    }


def _penalties(path: str | os.PathLike) -> list[float]:
    """The penalties whose probabilities a catalogue holds."""
    stem = "pb_pct_B_"
    names = pq.read_schema(verified(path)).names
    return [parse_number(name.removeprefix(stem)) for name in names if name.startswith(stem)]


def _bad_pixels(catalog: Mapping[Any, Any], end: str, npixbad_max: int) -> np.ndarray:
    """Rows (S,) with too many bad pixels, or none that were counted."""
    count = catalog[f"npixbad_{end}"]
    return (count == NULL) | (count >= npixbad_max)


def _rows(path: str | os.PathLike, rows: np.ndarray) -> Table:
    """Rows of a catalogue with all their columns."""
    table = astropy_table(select_rows(path, rows))
    columns = catalog_columns(_penalties(path))
    return table_of(columns, {column.name: _plain(table[column.name]) for column in columns})


def _plain(column: Any) -> np.ndarray:
    """The bare array of a table column; integers stay masked."""
    return np.ma.MaskedArray(column) if np.ma.isMaskedArray(column) else np.asarray(column)


def _and(arms: Sequence[str]) -> str:
    return " and ".join(arms)
