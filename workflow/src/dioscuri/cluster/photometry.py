"""Crowded-field PSF photometry of a frame: our joint fit, or photutils as published; same table from either."""

import logging
import time
import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import ndimage
from scipy.spatial import cKDTree

from dioscuri.cluster.detection import FWHM, UNRESOLVED, background_map, detect, find_peaks, sky_noise
from dioscuri.cluster.frames import Frame
from dioscuri.cluster.joint_fit import REACH, fit_stars, groups
from dioscuri.cluster.scene import Scene
from dioscuri.flags import SourceFlag

if TYPE_CHECKING:
    from dioscuri.psf.effective import Psf

log = logging.getLogger(__name__)

METHODS = ("joint", "photutils")
FIT_RADIUS = 2.5  # px: beyond, neighbours and the PSF's wings are worth more than the photons
WINGS = 6.0  # px beyond the saturated blob: what a saturated star is measured by
REFITS = 3  # at most, after stars have been merged or dropped
ARTEFACT = 0.5  # of a bright star's wings: what an imperfect PSF may leave of them
GLARE = 0.1  # of a star's peak: more light of a saturated star is worth a flag
COLUMNS = (
    "x", "y", "flux", "x_err", "y_err", "flux_err", "background", "chi2", "qfit", "cfit",
    "n_pixels", "group_size", "flags", "mag", "mag_err", "ra", "dec", "exposure", "extension", "filter",
)  # fmt: skip


def measure(
    frame: Frame,
    psf: "Psf",
    sources: pd.DataFrame | None = None,
    *,
    method: str = "joint",
    passes: int = 2,
    snr_min: float = 4.0,
    threshold: float = 5.0,
    fwhm: float = FWHM,
    fit_radius: float = FIT_RADIUS,
    psf_error: float = 0.0,
    background_box: int = 64,
) -> pd.DataFrame:
    """PSF photometry (`COLUMNS`), brightest first, of `sources` (x, y, flux, flags; None: `detect`).

    `flux` is in electrons as counted; `mag` = −2.5 log10(flux × pixel area), the instrumental magnitude of
    the paper's CMD, and `ra`, `dec` [deg] follow the frame's WCS. `psf` may be a grid of positions.

    `joint` subtracts the fitted stars, measures the sky again without them, looks for stars that they had hidden
    and fits all once more, `passes` times in all. Stars below `snr_min` go; what is closer than 2 px in the end
    is made one source at its photocentre, or the second stars of wide binaries would count as others.
    `photutils` is the published way (PSFPhotometry with SourceGrouper, 5 × 5 px, one pass): four times
    slower in a crowd, and neighbours beyond a group are not subtracted.
    """
    if method not in METHODS or passes < 1:
        raise ValueError(f"photometry: method '{method}', {passes} passes; accepted: {', '.join(METHODS)}, 1 or more")
    began = time.perf_counter()
    bad = frame.bad()
    sky = background_map(frame.science, bad, background_box)
    sources = detect(frame, fwhm=fwhm, threshold=threshold, background=sky) if sources is None else sources
    if method == "photutils":
        table = _with_photutils(frame, psf, sources, bad, sky)
    else:
        table = _jointly(
            frame, psf, sources, bad, sky, passes=passes, snr_min=snr_min, threshold=threshold, fwhm=fwhm,
            fit_radius=fit_radius, psf_error=psf_error, background_box=background_box,
        )  # fmt: skip
    table = table.sort_values("flux", ascending=False, kind="stable", ignore_index=True)
    table = _described(frame, table)
    log.info("%s: %d stars by %s in %.1f s", frame.name, len(table), method, time.perf_counter() - began)
    return table


