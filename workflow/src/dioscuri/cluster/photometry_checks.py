"""Measured stars beside true ones: completeness, bias, scatter and pulls by magnitude, and the photon limit."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from dioscuri.stamps.mocks import Renderer

if TYPE_CHECKING:
    from dioscuri.psf.effective import Psf

TOLERANCE = 1.0  # px between a star and its measurement
_STAMP = 21  # px: all the light that can add to what is known of a star


def match(measured: pd.DataFrame, truth: pd.DataFrame, tolerance: float = TOLERANCE) -> np.ndarray:
    """Row of `measured` that belongs to each row of `truth` (both with x, y, flux [px, e-]), −1 without one.

    One to one: the brightest true star within `tolerance` px of a measurement takes it, then the next.
    """
    rows = np.full(len(truth), -1)
    if not len(measured) or not len(truth):
        return rows
    tree = cKDTree(measured[["x", "y"]])
    near = tree.query_ball_point(truth[["x", "y"]].to_numpy(), tolerance)
    places, true_places = measured[["x", "y"]].to_numpy(), truth[["x", "y"]].to_numpy()
    taken = np.zeros(len(measured), bool)
    for star in np.argsort(-truth["flux"].to_numpy(), kind="stable"):
        free = [row for row in near[star] if not taken[row]]
        if free:
            distance = np.hypot(*(places[free] - true_places[star]).T)
            rows[star] = free[int(np.argmin(distance))]
            taken[rows[star]] = True
    return rows


def photon_limit(psf: "Psf", x: np.ndarray, y: np.ndarray, flux: np.ndarray, variance: float) -> np.ndarray:
    """Least possible error of the flux (S,) [e-] of isolated stars with a known PSF (Cramér–Rao).

    `variance` [e²]: of a pixel without star (sky photons and readout). σ⁻² = Σ p²/(F p + variance) over the
    pixels' shares p; the position does not enter, as the slopes of a symmetric PSF are orthogonal to it.
    """
    flux = np.asarray(flux, float)
    limit = np.empty(len(flux))
    x, y = np.asarray(x, float), np.asarray(y, float)
    one = psf.at(float(np.median(x)), float(np.median(y))) if psf.n_members > 1 else psf
    renderer = Renderer(one)
    for first in range(0, len(flux), 2048):
        part = slice(first, first + 2048)
        middle = _STAMP // 2
        shares = renderer.render(
            x[part] - np.rint(x[part]) + middle, y[part] - np.rint(y[part]) + middle, 1.0, 0, _STAMP
        )
        shares = np.maximum(shares, 0.0)
        information = (shares**2 / (flux[part, None, None] * shares + variance)).sum((1, 2))
        limit[part] = information**-0.5
    return limit


def error_by_magnitude(
    measured: pd.DataFrame, truth: pd.DataFrame, limit: np.ndarray, edges: Sequence[float]
) -> pd.DataFrame:
    """One row per bin of true instrumental magnitude, −2.5 log10(flux), between `edges`.

    `truth`: x, y, flux and, as bool columns where it has them, `saturated` (left out) and `is_binary` (left out
    of all but the completeness: a pair is not a point). `limit`: `photon_limit` of each true star [e-]. Columns:
    mag (centre), n, completeness; then of the single stars found bias (median flux / true − 1), scatter
    (1.48 × MAD of the same), error (median formal), limit (median), pull_mean and pull_scatter (robust).
    """
    usable = ~truth["saturated"].to_numpy(bool) if "saturated" in truth else np.ones(len(truth), bool)
    truth, limit = truth[usable], np.asarray(limit)[usable]
    rows = match(measured, truth)
    found = rows >= 0
    single = found & ~truth["is_binary"].to_numpy(bool) if "is_binary" in truth else found
    true_flux = truth["flux"].to_numpy(float)
    magnitude = -2.5 * np.log10(true_flux)
    flux, error = (measured[name].to_numpy(float)[rows] for name in ("flux", "flux_err"))
    table = []
    for low, high in pairwise(edges):
        here = (magnitude >= low) & (magnitude < high)
        kept = here & single
        row = {"mag": (low + high) / 2, "n": int(here.sum()), "completeness": np.nan}
        if here.any():
            row["completeness"] = float(found[here].mean())
        if kept.sum() >= 3:
            ratio = flux[kept] / true_flux[kept] - 1.0
            pull = (flux[kept] - true_flux[kept]) / error[kept]
            row |= {
                "bias": float(np.median(ratio)),
                "scatter": _spread(ratio),
                "error": float(np.median(error[kept] / true_flux[kept])),
                "limit": float(np.median(limit[kept] / true_flux[kept])),
                "pull_mean": float(np.median(pull)),
                "pull_scatter": _spread(pull),
            }
        table.append(row)
    names = ["mag", "n", "completeness", "bias", "scatter", "error", "limit", "pull_mean", "pull_scatter"]
    return pd.DataFrame(table).reindex(columns=names)


def _spread(values: np.ndarray) -> float:
    """Robust standard deviation."""
    return float(1.4826 * np.median(np.abs(values - np.median(values))))
