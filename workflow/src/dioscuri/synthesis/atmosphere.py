"""Model atmospheres: the Sun's T(τ) scaled to an effective temperature, in hydrostatic equilibrium."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numba
import numpy as np

from dioscuri.synthesis.chemistry import free_fractions
from dioscuri.synthesis.equation_of_state import (
    ATOMIC_MASS,
    DONOR_ROWS,
    ELEMENTS,
    partition_function,
    saha,
    solve_state,
)
from dioscuri.synthesis.opacity import continuous_opacity, rosseland_opacity

SOLAR_TEFF = 5777.0
# Depth scale: log10 of the Rosseland optical depth.
LOG_TAU = np.linspace(-5.0, 1.4, 44)
D_LN_TAU = float(np.log(10.0) * (LOG_TAU[1] - LOG_TAU[0]))

# The Sun: T against log10 τ at 5000 Å (Gray 2005, Table 9.2), continued above log τ = −4 with its slope there.
_GRAY_LOG_TAU = np.concatenate([[-6.0, -5.0], np.arange(-4.0, 1.3, 0.2)])
_GRAY_T = np.array(
    [4200, 4260]
    + [4310, 4325, 4345, 4370, 4405, 4445, 4488, 4524, 4561, 4608, 4660, 4720, 4800, 4878]
    + [4995, 5132, 5294, 5490, 5733, 6043, 6429, 6904, 7467, 7962, 8358, 8630, 8811],
    dtype=float,
)


@dataclass(frozen=True)
class Atmosphere:
    """Plane-parallel LTE structure on D depths, from the surface inwards; densities in cm⁻³."""

    teff: float
    logg: float
    feh: float
    afe: float
    tau: np.ndarray  # (D,) Rosseland optical depth
    temperature: np.ndarray  # (D,) K
    pressure: np.ndarray  # (D,) gas pressure, dyn/cm²
    n_e: np.ndarray
    n_hi: np.ndarray
    n_h2: np.ndarray
    n_hei: np.ndarray
    n_h: np.ndarray  # hydrogen nuclei
    kappa: np.ndarray  # (D,) opacity that belongs to tau, cm⁻¹
    ratios: np.ndarray  # (E,) nuclei per hydrogen nucleus, in the order of eos.ELEMENTS
    free: Mapping[int, np.ndarray] = field(default_factory=dict)  # atomic number → (D,) share not bound in molecules

    def continuum_opacity(self, wave: np.ndarray) -> np.ndarray:
        """Continuous opacity [cm⁻¹] at wavelengths [Å], (W, D)."""
        return _opacity_table(
            np.atleast_1d(np.asarray(wave, float)),
            self.temperature,
            self.n_e,
            self.n_hi,
            self.n_h2,
            self.n_hei,
        )

    def stages(self) -> np.ndarray:
        """n / U of the neutral and the once ionised stage of every element, (E, 2, D) in cm⁻³."""
        stages = _stages(
            self.temperature,
            self.n_e,
            self.n_h,
            self.n_hi,
            self.ratios,
            ELEMENTS.partition,
            ELEMENTS.ionisation,
        )
        for z, share in self.free.items():
            stages[ELEMENTS.row(z)] *= share
        return stages

    def with_molecules(self) -> "Atmosphere":
        """The same structure with C, N, O, Si and Ti partly bound in molecules; pressures and electrons stay."""
        ion_factor = {}
        for z in (6, 7, 8, 14, 22):
            row = ELEMENTS.row(z)
            pairs = [saha(ELEMENTS.partition[row], ELEMENTS.ionisation[row], t) for t in self.temperature]
            first, second = (np.array(pairs) / self.n_e[:, None]).T
            ion_factor[z] = 1.0 + first + first * second
        free = free_fractions(self.temperature, self.n_hi, self.n_h, ion_factor, self.ratios)
        return replace(self, free=free)


@numba.njit(cache=True)
def _opacity_table(wave, temperature, n_e, n_hi, n_h2, n_hei):
    table = np.empty((len(wave), len(temperature)))
    for i in range(len(wave)):
        for d in range(len(temperature)):
            table[i, d] = continuous_opacity(wave[i], temperature[d], n_e[d], n_hi[d], n_h2[d], n_hei[d])
    return table


@numba.njit(cache=True)
def _stages(temperature, n_e, n_h, n_hi, ratios, partition, ionisation):
    populations = np.empty((len(ratios), 2, len(temperature)))
    for e in range(len(ratios)):
        for d in range(len(temperature)):
            first, second = saha(partition[e], ionisation[e], temperature[d])
            first /= n_e[d]
            second /= n_e[d]
            neutral = n_hi[d] if e == 0 else n_h[d] * ratios[e] / (1.0 + first + first * second)
            populations[e, 0, d] = neutral / partition_function(partition[e, 0], temperature[d])
            populations[e, 1, d] = neutral * first / partition_function(partition[e, 1], temperature[d])
    return populations


@numba.njit(cache=True)
def _march(tau, temperature, gravity, gram_per_h, wave, ratios, partition, ionisation, donors, blanketing):
    """Integrate d ln P / d ln τ = g τ ρ / (κ P) inwards; κ at `wave` [Å], or the Rosseland mean where wave is 0."""
    n_depths = len(tau)
    state = np.empty((n_depths, 7))  # P, n_e, n_HI, n_H2, n_HeI, n_H, κ
    d_ln_tau = np.log(tau[1] / tau[0])
    pressure = gravity * tau[0] / 0.01
    slope = 0.6
    for d in range(n_depths):
        t = temperature[d]
        if d > 0:
            pressure = state[d - 1, 0] * np.exp(slope * d_ln_tau)
        old_slope = slope
        for _ in range(60):
            n_e, n_hi, n_h2, n_hei, n_h = solve_state(t, pressure, ratios, partition, ionisation, donors)
            if wave > 0.0:
                kappa = continuous_opacity(wave, t, n_e, n_hi, n_h2, n_hei)
            else:
                kappa = rosseland_opacity(t, n_e, n_hi, n_h2, n_hei) * (
                    1.0 + blanketing * max(0.0, (4500.0 - t) / 1000.0) ** 2
                )
            new_slope = gravity * tau[d] * gram_per_h * n_h / (kappa * pressure)
            if d == 0:
                # κ/ρ grows with P: the surface pressure that makes the logarithmic slope 0.6
                new = pressure * np.sqrt(new_slope / 0.6)
            else:
                new = state[d - 1, 0] * np.exp(0.5 * (old_slope + new_slope) * d_ln_tau)
            change = abs(new / pressure - 1.0)
            pressure = new
            slope = new_slope
            if change < 1e-4:
                break
        state[d, 0] = pressure
        state[d, 1] = n_e
        state[d, 2] = n_hi
        state[d, 3] = n_h2
        state[d, 4] = n_hei
        state[d, 5] = n_h
        state[d, 6] = kappa
    return state


def _integrate(tau, temperature, logg, ratios, wave, blanketing=0.0):
    gram_per_h = ATOMIC_MASS * float(np.sum(ratios * ELEMENTS.weight))
    return _march(
        tau,
        temperature,
        10.0**logg,
        gram_per_h,
        wave,
        ratios,
        ELEMENTS.partition,
        ELEMENTS.ionisation,
        DONOR_ROWS,
        blanketing,
    )


def _solar_ratio() -> np.ndarray:
    """T/Teff of the Sun on LOG_TAU: Gray's T(τ5000) carried to the Rosseland depth with our own opacities."""
    log_tau = np.arange(-6.0, 1.2001, 0.05)
    temperature = np.interp(log_tau, _GRAY_LOG_TAU, _GRAY_T)
    ratios = ELEMENTS.number_ratios(0.0, 0.0)
    state = _integrate(10.0**log_tau, temperature, 4.44, ratios, 5000.0)
    rosseland = np.array([rosseland_opacity(t, *row) for t, row in zip(temperature, state[:, 1:5])])
    relative = rosseland / state[:, 6]
    tau = 10.0**log_tau
    rosseland_tau = tau[0] * relative[0] + np.concatenate(
        [[0.0], np.cumsum(0.5 * (relative[1:] + relative[:-1]) * np.diff(tau))]
    )
    # deeper than the table the run is continued with its last slope in log T
    x = np.log10(rosseland_tau)
    slope = (np.log10(temperature[-1]) - np.log10(temperature[-5])) / (x[-1] - x[-5])
    ratio = np.interp(LOG_TAU, x, temperature) / SOLAR_TEFF
    beyond = x[-1] < LOG_TAU
    ratio[beyond] *= 10.0 ** (slope * (LOG_TAU[beyond] - x[-1]))
    return ratio


