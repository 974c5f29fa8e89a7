"""Scores the stars of an exposure for second stars: networks, Bayes factor, and the pair that fits best."""

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dioscuri.cluster.cutouts import Cutouts, cut_stamps
from dioscuri.cluster.exposure_psf import chip_psf
from dioscuri.cluster.frames import Frame
from dioscuri.flags import SourceFlag
from dioscuri.psf.effective import Psf
from dioscuri.stamps.judge import PAIR_OF_STAMP, QUALITY, Search, judge, reduced
from dioscuri.stamps.mocks import SIZE, Renderer
from dioscuri.stamps.optimum import SingleFit, fit_single

log = logging.getLogger(__name__)

# Stars of which a shape means nothing.
UNSCORED = (
    SourceFlag.SATURATED | SourceFlag.EDGE | SourceFlag.WANDERED | SourceFlag.NO_FLUX | SourceFlag.GLARE
)  # fmt: skip
TILE = 256  # px: within a tile a PSF that changes with position is taken as one
FEWEST_PIXELS = 150  # good ones of the 196 of a stamp
CORE = 5  # px: half side of a box around the star in which all pixels must be good but LOST_IN_CORE
LOST_IN_CORE = 2
PSF_ERRORS = np.arange(0.0, 0.0805, 0.005)  # of a star's light in a pixel: tried until χ² is as it should be
BRIGHTEST = 0.3  # share of the stars, the brightest, that tell the PSF's error
# Pair parameters of an exposure, NaN where no pair was fitted: columns of `score_stars`.
PAIR = (*PAIR_OF_STAMP, "east", "north", "var_east", "var_north", "cov_east_north")


def eligible(stars: pd.DataFrame) -> np.ndarray:
    """Whether the shape of each star can be judged, (S,) bool."""
    return (stars["flags"].to_numpy(np.int64) & int(UNSCORED)) == 0


