"""Finds stars on a frame: MMM background, DAOFIND, saturated stars, and those fit to build a PSF from."""

import logging
import warnings

import numpy as np
import pandas as pd
from scipy import ndimage
from scipy.spatial import cKDTree

from dioscuri.cluster.frames import Frame
from dioscuri.flags import SourceFlag

log = logging.getLogger(__name__)

FWHM = 2.0  # px, WFC3/UVIS
UNRESOLVED = 2.0  # px: closer peaks are one source (Wu et al. 2023, §4.2)
SHARPNESS = (0.2, 1.0)  # DAOFIND's own; single pixels are sharper
# Twice as wide as DAOFIND's own, which loses four in five of equal pairs of 1.9 px along a diagonal.
ROUNDNESS = (-2.0, 2.0)
SPIKE = 3  # px around a saturated blob in which DAOFIND sees only its debris


def background_map(image: np.ndarray, bad: np.ndarray, box: int = 64) -> np.ndarray:
    """The sky (H, W) [e-]: DAOPHOT's MMM mode (3 × median − 2 × mean, clipped) in boxes of `box` px, smoothed.

    `box` 0 gives one value for the whole frame, as published.
    """
    from photutils.background import Background2D, MMMBackground

    if box <= 0 or min(image.shape) < 2 * box:
        return np.full(image.shape, float(MMMBackground()(image[~bad])))
    sky = Background2D(
        image, box, mask=bad, filter_size=3, bkg_estimator=MMMBackground(), exclude_percentile=80.0
    ).background
    return np.asarray(sky, float)


def detect(
    frame: Frame,
    *,
    fwhm: float = FWHM,
    threshold: float = 5.0,
    min_separation: float = UNRESOLVED,
    sharpness: tuple[float, float] = SHARPNESS,
    roundness: tuple[float, float] = ROUNDNESS,
    aperture_radius: float = 3.0,
    background: np.ndarray | None = None,
) -> pd.DataFrame:
    """Stars of a frame, brightest first: x, y [px], flux and flux_err [e-] in an aperture, sharpness, roundness, flags.

    DAOFIND (Stetson 1987) above `threshold` times the sky noise, on the frame less `background` (H, W)
    (None: `background_map`). Peaks closer than `min_separation` px are one source. Saturated stars, of which
    DAOFIND sees only debris, are added from their blobs of saturated pixels.
    """
    bad = frame.bad()
    sky = background_map(frame.science, bad) if background is None else background
    image = np.where(np.isfinite(frame.science), frame.science - sky, 0.0)
    noise = sky_noise(image, bad)
    found = find_peaks(image, bad, threshold * noise, fwhm, min_separation, sharpness, roundness)
    blobs = _saturated_stars(frame)
    table = pd.concat([_without_debris(found, frame), blobs], ignore_index=True)
    table["flux"], table["flux_err"] = _aperture(frame, image, bad, table, aperture_radius)
    table = table.sort_values("flux", ascending=False, kind="stable", ignore_index=True)
    log.info("%s: %d stars, %d of them saturated; sky %.1f ± %.1f e-",
             frame.name, len(table), len(blobs), float(np.median(sky)), noise)  # fmt: skip
    return table


def find_peaks(
    image: np.ndarray,
    bad: np.ndarray,
    threshold: float,
    fwhm: float = FWHM,
    min_separation: float = UNRESOLVED,
    sharpness: tuple[float, float] = SHARPNESS,
    roundness: tuple[float, float] = ROUNDNESS,
) -> pd.DataFrame:
    """DAOFIND on a background-subtracted `image`: x, y, sharpness, roundness, flags (0)."""
    from photutils.detection import DAOStarFinder
    from photutils.utils.exceptions import NoDetectionsWarning

    finder = DAOStarFinder(
        threshold, fwhm, min_separation=min_separation, sharpness_range=sharpness, roundness_range=roundness
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoDetectionsWarning)
        found = finder(image, mask=bad)
    columns = {"x": "x_centroid", "y": "y_centroid", "sharpness": "sharpness", "roundness": "roundness1"}
    table = pd.DataFrame(
        {name: np.asarray(found[theirs], float) if found is not None else [] for name, theirs in columns.items()},
        dtype=float,
    )
    table["flags"] = np.zeros(len(table), np.int64)
    return table


def sky_noise(image: np.ndarray, bad: np.ndarray) -> float:
    """Rms of the background-subtracted sky [e-], stars clipped away."""
    from astropy.stats import sigma_clipped_stats

    return float(sigma_clipped_stats(image[~bad], sigma=3.0, maxiters=10)[2])


