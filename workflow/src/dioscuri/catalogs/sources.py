"""Which observations show the same star, and which rows are one exposure met twice."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from dioscuri.flags import Refusal
from dioscuri.io import atomic

RADIUS = 2.0  # arcsec; two fibres of LAMOST stand farther apart, one star's designations differ by less
REJECTED_COLUMNS = ("folder", "file", "exposure", "arm", "reason", "detail")


def group(
    gaia_id: np.ndarray,
    designation: np.ndarray,
    ra: np.ndarray,
    dec: np.ndarray,
    radius: float = RADIUS,
) -> np.ndarray:
    """Number of the star that each row shows, (S,) int64 from 0: rows of one number are one source.

    One star are rows of one Gaia source_id (0: unknown) or one designation ('': none), and what friends of
    friends join within `radius` [arcsec] on the sphere. Two known, different Gaia identifiers are no friends,
    however close; a row without one goes to the nearest star that has one, if any is in reach, so that it
    joins no two of them. `ra`, `dec` (S,) [deg, J2000].
    """
    objects, row = _distinct(gaia_id, designation, ra, dec)
    gaia, name = objects["gaia_id"].to_numpy(), objects["designation"].to_numpy()
    at = unit_vectors(objects["ra"], objects["dec"])
    edges = [_chain(gaia, gaia != 0), _chain(name, name != "")]
    reach = 2 * np.sin(0.5 * np.radians(radius / 3600))
    known = np.flatnonzero(gaia != 0)
    unknown = np.flatnonzero(gaia == 0)
    if len(known) and len(unknown):
        far, nearest = cKDTree(at[known]).query(at[unknown], distance_upper_bound=reach)
        near = np.isfinite(far)
        edges.append(np.stack([unknown[near], known[nearest[near]]], axis=1))
        unknown = unknown[~near]
    if len(unknown):
        edges.append(unknown[cKDTree(at[unknown]).query_pairs(reach, output_type="ndarray")])
    first, second = np.concatenate(edges).T
    graph = coo_matrix((np.ones(len(first), bool), (first, second)), shape=(len(objects),) * 2)
    return connected_components(graph, directed=False)[1].astype(np.int64)[row]


def name_sources(
    designation: np.ndarray, gaia_id: np.ndarray, obsid: np.ndarray, number: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Name and Gaia source_id of the source of each row, each (S,): those of its first obsid that has one.

    A source without any designation is named by its first obsid.
    """
    order = np.argsort(obsid, kind="stable")
    names, ids = designation.astype(object)[order], gaia_id[order]
    table = pd.DataFrame({"number": number[order], "name": names, "gaia": ids})
    table["name"] = table["name"].where(table["name"] != "")
    table["gaia"] = table["gaia"].where(table["gaia"] != 0).astype("Int64")
    first = table.groupby("number").first()
    nameless = "obsid " + pd.Series(obsid[order]).groupby(number[order]).first().astype(str)
    name = first["name"].where(first["name"].notna(), nameless).reindex(number).to_numpy(dtype=str)
    return name, first["gaia"].fillna(0).reindex(number).to_numpy(dtype=np.int64)


def _distinct(gaia_id, designation, ra, dec) -> tuple[pd.DataFrame, np.ndarray]:
    """The distinct objects among the rows, and the object of each row: a survey has millions of rows."""
    columns = {"gaia_id": gaia_id, "designation": np.asarray(designation).astype(str), "ra": ra, "dec": dec}
    table = pd.DataFrame(columns)
    row = table.groupby(list(columns), sort=False).ngroup().to_numpy()
    return table.drop_duplicates(list(columns), ignore_index=True), row


def unit_vectors(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Points on the unit sphere, (N, 3), of places [deg]: chords are 2 sin(half the angle)."""
    ra, dec = np.radians(np.asarray(ra, float)), np.radians(np.asarray(dec, float))
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)


def _chain(values: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Edges (E, 2) that string together the usable entries of equal value."""
    rows = np.flatnonzero(usable)
    rows = rows[np.argsort(values[rows], kind="stable")]
    same = values[rows[1:]] == values[rows[:-1]]
    return np.stack([rows[:-1][same], rows[1:][same]], axis=1)


# --- one exposure, several files --------------------------------------------------------------------------


def duplicates(exposures: Mapping[str, np.ndarray], ends: Sequence[str] = "BR") -> tuple[np.ndarray, list[dict]]:
    """Rows to keep, (S,) bool, and a row of REJECTED_COLUMNS for each that is another file's same exposure.

    Of rows of equal obsid and exposure the one with the most scored arms is kept, of those the one of the highest
    S/N (arms in quadrature), of those the first by file name: never a blue arm of one file with the red arm of
    another. `ends`: endings of the arms' columns.
    """
    file = np.asarray(exposures["file"]).astype(str)
    folder = np.asarray(exposures.get("folder", np.full(len(file), ""))).astype(str)
    scored, snr = quality(exposures, ends)
    first, again, best = repeated(exposures["obsid"], exposures["exposure"], scored, snr, file, folder)
    rows = [
        duplicate(folder[row], file[row], exposures["exposure"][row], snr[row], folder[kept], file[kept], snr[kept])
        for row, kept in zip(again, best)
    ]
    return first, rows


def quality(exposures: Mapping[str, np.ndarray], ends: Sequence[str] = "BR") -> tuple[np.ndarray, np.ndarray]:
    """How many arms of each exposure were scored (N,), and the S/N of all together (N,)."""
    ends = [end for end in ends if f"snr_{end}" in exposures]
    scored = np.sum([np.asarray(exposures[f"specflag_{end}"], int) for end in ends], axis=0)
    snr = np.linalg.norm([np.nan_to_num(np.asarray(exposures[f"snr_{end}"], float)) for end in ends], axis=0)
    return scored, snr


def repeated(
    obsid: np.ndarray, exposure: np.ndarray, scored: np.ndarray, snr: np.ndarray, file: np.ndarray, folder: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows to keep (S,) bool; rows that are not, in the order of obsid and exposure, and which row is kept for each.

    `file`, `folder` (S,): text, or numbers that sort as it does.
    """
    obsid, exposure = np.asarray(obsid, np.int64), np.asarray(exposure, np.int64)
    order = np.lexsort((folder, file, -snr, -scored, exposure, obsid))
    again = np.zeros(len(obsid), bool)
    again[1:] = (np.diff(obsid[order]) == 0) & (np.diff(exposure[order]) == 0)
    best = order[np.maximum.accumulate(np.where(again, 0, np.arange(len(order))))]
    kept = np.ones(len(obsid), bool)
    kept[order[again]] = False
    return kept, order[again], best[again]


def duplicate(folder, file, exposure, snr, best_folder, best_file, best_snr) -> dict[str, Any]:
    """The row of REJECTED_COLUMNS of an exposure that another file holds as well, and better."""
    where = os.path.join(best_folder, best_file)
    detail = f"S/N {snr:.1f} here, {best_snr:.1f} in {where}, which is kept"
    values = (folder, file, int(exposure), "", Refusal.DUPLICATE.value, detail)
    return dict(zip(REJECTED_COLUMNS, values, strict=True))


def write_duplicates(rows: Sequence[Mapping[str, Any]], path: str | os.PathLike) -> None:
    """Write what `duplicates` lists as a Parquet table with the columns of the refusals."""
    table = pd.DataFrame(list(rows), columns=list(REJECTED_COLUMNS))
    table = table.astype({name: "int64" if name == "exposure" else "str" for name in REJECTED_COLUMNS})
    with atomic(path) as temporary:
        table.to_parquet(temporary, index=False)