SOLAR_RATIO = _solar_ratio()


# What cool dwarfs need beyond a scaled Sun, by effective temperature [K]: T(τ) flatter above τ = 2/3 (exponent of the
# solar ratio; set by the TiO and MgH of LAMOST K and M dwarfs, whose subclasses give their temperatures), scaled so
# that the bolometric correction in G follows Andrae et al. (2018), and an opacity that molecules add to the mean.
_COOL_TEFF = np.array([3500.0, 3900.0, 4400.0, 4700.0, 5200.0])
_COOL_FLATNESS = np.array([0.68, 0.56, 0.65, 0.80, 1.0])
_COOL_SCALE = np.array([0.980, 0.948, 0.956, 0.977, 1.0])
BLANKETING = 1.0


def _cool_ratio(teff: float) -> np.ndarray:
    """T/teff on LOG_TAU of a star with molecules."""
    middle = np.interp(np.log10(2.0 / 3.0), LOG_TAU, SOLAR_RATIO)
    flatness = np.interp(teff, _COOL_TEFF, _COOL_FLATNESS)
    flat = np.where(middle > SOLAR_RATIO, flatness, 1.0)
    return np.interp(teff, _COOL_TEFF, _COOL_SCALE) * middle * (SOLAR_RATIO / middle) ** flat


def model_atmosphere(teff: float, logg: float, feh: float, afe: float, molecules: bool = False) -> Atmosphere:
    """The scaled-solar atmosphere of a star.

    `teff` [K], `logg` [cgs], `feh` and `afe` [dex]. T(τ_Ross) is the Sun's times teff / 5777 K: scaling on the
    Rosseland depth keeps the emergent flux near σ teff⁴ for cool metal-poor giants too, scaling on τ5000 does not.
    With `molecules`, C, N, O, Si and Ti are partly bound, and below 5200 K the structure is that of cool dwarfs.
    """
    ratios = ELEMENTS.number_ratios(feh, afe)
    tau = 10.0**LOG_TAU
    temperature = teff * (_cool_ratio(teff) if molecules else SOLAR_RATIO)
    state = _integrate(tau, temperature, logg, ratios, 0.0, BLANKETING if molecules else 0.0)
    pressure, n_e, n_hi, n_h2, n_hei, n_h, kappa = np.ascontiguousarray(state.T)
    made = Atmosphere(teff, logg, feh, afe, tau, temperature, pressure, n_e, n_hi, n_h2, n_hei, n_h, kappa, ratios)
    return made.with_molecules() if molecules else made
