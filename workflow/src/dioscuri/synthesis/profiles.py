"""Line profiles: the Voigt function, damping of metal lines, and the hydrogen lines with Stark and self broadening."""

from math import gamma

import numba
import numpy as np

from dioscuri.synthesis.atmosphere import Atmosphere
from dioscuri.synthesis.equation_of_state import (
    ATOMIC_MASS,
    BOLTZMANN,
    ELECTRONVOLT,
    ELEMENTS,
    LIGHT,
    PLANCK,
)
from dioscuri.synthesis.lines import LineList
from dioscuri.synthesis.molecules import MGH, MGH_IONISATION, MGH_WEIGHT, magnesium_hydride_population

SQRT_PI = 1.7724538509055159
CLASSICAL = 0.0265400  # π e² / (m_e c), cm² Hz
BOHR_RADIUS = 5.29177e-9  # cm
# Unsöld's damping constant falls short of ABO theory by little at low excitation and by 2 at 4 eV; with this slope
# [dex/eV] the solar strengths of strong Fe I lines agree with the laboratory ones.
WAALS_SLOPE = 0.08


@numba.njit(cache=True, inline="always")
def voigt(a, v):
    """H(a, v) for v ≥ 0, to 0.3 % (Humlíček 1982, W4)."""
    s = v + a
    t = complex(a, -v)
    if s > 15.0:
        return (t * 0.5641896 / (0.5 + t * t)).real
    u = t * t
    if s > 5.5:
        return (t * (1.410474 + u * 0.5641896) / (0.75 + u * (3.0 + u))).real
    if a >= 0.195 * v - 0.176:
        upper = 16.4955 + t * (20.20933 + t * (11.96482 + t * (3.778987 + t * 0.5642236)))
        lower = 16.4955 + t * (38.82363 + t * (39.27121 + t * (21.69274 + t * (6.699398 + t))))
        return (upper / lower).real
    upper = t * (
        36183.31 - u * (3321.9905 - u * (1540.787 - u * (219.0313 - u * (35.76683 - u * (1.320522 - u * 0.56419)))))
    )
    lower = 32066.6 - u * (
        24322.84 - u * (9022.228 - u * (2186.181 - u * (364.2191 - u * (61.57037 - u * (1.841439 - u)))))
    )
    return (np.exp(u) - upper / lower).real


