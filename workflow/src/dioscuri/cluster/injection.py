"""Artificial single and double stars in the user's own frames: what the search finds of them, and what it invents."""

import dataclasses
import logging
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from dioscuri.cluster.candidates import combine
from dioscuri.cluster.exposure_psf import chip_psf, possible_psfs
from dioscuri.cluster.frames import Frame
from dioscuri.cluster.photometry import measure
from dioscuri.cluster.photometry_checks import match
from dioscuri.cluster.scene import Scene
from dioscuri.cluster.scoring import Search, eligible, score_stars, sky_jacobian
from dioscuri.psf.effective import Psf
from dioscuri.stamps.mocks import Law, draw_sources

log = logging.getLogger(__name__)

MARGIN = 12.0  # px from the edge of a frame
TRIES = 200  # places tried per artificial star
TRUTH = ("star_id", "is_binary", "flux", "sep", "position_angle", "flux_ratio")


def draw_artificial(
    frames: Sequence[Frame], law: Law, n: int, *, binary_share: float, spacing: float, seed: int
) -> pd.DataFrame:
    """Up to `n` artificial stars on the sky of an exposure, at least `spacing` px apart.

    star_id, ra, dec [deg], is_binary, flux [e-], sep [px], position_angle [rad, here from north to east], flux_ratio.
    They depend on the frames' shape and pointing and on `seed` alone, so that all exposures of a field can have
    the same. Where two frames are given, half of the stars fall on each.
    """
    parts = []
    share = -(-n // len(frames))
    for number, frame in enumerate(frames):
        rng = np.random.Generator(np.random.Philox(key=[seed, number]))
        height, width = frame.shape
        places = np.empty((0, 2))
        for _ in range(TRIES):
            new = rng.uniform(MARGIN, np.array([width, height]) - 1 - MARGIN, (share, 2))
            places = _apart(np.vstack([places, new]), spacing)[:share]
            if len(places) == share:
                break
        sources = draw_sources(len(places), seed, law, start=number * share, binary_share=binary_share)
        ra, dec = frame.wcs.all_pix2world(*places.T, 0)
        parts.append(pd.DataFrame({name: sources[name] for name in TRUTH} | {"ra": ra, "dec": dec}))
    return pd.concat(parts, ignore_index=True)


def _apart(places: np.ndarray, spacing: float) -> np.ndarray:
    """The first of all places that are too close to each other."""
    near = cKDTree(places).query_ball_point(places, spacing)
    kept = np.ones(len(places), bool)
    for star, others in enumerate(near):
        if kept[star]:
            kept[[other for other in others if other > star]] = False
    return places[kept]


def inject(
    frame: Frame, psf: Psf, artificial: pd.DataFrame, *, psf_error: bool = True, seed: int = 0
) -> tuple[Frame, pd.DataFrame]:
    """A frame with the artificial stars that lie on it, with their photon noise, and those stars with x, y [px].

    `psf`: of the whole exposure. With `psf_error` each star has one of the PSFs that the frame may have as well,
    within the error of the fitted one. The noise of a star depends on (seed, exposure) and its place alone.
    """
    x, y = frame.wcs.all_world2pix(artificial["ra"], artificial["dec"], 0)
    height, width = frame.shape
    inside = (x > MARGIN) & (x < width - 1 - MARGIN) & (y > MARGIN) & (y < height - 1 - MARGIN)
    stars = artificial[inside].assign(x=x[inside], y=y[inside]).reset_index(drop=True)
    if not len(stars):
        return frame, stars
    places = stars[["x", "y"]].to_numpy()
    angle = stars["position_angle"].to_numpy()
    north_east = np.stack([np.sin(angle), np.cos(angle)], -1) * frame.pixel_scale
    towards = np.einsum("sij,sj->si", np.linalg.inv(sky_jacobian(frame, *places.T)), north_east)
    offset = stars["sep"].to_numpy()[:, None] * towards
    share = (stars["flux_ratio"] / (1 + stars["flux_ratio"])).to_numpy()
    first, second = places - share[:, None] * offset, places + (1 - share)[:, None] * offset
    flux = stars["flux"].to_numpy() / frame.area_at(*places.T)
    light = np.zeros(frame.shape)
    psfs = possible_psfs(psf, frame.extension) if psf_error else []
    psfs = psfs or [chip_psf(psf, frame.extension)]
    for number, one in enumerate(psfs):
        here = stars["star_id"].to_numpy() % len(psfs) == number
        scene = Scene(one)
        scene.paint(light, first[here, 0], first[here, 1], (flux * (1 - share))[here])
        scene.paint(light, second[here, 0], second[here, 1], (flux * share)[here])
    rng = np.random.Generator(np.random.Philox(key=[seed, _number(frame)]))
    photons = rng.poisson(np.maximum(light, 0.0)).astype(np.float32)
    error = np.sqrt(frame.error.astype(float) ** 2 + photons).astype(np.float32)
    return dataclasses.replace(frame, science=frame.science + photons, error=error), stars


def _number(frame: Frame) -> int:
    """A number of its own for each frame."""
    return int.from_bytes(frame.name.encode()[-8:], "little") >> 1


def recover(
    frames: Sequence[Frame],
    psf: Psf,
    artificial: pd.DataFrame,
    search: Search,
    photometry: Mapping[str, object],
    *,
    psf_error: bool = True,
    seed: int = 0,
) -> pd.DataFrame:
    """Inject `artificial` stars into an exposure, measure it as it is always measured, and score what is found.

    A row per star that lies on the exposure, with its truth (`true_` and the column), found, x, y, flux, and
    the columns of `scoring.score_stars`; scores are NaN where it was not found, or is not eligible.
    """
    tables = []
    for frame in frames:
        filled, truth = inject(frame, psf, artificial, psf_error=psf_error, seed=seed)
        if not len(truth):
            continue
        one = chip_psf(psf, frame.extension)
        measured = measure(filled, one, **photometry)  # type: ignore[arg-type]
        rows = match(measured, truth)
        scored = np.flatnonzero((rows >= 0) & eligible(measured)[rows])
        scores = score_stars(filled, one, measured, rows[scored], search).drop(columns="row")
        table = truth[list(TRUTH)].rename(columns={name: f"true_{name}" for name in TRUTH if name != "star_id"})
        table = table.assign(exposure=frame.exposure, extension=frame.extension, found=rows >= 0)
        for name in ("x", "y", "flux"):
            table[name] = np.where(rows >= 0, measured[name].to_numpy()[rows], np.nan)
        tables.append(table.join(scores.set_index(scored)))
    log.info("%s: %d artificial stars", frames[0].exposure, sum(map(len, tables)))
    return pd.concat(tables, ignore_index=True)


def combine_injected(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """One row per artificial star from all exposures: its truth, n_exposures, n_found and what `combine` gives."""
    every = pd.concat(tables, ignore_index=True)
    truth = [name for name in every if name.startswith("true_")]
    by_star = every.groupby("star_id", sort=True)
    table = by_star[truth].first()
    table["n_exposures"], table["n_found"] = by_star.size(), by_star["found"].sum().astype(int)
    return table.join(combine(every).set_index("star_id")).reset_index()