def variance_floor(frame: Frame, sky: np.ndarray) -> np.ndarray:
    """Variance (H, W) [e²] of each pixel without its stars: the frame's own, less the photons above the sky.

    Infinite where a pixel is bad. Never below the photons of the sky and the read noise.
    """
    science = np.where(np.isfinite(frame.science), frame.science, 0.0).astype(float)
    without_photons = np.square(frame.error, dtype=float) - np.maximum(science, 0.0)
    read_noise = frame.read_noise if np.isfinite(frame.read_noise) else 0.0
    least = max(read_noise**2, 1.0)
    floor = np.maximum(sky, 0.0) + np.maximum(without_photons, least)
    floor[frame.bad()] = np.inf
    return floor


def residual_image(frame: Frame, psf: "Psf", table: pd.DataFrame, sky: np.ndarray | float) -> np.ndarray:
    """The frame less `sky` and all stars of `table` (H, W) [e-]."""
    model = np.zeros(frame.shape)
    Scene(psf).paint(model, table["x"].to_numpy(), table["y"].to_numpy(), table["flux"].to_numpy())
    return frame.science - sky - model


def _jointly(
    frame: Frame,
    psf: "Psf",
    sources: pd.DataFrame,
    bad: np.ndarray,
    sky: np.ndarray,
    *,
    passes: int,
    snr_min: float,
    threshold: float,
    fwhm: float,
    fit_radius: float,
    psf_error: float,
    background_box: int,
) -> pd.DataFrame:
    scene = Scene(psf)
    start = sources[["x", "y", "flux", "flags"]].reset_index(drop=True)
    depth = ndimage.distance_transform_edt(frame.saturated())

    def improved() -> tuple[pd.DataFrame, np.ndarray, pd.DataFrame]:
        stars = _fitted(frame, sky, scene, start, fit_radius, psf_error, depth)
        keep = _significant(stars, snr_min) & ~_artefacts(frame, scene, stars)
        return stars, keep, _merged(stars, keep)

    for left in range(passes - 1, -1, -1):
        stars, keep, start = improved()
        if left:
            residual = residual_image(frame, psf, stars, sky)
            correction = background_map(residual, bad, background_box)
            sky = sky + correction
            late = _hidden(frame, residual - correction, start, bad, threshold, fwhm, psf)
            start = pd.concat([start, late], ignore_index=True)
    for _ in range(REFITS):
        if len(start) == len(stars):
            break
        stars, keep, start = improved()
    stars = stars[keep].reset_index(drop=True)
    in_glare = _glare(frame, scene, stars) > GLARE * _peak(scene, stars)
    flags = stars["flags"].to_numpy() | np.where(in_glare, int(SourceFlag.GLARE), 0)
    return stars.assign(flags=flags, background=_under(sky, stars)).drop(columns="n_masked")


def _fitted(
    frame: Frame,
    sky: np.ndarray,
    scene: Scene,
    start: pd.DataFrame,
    fit_radius: float,
    psf_error: float,
    depth: np.ndarray,
) -> pd.DataFrame:
    """All stars of `start` fitted once, with the flags that follow from the fit.

    `depth` (H, W): px from each saturated pixel to the next that is not.
    """
    saturated = (start["flags"].to_numpy(np.int64) & int(SourceFlag.SATURATED)) != 0
    radius = np.where(saturated, WINGS + _under(depth, start), fit_radius)
    x, y, flux = (start[name].to_numpy(float) for name in ("x", "y", "flux"))
    floor = variance_floor(frame, sky)
    fit = fit_stars(frame.science - sky, floor, scene, x, y, flux, radius, psf_error=psf_error)
    height, width = frame.shape
    edge = np.minimum(np.minimum(fit.x, fit.y), np.minimum(width - 1 - fit.x, height - 1 - fit.y)) < radius
    wandered = np.maximum(np.abs(fit.x - x), np.abs(fit.y - y)) > 0.99 * REACH
    # A later fit starts where an earlier one arrived: who has wandered once, has.
    flags = start["flags"].to_numpy(np.int64) | np.where(wandered, int(SourceFlag.WANDERED), 0)
    for condition, bit in (
        (fit.n_masked > 0, SourceFlag.BAD_PIXELS),
        (edge, SourceFlag.EDGE),
        (fit.group_size > 1, SourceFlag.BLENDED),
    ):
        flags = np.where(condition, flags | int(bit), flags & ~int(bit))
    return pd.DataFrame({**vars(fit), "flags": flags})


