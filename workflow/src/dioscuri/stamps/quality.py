"""Whether one star or two explain a stamp, and whether PSF, noise and gain explain all stamps together.

A score means something only where one of its two hypotheses is true. What fits neither (a cosmic ray, a neighbour, sky
left in) shows in the stamp itself; a wrong PSF, noise or gain shows in χ² over the stamps of a file, and against flux.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dioscuri.psf.render import SIZE

RING = 2  # px at the border of a stamp, where a star has next to no light
PARAMETERS = 3  # of a star: flux and place
WORST = 6.5  # σ of one pixel, of 196, in which photons of a faint background are skewed
EXCESS = 4.3  # σ of one pixel that is too bright, of counts whose noise was made Gaussian: less than 1 % of clean stars
TOO_MUCH = 5.0  # σ of χ², and of the sky
LEAST_EXCESS = 0.5  # of χ² per degree of freedom, in one stamp: a PSF known to a percent leaves as much of bright stars
LEAST_SKY = 2e-4  # of the star's flux per pixel: wings of the PSF that are not known
# Of the median χ² per degree of freedom of a file's stamps.
FEWEST = 10  # stamps
BRIGHTEST = 1 / 3
USUAL = 0.2, 0.15  # above and below 1, of bright stars and of all
USUAL_FAINT = 0.2
MOSTLY = 0.8  # of the bright stars' excess in the faint ones: a wrong PSF shows in proportion to the flux
SUSPICIOUS = 0.1  # above 1 for the bright stars, where most stars are called pairs, too
MOST_PAIRS = 0.6


@dataclass(frozen=True)
class Quality:
    """What the better of one star and two leaves of B stamps; every field (B,).

    `chi2` per degree of freedom and its 1σ `chi2_err`; `worst`: the largest deviation of a pixel [σ]; `excess`: the
    largest of those too bright, with photons' skewness taken out [σ]; `sky` [e-]: mean of what is left at the border,
    and `sky_snr`, how many σ that is.
    """

    chi2: np.ndarray
    chi2_err: np.ndarray
    worst: np.ndarray
    excess: np.ndarray
    sky: np.ndarray
    sky_snr: np.ndarray


def assess(
    stamps: np.ndarray, residual: np.ndarray, variance: float | np.ndarray, stars: np.ndarray | int = 1
) -> Quality:
    """Quality of `stamps` [e-] from `residual` [σ], data − fit, 0 in bad pixels, of the better hypothesis.

    Both (B, SIZE, SIZE). `variance` [e²] of the background (as in `optimum.fit_single`); `stars` (B,) 1 or 2.
    """
    residual = np.asarray(residual, float)
    noise = np.sqrt(np.broadcast_to(variance, residual.shape))
    good = np.isfinite(noise) & (residual != 0)
    degrees = np.maximum(good.sum((1, 2)) - PARAMETERS * np.asarray(stars), 1)
    ring = np.ones((SIZE, SIZE), bool)
    ring[RING:-RING, RING:-RING] = False
    weight = np.where(good & ring, 1.0 / noise, 0.0)
    total = np.maximum((weight**2).sum((1, 2)), 1e-30)
    left = (weight * residual).sum((1, 2))
    return Quality(
        chi2=(residual**2).sum((1, 2)) / degrees,
        chi2_err=np.sqrt(2.0 / degrees),
        worst=np.abs(residual).max((1, 2)),
        excess=np.where(good, _stabilised(stamps, residual, noise), 0.0).max((1, 2)),
        sky=left / total,
        sky_snr=left / np.sqrt(total),
    )


def _stabilised(stamps: np.ndarray, residual: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Deviations [σ] after Anscombe's transform of counts and background (Starck et al. 1998, eq. 2.16)."""
    counts = np.maximum(np.where(np.isfinite(noise), stamps + noise**2, 0.0), 0.0)
    root = 0.5 * (np.sqrt(residual**2 + 4.0 * counts) - residual)  # of what is expected: (counts − root²) / root
    return 2.0 * (np.sqrt(counts + 0.375) - np.sqrt(root**2 + 0.375))


