"""The PSF of a frame as it changes over it, and what is still wrong with it, from the frame's own stars."""

import dataclasses
import logging

import numpy as np
import pandas as pd

from dioscuri.cluster.cutouts import Cutouts, cut_stamps
from dioscuri.cluster.frames import Frame
from dioscuri.flags import SourceFlag
from dioscuri.psf.effective import Psf
from dioscuri.psf.optics import OPTICS, optical_modes, optics_of
from dioscuri.stamps.mocks import SIZE, Renderer
from dioscuri.stamps.psf_errors import Leftovers, leftovers, measure_errors

log = logging.getLogger(__name__)

# Stars of which a shape means nothing.
UNSCORED = (
    SourceFlag.SATURATED | SourceFlag.EDGE | SourceFlag.WANDERED | SourceFlag.NO_FLUX | SourceFlag.GLARE
)  # fmt: skip
FEWEST_PIXELS = 150  # good ones of the 196 of a stamp
CORE = 5  # px: half side of a box around the star in which all pixels must be good but LOST_IN_CORE
LOST_IN_CORE = 2
MOST_STARS = 1500  # the brightest
BLUR = 0.02  # px², of one σ
STARS_FOR_BLUR = 100  # of fewer, their own pairs, which spread light along a direction too, would decide
NODES_APART = 400.0  # px between the places of a PSF that changes


def eligible(stars: pd.DataFrame) -> np.ndarray:
    """Whether the shape of each star can be judged, (S,) bool."""
    return (stars["flags"].to_numpy(np.int64) & int(UNSCORED)) == 0


def whole(cut: Cutouts) -> np.ndarray:
    """Which stamps (S,) have enough good pixels, and those of the core."""
    good = np.isfinite(cut.variance)
    inner = slice(SIZE // 2 - CORE, SIZE // 2 + CORE)
    return (good.sum((1, 2)) >= FEWEST_PIXELS) & ((~good[:, inner, inner]).sum((1, 2)) <= LOST_IN_CORE)


def modes_of(frame: Frame, psf: Psf, n_stars: int) -> Psf:
    """How a PSF may change in the filter of a frame, on the samples of `psf`: by its optics, and, where as many as
    `STARS_FOR_BLUR` tell it, by blur."""
    try:
        optics = optics_of(frame.filter, psf.pixel_scale)
    except ValueError:  # without a wavelength the modes are a little too wide or narrow: they remain a basis
        optics = dataclasses.replace(OPTICS["hst_f775w"], pixel_scale=psf.pixel_scale)
    modes = optical_modes(optics, psf.samples.shape[1], psf.oversampling)
    if n_stars < STARS_FOR_BLUR:
        return modes
    return dataclasses.replace(modes, samples=np.concatenate([modes.samples, _blurs(psf)]), parameters={})


def _blurs(psf: Psf) -> np.ndarray:
    """How a PSF changes where light is spread unevenly, samples (3, n, n): by second derivatives, to first order.

    A variance that is larger by `BLUR` along x and smaller along y; a covariance of `BLUR`; both variances larger. A
    real PSF's elongation is not that of its wavefront alone, and an elongation that is missed looks like a close pair.
    """
    along_y, along_x = np.gradient(psf.samples.mean(0))
    xx, yy, xy = np.gradient(along_x)[1], np.gradient(along_y)[0], np.gradient(along_x)[0]
    return BLUR * psf.oversampling**2 * np.stack([(xx - yy) / 2, xy, (xx + yy) / 2])


def relative(frame: Frame, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions [px] in −1 … 1 over the frame."""
    height, width = frame.shape
    return 2 * np.asarray(x, float) / (width - 1) - 1, 2 * np.asarray(y, float) / (height - 1) - 1


@dataclasses.dataclass(frozen=True)
class Sample:
    """The brightest stars of a frame that tell its PSF: their stamps, and where they are, x, y (S,) [px]."""

    cut: Cutouts
    x: np.ndarray
    y: np.ndarray


def bright_stars(frame: Frame, psf: Psf, stars: pd.DataFrame) -> Sample:
    """The brightest of the measured `stars` whose shape can be judged, others subtracted."""
    bright = np.flatnonzero(eligible(stars))
    bright = bright[np.argsort(-stars["flux"].to_numpy()[bright], kind="stable")][:MOST_STARS]
    cut = cut_stamps(frame, psf, stars, bright)
    kept = np.flatnonzero(whole(cut))
    return Sample(cut.rows(kept), *(stars[name].to_numpy(float)[bright[kept]] for name in ("x", "y")))


def left_of(frame: Frame, sample: Sample, renderer: Renderer, member: np.ndarray, modes: Psf) -> Leftovers:
    """What the PSFs `member` (S,) leave of the stars of a sample."""
    place = relative(frame, sample.x, sample.y)
    return leftovers(sample.cut.stamps, sample.cut.variance, renderer, member, modes, *place)


def over_the_field(frame: Frame, psf: Psf, stars: pd.DataFrame, degree: int) -> Psf:
    """`psf`, of the whole frame, as it is on a grid of places: with polynomials of `degree` in the optics' modes.

    psf: one PSF, with further members from draws, which change alike. stars: measured with it (`photometry.measure`).
    """
    best = psf.member(0)
    sample = bright_stars(frame, best, stars)
    modes = modes_of(frame, psf, len(sample.x))
    found = left_of(frame, sample, Renderer(best), np.zeros(len(sample.x), int), modes)
    errors = measure_errors(found, degree)
    log.info("%s: PSF over the frame from %d stars, polynomials of degree %d", frame.name, errors.used, errors.degree)
    height, width = frame.shape
    x_nodes, y_nodes = (np.linspace(0, n - 1, 2 + int(n // NODES_APART)) for n in (width, height))
    x, y = (plane.ravel() for plane in np.meshgrid(x_nodes, y_nodes))
    changes = np.tensordot(errors.amplitudes(*relative(frame, x, y)), modes.samples, 1)
    n = psf.n_members
    return dataclasses.replace(
        psf,
        samples=np.concatenate([psf.samples[k] + changes for k in range(n)]),
        parameters={"x": np.tile(x, n), "y": np.tile(y, n), "draw": np.repeat(np.arange(float(n)), len(x))},
    )