def pick_psf_stars(
    frame: Frame,
    sources: pd.DataFrame,
    *,
    n: int = 60,
    box: int = 25,
    snr_min: float = 50.0,
    neighbour_share: float = 0.02,
    cells: int = 2,
) -> pd.DataFrame:
    """The stars to build a PSF from, brightest first: bright, unsaturated, isolated, of the usual sharpness.

    Within a `box` × `box` px cut-out a star may have no flagged pixel close to its core and no neighbour with
    more than `neighbour_share` of its flux. Up to n / cells² are taken from each of cells × cells parts of the
    frame, so that all of it is represented; where a part has too few, others make up for it. Stars whose
    sharpness or roundness lies off by more than 3 (robust) σ may be pairs, and are left out.
    """
    half = box // 2
    height, width = frame.shape
    x, y, flux = (sources[name].to_numpy() for name in ("x", "y", "flux"))
    inside = (x > half) & (x < width - 1 - half) & (y > half) & (y < height - 1 - half)
    good = inside & (sources["flags"].to_numpy() & int(SourceFlag.SATURATED) == 0)
    good &= flux > snr_min * sources["flux_err"].to_numpy()
    bad = frame.bad()
    candidates = np.flatnonzero(good)
    candidates = candidates[_clean_core(bad, x[candidates], y[candidates])]
    tree = cKDTree(np.c_[x, y])
    near = tree.query_ball_point(np.c_[x, y][candidates], half * np.sqrt(2.0))
    isolated = [flux[others].sum() - flux[i] <= neighbour_share * flux[i] for i, others in zip(candidates, near)]
    candidates = candidates[np.array(isolated, bool)]
    for name in ("sharpness", "roundness"):
        if name in sources and len(candidates) >= 10:
            values = sources[name].to_numpy()[candidates]
            spread = 1.4826 * np.median(np.abs(values - np.median(values)))
            candidates = candidates[np.abs(values - np.median(values)) <= 3 * spread]
    candidates = candidates[np.argsort(-flux[candidates], kind="stable")]
    part = (y[candidates] * cells // height) * cells + x[candidates] * cells // width
    rank = pd.Series(part).groupby(part).cumcount().to_numpy()
    order = np.lexsort((np.arange(len(candidates)), rank >= n // cells**2))
    chosen = np.sort(candidates[order[:n]])
    return sources.iloc[chosen[np.argsort(-flux[chosen], kind="stable")]].reset_index(drop=True)


def _clean_core(bad: np.ndarray, x: np.ndarray, y: np.ndarray, radius: int = 6) -> np.ndarray:
    """Whether no pixel within a box of ± `radius` px is bad."""
    share = ndimage.uniform_filter(bad.astype(np.float32), 2 * radius + 1, mode="nearest")
    return share[np.rint(y).astype(int), np.rint(x).astype(int)] < 0.5 / (2 * radius + 1) ** 2


def _saturated_stars(frame: Frame) -> pd.DataFrame:
    """One star per blob of saturated pixels, at its widest row: charge runs along columns, equally up and down."""
    labels, n = ndimage.label(frame.saturated(), structure=np.ones((3, 3)))
    rows = []
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        blob = labels[box] == label
        widths = blob.sum(1)
        widest = np.flatnonzero(widths == widths.max())
        column = np.average(np.arange(blob.shape[1]), weights=blob[widest].sum(0))
        rows.append((box[1].start + column, box[0].start + widest.mean()))
    table = pd.DataFrame(np.array(rows, float).reshape(n, 2), columns=["x", "y"])
    return table.assign(sharpness=np.nan, roundness=np.nan, flags=np.full(n, int(SourceFlag.SATURATED), np.int64))


def _without_debris(found: pd.DataFrame, frame: Frame) -> pd.DataFrame:
    """Detections that are not beside saturated pixels."""
    near = ndimage.binary_dilation(frame.saturated(), iterations=SPIKE)
    height, width = frame.shape
    row = np.clip(np.rint(found["y"].to_numpy()).astype(int), 0, height - 1)
    column = np.clip(np.rint(found["x"].to_numpy()).astype(int), 0, width - 1)
    return found[~near[row, column]]


def _aperture(
    frame: Frame, image: np.ndarray, bad: np.ndarray, table: pd.DataFrame, radius: float
) -> tuple[np.ndarray, np.ndarray]:
    """Flux and its error in a circle; bad pixels are left out, and count as the mean of the others."""
    from photutils.aperture import CircularAperture

    if not len(table):
        return np.empty(0), np.empty(0)
    circles = CircularAperture(table[["x", "y"]].to_numpy(), radius)
    good = (~bad).astype(float)
    variance = np.where(bad, 0.0, np.square(frame.error, dtype=float))
    sums = [circles.do_photometry(plane, method="subpixel", subpixels=5)[0] for plane in (image * good, variance, good)]
    scale = circles.area / np.maximum(sums[2], 0.5)
    return sums[0] * scale, np.sqrt(sums[1]) * scale
