"""From exposures to one catalogue of stars: alignment, matching, mean positions and magnitudes."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from dioscuri.flags import SourceFlag

log = logging.getLogger(__name__)

FEWEST_MATCHES = 10  # stars in common, below which an exposure is not aligned
BRIGHTEST = 800  # stars that are enough to align an exposure
SMALL_ERROR = 0.05  # mag: of stars that tie the zero points of exposures together


@dataclass(frozen=True)
class Catalogue:
    """`stars`: a row each; `detections`: all measurements with their star_id; `alignment`: a row per exposure."""

    stars: pd.DataFrame
    detections: pd.DataFrame
    alignment: pd.DataFrame


def crossmatch(
    tables: Sequence[pd.DataFrame],
    *,
    pixel_scale: float,
    tolerance: float = 1.0,
    search: float = 1.0,
    n_min: int = 1,
    reference: str | None = None,
) -> Catalogue:
    """One catalogue from the measurements of all exposures, chips and filters (`photometry.measure`).

    The WCS brings positions together to within `search` [arcsec]; matched stars then give each exposure its
    linear transformation to the `reference` exposure (None: the one with most stars). Detections within
    `tolerance` [px] of each other, at most one per exposure, are one star; stars with fewer than `n_min` in
    all are dropped.

    stars: star_id, x, y [px of `pixel_scale`, west and north of the reference's centre], x_err, y_err, ra, dec
    [deg], n, flags (bits that half of its detections have), and per filter n_, mag_, mag_err_ and scatter_
    (instrumental, on the zero point of the filter's first exposure; error from the formal ones or the scatter,
    whichever is larger), chi2_, qfit_ (medians).
    """
    detections = pd.concat(tables, ignore_index=True)
    detections = detections[np.isfinite(detections[["ra", "dec", "mag"]]).all(axis=1)].reset_index(drop=True)
    counts = detections["exposure"].value_counts(sort=False)
    if not len(counts):
        raise ValueError("crossmatch: the tables hold no measured star")
    reference = counts.sort_index(kind="stable").idxmax() if reference is None else reference
    if reference not in counts:
        raise ValueError(f"crossmatch: no exposure '{reference}'; there are {', '.join(counts.index)}")
    plane, sky = _to_plane(detections, reference, pixel_scale)
    alignment = []
    for exposure in counts.index:
        mine, theirs = (np.flatnonzero(detections["exposure"] == name) for name in (exposure, reference))
        moved, row = _align(plane, detections["flux"].to_numpy(), mine, theirs, search / pixel_scale)
        if moved is None:
            raise ValueError(
                f"crossmatch: exposure '{exposure}' has only {row['n_matched']} stars in common with '{reference}' "
                f"within {search:g} arcsec, {FEWEST_MATCHES} are needed; check that both show the same field, "
                "give another reference, or search further"
            )
        plane[mine] = moved
        alignment.append({"exposure": exposure, "filter": detections["filter"].iloc[mine[0]], **row})
    star_id = _link(plane, detections["exposure"].to_numpy(), counts, reference, tolerance)
    detections = detections.assign(star_id=star_id, plane_x=plane[:, 0], plane_y=plane[:, 1])
    shifts = _zero_points(detections)
    detections["mag"] = detections["mag"] - detections["exposure"].map(shifts)
    frame = pd.DataFrame(alignment)
    frame["mag_offset"] = frame["exposure"].map(shifts)
    stars = _stars(detections, sky, pixel_scale)
    stars = stars[stars["n"] >= n_min].reset_index(drop=True)
    detections = detections[detections["star_id"].isin(stars["star_id"])].reset_index(drop=True)
    log.info("%d stars from %d detections in %d exposures", len(stars), len(detections), len(counts))
    return Catalogue(stars, detections.drop(columns=["plane_x", "plane_y"]), frame)


def _to_plane(detections: pd.DataFrame, reference: str, pixel_scale: float) -> tuple[np.ndarray, Any]:
    """Tangent-plane positions (D, 2) [px], west and north of the reference exposure's centre, and that WCS."""
    from astropy.wcs import WCS

    here = detections[detections["exposure"] == reference]
    sky = WCS(naxis=2)
    sky.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    # The middle of right ascensions must not suffer where they pass 360°.
    first = float(here["ra"].iloc[0])
    offset = (here["ra"] - first + 180.0) % 360.0 - 180.0
    sky.wcs.crval = [(first + offset.median()) % 360.0, here["dec"].median()]
    sky.wcs.crpix = [1.0, 1.0]
    sky.wcs.cd = np.diag([-pixel_scale, pixel_scale]) / 3600.0
    return np.stack(sky.wcs_world2pix(detections["ra"], detections["dec"], 0), axis=1), sky


def _align(
    plane: np.ndarray, flux: np.ndarray, mine: np.ndarray, theirs: np.ndarray, search: float
) -> tuple[np.ndarray | None, dict[str, Any]]:
    """Positions of `mine` brought onto `theirs` by a linear transformation, and how far it moved them."""
    bright = [rows[np.argsort(-flux[rows], kind="stable")[:BRIGHTEST]] for rows in (mine, theirs)]
    guess = _shift(plane[bright[0]], plane[bright[1]], search)
    tree = cKDTree(plane[theirs])
    linear = np.vstack([np.eye(2), guess])  # (x, y, 1) @ linear
    source = np.c_[plane[mine], np.ones(len(mine))]
    brightest = np.argsort(-flux[mine], kind="stable")[:BRIGHTEST]
    kept, rest = np.empty(0, int), np.empty((0, 2))
    for tolerance in (1.5, 1.0, 0.5, 0.5):
        moved = source[brightest] @ linear
        distance, index = tree.query(moved, distance_upper_bound=tolerance)
        kept = np.flatnonzero(np.isfinite(distance))
        if len(kept) < FEWEST_MATCHES:
            return None, {"n_matched": len(kept)}
        target = plane[theirs][index[kept]]
        rest = target - moved[kept]
        spread = 1.4826 * np.median(np.abs(rest - np.median(rest, 0)), 0)
        tame = (np.abs(rest - np.median(rest, 0)) <= 3 * spread + 1e-9).all(1)
        kept, target = kept[tame], target[tame]
        if len(kept) < FEWEST_MATCHES:
            return None, {"n_matched": len(kept)}
        linear = np.linalg.lstsq(source[brightest][kept], target, rcond=None)[0]
    rest = target - source[brightest][kept] @ linear
    turn = np.degrees(np.arctan2(linear[0, 1] - linear[1, 0], linear[0, 0] + linear[1, 1]))
    row = {
        "n_matched": len(kept),
        "shift_x": float(linear[2, 0]),
        "shift_y": float(linear[2, 1]),
        "rotation": float(turn),
        "scale": float(np.sqrt(abs(np.linalg.det(linear[:2])))),
        "rms": float(np.sqrt(np.mean(rest**2))),
    }
    return source @ linear, row


def _shift(mine: np.ndarray, theirs: np.ndarray, search: float) -> np.ndarray:
    """The shift that most pairs of stars agree on: the fullest pixel of their differences, then its centre."""
    near = cKDTree(mine).query_ball_tree(cKDTree(theirs), search)
    difference = np.concatenate([theirs[rows] - mine[i] for i, rows in enumerate(near)] or [np.empty((0, 2))])
    if not len(difference):
        return np.zeros(2)
    crowd = cKDTree(difference).query_ball_point(difference, 0.7, return_length=True)
    peak = difference[int(np.argmax(crowd))]
    return np.median(difference[np.hypot(*(difference - peak).T) < 0.7], axis=0)


def _link(plane: np.ndarray, exposure: np.ndarray, counts: pd.Series, reference: str, tolerance: float) -> np.ndarray:
    """A star number for every detection: exposures join one by one, then all match the mean positions again."""
    others = counts.drop(reference).sort_index().sort_values(ascending=False, kind="stable").index
    star = np.full(len(plane), -1)
    first = np.flatnonzero(exposure == reference)
    star[first] = np.arange(len(first))
    mean, weight = plane[first].copy(), np.ones(len(first))
    for name in others:
        rows = np.flatnonzero(exposure == name)
        mate = _mutual(plane[rows], mean, tolerance)
        known, new = mate >= 0, mate < 0
        hit = mate[known]
        mean[hit] = (mean[hit] * weight[hit, None] + plane[rows[known]]) / (weight[hit, None] + 1)
        weight[hit] += 1
        star[rows[known]] = hit
        star[rows[new]] = len(mean) + np.arange(new.sum())
        mean, weight = np.vstack([mean, plane[rows[new]]]), np.append(weight, np.ones(new.sum()))
    for name in counts.index:
        rows = np.flatnonzero(exposure == name)
        mate = _mutual(plane[rows], mean, tolerance)
        star[rows[mate >= 0]] = mate[mate >= 0]
    return np.unique(star, return_inverse=True)[1]


def _mutual(places: np.ndarray, targets: np.ndarray, tolerance: float) -> np.ndarray:
    """For each of `places` the target that is nearest to it and whose nearest it is, −1 without one."""
    distance, index = cKDTree(targets).query(places, distance_upper_bound=tolerance)
    back = cKDTree(places).query(targets)[1]
    near = np.isfinite(distance)
    mate = np.full(len(places), -1)
    mutual = near.copy()
    mutual[near] = back[index[near]] == np.flatnonzero(near)
    mate[mutual] = index[mutual]
    return mate


def _zero_points(detections: pd.DataFrame) -> dict[str, float]:
    """Magnitude of each exposure less that of its filter's first one: median over well measured stars in common."""
    shifts: dict[str, float] = {}
    sure = (detections["mag_err"] < SMALL_ERROR) & ((detections["flags"] & int(SourceFlag.SATURATED)) == 0)
    for _, part in detections.groupby("filter", sort=True):
        names = sorted(part["exposure"].unique())
        table = part[sure[part.index]].pivot_table("mag", "star_id", "exposure", aggfunc="first")
        for name in names:
            both = (
                (table[name] - table[names[0]]).dropna() if {name, names[0]} <= set(table) else pd.Series(dtype=float)
            )
            shifts[name] = float(both.median()) if len(both) >= 3 else 0.0
    return shifts


def _stars(detections: pd.DataFrame, sky: Any, pixel_scale: float) -> pd.DataFrame:
    """One row per star_id."""
    by_star = detections.groupby("star_id", sort=True)
    stars = pd.DataFrame({"n": by_star.size()})
    for axis in ("x", "y"):
        error = np.maximum(detections[f"{axis}_err"].to_numpy(), 1e-3)
        mean, formal, scatter = _weighted(detections[f"plane_{axis}"].to_numpy(), error, detections["star_id"])
        stars[axis], stars[f"{axis}_err"] = mean, np.fmax(formal, scatter / np.sqrt(stars["n"]))
    stars["ra"], stars["dec"] = sky.wcs_pix2world(stars["x"], stars["y"], 0)
    bits = np.zeros(len(stars), np.int64)
    for bit in SourceFlag:
        share = ((detections["flags"] & int(bit)) != 0).groupby(detections["star_id"]).mean()
        bits |= np.where(share >= 0.5, int(bit), 0)
    stars["flags"] = bits
    for name, part in detections.groupby("filter", sort=True):
        mean, formal, scatter = _weighted(part["mag"].to_numpy(), part["mag_err"].to_numpy(), part["star_id"])
        count = part.groupby("star_id").size()
        columns = pd.DataFrame(
            {
                f"n_{name}": count,
                f"mag_{name}": mean,
                f"mag_err_{name}": np.fmax(formal, scatter / np.sqrt(count)),
                f"scatter_{name}": scatter,
                f"chi2_{name}": part.groupby("star_id")["chi2"].median(),
                f"qfit_{name}": part.groupby("star_id")["qfit"].median(),
            }
        )
        stars = stars.join(columns)
        stars[f"n_{name}"] = stars[f"n_{name}"].fillna(0).astype(np.int64)
    return stars.reset_index()


def _weighted(values: np.ndarray, errors: np.ndarray, star: pd.Series) -> tuple[pd.Series, pd.Series, pd.Series]:
    """Per star the weighted mean, its formal error and the standard deviation (NaN for one value).

    Of three values or more those are left out that lie 5 σ or more from the median, cosmic rays for instance.
    """
    table = pd.DataFrame({"value": values, "error": errors, "star": np.asarray(star)})
    by_star = table.groupby("star")
    off = (table["value"] - by_star["value"].transform("median")).abs()
    spread = np.maximum(table["error"], 1.4826 * off.groupby(table["star"]).transform("median"))
    table = table[(off < 5 * spread) | (by_star["value"].transform("size") < 3)]
    weight = table["error"] ** -2.0
    by_star, total = table.groupby("star"), weight.groupby(table["star"]).sum()
    mean = (weight * table["value"]).groupby(table["star"]).sum() / total
    return mean, total**-0.5, by_star["value"].std()
