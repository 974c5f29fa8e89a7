"""Scores the stars of an exposure for second stars: networks, Bayes factor, and the pair that fits best."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from dioscuri.cluster.cutouts import cut_stamps
from dioscuri.cluster.exposure_psf import chip_psf
from dioscuri.cluster.frames import Frame
from dioscuri.cluster.psf_field import Sample, bright_stars, eligible, left_of, modes_of, relative, whole
from dioscuri.psf.effective import Psf
from dioscuri.stamps.judge import PAIR_OF_STAMP, PARAMETERS, QUALITY, Search, judge
from dioscuri.stamps.mocks import Renderer
from dioscuri.stamps.optimum import fit_single
from dioscuri.stamps.psf_errors import measure_errors
from dioscuri.stamps.unknown_psf import UnknownPsf

log = logging.getLogger(__name__)

TILE = 256  # px: within a tile a PSF that changes with position is taken as one
FEWEST_STARS = 20  # that may tell the PSF's error
FOCUS_DEGREE = 4  # of the polynomials by which a given or fitted PSF is set right on the frame's stars
KEPT_MODES = 6  # of the PSF's error, over which the likelihood is marginalised
PSF_ERRORS = np.arange(0.0, 0.0805, 0.005)  # of a star's light in a pixel: tried until χ² is as it should be
BRIGHTEST = 0.3  # share of the stars, the brightest, that tell the PSF's error
NEIGHBOURS = 40  # of them that tell it for a tile
# Pair parameters of an exposure, NaN where no pair was fitted: columns of `score_stars`.
PAIR = (*PAIR_OF_STAMP, "east", "north", "var_east", "var_north", "cov_east_north")


def score_stars(frame: Frame, psf: Psf, stars: pd.DataFrame, rows: np.ndarray, search: Search) -> pd.DataFrame:
    """Scores of the `rows` (S,) of `stars`, all measured stars of a frame (`photometry.measure`).

    Columns: row; n_good pixels; psf_error, the relative error of the PSF beyond the modes of the optics that makes χ²
    of the bright stars right, and whose variance is part of all scores; the scores of `stamps.judge.judge`; then, where
    a pair was fitted, the second star's offset from the first [arcsec east, north] with its covariance. All scores are
    NaN where too few pixels are good. The PSF is first set right on the frame's own stars; what they cannot tell of it
    is integrated over.
    """
    rows = np.asarray(rows, int)
    table = pd.DataFrame({"row": rows, "n_good": 0, "chi2": np.nan, "psf_error": np.nan, "p": np.nan,
                          "log_bf": np.nan, "glr": np.nan} | dict.fromkeys((*QUALITY, *PAIR), np.nan))  # fmt: skip
    if not len(rows):
        return table
    cut = cut_stamps(frame, psf, stars, rows)
    table["n_good"] = np.isfinite(cut.variance).sum((1, 2))
    x, y = (stars[name].to_numpy(float)[rows] for name in ("x", "y"))
    known = _Known.of(frame, psf, stars, search.exact)
    table["psf_error"] = known.error[known.tile(x, y)]
    here = np.flatnonzero(whole(cut))
    if len(here):
        found = _score(cut.stamps[here], cut.variance[here], known, known.tile(x, y)[here], search)
        for name, values in found.items():
            table.loc[here, name] = values
    _towards_sky(table, frame, x, y)
    low, high = known.error.min(), known.error.max()
    log.info("%s: %d stars scored, error of the PSF %.3f to %.3f", frame.name, len(here), low, high)
    return table


@dataclass(frozen=True)
class _Known:
    """What is known of the PSF of a frame: on each of its tiles, set right on its stars, and how wrong it still is.

    tiles: how many of them (along y, along x) in a frame of `shape`; local: a member a tile; modes (M, n, n): one σ
    each of what is not known of it; error: relative, of the rest, a number a tile.
    """

    tiles: tuple[int, int]
    shape: tuple[int, int]
    local: Psf
    modes: np.ndarray
    error: np.ndarray

    @classmethod
    def of(cls, frame: Frame, psf: Psf, stars: pd.DataFrame, exact: bool = False) -> "_Known":
        rows, columns = (max(1, round(n / TILE)) for n in frame.shape)
        y, x = (plane.ravel() + 0.5 for plane in np.indices((rows, columns)))
        x, y = x * frame.shape[1] / columns - 0.5, y * frame.shape[0] / rows - 0.5
        samples = np.concatenate([psf.at(*place).samples for place in zip(x, y)])
        local = Psf(samples, psf.oversampling, psf.pixel_scale)
        begun = cls((rows, columns), frame.shape, local, np.empty((0, *samples.shape[1:])), np.zeros(len(x)))
        if exact or len((sample := bright_stars(frame, psf, stars)).x) < FEWEST_STARS:
            return begun
        modes, tile = modes_of(frame, psf, len(sample.x)), begun.tile(sample.x, sample.y)
        errors = measure_errors(left_of(frame, sample, Renderer(local), tile, modes), FOCUS_DEGREE)
        change = np.tensordot(errors.amplitudes(*relative(frame, x, y)), modes.samples, 1)
        local = replace(local, samples=samples + change)
        unknown = errors.scatter[:, None, None] * modes.samples
        largest = np.argsort(-(unknown**2).sum((1, 2)))[:KEPT_MODES]
        error = _rest_of_error(frame, sample, Renderer(local), tile, modes, errors.scatter, np.stack([x, y], 1))
        log.info("%s: %d stars, scatter of the PSF's modes %s σ", frame.name, errors.used, np.round(errors.scatter, 2))
        return replace(begun, local=local, modes=unknown[largest], error=error)

    def tile(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Number of the tile (S,) in which each star lies."""
        (rows, columns), (height, width) = self.tiles, self.shape
        row = np.clip((y + 0.5) * rows / height, 0, rows - 1).astype(int)
        return row * columns + np.clip((x + 0.5) * columns / width, 0, columns - 1).astype(int)


