"""Opacity of molecular bands: cross-sections tabulated once per wavelength grid, then summed over an atmosphere."""

from functools import lru_cache

import numba
import numpy as np

from dioscuri.synthesis.atmosphere import Atmosphere
from dioscuri.synthesis.band_systems import MOLECULES, Molecule
from dioscuri.synthesis.chemistry import HC_OVER_K, translation
from dioscuri.synthesis.diatomics import reduced_mass, system_lines
from dioscuri.synthesis.equation_of_state import ATOMIC_MASS, BOLTZMANN, ELECTRONVOLT, ELEMENTS, LIGHT

# Between these temperatures cross-sections are linear in T to 1 %; hotter gas has no molecules that matter.
TEMPERATURES = np.geomspace(1800.0, 7000.0, 18)
TURBULENCE = 1.0  # km/s, of all molecular lines


def add_molecules(total: np.ndarray, ln_start: float, step: float, atmosphere: Atmosphere) -> None:
    """Add the bands of all MOLECULES to `total` (D, L), on the grid ln λ = ln_start + i·step."""
    stages = atmosphere.stages()
    t = atmosphere.temperature
    x = np.clip(np.interp(t, TEMPERATURES, np.arange(len(TEMPERATURES))), 0, len(TEMPERATURES) - 1.001)
    left = x.astype(np.int64)
    for number, molecule in enumerate(MOLECULES):
        a, b = (stages[ELEMENTS.row(z), 0] for z in molecule.atoms)
        mass = reduced_mass(molecule.masses)
        # n/Q of the molecule; its own partition function cancels
        population = a * b * translation(mass, t) * np.exp(molecule.dissociation * ELECTRONVOLT / (BOLTZMANN * t))
        population[t > TEMPERATURES[-1]] = 0.0
        table = _cross_sections(number, ln_start, step, total.shape[1])
        _add(total, table, population.astype(np.float32), left, (x - left).astype(np.float32))


@lru_cache(maxsize=8 * len(MOLECULES))
def _cross_sections(number: int, ln_start: float, step: float, n_pixels: int) -> np.ndarray:
    """Absorption cross-section [cm²] per molecule and unit partition function, (T, L)."""
    return cross_sections(MOLECULES[number], ln_start, step, n_pixels)


def cross_sections(molecule: Molecule, ln_start: float, step: float, n_pixels: int) -> np.ndarray:
    """Absorption cross-section [cm²] of `molecule` times its partition function at TEMPERATURES, (T, L) float32."""
    wave_min, wave_max = np.exp(ln_start), np.exp(ln_start + step * n_pixels)
    mass = reduced_mass(molecule.masses)
    table = np.zeros((len(TEMPERATURES), n_pixels), np.float32)
    for system in molecule.systems:
        wave, energy, gf = system_lines(system, mass, wave_min, wave_max)
        if not len(wave):
            continue
        centre = (np.log(wave) - ln_start) / step
        for k, temperature in enumerate(TEMPERATURES):
            width = np.sqrt(
                2 * BOLTZMANN * temperature / (sum(molecule.masses) * ATOMIC_MASS) + (TURBULENCE * 1e5) ** 2
            )
            strength = 0.02654 * gf * np.exp(-HC_OVER_K * energy / temperature)
            strength *= 1.0 - np.exp(-HC_OVER_K * 1e8 / wave / temperature)
            # per pixel: ∫ φ dν = 1 with dν = ν step
            _add_gaussians(table[k], centre, strength * wave * 1e-8 / LIGHT / step, width / LIGHT / step)
    return table


@numba.njit(cache=True, fastmath=True)
def _add_gaussians(total, centre, strength, width):
    """Add lines of integral `strength` (in pixels) and 1/e half-width `width` [pixels] at `centre` to `total` (L,)."""
    norm = 1.0 / (np.sqrt(np.pi) * width)
    reach = 3.0 * width
    for k in range(len(centre)):
        first = max(int(np.ceil(centre[k] - reach)), 0)
        last = min(int(np.floor(centre[k] + reach)), len(total) - 1)
        for i in range(first, last + 1):
            x = (i - centre[k]) / width
            total[i] += strength[k] * norm * np.exp(-x * x)


@numba.njit(cache=True, fastmath=True)
def _add(total, table, population, left, fraction):
    for d in range(total.shape[0]):
        if population[d] <= 0.0:
            continue
        low = population[d] * (np.float32(1.0) - fraction[d])
        high = population[d] * fraction[d]
        first, second = table[left[d]], table[left[d] + 1]
        for i in range(total.shape[1]):
            total[d, i] += low * first[i] + high * second[i]
