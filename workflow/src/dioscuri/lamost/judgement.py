"""Whether the exposures of a LAMOST MRS file can be what they say: wavelengths, errors, pixels, and one another.

The limits are wide around what eight real files of four spectrographs show (DR7 and DR9, 68 exposures and 16
co-adds, S/N 0 to 200); the ranges found are given with each.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from dioscuri.flags import Quality, Refusal
from dioscuri.lamost.exposures import Exposure, Fault

STEPS = (5e-6, 2e-5)  # of log10 λ from pixel to pixel; found: 7.4e-6 to 1.14e-5
SAME_GRID = 10 / 299_792.458 / np.log(10)  # of log10 λ, 10 km/s: exposures of one night agree to 0.6
COADD_START = 1e-4  # of log10 λ, ten pixels: a co-add begins where its exposures do, to 1.4 pixels
COPIES = 2  # pixels that have, with an unlike neighbour, the float32 fluxes of two others; found: 0
CONSTANT = 16  # pixels with the flux of their neighbour; found: 16, in empty spectra
SNR_RATIO = 1.3  # between the header's S/N and that of the pixels; found: 1.00 to 1.10 above S/N 3
SNR_FAINT = 5.0  # below which neither S/N nor errors are held against anything
SCATTER = (0.25, 2.5)  # of neighbouring pixels over their errors; found: 0.69 to 1.14, simulated co-adds 0.7
SCATTER_COADD = (0.05, 2.5)  # co-adds are interpolated; found: 0.16 to 0.32
BLOCKS = 6  # of a spectrum, whose shapes are compared: wide enough that lines may move and blend within them
SHAPE, SHAPE_REFUSED = 0.08, 0.13  # scatter of their ratios: flagged, refused
CROWDING = 0.005  # of the flux: lines of R = 7500 alone make third differences of so much


def grid_fault(wave: np.ndarray) -> Fault | None:
    """What is wrong with the wavelengths (P,) [Å] as the file has them; they may ascend or descend."""
    known = np.isfinite(wave) & (wave > 0)
    if not known.all():
        return _off_grid(f"{np.sum(~known)} of {len(wave)} pixels have no wavelength")
    steps = np.diff(np.log10(wave))
    steps = steps if median(steps) > 0 else -steps
    for found, what in ((steps < 0, "step back"), (steps == 0, "repeat")):
        if found.any():
            return _off_grid(f"wavelengths {what} at {found.sum()} of {len(wave)} pixels")
    if len(wave) > 1 and not STEPS[0] <= steps.min() <= steps.max() <= STEPS[1]:
        found = f"steps of {steps.min():.2g} to {steps.max():.2g} in log λ over {len(wave)} pixels"
        return _off_grid(f"{found}, accepted are {STEPS[0]:g} to {STEPS[1]:g}: rows are missing, or stretched")
    return None


def _off_grid(detail: str) -> Fault:
    return Fault(Refusal.BAD_GRID, Quality.BAD_GRID, detail)


def pixel_fault(exposure: Exposure) -> Fault | None:
    """What is wrong with fluxes and errors: constant or copied pixels, errors against scatter and header."""
    flux, ivar = exposure.flux, exposure.ivar
    good = np.isfinite(flux) & np.isfinite(ivar) & (ivar > 0) & ~exposure.mask
    if not flux[good].any():
        return None  # empty: refused for that
    if detail := copied_pixels(flux[good], CONSTANT):
        return Fault(Refusal.COPIED_PIXELS, Quality.COPIED_PIXELS, detail)
    with np.errstate(all="ignore"):  # damaged pixels reach float32's limits
        snr = float(median(flux[good] * np.sqrt(ivar[good])))
    if not max(snr, exposure.snr) > SNR_FAINT:
        return None
    if not 1 / SNR_RATIO < snr / exposure.snr < SNR_RATIO if exposure.snr > 0 else True:
        return _bad_errors(f"pixels have S/N {snr:.3g}, the header says {exposure.snr:.3g}")
    ratio = scatter(flux, ivar, good)
    low, high = SCATTER_COADD if exposure.is_coadd else SCATTER
    if not low < ratio < high:
        return _bad_errors(f"pixels scatter by {ratio:.2g} of their errors, accepted is {low:g} to {high:g}")
    return None


def _bad_errors(detail: str) -> Fault:
    return Fault(Refusal.BAD_ERRORS, Quality.BAD_ERRORS, detail)


def copied_pixels(flux: np.ndarray, most_constant: int) -> str | None:
    """What of the fluxes (P,) is copied, in words: more than `most_constant` from their neighbours, or from elsewhere.

    Single values may meet by chance, two unlike ones in a row never did in real files. A block that was moved leaves
    as many copies as it was moved by pixels.
    """
    ordered = np.sort(flux)  # pairs can repeat no oftener than their fluxes do, and that is soon counted
    if np.count_nonzero(ordered[1:] == ordered[:-1]) <= COPIES:
        return None
    changes = flux[1:] != flux[:-1]
    pairs = (flux[:-1] + 1j * flux[1:])[changes]
    copies = len(pairs) - len(np.unique(pairs))
    for number, most in ((len(flux) - 1 - np.count_nonzero(changes), most_constant), (copies, COPIES)):
        if number > most:
            return f"{number} of {len(flux)} pixels are copies of others; accepted are {most}"
    return None


def scatter(flux: np.ndarray, ivar: np.ndarray, good: np.ndarray) -> float:
    """Robust scatter of third differences over what the errors and crowded lines let expect; 1: no news."""
    whole = good[3:] & good[2:-1] & good[1:-2] & good[:-3]
    if not whole.any():
        return 1.0
    with np.errstate(all="ignore"):
        found = 1.4826 * median(np.abs(np.diff(flux, 3)[whole])) / np.sqrt(20)
        sigma = median(ivar[1:-2][whole] ** -0.5)
        # Lines only add to the scatter: errors are too large whatever the lines, too small only beside them.
        return float(found / sigma if found < sigma else max(1.0, found / np.hypot(sigma, CROWDING * median(flux))))


def judge_together(exposures: Sequence[Exposure]) -> list[Exposure]:
    """The exposures of one file, with its fault for each that cannot be right alone or beside the others of its arm.

    Beside the others: the same fluxes under two names, wavelengths or a shape of the spectrum unlike those of the
    other exposures of the night. Of two that disagree both are at fault.
    """
    fluxes = Counter(exposure.flux.tobytes() for exposure in exposures if exposure.flux.any())
    seen = [Seen(exposure) for exposure in exposures]
    judged = []
    for here, exposure in zip(seen, exposures):
        siblings = [e for e in seen if e.it.arm == exposure.arm and e is not here]
        fault = exposure.fault or pixel_fault(exposure)
        if fault is None and fluxes[exposure.flux.tobytes()] > 1:
            detail = "another exposure has the same fluxes"
            fault = Fault(Refusal.COPIED_PIXELS, Quality.COPIED_PIXELS, detail)
        elif fault is None:
            fault = _unlike(here, siblings)
        if fault is None and _oddness(here, siblings) > SHAPE:
            exposure = replace(exposure, flags=exposure.flags | Quality.CONTRADICTION)
        judged.append(exposure if fault is exposure.fault else replace(exposure, fault=fault))
    return judged


class Seen:
    """An exposure with what all comparisons look at, each computed once: log10 λ, and the shape of the spectrum."""

    def __init__(self, exposure: Exposure):
        self.it = exposure

    @cached_property
    def log_wave(self) -> np.ndarray:
        """(P,)"""
        return np.log10(self.it.wave)

    @cached_property
    def shape(self) -> np.ndarray:
        """Medians of the flux in blocks of the spectrum over that of all, (BLOCKS,); NaN in none: 1 there."""
        parts = zip(np.array_split(self.it.flux, BLOCKS), np.array_split(self.it.mask, BLOCKS))
        medians = np.array([_finite_median(flux[~mask]) for flux, mask in parts])
        medians /= np.nanmedian(medians)
        return np.where(np.isfinite(medians) & (medians != 0), medians, 1.0)


def _unlike(exposure: Seen, siblings: Sequence[Seen]) -> Fault | None:
    """Whether its wavelengths differ from those of most exposures of its arm (a co-add: where it begins)."""
    others = [e for e in siblings if not e.it.is_coadd and e.it.fault is None]
    if not others or not len(exposure.it.wave):
        return None
    here = exposure.log_wave
    if exposure.it.is_coadd:
        off = abs(here[0] - np.median([np.log10(e.it.wave[0]) for e in others]))
        straight = np.abs(here - np.linspace(here[0], here[-1], len(here))).max()
        if off > COADD_START or straight > SAME_GRID:
            return _off_grid("does not begin where its exposures do, or is not uniform in log λ")
        return None
    alike = [len(e.log_wave) == len(here) and np.abs(e.log_wave - here).max() < SAME_GRID for e in others]
    if 2 * sum(alike) < len(alike):
        return _off_grid(f"wavelengths differ from those of {len(alike) - sum(alike)} other exposures of the night")
    if (odd := _oddness(exposure, others)) > SHAPE_REFUSED:
        detail = f"its spectrum is shaped unlike those of other exposures of the night (by {odd:.2f})"
        return Fault(Refusal.CONTRADICTION, Quality.CONTRADICTION, detail)
    return None


def _oddness(exposure: Seen, siblings: Sequence[Seen]) -> float:
    """What its unlikeness to most of the other exposures of its arm reaches; 0 where none is bright enough."""
    bright = [e for e in siblings if not e.it.is_coadd and min(e.it.snr, exposure.it.snr) > SNR_FAINT]
    if exposure.it.is_coadd or not bright:
        return 0.0
    # Scatter of the ratio of two shapes: 0 for the same star, whatever its lines do.
    found = sorted(float(np.std(exposure.shape / e.shape)) for e in bright)
    return found[(len(found) - 1) // 2]


def unlikeness(one: Exposure, other: Exposure) -> float:
    """Scatter of the ratio of two exposures' shapes: 0 for the same star, whatever its lines do."""
    return float(np.std(Seen(one).shape / Seen(other).shape))


def _finite_median(values: np.ndarray) -> float:
    values = values[np.isfinite(values)]
    return median(values) if values.size else np.nan


def median(values: np.ndarray) -> float:
    """`np.median` of (N,), a fifth of its time on the thousands of pixels of a spectrum."""
    n = len(values)
    if n == 0:
        return np.nan
    middle = np.partition(values, (n - 1) // 2 if n % 2 else (n // 2 - 1, n // 2))
    found = middle[n // 2] if n % 2 else 0.5 * (middle[n // 2 - 1] + middle[n // 2])
    return found if np.isfinite(found) and not np.isnan(values).any() else np.median(values)
