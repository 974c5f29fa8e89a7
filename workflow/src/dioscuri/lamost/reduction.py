"""The spectra of one arm, from native pixels to the mocks' frame: repair, radial velocity, common grid,
continuum.

The order is that of Zhang et al. (2022, §4.1) with repairs moved forward: masked pixels and cosmic rays are
bridged on the native pixels, before any interpolation could smear them over their neighbours.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.ndimage import binary_dilation, median_filter, percentile_filter

from dioscuri import shards
from dioscuri.arms import C_KMS, Arm
from dioscuri.flags import Quality, Refusal
from dioscuri.lamost.exposures import Exposure
from dioscuri.spectra import continuum

# Observed-frame margin on either side of an arm's grid; no velocity beyond it is searched.
REACH_KMS = 700.0
# Pixels of the running median for bright cosmic rays: grazing ones of 15 pixels occur, which 25 do not
# bridge.
MEDIAN_WIDTH = 51
# This percentile over this many pixels stands in for the continuum before that is fitted.
ENVELOPE_WIDTH, ENVELOPE_PERCENTILE = 301, 95
# A cosmic ray stands out by this many σ; a bright one exceeds the envelope by this share of it. No star's
# continuum does, down to the crowded spectra of 4000 K; with the 80th percentile and 10 %, up to 58 pixels
# would be lost there.
SPIKE_SIGMA, SPIKE_EXCESS = 6.0, 0.20
# Sharp ones, also inside a line: pixels of a running median, and the share of the envelope by which they
# exceed it.
SHARP = ((5, 0.12), (9, 0.30))
FEWEST_GOOD = 0.5  # share of pixels that must be good
FEWEST_COVERED = 0.8  # share of the grid that the native pixels must cover
BRIGHTEST = 1.5  # of the continuum: emission above this is cut before the cross-correlation


class Velocities(Protocol):
    """Velocities [km/s] of S spectra, as `dioscuri.spectra.velocity` gives them; all (S,)."""

    @property
    def rv(self) -> np.ndarray: ...
    @property
    def rv_err(self) -> np.ndarray: ...
    @property
    def teff(self) -> np.ndarray: ...
    @property
    def ccf_max(self) -> np.ndarray: ...
    @property
    def at_edge(self) -> np.ndarray: ...


class Meter(Protocol):
    """What measures velocities of normalised spectra; `teff` (T,) [K] of its templates."""

    teff: np.ndarray

    def measure(
        self, wave: Sequence[np.ndarray], flux: Sequence[np.ndarray], sigma: Sequence[np.ndarray]
    ) -> Velocities: ...


class RefusedSpectrum(Exception):
    """One arm of one exposure that cannot be used."""

    def __init__(self, reason: Refusal, flag: Quality, detail: str):
        super().__init__(f"{reason.value}: {detail}")
        self.reason, self.flag, self.detail = reason, flag, detail


@dataclass(frozen=True)
class Cleaned:
    """A repaired native spectrum of P pixels: `wave` [Å, observed], `flux` and `sigma` in units of the median
    flux, `bad` (P,) the pixels that were bridged."""

    wave: np.ndarray
    flux: np.ndarray
    sigma: np.ndarray
    bad: np.ndarray


def spikes(flux: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Pixels (P,) hit by cosmic rays, with one neighbour on either side; two kinds, both 6σ strong.

    Bright ones stand above the running median of 51 pixels (σ here is at least the scatter of the whole
    spectrum) and 20 % above the continuum, where no absorption line can be; a narrow, bright emission line
    goes with them. Sharp ones stand above the median of 5 pixels by 12 % of the continuum, or above that of 9
    by 30 %: the line spread, 5.5 pixels of FWHM, does not bend a star's spectrum so much.
    """
    envelope = percentile_filter(flux, ENVELOPE_PERCENTILE, ENVELOPE_WIDTH, mode="nearest")
    above = flux - median_filter(flux, MEDIAN_WIDTH, mode="nearest")
    scatter = 1.4826 * np.median(np.abs(above))
    hit = (above > SPIKE_SIGMA * np.maximum(sigma, scatter)) & (flux > (1 + SPIKE_EXCESS) * envelope)
    for width, excess in SHARP:
        jump = flux - median_filter(flux, width, mode="nearest")
        hit |= (jump > SPIKE_SIGMA * sigma) & (jump > excess * envelope)
    return binary_dilation(hit, np.ones(3, bool)) if hit.any() else hit


