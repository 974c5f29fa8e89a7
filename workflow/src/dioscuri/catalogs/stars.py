"""One row per observed star: what a user's table knows of it, absolute magnitude and intrinsic colour."""

import logging
import os
from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from dioscuri.catalogs.sources import unit_vectors
from dioscuri.catalogs.user_table import KEYS, QUANTITIES, plain_designation, read_stars

log = logging.getLogger(__name__)

MEASURED = [name for name in QUANTITIES if name not in ("ra", "dec")]
# A_G, and E(BP − RP), over E(B − V): Casagrande & VandenBerg 2018 (MNRAS 479, L102), for 3.1.
A_G_PER_EBV, COLOUR_PER_EBV = 2.74, 3.374 - 2.035


def describe(
    rows: Mapping[str, np.ndarray],
    path: str | os.PathLike | None = None,
    columns: Mapping[str, str] | None = None,
    radius: float = 2.0,
    dust: str | None = None,
) -> pd.DataFrame:
    """The stars of observations with what the table at `path` says of them; without a table all is unknown.

    `rows` as in `observed_stars`, `columns` as in `user_table.read_stars`, `radius` [arcsec] and `dust` as in `join`
    and `add_photometry`.
    """
    stars = observed_stars(rows)
    if path is None:
        return add_photometry(stars.assign(matched_by="", **dict.fromkeys(MEASURED, np.nan)))
    return add_photometry(join(stars, rows, read_stars(path, columns), radius), dust)


def observed_stars(rows: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """The sources among observations: source_id, gaia_id (0: unknown), ra, dec [deg], n_exposures; by name.

    `rows`: source_id, designation, gaia_id, obsid, ra, dec, n_exposures, each (S,).
    """
    names = ("source_id", "gaia_id", "ra", "dec", "n_exposures")
    groups = pd.DataFrame({name: rows[name] for name in names}).groupby("source_id")
    stars = groups[["gaia_id", "ra", "dec"]].first()
    stars.insert(3, "n_exposures", groups["n_exposures"].sum())
    return stars.reset_index()


def join(stars: pd.DataFrame, rows: Mapping[str, np.ndarray], table: pd.DataFrame, radius: float = 2.0) -> pd.DataFrame:
    """The stars with what `table` (see `user_table.read_stars`) says of them: MEASURED, and `matched_by`.

    A star is looked up by Gaia source_id, by any of its designations, by any of its obsids, and at last by place:
    the nearest row within `radius` [arcsec]. `matched_by` is the key that found it, '' where none did. ValueError
    where no star at all is found, with what the table offers.
    """
    line = np.full(len(stars), -1)
    by = np.full(len(stars), "", dtype=object)
    for key in KEYS:
        if key not in table and not (key == "position" and {"ra", "dec"} <= set(table)):
            continue
        found = _by_position(stars, table, radius) if key == "position" else _by_key(stars, rows, table, key)
        new = (line < 0) & (found >= 0)
        line[new], by[new] = found[new], key
    counts = ", ".join(f"{int((by == key).sum())} by {key}" for key in KEYS if (by == key).any()) or "none"
    if not (line >= 0).any():
        offered = [key for key in KEYS if key in table or (key == "position" and "ra" in table)]
        raise ValueError(
            f"lamost_mrs.table: 0 of {len(stars)} observed stars are among the {len(table)} of the table "
            f"(looked for by {', '.join(offered)}): is it the table of these observations?"
        )
    log.info("%d of %d observed stars found in the table: %s", int((line >= 0).sum()), len(stars), counts)
    joined = stars.copy()
    joined["matched_by"] = by
    for name in MEASURED:
        values = table[name].to_numpy() if name in table else np.full(len(table), np.nan)
        joined[name] = np.where(line >= 0, values[np.maximum(line, 0)], np.nan)
    return joined


def periods_of(
    rows: Mapping[str, np.ndarray],
    path: str | os.PathLike,
    columns: Mapping[str, str] | None = None,
    radius: float = 2.0,
) -> pd.Series:
    """Period [d] that a list of binaries gives, source_id → period, for the stars of observations that are on it."""
    stars = join(observed_stars(rows), rows, read_stars(path, columns), radius)
    return stars.set_index("source_id")["period"].dropna()


def _by_key(stars: pd.DataFrame, rows: Mapping[str, np.ndarray], table: pd.DataFrame, key: str) -> np.ndarray:
    """Line of the table for each star, −1 where there is none: the first of the star's rows that is in it."""
    mine = pd.Series(rows[key])
    if key == "designation":
        mine = mine.astype(str).map(plain_designation)
    usable = table[key][(table[key] != 0) & (table[key] != "")]
    line = pd.Series(usable.index, index=usable.to_numpy())
    found = pd.DataFrame({"source_id": rows["source_id"], "line": mine.map(line)}).groupby("source_id")["line"].first()
    return stars["source_id"].map(found).fillna(-1).to_numpy(int)


def _by_position(stars: pd.DataFrame, table: pd.DataFrame, radius: float) -> np.ndarray:
    known = np.flatnonzero(np.isfinite(table["ra"]) & np.isfinite(table["dec"]))
    if not len(known):
        return np.full(len(stars), -1)
    reach = 2 * np.sin(0.5 * np.radians(radius / 3600))
    places = unit_vectors(table["ra"].to_numpy()[known], table["dec"].to_numpy()[known])
    distance, nearest = cKDTree(places).query(unit_vectors(stars["ra"], stars["dec"]), distance_upper_bound=reach)
    return np.where(np.isfinite(distance), known[np.minimum(nearest, len(known) - 1)], -1)


def add_photometry(stars: pd.DataFrame, dust: str | None = None) -> pd.DataFrame:
    """The stars with `a_g`, `bprp0` = (BP − RP)0 and `g0`, the absolute magnitude of eq. 12 [mag], NaN if unknown.

    g0 = G − 5 log10(1000 / ϖ) + 5 − A_G with ϖ in mas (the paper prints arcsec), for ϖ > 0. Extinction: A_G of
    the table, else from its E(B − V), else of `dust` ('bayestar', see catalogs.dust), else unknown; the reddening
    of the colour goes with it.
    """
    table = stars.copy()
    if dust is not None and table["a_g"].isna().any():
        from dioscuri.catalogs.dust import bayestar_ebv

        unknown = table["ebv"].isna()
        sky = table.loc[unknown, ["ra", "dec", "parallax"]].to_numpy(float).T
        table.loc[unknown, "ebv"] = bayestar_ebv(*sky)
    table["a_g"] = table["a_g"].fillna(A_G_PER_EBV * table["ebv"])
    table["bprp0"] = table["bp_rp"] - table["a_g"] * COLOUR_PER_EBV / A_G_PER_EBV
    parallax = table["parallax"].where(table["parallax"] > 0)
    table["g0"] = table["g"] - (5 * np.log10(1000 / parallax) - 5) - table["a_g"]
    blind = int((table["bp_rp"].notna() & table["a_g"].isna()).sum())
    if blind:
        log.warning("%d stars have a colour but no extinction (a_g, ebv or table.dust): (BP-RP)0 stays unknown", blind)
    return table


def nearby(stars: pd.DataFrame) -> np.ndarray:
    """The stars of Fig. 10, (N,) bool: ϖ > 3 mas, ϖ/σ(ϖ) > 5, RUWE < 1.4 (criteria 1 to 3 of §4.3)."""
    parallax, error = stars["parallax"].to_numpy(float), stars["parallax_error"].to_numpy(float)
    return (parallax > 3) & (parallax > 5 * error) & (stars["ruwe"].to_numpy(float) < 1.4)
