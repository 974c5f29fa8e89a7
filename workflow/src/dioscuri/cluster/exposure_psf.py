"""The PSF of every chip of an exposure: fitted to its own stars, as published, or from a file."""

import dataclasses
import logging
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from dioscuri.cluster.detection import background_map, detect, pick_psf_stars
from dioscuri.cluster.frames import Frame, read_flt
from dioscuri.cluster.photometry import measure, residual_image
from dioscuri.cluster.psf_field import over_the_field
from dioscuri.psf.effective import Psf
from dioscuri.psf.epsf import fit_epsf, literal_epsf
from dioscuri.psf.files import read_psf
from dioscuri.psf.grids import one_chip, read_stdpsf
from dioscuri.psf.optics import optical_psf, optics_of
from dioscuri.stamps.mocks import Law, Renderer
from dioscuri.stamps.optimum import log_bayes_factor

log = logging.getLogger(__name__)

MODES = ("fit", "literal", "file", "stdpsf")
SIZE = 31  # px, of the optical PSF that a fit starts from: wings of all but the brightest stars
NEIGHBOUR_SHARE = 0.3  # of a PSF star's flux that neighbours may have: they are subtracted
LITERAL_STARS = 25  # isolated ones (paper §4.2)
FEWEST_STARS = 8  # from which a PSF may be learnt
FIRST_ROUND = 3  # iterations: enough to find the neighbours, and the pairs among the PSF stars
SURELY_DOUBLE = 3.0  # ln of the Bayes factor
# The bootstrap tells the noise of an ePSF; its whole error is about twice as large (see `fit_epsf`).
ERROR_OVER_NOISE = 2.0


def write_exposure_psf(
    out: str | os.PathLike,
    frame_path: str | os.PathLike,
    *,
    pixel_area_maps: Mapping[int, str] | None = None,
    **settings: Any,
) -> None:
    """Write the PSFs of an exposure (all chips) as one .npz; `settings` are those of `frame_psf`."""
    join_chips({frame.extension: frame_psf(frame, **settings) for frame in read_flt(frame_path, pixel_area_maps)}).save(
        out
    )


def frame_psf(
    frame: Frame,
    *,
    mode: str = "fit",
    file: str | os.PathLike | None = None,
    oversampling: int = 4,
    pixel_integrated: bool = False,
    n_stars: int = 100,
    grid: int = 1,
    degree: int = 5,
    draws: int = 0,
    seed: int = 0,
) -> Psf:
    """The PSF of one frame, with the parameters x, y [px] and draw of each member.

    Draw 0 is the PSF; `fit` adds `draws` from bootstrap samples of its stars. It changes over the frame as the modes of
    the optics do, by polynomials of `degree` (`over_the_field`), or, with `grid` > 1, is fitted anew in each of
    grid × grid parts of the frame. `literal` is the published way, of 25 isolated stars. `file` and
    `stdpsf` read `file`, an image (`oversampling`, `pixel_integrated`) or a grid of positions.
    """
    if mode not in MODES:
        raise ValueError(f"PSF of a frame: mode is '{mode}'; accepted: {', '.join(MODES)}")
    height, width = frame.shape
    middle = ((width - 1) / 2, (height - 1) / 2)
    if mode in ("file", "stdpsf"):
        if file is None:
            raise ValueError(f"PSF of a frame: mode '{mode}' needs a file for {frame.filter}")
        if mode == "stdpsf":
            return _placed(given_psf(read_stdpsf(file, pixel_scale=frame.pixel_scale), frame), None, 0)
        psf = read_psf(
            file, pixel_scale=frame.pixel_scale, oversampling=oversampling, pixel_integrated=pixel_integrated
        )
        return _placed(psf, middle, 0)
    bad = frame.bad()
    sky = background_map(frame.science, bad)
    sources = detect(frame, background=sky)
    if mode == "literal":
        stars = pick_psf_stars(frame, sources, n=LITERAL_STARS)
        _enough(stars, frame)
        places = (stars[name].to_numpy() for name in ("x", "y"))
        return _placed(literal_epsf(frame.science - sky, bad, *places, pixel_scale=frame.pixel_scale), middle, 0)
    return _fitted(frame, sky, bad, sources, n_stars, grid, degree, draws, seed)