def doubts(quality: Quality, flux: np.ndarray) -> list[str]:
    """Why neither one star nor two are believed of each stamp, in words; '' where nothing speaks against it."""
    found = [""] * len(quality.chi2)
    for k in range(len(found)):
        excess = quality.chi2[k] - 1.0
        misfit = excess > LEAST_EXCESS and excess > TOO_MUCH * quality.chi2_err[k]
        if abs(quality.sky_snr[k]) > TOO_MUCH and abs(quality.sky[k]) > LEAST_SKY * flux[k]:
            found[k] = f"sky of {quality.sky[k]:.3g} e- per pixel left at the border, or a neighbour"
        elif quality.worst[k] > WORST and misfit:
            found[k] = f"a pixel off by {quality.worst[k]:.0f} σ: cosmic ray, neighbour or another PSF"
        elif misfit:
            found[k] = f"neither one star nor two (χ² {quality.chi2[k]:.2f} per degree of freedom)"
        elif quality.worst[k] > WORST:
            found[k] = f"a pixel off by {quality.worst[k]:.0f} σ: a cosmic ray?"
    return found


def faint_rays(quality: Quality, reasons: np.ndarray) -> None:
    """Add to `reasons` (B,) of stamps, '' where there are none, those of a pixel a little too bright, in place.

    After `population`: a wrong noise or PSF of a whole file makes such pixels too, and has to be found first.
    """
    for k in np.flatnonzero((reasons == "") & (quality.excess > EXCESS)):
        reasons[k] = f"a pixel too bright by {quality.excess[k]:.1f} σ: a faint cosmic ray?"


def population(quality: Quality, flux: np.ndarray, called: np.ndarray) -> tuple[str, list[str]]:
    """What all stamps of a file say: why all of them are doubtful ('' if they are not), and lines to print.

    `flux` (B,) [e-]; `called` (B,): which of them the scores call pairs. χ² of the bright stars tells of PSF and gain,
    that of the faint ones of noise and sky; either below 1 tells of counts that are no electrons, or of too much noise.
    """
    n = len(flux)
    if not n:
        return "", []
    order = np.argsort(flux)
    part = max(int(np.ceil(BRIGHTEST * n)), 1)
    bright, faint = order[-part:], order[:part]
    above, below = USUAL
    level, err = _median(quality, np.arange(n))
    level_bright, err_bright = _median(quality, bright)
    level_faint, err_faint = _median(quality, faint)
    share, excess = float(np.mean(called)), level_faint - 1
    lines = [
        f"χ² per degree of freedom: {level_faint:.2f} of the faint third, {level_bright:.2f} of the bright third (1 is "
        f"right); {share:.0%} of {n} called pairs"
    ]
    if level < 1 - max(below, TOO_MUCH * err):
        why = f"χ² of {level:.2f}: the noise is below what photons and --noise make; are the data electrons (gain)?"
    elif n >= FEWEST and excess > max(USUAL_FAINT, TOO_MUCH * err_faint) and excess > MOSTLY * (level_bright - 1):
        why = f"χ² of {level_faint:.2f} of faint stars: noise, sky or gain are other than said"
    elif n >= FEWEST and level_bright > 1 + max(above, TOO_MUCH * err_bright):
        why = f"χ² of {level_bright:.2f} of bright stars: the PSF, its sampling or the gain are other than said"
    elif n >= FEWEST and share > MOST_PAIRS and level_bright > 1 + max(SUSPICIOUS, 3 * err_bright):
        why = (
            f"{share:.0%} are called pairs, and χ² grows with flux ({level_bright:.2f}): a PSF narrower than the stars?"
        )
    else:
        if n >= FEWEST and share > MOST_PAIRS:
            lines.append(
                f"{share:.0%} called pairs is more than stars have: look at the PSF, if these are not chosen ones"
            )
        return "", lines
    return why, lines


def advice(why: str) -> Sequence[str]:
    """What to do about all stamps of a file being doubtful."""
    if not why:
        return ()
    return (
        f"all are doubtful: {why}. Look at --psf (with --psf-oversampling, --pixel-integrated), --noise and "
        "--background, and that the counts are electrons",
    )


def _median(quality: Quality, rows: np.ndarray) -> tuple[float, float]:
    """Median χ² per degree of freedom and its error, were all of them right."""
    return float(np.median(quality.chi2[rows])), 1.25 * float(np.median(quality.chi2_err[rows])) / np.sqrt(len(rows))