def clean(
    exposure: Exposure,
    arm: Arm,
    snr_min: float,
    find_spikes: Callable[[np.ndarray, np.ndarray], np.ndarray] = spikes,
) -> Cleaned:
    """Bridge bad pixels in the part of an exposure that the arm's grid can see.

    Bad are pixels with a mask bit, ivar ≤ 0, anything not finite, what `find_spikes` finds, and flux more than
    6σ below zero. Flux and error of bad pixels come by linear interpolation between good ones. Raises RefusedSpectrum.
    """
    if (fault := exposure.fault) is not None:
        raise RefusedSpectrum(fault.reason, fault.flag, fault.detail)
    low, high = _visible(arm)
    part = slice(*np.searchsorted(exposure.wave, (low, high)))
    wave, flux, ivar = exposure.wave[part], exposure.flux[part], exposure.ivar[part]
    _require_coverage(wave, arm)
    finite = np.isfinite(flux)
    if finite.any() and not flux[finite].any():
        raise RefusedSpectrum(Refusal.EMPTY, Quality.LOW_SNR, "all fluxes are zero")
    good = finite & np.isfinite(ivar) & (ivar > 0) & ~exposure.mask[part]
    _require_good(good)
    typical = float(np.median(flux[good]))
    if typical <= 0:
        detail = f"median flux {typical:.3g}, S/N {exposure.snr:.2f}"
        raise RefusedSpectrum(Refusal.EMPTY, Quality.LOW_SNR, detail)
    if not exposure.snr > snr_min:
        detail = f"S/N {exposure.snr:.2f}, accepted is above {snr_min:g}"
        raise RefusedSpectrum(Refusal.LOW_SNR, Quality.LOW_SNR, detail)
    flux = np.interp(wave, wave[good], flux[good]) / typical
    sigma = np.interp(wave, wave[good], 1.0 / np.sqrt(ivar[good])) / typical
    good &= ~find_spikes(flux, sigma) & (flux > -SPIKE_SIGMA * sigma)
    _require_good(good)
    flux, sigma = np.interp(wave, wave[good], flux[good]), np.interp(wave, wave[good], sigma[good])
    return Cleaned(wave, flux, sigma, ~good)


def _visible(arm: Arm) -> tuple[float, float]:
    """The observed wavelengths [Å] that can fall on the arm's grid."""
    return arm.wave_min * (1 - REACH_KMS / C_KMS), arm.wave_max * (1 + REACH_KMS / C_KMS)


def _require_coverage(wave: np.ndarray, arm: Arm) -> None:
    covered = np.mean((arm.wave >= wave[0]) & (arm.wave <= wave[-1])) if len(wave) else 0.0
    if covered < FEWEST_COVERED:
        found = f"{wave[0]:.0f}–{wave[-1]:.0f} Å" if len(wave) else "nothing"
        detail = f"{found} found between {arm.wave_min:.0f} and {arm.wave_max:.0f} Å"
        raise RefusedSpectrum(Refusal.NO_COVERAGE, Quality.SHORT_COVERAGE, detail)


def _require_good(good: np.ndarray) -> None:
    if good.mean() < FEWEST_GOOD:
        detail = f"{good.sum()} of {len(good)} pixels are good"
        raise RefusedSpectrum(Refusal.NOT_FINITE, Quality.MANY_BAD_PIXELS, detail)


def measure_velocities(spectra: Sequence[Cleaned], arm: Arm, meter: Meter) -> Velocities:
    """Radial velocities of cleaned spectra, from their native pixels.

    The continuum is fitted for all at once on one observed-frame grid with the arm's own pixel, and carried
    to the native pixels, so that the noise that is correlated with templates has not been interpolated.
    Emission above 1.5 of the continuum is cut.
    """
    low, high = _visible(arm)
    n_pixels = int((high - low) / (arm.wave_max - arm.wave_min) * (arm.n_pixels - 1)) + 1
    grid = np.linspace(low, high, n_pixels)
    flux = [np.interp(grid, s.wave, s.flux, left=np.nan, right=np.nan) for s in spectra]
    levels = continuum.fit_continuum(grid, np.stack(flux))
    normalised, errors = [], []
    for spectrum, level in zip(spectra, levels, strict=True):
        level = np.interp(spectrum.wave, grid, level)
        usable = level > 0
        ratio = np.divide(spectrum.flux, level, out=np.full_like(level, np.nan), where=usable)
        normalised.append(np.minimum(ratio, BRIGHTEST))
        errors.append(np.divide(spectrum.sigma, level, out=np.full_like(level, np.nan), where=usable))
    return meter.measure([spectrum.wave for spectrum in spectra], normalised, errors)


def rest_frame(
    spectra: Sequence[Cleaned],
    rv: np.ndarray,
    arm: Arm,
    continuum_of: Callable[[np.ndarray, np.ndarray], np.ndarray] = continuum.fit_continuum,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shift S spectra by −`rv` (S,) [km/s], bring them to the arm's grid and divide by their continuum.

    Returns flux − 1 and its error, (S, L) float16, and whether each spectrum covers the whole grid, (S,)
    bool; pixels beyond its ends are continuum, with the error of the last pixel. Interpolation is linear, as
    in the paper; the error is interpolated like the flux and so overstates the noise between two native
    pixels, by 1.2 on average.
    """
    flux, sigma = np.empty((2, len(spectra), arm.n_pixels))
    for i, (spectrum, velocity) in enumerate(zip(spectra, rv, strict=True)):
        wave = spectrum.wave / (1 + velocity / C_KMS)
        flux[i] = np.interp(arm.wave, wave, spectrum.flux, left=np.nan, right=np.nan)
        sigma[i] = np.interp(arm.wave, wave, spectrum.sigma)
    missing = np.isnan(flux)
    level = continuum_of(arm.wave, flux)
    level = np.where(level > 0, level, np.nan)
    normalised = flux / level
    normalised[missing] = 1.0
    # What half precision cannot hold becomes infinite; the caller refuses it.
    with np.errstate(over="ignore"):
        error = (sigma / level).astype(shards.FLUX_DTYPE)
        return (normalised - 1).astype(shards.FLUX_DTYPE), error, np.logical_not(missing.any(axis=1))