def _fitted(
    frame: Frame,
    sky: np.ndarray,
    bad: np.ndarray,
    sources: pd.DataFrame,
    n_stars: int,
    grid: int,
    degree: int,
    draws: int,
    seed: int,
) -> Psf:
    """An ePSF that knows the crowd: first a quick one, then that of all stars which are not pairs themselves."""
    start = optical_psf(optics_of(frame.filter, frame.pixel_scale), size=SIZE)
    stars = pick_psf_stars(frame, sources, n=n_stars, neighbour_share=NEIGHBOUR_SHARE)
    _enough(stars, frame)
    first = _fit(frame, sky, bad, stars, sources, start, iterations=FIRST_ROUND)
    table = measure(frame, first, sources)
    sky = sky + background_map(residual_image(frame, first, table, sky), bad)
    stars = stars[~_double(frame, sky, table, stars, first)].reset_index(drop=True)
    log.info("%s: PSF of %d stars, %d of them left out as double", frame.name, len(stars), n_stars - len(stars))
    height, width = frame.shape
    if grid == 1:
        psf = _fit(frame, sky, bad, stars, table, first, draws=draws, seed=seed)
        psf = _with(psf, draw=np.arange(float(psf.n_members)))
        if degree:
            return over_the_field(frame, psf, table, degree)
        middle = ((width - 1) / 2, (height - 1) / 2)
        return _joined([_placed(psf.member(k), middle, k) for k in range(psf.n_members)])
    members = []
    for row in range(grid):
        for column in range(grid):
            inside = (stars["y"] * grid // height == row) & (stars["x"] * grid // width == column)
            part = stars[inside].reset_index(drop=True)
            _enough(part, frame)
            centre = ((column + 0.5) * width / grid - 0.5, (row + 0.5) * height / grid - 0.5)
            psf = _fit(frame, sky, bad, part, table, first, draws=draws, seed=seed)
            members += [_placed(psf.member(k), centre, k) for k in range(psf.n_members)]
    return _joined(members)


def _fit(
    frame: Frame, sky: np.ndarray, bad: np.ndarray, stars: pd.DataFrame, table: pd.DataFrame, start: Psf, **how: Any
) -> Psf:
    (x, y, flux), neighbours = ([one[name].to_numpy() for name in ("x", "y", "flux")] for one in (stars, table))
    return fit_epsf(frame.science - sky, frame.error, bad, x, y, flux, start, neighbours=neighbours, **how).psf


def _double(frame: Frame, sky: np.ndarray, table: pd.DataFrame, stars: pd.DataFrame, psf: Psf) -> np.ndarray:
    """Which of the PSF stars are pairs themselves, (S,) bool; a PSF learnt from pairs would hide others."""
    from dioscuri.cluster.cutouts import cut_stamps
    from dioscuri.cluster.photometry_checks import match

    rows = match(table, stars)
    cut = cut_stamps(frame, psf, table, np.maximum(rows, 0))
    log_bf, _ = log_bayes_factor(cut.stamps, cut.variance, Renderer(psf), Law(flux_ratio="uniform"))
    double = (rows >= 0) & (log_bf > SURELY_DOUBLE)
    # In doubt the PSF is to blame: never take away more than a third of the stars.
    return double & (log_bf > np.quantile(log_bf, 2 / 3)) if double.mean() > 1 / 3 else double


def _enough(stars: pd.DataFrame, frame: Frame) -> None:
    if len(stars) < FEWEST_STARS:
        raise ValueError(
            f"{frame.path or frame.name}: {len(stars)} isolated, unsaturated stars for a PSF in {frame.filter}, "
            f"{FEWEST_STARS} are needed; give a PSF file, or a coarser grid"
        )


# --- all chips in one file -------------------------------------------------------------------------------------


def join_chips(chips: Mapping[int, Psf]) -> Psf:
    """The PSFs of all chips as one, with the parameter `extension`."""
    return _joined([_with(psf, extension=np.full(psf.n_members, float(number))) for number, psf in chips.items()])


def chip_psf(psf: Psf, extension: int, draw: int = 0, *, chip: int | None = None) -> Psf:
    """The PSF (or grid of positions) of one chip and draw; a PSF that knows no chips is that of all.

    `extension` (EXTVER) finds fitted PSFs, `chip` (CCDCHIP) those of a grid from a file.
    """
    if "chip" in psf.parameters and chip is None:
        raise ValueError("PSF: a grid over several chips; the number of the chip (CCDCHIP) is needed")
    return psf.where(extension=extension, draw=draw, **({} if chip is None else {"chip": chip}))


def given_psf(psf: Psf, frame: Frame) -> Psf:
    """The members of a PSF or grid from a file that are for the frame: those of its chip, at the frame's own pixels.

    STScI's grids count from the first pixel of the chip, a subarray from its own; PSFs that were fitted to frames
    (`extension` or `draw` among their parameters) count as their frame does.
    """
    if "chip" in psf.parameters:
        if not frame.chip:
            raise ValueError("its header does not tell the chip (CCDCHIP), and the grid has PSFs for each")
        psf = one_chip(psf, frame.chip)
    chosen = chip_psf(psf, frame.extension, chip=frame.chip)
    if "x" not in psf.parameters or {"extension", "draw"} & set(psf.parameters):
        return chosen
    places = {name: chosen.parameters[name] - first for name, first in zip("xy", frame.corner)}
    return dataclasses.replace(chosen, parameters=chosen.parameters | places)


def possible_psfs(psf: Psf, extension: int) -> list[Psf]:
    """PSFs that a chip may have as well, within the error of the fitted one; empty where it has no draws."""
    best = chip_psf(psf, extension)
    numbers = np.unique(psf.parameters.get("draw", np.zeros(1)))
    others = [chip_psf(psf, extension, int(number)) for number in numbers if number > 0]
    return [
        dataclasses.replace(best, samples=best.samples + ERROR_OVER_NOISE * (other.samples - best.samples))
        for other in others
    ]


def mean_psf(paths: list[str | os.PathLike]) -> Psf:
    """One PSF for a set of exposures: the mean over their chips and places, what networks are trained around."""
    best = [psf for path in paths for psf in [Psf.load(path)]]
    used = [one.samples[one.parameters["draw"] == 0] if "draw" in one.parameters else one.samples for one in best]
    size = min(samples.shape[1] for samples in used)
    cut = [samples[:, (k := (samples.shape[1] - size) // 2) : k + size, k : k + size] for samples in used]
    about = {"source": "stars", "exposures": [os.path.basename(path) for path in paths]}
    return Psf(np.concatenate(cut).mean(axis=0)[None], best[0].oversampling, best[0].pixel_scale, provenance=about)


def _placed(psf: Psf, place: tuple[float, float] | None, draw: int) -> Psf:
    n = psf.n_members
    where = {} if place is None else {"x": np.full(n, float(place[0])), "y": np.full(n, float(place[1]))}
    return _with(psf, draw=np.full(n, float(draw)), **where)


def _with(psf: Psf, **parameters: np.ndarray) -> Psf:
    kept = {name: psf.parameters[name] for name in ("x", "y", "draw") if name in psf.parameters}
    return dataclasses.replace(psf, parameters=kept | parameters)


def _joined(members: list[Psf]) -> Psf:
    first = members[0]
    names = first.parameters
    parameters = {name: np.concatenate([one.parameters[name] for one in members]) for name in names}
    return dataclasses.replace(first, samples=np.concatenate([one.samples for one in members]), parameters=parameters)
