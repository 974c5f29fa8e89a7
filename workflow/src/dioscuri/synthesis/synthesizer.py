"""Synthetic spectra, in LTE but for the Balmer cores: surface flux and continuum of one star in several windows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from scipy.special import expn

from dioscuri.arms import C_KMS
from dioscuri.synthesis.atmosphere import D_LN_TAU, Atmosphere, model_atmosphere
from dioscuri.synthesis.equation_of_state import BOLTZMANN, LIGHT, PLANCK
from dioscuri.synthesis.lines import LineList, read_linelist
from dioscuri.synthesis.molecular_opacity import add_molecules
from dioscuri.synthesis.profiles import add_balmer, add_lines, line_parameters

__all__ = [
    "VALIDITY",
    "LineList",
    "Spectrum",
    "continuum_flux",
    "microturbulence_relation",
    "read_linelist",
    "smooth_to_resolution",
    "synthesize",
    "synthesize_windows",
]

# Checked against other libraries and stars at 5000-6550 K, with molecules against real K and M dwarfs from 3700 K.
# Without molecules lines are too few below 4300 K.
VALIDITY = {"teff": (4000.0, 8000.0), "logg": (1.0, 5.0), "feh": (-2.0, 0.5), "afe": (-0.5, 0.7)}
COOLEST_WITH_MOLECULES = 3500.0  # K; below, H2O and VO matter and are missing

# A line is followed out to where it changes the flux by less than about this much.
FLUX_TOLERANCE = 3e-4
# Continuum opacity and Planck function are exact at knots this far apart [Å] and linear between.
KNOT_SPACING = 100.0
# Lines are computed at steps no longer than this [km/s]: narrow ones have σ ≈ 1.1 km/s.
LONGEST_STEP = 2.0
# Lines of this many Å beyond a window still reach into it.
MARGIN = 15.0

# E4(t), the exponential integral, at even steps of t; the flux integral needs its differences only.
_E4_STEP = 0.005
_E4_MAX = 25.0


_E4 = expn(4, np.arange(0.0, _E4_MAX + 2.5 * _E4_STEP, _E4_STEP))


@dataclass(frozen=True)
class Spectrum:
    """A synthetic spectrum on a grid uniform in ln λ."""

    wave: np.ndarray  # (L,) vacuum Å
    flux: np.ndarray  # (L,) F_λ at the stellar surface, erg/s/cm²/Å
    continuum: np.ndarray  # (L,) the same without lines


def microturbulence_relation(teff: float, logg: float, feh: float) -> float:
    """Microturbulence [km/s] of a star: the Gaia-ESO relation (Bergemann & Hoffmann; as in iSpec), 2.5 at most.

    Its two branches (dwarfs, giants) are joined linearly over logg 3-4 and held constant below 5000 K.
    """
    t = max(teff, 5000.0) - 5500.0
    g = logg - 4.0
    metals = 0.05 * feh + 0.01 * feh**2
    dwarf = 1.05 + 2.51e-4 * t + 1.5e-7 * t**2 - 0.14 * g - 0.005 * g**2 + metals
    giant = 1.25 + 4.01e-4 * t + 3.1e-7 * t**2 - 0.14 * g - 0.05 * g**2 + metals
    mix = min(max(logg - 3.0, 0.0), 1.0)
    return min(mix * dwarf + (1.0 - mix) * giant, 2.5)


def synthesize(
    teff: float,
    logg: float,
    feh: float,
    afe: float,
    wave_min: float,
    wave_max: float,
    *,
    linelist: LineList,
    step_kms: float = 2.0,
    microturbulence: float | None = None,
    resolution: float | None = None,
    molecules: bool = False,
) -> Spectrum:
    """The spectrum of one star between two vacuum wavelengths [Å]; see `synthesize_windows`."""
    return synthesize_windows(
        teff,
        logg,
        feh,
        afe,
        [(wave_min, wave_max)],
        linelist=linelist,
        step_kms=step_kms,
        microturbulence=microturbulence,
        resolution=resolution,
        molecules=molecules,
    )[0]


def synthesize_windows(
    teff: float,
    logg: float,
    feh: float,
    afe: float,
    windows: Sequence[tuple[float, float]],
    *,
    linelist: LineList,
    step_kms: float = 2.0,
    microturbulence: float | None = None,
    resolution: float | None = None,
    molecules: bool = False,
) -> list[Spectrum]:
    """Spectra of one star in several windows that share its atmosphere.

    `teff` [K], `logg` [cgs], `feh`, `afe` [dex]; `windows` (vacuum Å from, to); `step_kms` the grid step in km/s;
    `microturbulence` [km/s], by default `microturbulence_relation`; `resolution`: convolve to that resolving power
    (the step must sample it: FWHM ≥ 2 steps); `molecules`: with all bands of `band_systems` in place of the list's MgH
    lines, and with the atmosphere of `model_atmosphere(…, molecules=True)`. Lines are always computed at LONGEST_STEP
    or finer. Labels outside VALIDITY raise ValueError.
    """
    _check_labels(teff, logg, feh, afe, molecules)
    if resolution is not None:
        _check_sampling(resolution, step_kms)
    xi = microturbulence_relation(teff, logg, feh) if microturbulence is None else microturbulence
    atmosphere = model_atmosphere(teff, logg, feh, afe, molecules)
    return [_synthesize(atmosphere, window, linelist, step_kms, xi, resolution) for window in windows]


def _check_labels(teff: float, logg: float, feh: float, afe: float, molecules: bool) -> None:
    for name, value in (("teff", teff), ("logg", logg), ("feh", feh), ("afe", afe)):
        low, high = VALIDITY[name]
        if name == "teff" and molecules:
            low = COOLEST_WITH_MOLECULES
        if not low <= value <= high:
            raise ValueError(
                f"cannot synthesize {name} = {value:g}: the embedded atmospheres serve {low:g} to {high:g}"
            )


def _synthesize(
    atmosphere: Atmosphere,
    window: tuple[float, float],
    linelist: LineList,
    step_kms: float,
    microturbulence: float,
    resolution: float | None,
) -> Spectrum:
    n_pixels = int(np.floor(np.log(window[1] / window[0]) * C_KMS / step_kms * (1.0 + 1e-12))) + 1
    substeps = int(np.ceil(step_kms / LONGEST_STEP - 1e-9))
    fine_kms = step_kms / substeps
    step = fine_kms / C_KMS
    pad = 0 if resolution is None else int(np.ceil(5.0 * _gaussian_sigma(resolution, fine_kms)))
    ln_start = np.log(window[0]) - pad * step
    n_fine = (n_pixels - 1) * substeps + 1
    wave = np.exp(ln_start + step * np.arange(n_fine + 2 * pad))

    n_knots = 2 + int((wave[-1] - wave[0]) / KNOT_SPACING)
    knots = np.linspace(wave[0], wave[-1], n_knots)
    continuum_opacity = atmosphere.continuum_opacity(knots)
    source = planck(knots[:, None], atmosphere.temperature)

    # Where the continuum is thin a line must be stronger, relative to it, to matter: by about 1/τ.
    thin = np.minimum(1.0, 3.0 * atmosphere.tau)
    floor = FLUX_TOLERANCE * continuum_opacity.min(axis=0) / thin
    lines = linelist.window(wave[0] - MARGIN, wave[-1] + MARGIN)
    total = np.zeros((len(atmosphere.tau), len(wave)), dtype=np.float32)
    if atmosphere.free:
        lines = lines.select(lines.z < 100)
        add_molecules(total, ln_start, step, atmosphere)
    if len(lines):
        opacity, a, doppler = line_parameters(atmosphere, lines, microturbulence)
        add_lines(total, ln_start, step, np.log(lines.wave), opacity, a, doppler, floor)
    deficit = np.zeros_like(total)
    add_balmer(total, deficit, wave, atmosphere, microturbulence)

    depth_scale = atmosphere.tau / atmosphere.kappa
    flux = _emergent_flux(total, deficit, wave, knots, continuum_opacity, source, depth_scale, D_LN_TAU, _E4)
    blank = np.zeros((len(atmosphere.tau), n_knots), dtype=np.float32)
    at_knots = _emergent_flux(blank, blank, knots, knots, continuum_opacity, source, depth_scale, D_LN_TAU, _E4)
    continuum = np.interp(wave, knots, at_knots)
    if resolution is not None:
        flux = smooth_to_resolution(flux, resolution, fine_kms)
    keep = slice(pad, pad + n_fine, substeps)
    return Spectrum(wave[keep], flux[keep], continuum[keep])


def continuum_flux(atmosphere: Atmosphere, wave: np.ndarray) -> np.ndarray:
    """F_λ [erg/s/cm²/Å] at the surface without lines or molecules, at wavelengths [vacuum Å] (L,)."""
    knots = np.stack([wave, wave + 1.0], axis=1)
    flux = np.empty(len(wave))
    blank = np.zeros((len(atmosphere.tau), 1), dtype=np.float32)
    for i, pair in enumerate(knots):
        opacity, source = atmosphere.continuum_opacity(pair), planck(pair[:, None], atmosphere.temperature)
        scale = atmosphere.tau / atmosphere.kappa
        flux[i] = _emergent_flux(blank, blank, pair[:1], pair, opacity, source, scale, D_LN_TAU, _E4)[0]
    return flux


def planck(wave: np.ndarray, temperature: np.ndarray) -> np.ndarray:
    """B_λ [erg/s/cm²/Å/sr] at wavelengths [Å]."""
    cm = wave * 1e-8
    return 2.0 * PLANCK * LIGHT**2 / cm**5 / np.expm1(PLANCK * LIGHT / (cm * BOLTZMANN * temperature)) * 1e-8


@numba.njit(cache=True, fastmath=True)
def _emergent_flux(total, deficit, wave, knots, continuum, source, depth_scale, d_ln_tau, e4):
    """F_λ = 2π [S(0)/2 + ∫ (dS/dt) E3(t) dt] with S linear in t between depths, so that E3 integrates to E4."""
    n_depths, n_pixels = total.shape
    flux = np.empty(n_pixels)
    spacing = knots[1] - knots[0]
    last = len(knots) - 2
    for i in range(n_pixels):
        x = (wave[i] - knots[0]) / spacing
        b = min(int(x), last)
        f = x - b
        old_s = old_p = t = total_flux = 0.0
        old_e = e4[0]
        for d in range(n_depths):
            k = continuum[b, d] + f * (continuum[b + 1, d] - continuum[b, d]) + total[d, i]
            p = k * depth_scale[d]
            s = (source[b, d] + f * (source[b + 1, d] - source[b, d])) * (1.0 - deficit[d, i] / k)
            if d == 0:
                t = p
                y = min(t, _E4_MAX) / _E4_STEP
                j = int(y)
                old_e = e4[j] + (y - j) * (e4[j + 1] - e4[j])
                total_flux = 0.5 * s
            else:
                dt = 0.5 * (p + old_p) * d_ln_tau
                t += dt
                if t >= _E4_MAX:
                    total_flux += (s - old_s) / dt * old_e
                    break
                y = t / _E4_STEP
                j = int(y)
                e = e4[j] + (y - j) * (e4[j + 1] - e4[j])
                total_flux += (s - old_s) * (old_e - e) / dt
                old_e = e
            old_s = s
            old_p = p
        flux[i] = 2.0 * np.pi * total_flux
    return flux


def _gaussian_sigma(resolution: float, step_kms: float) -> float:
    """Standard deviation, in grid steps, of the Gaussian profile of a resolving power."""
    return C_KMS / resolution / (2.0 * np.sqrt(2.0 * np.log(2.0))) / step_kms


def _check_sampling(resolution: float, step_kms: float) -> None:
    if resolution * step_kms * 2.0 > C_KMS:
        raise ValueError(
            f"a step of {step_kms:g} km/s does not sample R = {resolution:g}: "
            f"use at most {C_KMS / resolution / 2:.2g} km/s"
        )


def smooth_to_resolution(flux: np.ndarray, resolution: float, step_kms: float) -> np.ndarray:
    """`flux` (L,) on a ln λ grid convolved with the Gaussian of a resolving power; the ends see their edge value."""
    _check_sampling(resolution, step_kms)
    sigma = _gaussian_sigma(resolution, step_kms)
    half = int(np.ceil(5.0 * sigma))
    offset = np.arange(-half, half + 1)
    kernel = np.exp(-0.5 * (offset / sigma) ** 2)
    return np.convolve(np.pad(flux, half, mode="edge"), kernel / kernel.sum(), mode="valid")
