"""The spectra of one arm, from native pixels to the mocks' frame: repair, radial velocity, common grid,
continuum.

The order is that of Zhang et al. (2022, §4.1) with repairs moved forward: masked pixels and cosmic rays are
bridged on the native pixels, before any interpolation could smear them over their neighbours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.ndimage import binary_dilation, median_filter, percentile_filter

from dioscuri import io
from dioscuri.flags import Quality, Refusal
from dioscuri.spectra import continuum
from dioscuri.spectra.arms import C_KMS, Arm
from dioscuri.spectra.lamost import Exposure

REACH_KMS = (
    700.0  # observed-frame margin on either side of an arm's grid, beyond any velocity that is searched
)

MEDIAN_WIDTH = 25  # pixels; wider than a resolved line core, so that the median bridges any cosmic ray
ENVELOPE_WIDTH = (
    301  # pixels; the 80th percentile over this width stands in for the continuum before it is fitted
)
ENVELOPE_QUANTILE = 80
SPIKE_SIGMA = 6.0  # a cosmic ray stands this far above the running median ...
SPIKE_EXCESS = (
    1.15  # ... and above this multiple of the envelope, so that no stellar feature is mistaken for one
)
FEWEST_GOOD = 0.5  # share of pixels that must be good
FEWEST_COVERED = 0.8  # share of the grid that the native pixels must cover
BRIGHTEST = 1.5  # of the continuum: emission above this is cut before the cross-correlation


class Velocities(Protocol):
    """Velocities [km/s] of S spectra, as `dioscuri.spectra.velocity` gives them; all (S,)."""

    rv: np.ndarray
    rv_err: np.ndarray
    teff: np.ndarray
    ccf_max: np.ndarray
    at_edge: np.ndarray


class Meter(Protocol):
    """What measures velocities of normalised spectra (S, L) on one wavelength grid (L,)."""

    def measure(self, wave: np.ndarray, flux: np.ndarray) -> Velocities: ...


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


def clean(exposure: Exposure, arm: Arm, snr_min: float) -> Cleaned:
    """Bridge masked pixels and cosmic rays of the part of an exposure that the arm's grid can see.

    Bad are: pixels with a mask bit, ivar ≤ 0, anything not finite, spikes (see `spikes`), and flux more than
    6σ below zero. Flux and error of bad pixels come by linear interpolation between good ones. Raises
    RefusedSpectrum.
    """
    reach = REACH_KMS / C_KMS
    low, high = arm.wave_min * (1 - reach), arm.wave_max * (1 + reach)
    part = slice(*np.searchsorted(exposure.wave, (low, high)))
    wave, flux, ivar = exposure.wave[part], exposure.flux[part], exposure.ivar[part]
    covered = np.mean((arm.wave >= wave[0]) & (arm.wave <= wave[-1])) if len(wave) else 0.0
    if covered < FEWEST_COVERED:
        where = (
            f"{exposure.wave[0]:.0f}–{exposure.wave[-1]:.0f} Å" if len(exposure.wave) else "no wavelengths"
        )
        detail = f"{where} found, {arm.wave_min:.0f}–{arm.wave_max:.0f} Å needed"
        raise RefusedSpectrum(Refusal.NO_COVERAGE, Quality.SHORT_COVERAGE, detail)
    good = np.isfinite(flux) & np.isfinite(ivar) & (ivar > 0) & ~exposure.mask[part]
    if np.all(flux[np.isfinite(flux)] == 0) and np.isfinite(flux).any():
        raise RefusedSpectrum(Refusal.EMPTY, Quality.LOW_SNR, "all fluxes are zero")
    if good.mean() < FEWEST_GOOD:
        detail = f"{good.sum()} of {len(good)} pixels are good"
        raise RefusedSpectrum(Refusal.NOT_FINITE, Quality.MANY_BAD_PIXELS, detail)
    typical = float(np.median(flux[good]))
    if typical <= 0:
        detail = f"median flux {typical:.3g}, S/N {exposure.snr:.2f}"
        raise RefusedSpectrum(Refusal.EMPTY, Quality.LOW_SNR, detail)
    if not exposure.snr > snr_min:
        raise RefusedSpectrum(
            Refusal.LOW_SNR, Quality.LOW_SNR, f"S/N {exposure.snr:.2f}, needed is above {snr_min:g}"
        )
    flux = np.interp(wave, wave[good], flux[good]) / typical
    sigma = np.interp(wave, wave[good], 1.0 / np.sqrt(ivar[good])) / typical
    strange = spikes(flux, sigma) | (flux < -SPIKE_SIGMA * sigma)
    good &= ~strange
    if good.mean() < FEWEST_GOOD:
        detail = f"{good.sum()} of {len(good)} pixels are good, {strange.sum()} are spikes"
        raise RefusedSpectrum(Refusal.NOT_FINITE, Quality.MANY_BAD_PIXELS, detail)
    flux, sigma = np.interp(wave, wave[good], flux[good]), np.interp(wave, wave[good], sigma[good])
    return Cleaned(wave, flux, sigma, ~good)


def spikes(flux: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Pixels (P,) hit by cosmic rays, with one neighbour on either side: far above the running median of 25
    pixels, in units of their error and of the scatter of the whole spectrum, and well above the continuum."""
    residual = flux - median_filter(flux, MEDIAN_WIDTH, mode="nearest")
    scatter = 1.4826 * np.median(np.abs(residual))
    envelope = percentile_filter(flux, ENVELOPE_QUANTILE, ENVELOPE_WIDTH, mode="nearest")
    hit = (residual > SPIKE_SIGMA * np.maximum(sigma, scatter)) & (flux > SPIKE_EXCESS * envelope)
    return binary_dilation(hit, np.ones(3, bool)) if hit.any() else hit


def measure_velocities(spectra: Sequence[Cleaned], arm: Arm, meter: Meter) -> Velocities:
    """Radial velocities of cleaned spectra, normalised on one observed-frame grid that all of them share.

    The grid has the arm's own pixel and reaches 700 km/s further on either side. Pixels without data count as
    continuum; emission above 1.5 of the continuum, and what a bad fit leaves below zero, is cut.
    """
    reach = REACH_KMS / C_KMS
    low, high = arm.wave_min * (1 - reach), arm.wave_max * (1 + reach)
    n_pixels = int((high - low) / (arm.wave_max - arm.wave_min) * (arm.n_pixels - 1)) + 1
    wave = np.linspace(low, high, n_pixels)
    flux = np.stack([np.interp(wave, s.wave, s.flux, left=np.nan, right=np.nan) for s in spectra])
    normalised, _, _ = continuum.normalise(wave, flux)
    return meter.measure(wave, np.clip(np.nan_to_num(normalised, nan=1.0), 0.0, BRIGHTEST))


def rest_frame(
    spectra: Sequence[Cleaned], rv: np.ndarray, arm: Arm
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
    normalised, _, level = continuum.normalise(arm.wave, flux)
    normalised[missing] = 1.0
    with np.errstate(
        over="ignore"
    ):  # what half precision cannot hold becomes infinite, and is refused as such
        error = (sigma / np.where(level > 0, level, np.nan)).astype(io.FLUX_DTYPE)
        return (normalised - 1).astype(io.FLUX_DTYPE), error, np.logical_not(missing.any(axis=1))
