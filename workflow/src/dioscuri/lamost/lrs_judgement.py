"""Whether an LRS can be what it says: wavelengths, errors, pixels. What cannot is refused.

The limits are wide around what 440 real files of DR1 to DR10 show (S/N_g 1 to 680); the ranges found are given with
each.
"""

import numpy as np

from dioscuri.flags import Refusal
from dioscuri.lamost.fits_units import RefusedFile
from dioscuri.lamost.judgement import copied_pixels, scatter

# Log10 of the first wavelength [Å] and its step: what every LRS has; others begin whole pixels away.
FIRST, STEP = 3.5682, 1e-4
FARTHEST = 0.05  # of log10 λ, where another may begin
OFF_GRID = 0.1  # pixels, 7 km/s; found: 0.018
CONSTANT = 60  # pixels with the flux of their neighbour; found: 31
SNR_RATIO = 1.3  # between the header's S/N_g and that of the pixels; found: 0.97 to 1.19
SNR_FAINT = 5.0  # below which neither S/N nor errors are held against anything
G_BAND = (4000.0, 5500.0)  # Å
LIKENESS = 0.1  # correlation of steps from pixel to pixel in flux and in flux over continuum (DR1); found: 0.25 to 0.98
SCATTER = (0.2, 3.0)  # of neighbouring pixels over errors and crowded lines; found: 0.34 to 2.36


def judge_grid(wave: np.ndarray) -> None:
    """Raise RefusedFile unless the wavelengths (P,) [Å], as the file has them, are those of LAMOST's pixels."""
    known = np.isfinite(wave) & (wave > 0)
    if not known.all():
        raise _off_grid(f"{np.sum(~known)} of {len(wave)} pixels have no wavelength")
    pixels = (np.log10(wave) - FIRST) / STEP
    begin = round(float(pixels[0]))
    if abs(begin) * STEP > FARTHEST:
        raise _off_grid(f"it begins at {wave[0]:.1f} Å, accepted is {10**FIRST:.1f} Å within {FARTHEST} in log λ")
    off = np.abs(pixels - begin - np.arange(len(wave)))
    if off.max() > OFF_GRID:
        what = f"{np.sum(off > OFF_GRID)} of {len(wave)} wavelengths lie up to {off.max():.3g} pixels off"
        raise _off_grid(f"{what}; accepted are steps of {STEP:g} in log λ within {OFF_GRID}")


def judge_subcontinuum(flux: np.ndarray, normalised: np.ndarray, ivar: np.ndarray) -> None:
    """Raise RefusedFile unless DR1's third row, the flux over its continuum, is that of the flux (P,)."""
    steps, others = np.diff(flux), np.diff(normalised)
    known = np.isfinite(steps) & np.isfinite(others) & (ivar[1:] > 0)
    with np.errstate(all="ignore"):
        alike = np.corrcoef(steps[known], others[known])[0, 1] if known.sum() > 2 else np.nan
    if alike < LIKENESS:  # NaN: no flux, refused for that
        raise RefusedFile(Refusal.CONTRADICTION, f"'Subcontinuum' is not that of the flux (correlation {alike:.2f})")


def judge_pixels(wave: np.ndarray, flux: np.ndarray, ivar: np.ndarray, mask: np.ndarray, snrg: float) -> None:
    """Raise RefusedFile where fluxes are constant or copied, or errors contradict them or the header's `snrg`."""
    good = np.isfinite(flux) & np.isfinite(ivar) & (ivar > 0) & ~mask
    if not flux[good].any():
        return  # empty: refused for that
    if detail := copied_pixels(flux[good], CONSTANT):
        raise RefusedFile(Refusal.COPIED_PIXELS, detail)
    green = good & (wave > G_BAND[0]) & (wave < G_BAND[1])
    with np.errstate(all="ignore"):  # damaged pixels reach float32's limits
        snr = float(np.median(flux[green] * np.sqrt(ivar[green]))) if green.any() else np.nan
    if not max(snr, snrg) > SNR_FAINT:
        return
    if np.isfinite(snrg) and not 1 / SNR_RATIO < snr / snrg < SNR_RATIO:
        raise RefusedFile(Refusal.BAD_ERRORS, f"pixels have S/N {snr:.3g} in g, the header says {snrg:.3g}")
    ratio = scatter(flux, ivar, good)
    if not SCATTER[0] < ratio < SCATTER[1]:
        detail = f"pixels scatter by {ratio:.2g} of their errors, accepted is {SCATTER[0]:g} to {SCATTER[1]:g}"
        raise RefusedFile(Refusal.BAD_ERRORS, detail)


def _off_grid(detail: str) -> RefusedFile:
    return RefusedFile(Refusal.BAD_GRID, detail)
