"""SB2 candidates: which spectra of the catalogue are taken, and what each cut leaves (§4.5 of the paper)."""

import logging
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from astropy.table import Table

from dioscuri.catalogs.files import NULL, Column, read_catalog, table_of, write_fits
from dioscuri.catalogs.published_mrs import CANDIDATES, PAPER_STATISTICS
from dioscuri.catalogs.tables import SUFFIX, catalog_columns, probability_column
from dioscuri.flags import Quality
from dioscuri.io import write_json
from dioscuri.job import provenance
from dioscuri.paths import parse_number

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
    catalog = read_catalog(catalog_path)
    chosen, counts = cut(catalog, arms, penalty, npixbad_max, bprp0_max)
    joint, joint_counts = cut_joint(catalog, sb2_prior, npixbad_max, bprp0_max)
    sources = summarise_sources(catalog, chosen, penalty, joint)
    columns = catalog_columns(_penalties(catalog))
    tables = {
        name: table_of(columns, {column: _plain(catalog[column][rows]) for column in catalog.colnames})
        for name, rows in (("CANDIDATES", chosen), ("JOINT", joint))
    }
    tables["SOURCES"] = table_of(SOURCE_COLUMNS, sources)
    remarks = [f"{row['spectra']} spectra of {row['sources']} sources: {row['description']}" for row in counts]
    write_fits(candidates_fits, tables, settings, remarks)
    content = {"cuts": counts, "joint": joint_counts, "sources": _statistics(catalog, sources)}
    write_json(counts_json, {**content, "provenance": provenance(settings)})
    for row in counts + joint_counts:
        log.info("%7d spectra %7d sources  %s", row["spectra"], row["sources"], row["description"])