def score_stars(frame: Frame, psf: Psf, stars: pd.DataFrame, rows: np.ndarray, search: Search) -> pd.DataFrame:
    """Scores of the `rows` (S,) of `stars`, all measured stars of a frame (`photometry.measure`).

    Columns: row; n_good pixels; psf_error, the relative error of the PSF that makes χ² of the bright stars right, and
    whose variance is part of all scores; the scores of `stamps.judge.judge`; then, where a pair was fitted, the
    second star's offset from the first [arcsec east, north] with its covariance. All scores are NaN where too few
    pixels are good.
    """
    rows = np.asarray(rows, int)
    table = pd.DataFrame({"row": rows, "n_good": 0, "chi2": np.nan, "psf_error": np.nan, "p": np.nan,
                          "log_bf": np.nan, "glr": np.nan} | dict.fromkeys((*QUALITY, *PAIR), np.nan))  # fmt: skip
    if not len(rows):
        return table
    cut = cut_stamps(frame, psf, stars, rows)
    good = np.isfinite(cut.variance)
    table["n_good"] = good.sum((1, 2))
    inner = slice(SIZE // 2 - CORE, SIZE // 2 + CORE)
    whole = (table["n_good"] >= FEWEST_PIXELS) & ((~good[:, inner, inner]).sum((1, 2)) <= LOST_IN_CORE)
    x, y = (stars[name].to_numpy(float)[rows] for name in ("x", "y"))
    tile = _tiles(psf, x, y)
    renderers = {number: Renderer(psf.at(*_middle(x, y, tile == number))) for number in np.unique(tile)}
    error = _psf_error(cut, renderers, tile, np.flatnonzero(whole))
    table["psf_error"] = error
    for number, renderer in renderers.items():
        here = np.flatnonzero(whole & (tile == number))
        if len(here):
            found = _score(cut.stamps[here], cut.variance[here], renderer, error, search)
            for name, values in found.items():
                table.loc[here, name] = values
    _towards_sky(table, frame, x, y)
    log.info("%s: %d stars scored, error of the PSF %.3f", frame.name, int(whole.sum()), error)
    return table


def _score(
    stamps: np.ndarray, variance: np.ndarray, renderer: Renderer, error: float, search: Search
) -> dict[str, np.ndarray]:
    single = fit_single(stamps, variance, renderer)
    return judge(stamps, variance + _psf_variance(single, renderer, error), renderer, search)


def _psf_variance(single: SingleFit, renderer: Renderer, error: float) -> np.ndarray:
    """Variance (S, SIZE, SIZE) [e²] of stamps whose PSF is known to the relative `error`."""
    return (error * renderer.render(single.x, single.y, single.flux)) ** 2


def _psf_error(cut: Cutouts, renderers: Mapping[int, Renderer], tile: np.ndarray, rows: np.ndarray) -> float:
    """The least relative error of the PSF with which the brightest stars fit, at the median, as well as the rest.

    Faint stars are drowned in photon noise, whatever the PSF; pairs are few, and the median does not mind them.
    """
    if len(rows) < 10:
        return 0.0
    fits = {}
    for number, renderer in renderers.items():
        here = rows[tile[rows] == number]
        if len(here):
            fits[number] = here, fit_single(cut.stamps[here], cut.variance[here], renderer)
    flux, ratio = (
        np.concatenate(values)
        for values in zip(*((fit.flux, reduced(fit, cut.variance[here])) for here, fit in fits.values()))
    )
    limit = np.quantile(flux, 1 - BRIGHTEST)
    usual = max(1.0, float(np.median(ratio[flux < limit])))
    for error in PSF_ERRORS:
        ratios = []
        for number, (here, fit) in fits.items():
            bright = fit.flux >= limit
            variance = cut.variance[here[bright]]
            chosen = SingleFit(*(getattr(fit, name)[bright] for name in SingleFit.__dataclass_fields__))
            variance = variance + _psf_variance(chosen, renderers[number], error)
            ratios.append(reduced(fit_single(cut.stamps[here[bright]], variance, renderers[number]), variance))
        if np.median(np.concatenate(ratios)) <= usual:
            break
    return float(error)


def _tiles(psf: Psf, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Number of the tile (S,) in which each star lies; one tile where the PSF is the same everywhere."""
    if psf.n_members == 1:
        return np.zeros(len(x), int)
    return (y // TILE).astype(int) * 10_000 + (x // TILE).astype(int)


def _middle(x: np.ndarray, y: np.ndarray, here: np.ndarray) -> tuple[float, float]:
    return float(x[here].mean()), float(y[here].mean())


def sky_jacobian(frame: Frame, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Arcsec (east, north) per pixel (x, y) at positions (S,): (S, 2, 2)."""
    ra, dec = frame.wcs.all_pix2world(x, y, 0)
    columns = []
    for dx, dy in ((1.0, 0.0), (0.0, 1.0)):
        there = frame.wcs.all_pix2world(x + dx, y + dy, 0)
        turned = (there[0] - ra + 180.0) % 360.0 - 180.0
        columns.append(np.stack([turned * np.cos(np.radians(dec)), there[1] - dec], -1) * 3600.0)
    return np.stack(columns, -1)


def _towards_sky(table: pd.DataFrame, frame: Frame, x: np.ndarray, y: np.ndarray) -> None:
    """Add the offset of the second star on the sky and its covariance to `table`, in place."""
    fitted = np.flatnonzero(np.isfinite(table["sep"]))
    if not len(fitted):
        return
    part = table.iloc[fitted]
    sep, angle = part["sep"].to_numpy(), part["position_angle"].to_numpy()
    along = np.stack([np.cos(angle), np.sin(angle)], -1)
    across = np.stack([-np.sin(angle), np.cos(angle)], -1)
    radial = 0.5 * (part["sep_high"] - part["sep_low"]).to_numpy()
    lateral = sep * part["position_angle_err"].to_numpy()
    covariance = (radial**2)[:, None, None] * along[:, :, None] * along[:, None, :]
    covariance += (lateral**2)[:, None, None] * across[:, :, None] * across[:, None, :]
    jacobian = sky_jacobian(frame, x[fitted], y[fitted])
    offset = np.einsum("sij,sj->si", jacobian, sep[:, None] * along)
    covariance = jacobian @ covariance @ jacobian.transpose(0, 2, 1)
    columns = (offset[:, 0], offset[:, 1], covariance[:, 0, 0], covariance[:, 1, 1], covariance[:, 0, 1])
    for name, values in zip(PAIR[len(PAIR_OF_STAMP) :], columns):
        table.iloc[fitted, table.columns.get_loc(name)] = values


# --- exposures together ------------------------------------------------------------------------------------------


def score_exposure(
    frames: Sequence[Frame], psf: Psf, detections: pd.DataFrame, wanted: np.ndarray, search: Search
) -> pd.DataFrame:
    """Scores of the `wanted` stars (star_id) of an exposure; a row per star, with star_id, x, y [px], flux [e-].

    `detections`: all measured stars of the exposure (`matching.crossmatch`), with extension and star_id; `psf` that of
    all chips (`exposure_psf`).
    """
    tables = []
    for frame in frames:
        stars = detections[detections["extension"] == frame.extension].reset_index(drop=True)
        rows = np.flatnonzero(stars["star_id"].isin(wanted) & eligible(stars))
        scores = score_stars(frame, chip_psf(psf, frame.extension), stars, rows, search)
        about = stars.loc[rows, ["star_id", "exposure", "extension", "x", "y", "flux", "flux_err", "flags"]]
        tables.append(pd.concat([about.reset_index(drop=True), scores.drop(columns="row")], axis=1))
    return pd.concat(tables, ignore_index=True)


def load_classifier(models: Sequence[str | os.PathLike]) -> Any:
    """The networks of `models`, None without any."""
    if not models:
        return None
    from dioscuri.learn.images.inference import Classifier

    return Classifier.load(list(models))