def line_parameters(
    atmosphere: Atmosphere, lines: LineList, microturbulence: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Central opacity (H = 1) [cm⁻¹], damping a and Doppler width v/c of every line at every depth, each (N, D).

    `microturbulence` in km/s. Collisions with H: ABO where the line has it, else Unsöld's formula, enhanced;
    with electrons: Cowley's approximation; radiation: the classical constant.
    """
    t = atmosphere.temperature
    nu = LIGHT / (lines.wave * 1e-8)
    codes, which = np.unique(2 * lines.z + lines.ion, return_inverse=True)
    population_of, weight_of, limit_of = _species(atmosphere, codes)
    weight = weight_of[which]
    width_of = np.sqrt(2.0 * BOLTZMANN * t / (weight_of[:, None] * ATOMIC_MASS) + (microturbulence * 1e5) ** 2) / LIGHT
    doppler = width_of[which]
    beta = ELECTRONVOLT / (BOLTZMANN * t)
    stimulated = 1.0 - np.exp(-PLANCK * nu[:, None] / (BOLTZMANN * t))
    strength = (CLASSICAL * 10.0**lines.log_gf / (SQRT_PI * nu))[:, None]
    opacity = strength * (population_of / width_of)[which] * np.exp(-lines.excitation[:, None] * beta) * stimulated

    # effective quantum numbers squared of both levels, from the ionisation energy of the stage
    charge = lines.ion + 1.0
    limit = limit_of[which]
    upper_energy = lines.excitation + 12398.42 / lines.wave
    n2_upper = np.minimum(13.598 * charge**2 / np.maximum(limit - upper_energy, 0.3), 25.0)
    n2_lower = np.minimum(13.598 * charge**2 / np.maximum(limit - lines.excitation, 0.3), 25.0)
    radiative = 0.2223 / (lines.wave * 1e-8) ** 2
    stark = 1e-8 * n2_upper**2.5
    enhancement = 10.0 ** (WAALS_SLOPE * lines.excitation)
    waals = enhancement * 4.5e-9 * np.maximum(2.5 * ((n2_upper / charge) ** 2 - (n2_lower / charge) ** 2), 0.1) ** 0.4
    perturbers = atmosphere.n_hi + 0.42 * atmosphere.n_hei + 0.85 * atmosphere.n_h2
    damping = radiative[:, None] + stark[:, None] * atmosphere.n_e + waals[:, None] * ((t / 1e4) ** 0.3 * perturbers)
    for k in np.flatnonzero(lines.abo_sigma > 0):
        rate = abo_rate(lines.abo_sigma[k], lines.abo_alpha[k], weight[k], t)
        damping[k] = radiative[k] + stark[k] * atmosphere.n_e + rate * perturbers
    a = damping / (4.0 * np.pi * doppler * nu[:, None])
    return opacity, a, doppler


def _species(atmosphere: Atmosphere, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """n/U (K, D) [cm⁻³], weight (K,) [u] and ionisation energy (K,) [eV] of species given as 2 z + ion."""
    stages = atmosphere.stages()
    populations, weights, limits = [], [], []
    for code in codes:
        z, ion = divmod(int(code), 2)
        if z == MGH:
            magnesium, hydrogen = stages[ELEMENTS.row(12), 0], stages[ELEMENTS.row(1), 0]
            populations.append(magnesium_hydride_population(atmosphere.temperature, magnesium, hydrogen))
            weights.append(MGH_WEIGHT)
            limits.append(MGH_IONISATION)
        else:
            row = ELEMENTS.row(z)
            populations.append(stages[row, ion])
            weights.append(ELEMENTS.weight[row])
            limits.append(ELEMENTS.ionisation[row, ion])
    return np.array(populations), np.array(weights), np.array(limits)


def abo_rate(sigma: float, alpha: float, weight: float, temperature: np.ndarray) -> np.ndarray:
    """Full width per perturbing H atom [rad/s cm³] of Anstee, Barklem & O'Mara; `sigma` in a0², `weight` in u."""
    speed = np.sqrt(8.0 * BOLTZMANN * temperature / (np.pi * ATOMIC_MASS) * (1.0 / 1.008 + 1.0 / weight))
    front = 2.0 * (4.0 / np.pi) ** (alpha / 2.0) * gamma((4.0 - alpha) / 2.0)
    return front * 1e6 * sigma * BOHR_RADIUS**2 * (speed / 1e6) ** (1.0 - alpha)


@numba.njit(cache=True, fastmath=True)
def add_lines(total, ln_start, step, ln_wave, opacity, a, doppler, floor):
    """Add all lines to `total` (D, L) on the grid ln λ = ln_start + i·step.

    A line reaches as far as its opacity exceeds `floor[d]` [cm⁻¹], at each depth by itself.
    """
    n_lines, n_depths = opacity.shape
    n_pixels = total.shape[1]
    for k in range(n_lines):
        centre = (ln_wave[k] - ln_start) / step
        for d in range(n_depths):
            ratio = opacity[k, d] / floor[d]
            if ratio < 1.0:
                continue
            damping = a[k, d]
            reach = max(np.sqrt(np.log(ratio)), np.sqrt(ratio * damping * 0.5641896))
            scale = step / doppler[k, d]
            half = min(reach / scale, 0.02 / step)
            first = max(int(np.ceil(centre - half)), 0)
            last = min(int(np.floor(centre + half)), n_pixels - 1)
            if last < first:
                continue
            core = 5.5 / scale
            core_first = min(max(int(np.ceil(centre - core)), first), last + 1)
            core_last = max(min(int(np.floor(centre + core)), last), core_first - 1)
            strength = opacity[k, d]
            for i in range(core_first, core_last + 1):
                total[d, i] += strength * voigt(damping, abs(i - centre) * scale)
            # wings: H = a/√π (1/(v² + a²) + 1.5/v⁴), good to 1 % beyond v = 5.5
            wing = strength * damping * 0.5641896
            a2 = damping * damping
            for i in range(first, core_first):
                v2 = ((i - centre) * scale) ** 2
                inverse = 1.0 / (v2 + a2)
                total[d, i] += wing * inverse * (1.0 + 1.5 * inverse)
            for i in range(core_last + 1, last + 1):
                v2 = ((i - centre) * scale) ** 2
                inverse = 1.0 / (v2 + a2)
                total[d, i] += wing * inverse * (1.0 + 1.5 * inverse)


# Balmer lines: vacuum Å, oscillator strength, asymptotic Holtsmark wing constant (Å^1.5 cm³, linear Stark effect),
# self-broadening cross-section [a0²] and exponent (Barklem, Piskunov & O'Mara 2000 for Hα, Hβ, Hγ; extrapolated above).
BALMER = np.array(
    [
        [6564.61, 0.6407, 3.13e-16, 1180.0, 0.677],
        [4862.69, 0.1193, 0.885e-16, 2320.0, 0.455],
        [4341.69, 0.04467, 0.442e-16, 4208.0, 0.380],
        [4102.90, 0.02209, 0.309e-16, 5000.0, 0.35],
        [3971.20, 0.01270, 0.24e-16, 6000.0, 0.33],
        [3890.16, 0.00804, 0.20e-16, 7000.0, 0.30],
    ]
)
BALMER_REACH = 150.0  # Å
# Strength of the Stark wing relative to the Holtsmark limit with ions and electrons alike. Fitted to the wings of Hα in
# the Sun and the FERRE 5750 K node: one-dimensional LTE models are known to make them too strong (Barklem 2007).
STARK_SCALE = 0.17
# The cores form where LTE fails. Two corrections, fitted to the core of the Sun's Hα and right for Procyon's too: above
# the Rosseland depth CORE_TAU level 2 keeps an excitation temperature of CORE_EXCITATION · teff (LTE would empty it),
# and the line source function falls below the Planck function as (τ / CORE_TAU)^CORE_POWER.
CORE_TAU = 0.01
CORE_EXCITATION = 0.93
CORE_POWER = 0.04
CORE_REACH = 6.0  # Å; beyond it the line is thin in those layers


def add_balmer(
    total: np.ndarray, deficit: np.ndarray, wave: np.ndarray, atmosphere: Atmosphere, microturbulence: float
) -> None:
    """Add the hydrogen lines to `total` (D, L): Doppler core with self-broadening and a linear Stark wing.

    `deficit` (D, L) takes the emissivity, in units of the Planck function, that the cores lack of LTE.
    """
    t = atmosphere.temperature
    lack = 1.0 - np.minimum(1.0, (atmosphere.tau / CORE_TAU) ** CORE_POWER)
    for centre, strength, stark, sigma, alpha in BALMER:
        first, last = np.searchsorted(wave, [centre - BALMER_REACH, centre + BALMER_REACH])
        if last <= first:
            continue
        doppler = centre * np.sqrt(2.0 * BOLTZMANN * t / (1.008 * ATOMIC_MASS) + (microturbulence * 1e5) ** 2) / LIGHT
        per_angstrom = (centre * 1e-8) ** 2 / LIGHT * 1e8
        width = abo_rate(sigma, alpha, 1.008, t) * atmosphere.n_hi + 6.5e7
        lorentz = width / (4.0 * np.pi) * per_angstrom
        excitation = t + np.maximum(CORE_EXCITATION * atmosphere.teff - t, 0.0) / (1.0 + atmosphere.tau / CORE_TAU)
        level = 4.0 * atmosphere.n_hi * np.exp(-10.199 * ELECTRONVOLT / (BOLTZMANN * excitation))
        stimulated = 1.0 - np.exp(-PLANCK * LIGHT / (centre * 1e-8) / (BOLTZMANN * t))
        opacity = CLASSICAL * strength * level * stimulated * per_angstrom
        wing = STARK_SCALE * 2.0 * stark * atmosphere.n_e
        near = slice(first, last)
        _add_hydrogen(
            total[:, near], deficit[:, near], wave[near], centre, opacity, doppler, lorentz, wing, lack, CORE_REACH
        )


@numba.njit(cache=True, fastmath=True)
def _add_hydrogen(total, deficit, wave, centre, opacity, doppler, lorentz, wing, lack, core_reach):
    n_depths, n_pixels = total.shape
    for d in range(n_depths):
        if opacity[d] <= 0.0:
            continue
        a = lorentz[d] / doppler[d]
        # the wing C |Δλ|^-2.5 is levelled off where its integral would exceed one line
        core = (wing[d] * 2.6426) ** (2.0 / 1.5) + (1.2 * doppler[d]) ** 2
        norm = opacity[d] / (SQRT_PI * doppler[d])
        for i in range(n_pixels):
            offset = abs(wave[i] - centre)
            x = offset * offset + core
            line = norm * voigt(a, offset / doppler[d]) + opacity[d] * wing[d] / (x * np.sqrt(np.sqrt(x)))
            total[d, i] += line
            if offset < core_reach:
                deficit[d, i] += lack[d] * line