def _under(image: np.ndarray, stars: pd.DataFrame) -> np.ndarray:
    """The pixels (S,) of `image` under the stars."""
    height, width = image.shape
    row = np.clip(np.rint(stars["y"]), 0, height - 1).astype(int)
    column = np.clip(np.rint(stars["x"]), 0, width - 1).astype(int)
    return image[row, column]


def _significant(stars: pd.DataFrame, snr_min: float) -> np.ndarray:
    """Which stars have flux, and pixels that say so."""
    flux, error = stars["flux"].to_numpy(), stars["flux_err"].to_numpy()
    return (flux > snr_min * error) & (stars["n_pixels"].to_numpy() >= 4)


def _merged(stars: pd.DataFrame, keep: np.ndarray) -> pd.DataFrame:
    """x, y, flux, flags of the stars to `keep`, those closer than 2 px replaced by one at their photocentre.

    What a joint fit resolves below that is one source to this method: the wide binaries that it looks for. A
    star that has another one so close is never dropped: the two may have shared their flux badly.
    """
    order, bounds = groups(stars[["x", "y"]].to_numpy(), UNRESOLVED)
    first = bounds[:-1]
    flux = stars["flux"].to_numpy()[order]
    columns = {
        name: np.add.reduceat(stars[name].to_numpy()[order] * flux, first) / np.add.reduceat(flux, first)
        for name in ("x", "y")
    }
    flags = np.bitwise_or.reduceat(stars["flags"].to_numpy(np.int64)[order], first)
    flags = np.where(np.diff(bounds) > 1, flags & ~int(SourceFlag.LATE), flags)
    merged = pd.DataFrame({**columns, "flux": np.add.reduceat(flux, first), "flags": flags})
    return merged[(np.diff(bounds) > 1) | keep[order[first]]].reset_index(drop=True)


def _artefacts(frame: Frame, scene: Scene, stars: pd.DataFrame) -> np.ndarray:
    """Which detections may be lumps in the wings of brighter stars: fainter at their peak than ARTEFACT × the wings.

    In those of a saturated star, where a PSF is known worst, the peak must outshine the wings.
    """
    model = np.zeros(frame.shape)
    scene.paint(model, *(stars[name].to_numpy(float) for name in ("x", "y", "flux")))
    own = _peak(scene, stars)
    wings = ARTEFACT * np.maximum(_under(model, stars) - own, 0.0) + (1.0 - ARTEFACT) * _glare(frame, scene, stars)
    return own < wings


def _peak(scene: Scene, stars: pd.DataFrame) -> np.ndarray:
    """The brightest pixel [e-] of each star when it is centred on one."""
    return stars["flux"].to_numpy() * scene.psf.samples.max()


def _glare(frame: Frame, scene: Scene, stars: pd.DataFrame) -> np.ndarray:
    """Light of saturated stars [e-] under each of the others, mean over 5 × 5 px (a few rings); 0 under themselves."""
    saturated = (stars["flags"].to_numpy() & int(SourceFlag.SATURATED)) != 0
    light = np.zeros(frame.shape)
    scene.paint(light, *(stars[name].to_numpy(float)[saturated] for name in ("x", "y", "flux")))
    return np.where(saturated, 0.0, _under(ndimage.uniform_filter(light, 5), stars))