def cut(
    catalog: Table,
    arms: Sequence[str],
    penalty: float,
    npixbad_max: int,
    bprp0_max: float | None,
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Which rows survive all cuts (S,) bool, and the counts after each cut, in order, beside the paper's."""
    names = [probability_column(arm, penalty) for arm in arms]
    missing = [name for name in names if name not in catalog.colnames]
    if missing:
        raise ValueError(
            f"the catalogue has no column {', '.join(missing)}: candidates need a released penalty, "
            f"found {', '.join(f'{value:g}' for value in _penalties(catalog))}"
        )
    kept = np.ones(len(catalog), bool)
    counts = [_count(catalog, kept, "all", "in the catalogue")]
    for arm in arms:
        kept &= np.asarray(catalog[f"specflag_{SUFFIX[arm]}"], bool)
    counts.append(_count(catalog, kept, "scored", f"scored in {_and(arms)}"))
    for name in names:
        kept &= np.asarray(catalog[name], float)[:, 0] > 0.5  # p0, the least of all models and draws
    counts.append(_count(catalog, kept, "probability", f"p0 > 0.5 at penalty {penalty:g} in {_and(arms)}"))
    for arm in arms:
        kept &= np.ma.filled(catalog[f"npixbad_{SUFFIX[arm]}"], npixbad_max) < npixbad_max
    counts.append(_count(catalog, kept, "probability and bad pixels", f"npixbad < {npixbad_max} in {_and(arms)}"))
    if bprp0_max is not None:
        colour = np.asarray(catalog["bprp0"], float)
        kept &= ~(colour >= bprp0_max)  # an unknown colour (NaN) is kept
        unknown = int(np.isnan(colour[kept]).sum())
        said = f"(BP-RP)0 < {bprp0_max:g} mag where known ({unknown} unknown)"
        counts.append(_count(catalog, kept, "colour", said))
    for arm in arms:
        kept &= (np.asarray(catalog[f"flags_{SUFFIX[arm]}"], int) & GUESSED_VELOCITY) == 0
    names_of_flags = _and(Quality.describe(GUESSED_VELOCITY).split(","))
    counts.append(_count(catalog, kept, "velocity", f"without {names_of_flags} in {_and(arms)}"))
    beyond = [(np.asarray(catalog[f"flags_{SUFFIX[arm]}"], int) & Quality.TEFF_EDGE) > 0 for arm in arms]
    kept &= ~np.all(beyond, axis=0)
    said = f"without {Quality.describe(Quality.TEFF_EDGE)} in {_and(arms)} alike"
    counts.append(_count(catalog, kept, "temperature", said))
    return kept, counts


def cut_joint(
    catalog: Table, sb2_prior: float, npixbad_max: int, bprp0_max: float | None
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Which rows the joint rule takes (S,) bool, and the counts after each cut; an arm may be missing."""
    scored = {end: np.asarray(catalog[f"specflag_{end}"], bool) for end in SUFFIX.values()}
    logodds = np.asarray(catalog["logodds"], float)
    kept = (scored["B"] | scored["R"]) & np.isfinite(logodds)
    counts = [_count(catalog, kept, "joint: scored", "with log-odds of any arm")]
    kept &= logodds + np.log(sb2_prior / (1 - sb2_prior)) > 0
    counts.append(_count(catalog, kept, "joint: probability", f"P(SB2) > 0.5 for {sb2_prior:g} of SB2s"))
    beyond = np.ones(len(catalog), bool)
    for end, used in scored.items():
        flags = np.asarray(catalog[f"flags_{end}"], int)
        bad = np.ma.filled(catalog[f"npixbad_{end}"], npixbad_max) >= npixbad_max
        kept &= ~used | ~(bad | ((flags & GUESSED_VELOCITY) > 0))
        beyond &= ~used | ((flags & Quality.TEFF_EDGE) > 0)
    kept &= ~beyond
    counts.append(_count(catalog, kept, "joint: quality", "pixels, velocities and templates as above"))
    if bprp0_max is not None:
        kept &= ~(np.asarray(catalog["bprp0"], float) >= bprp0_max)
        counts.append(_count(catalog, kept, "joint: colour", f"(BP-RP)0 < {bprp0_max:g} mag where known"))
    return kept, counts


def _statistics(catalog: Table, sources: dict[str, np.ndarray]) -> dict[str, Any]:
    """The numbers of §4.5: share of SB2 stars, medians of the numbers of observations, stars with six or more."""
    total = len(set(np.asarray(catalog["source_id"]).tolist()))
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
    catalog: Table, chosen: np.ndarray, penalty: float = 16, joint: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """One row per source with a spectrum that either rule takes, SOURCE_COLUMNS, by falling number of candidates."""
    joint = np.zeros(len(catalog), bool) if joint is None else joint
    source = np.asarray(catalog["source_id"]).astype(str)
    coadd = (np.asarray(catalog["flags_B"]) | np.asarray(catalog["flags_R"])) & Quality.COADD > 0
    names, first, index = np.unique(source, return_index=True, return_inverse=True)
    wanted = np.bincount(index, chosen | joint, len(names)) > 0

    def count(rows: np.ndarray) -> np.ndarray:
        return np.bincount(index[rows], minlength=len(names)).astype(np.int32)

    def extreme(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The largest value of each source over `rows`, NaN where it has none."""
        rows = rows & np.isfinite(values)
        largest = np.full(len(names), -np.inf)
        np.maximum.at(largest, index[rows], values[rows])
        return np.where(np.isfinite(largest), largest, np.nan).astype(np.float32)

    every = np.ones(len(catalog), bool)
    table = {
        "source_id": names,
        "ra": np.asarray(catalog["ra"], float)[first],
        "dec": np.asarray(catalog["dec"], float)[first],
        "n_exposures": count(~coadd),
        "n_flagged": count(chosen & ~coadd),
        "n_joint": count(joint & ~coadd),
        "n_coadds_flagged": count(chosen & coadd),
    }
    for arm, end in SUFFIX.items():
        velocity = np.asarray(catalog[f"rv_obs_{end}"], float)
        single = ~coadd & np.asarray(catalog[f"specflag_{end}"], bool)
        table[f"p0_max_{end}"] = extreme(np.asarray(catalog[probability_column(arm, penalty)], float)[:, 0], every)
        table[f"rv_range_{end}"] = extreme(velocity, single) + extreme(-velocity, single)
        table[f"snr_max_{end}"] = extreme(np.asarray(catalog[f"snr_{end}"], float), every)
    order = np.lexsort((names, -table["n_joint"], -table["n_flagged"]))
    order = order[wanted[order]]
    return {column.name: table[column.name][order] for column in SOURCE_COLUMNS}


def _count(catalog: Table, kept: np.ndarray, name: str, description: str) -> dict[str, Any]:
    paper = CANDIDATES.get(name)
    sources = len(set(np.asarray(catalog["source_id"])[kept].tolist()))
    return {
        "cut": name,
        "description": description,
        "spectra": int(kept.sum()),
        "sources": sources,
        "paper_spectra": paper[0] if paper else None,
        "paper_sources": paper[1] if paper else None,
    }


def _penalties(catalog: Table) -> list[float]:
    """The penalties whose probabilities a catalogue holds."""
    stem = "pb_pct_B_"
    return [parse_number(name.removeprefix(stem)) for name in catalog.colnames if name.startswith(stem)]


def _plain(column: Any) -> np.ndarray:
    """The bare array of a table column; integers stay masked."""
    values = np.ma.MaskedArray(column) if np.ma.isMaskedArray(column) else np.asarray(column)
    return values.filled(NULL) if np.ma.isMaskedArray(values) and values.dtype.kind not in "iu" else values


def _and(arms: Sequence[str]) -> str:
    return " and ".join(arms)