def _rest_of_error(
    frame: Frame,
    sample: Sample,
    renderer: Renderer,
    tile: np.ndarray,
    modes: Psf,
    scatter: np.ndarray,
    centres: np.ndarray,
) -> np.ndarray:
    """The least relative error of the PSF, beyond its modes, with which bright stars fit as well as the rest.

    For each of the tiles with `centres` (K, 2), from the `NEIGHBOURS` bright stars nearest to it: what optics do not
    know of a PSF differs over a chip, and is largest in its corners. At the median: faint stars are drowned in photon
    noise, whatever the PSF; pairs are few, and it does not mind them.
    """
    flux = fit_single(sample.cut.stamps, sample.cut.variance, renderer, tile).flux
    limit = np.quantile(flux, 1 - BRIGHTEST)

    def ratios(chosen: np.ndarray, error: float) -> np.ndarray:
        part = Sample(sample.cut.rows(chosen), sample.x[chosen], sample.y[chosen])
        single = fit_single(part.cut.stamps, part.cut.variance, renderer, tile[chosen])
        more = (error * renderer.render(single.x, single.y, single.flux, tile[chosen])) ** 2
        part = replace(part, cut=replace(part.cut, variance=part.cut.variance + more))
        left = left_of(frame, part, renderer, tile[chosen], modes)
        return left.marginal(scatter) / (left.n - PARAMETERS)

    usual = max(1.0, float(np.median(ratios(np.flatnonzero(flux < limit), 0.0))))
    bright = np.flatnonzero(flux >= limit)
    _, near = cKDTree(np.stack([sample.x, sample.y], 1)[bright]).query(centres, min(NEIGHBOURS, len(bright)))
    # The last row is the whole frame: neighbours tell no better than to a percent, and no tile gets less than it.
    found = np.full(len(centres) + 1, PSF_ERRORS[-1])
    waiting = np.ones(len(found), bool)
    for error in PSF_ERRORS:
        ratio = ratios(bright, float(error))
        enough = waiting & (np.append(np.median(ratio[near.reshape(len(centres), -1)], 1), np.median(ratio)) <= usual)
        found[enough] = error
        waiting &= ~enough
        if not waiting.any():
            break
    return np.maximum(found[:-1], found[-1])


def _score(
    stamps: np.ndarray, variance: np.ndarray, known: _Known, tile: np.ndarray, search: Search
) -> dict[str, np.ndarray]:
    renderer = Renderer(known.local)
    single = fit_single(stamps, variance, renderer, tile)
    error = known.error[tile][:, None, None]
    variance = variance + (error * renderer.render(single.x, single.y, single.flux, tile)) ** 2
    return judge(stamps, variance, renderer, search, UnknownPsf(known.local, known.modes), tile)


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