def _hidden(
    frame: Frame,
    residual: np.ndarray,
    stars: pd.DataFrame,
    bad: np.ndarray,
    threshold: float,
    fwhm: float,
    psf: "Psf",
) -> pd.DataFrame:
    """Stars that the residuals reveal, away from known ones and above what an imperfect PSF may leave of those."""
    noise = sky_noise(residual, bad)
    found = find_peaks(np.where(np.isfinite(residual), residual, 0.0), bad, threshold * noise, fwhm)
    if not len(found):
        return found[["x", "y", "flags"]].assign(flux=[])
    model = frame.science - residual
    peak, glare = (_under(ndimage.maximum_filter(np.where(bad, 0.0, plane), 3), found) for plane in (residual, model))
    light = np.maximum(_under(model, found), 0.0)
    distance = cKDTree(stars[["x", "y"]]).query(found[["x", "y"]])[0]
    new = (distance > UNRESOLVED) & (peak > ARTEFACT * light) & (peak > threshold * np.sqrt(np.maximum(glare, 0.0)))
    late = found.loc[new, ["x", "y"]]
    return late.assign(flux=peak[new] / psf.samples.max(), flags=np.int64(SourceFlag.LATE))


def _with_photutils(frame: Frame, psf: "Psf", sources: pd.DataFrame, bad: np.ndarray, sky: np.ndarray) -> pd.DataFrame:
    """PSFPhotometry of photutils with groups; its position-dependent model where the PSF is a grid."""
    from astropy.nddata import NDData
    from astropy.table import Table
    from astropy.utils.exceptions import AstropyUserWarning
    from photutils.psf import GriddedPSFModel, ImagePSF, PSFPhotometry, SourceGrouper

    if not len(sources):
        return pd.DataFrame(columns=list(COLUMNS), dtype=float).assign(flags=np.empty(0, np.int64))
    if psf.n_members == 1:
        model = ImagePSF(psf.samples[0], oversampling=psf.oversampling)
    else:
        places = np.c_[psf.parameters["x"], psf.parameters["y"]]
        meta = {"grid_xypos": [tuple(map(float, place)) for place in places], "oversampling": psf.oversampling}
        model = GriddedPSFModel(NDData(psf.samples, meta=meta))
    fitter = PSFPhotometry(model, (5, 5), grouper=SourceGrouper(2 * FIT_RADIUS), aperture_radius=3, fitter_maxiters=100)
    start = Table({"x": sources["x"], "y": sources["y"], "flux": np.maximum(sources["flux"], 1.0)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyUserWarning)  # fits that did not converge are flagged in the table
        found = fitter(frame.science - sky, mask=bad, error=frame.error, init_params=start).to_pandas()
    theirs = {
        "x": "x_fit", "y": "y_fit", "flux": "flux_fit", "x_err": "x_err", "y_err": "y_err", "flux_err": "flux_err",
        "qfit": "qfit", "cfit": "cfit", "n_pixels": "n_pixels_fit", "group_size": "group_size", "chi2": "reduced_chi2",
    }  # fmt: skip
    table = pd.DataFrame({ours: found[name] for ours, name in theirs.items()})
    flags = sources["flags"].to_numpy() | np.where(found["group_size"] > 1, int(SourceFlag.BLENDED), 0)
    table = table.assign(flags=flags, background=_under(sky, sources))
    return table[np.isfinite(table[["x", "y", "flux"]]).all(axis=1)]  # without pixels to fit there is no star


def _described(frame: Frame, table: pd.DataFrame) -> pd.DataFrame:
    """All of `COLUMNS`: with magnitudes, sky positions and where the star was seen."""
    area = frame.area_at(table["x"].to_numpy(), table["y"].to_numpy())
    flux = table["flux"].to_numpy()
    light = np.where(flux > 0, flux * area, np.nan)
    ra, dec = frame.wcs.all_pix2world(table["x"], table["y"], 0) if len(table) else (np.empty(0), np.empty(0))
    table = table.assign(
        mag=-2.5 * np.log10(light),
        mag_err=2.5 / np.log(10) * table["flux_err"].to_numpy() / flux,
        ra=ra,
        dec=dec,
        exposure=frame.exposure,
        extension=frame.extension,
        filter=frame.filter,
    )
    no_flux = np.where(flux > 0, 0, int(SourceFlag.NO_FLUX))
    table["flags"] = table["flags"].to_numpy() | no_flux
    return table.reindex(columns=list(COLUMNS))
