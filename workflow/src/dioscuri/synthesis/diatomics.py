"""Lines of diatomic molecules from molecular constants: levels, Franck-Condon factors, Hönl-London factors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh_tridiagonal

ROTATION_UNIT = 16.857629  # ħ² / (2 u Å²) in cm⁻¹: B = ROTATION_UNIT / (μ r²)


@dataclass(frozen=True)
class State:
    """An electronic state; energies in cm⁻¹ (Huber & Herzberg 1979 notation)."""

    origin: float  # of v = 0 above the molecule's lowest level, multiplet centre
    vibration: float  # ωe
    anharmonicity: float  # ωe xe
    rotation: float  # Be
    rotation_slope: float  # αe
    distortion: float  # De
    angular: int  # Λ
    spin: float  # S
    spin_orbit: float = 0.0  # A
    spin_spin: float = 0.0  # λ
    sextic: float = 0.0  # He

    def vibrational(self, v: int) -> float:
        """Energy of level `v` above v = 0."""
        return self.vibration * v - self.anharmonicity * (v * v + v)

    def levels(self, v: int, j: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Energies (J, K) above the molecule's lowest level, and eigenvectors (J, K, K) over Σ = −S…S (axis 1).

        K = 2 S + 1 spin components, diagonalised between Hund's cases (a) and (b); Λ doubling is left out. Components
        that do not exist at a low J are NaN.
        """
        b = self.rotation - self.rotation_slope * (v + 0.5)
        sigma = np.arange(-self.spin, self.spin + 1)
        omega = self.angular + sigma
        x = j * (j + 1.0)
        spin2 = self.spin * (self.spin + 1.0)
        matrix = np.zeros((len(j), len(sigma), len(sigma)))
        missing = np.abs(omega) > j[:, None] + 1e-9
        for k in range(len(sigma)):
            diagonal = x - omega[k] ** 2 + spin2 - sigma[k] ** 2
            matrix[:, k, k] = self.spin_orbit * self.angular * sigma[k] + b * diagonal
            matrix[:, k, k] += 2.0 / 3.0 * self.spin_spin * (3 * sigma[k] ** 2 - spin2)
            if k + 1 < len(sigma):
                coupling = np.maximum((x - omega[k] * omega[k + 1]) * (spin2 - sigma[k] * sigma[k + 1]), 0.0)
                matrix[:, k, k + 1] = matrix[:, k + 1, k] = np.where(
                    missing[:, k] | missing[:, k + 1], 0.0, -b * np.sqrt(coupling)
                )
            matrix[missing[:, k], k, k] = 1e9
        energy, vectors = np.linalg.eigh(matrix)
        gone = energy > 1e8
        # centrifugal distortion of N(N+1), which is the level's own rotational energy over B
        x = np.where(gone, 0.0, np.maximum(energy, 0.0) / b)
        energy = energy - self.distortion * x**2 + self.sextic * x**3 + self.origin + self.vibrational(v)
        return np.where(gone, np.nan, energy), vectors


@dataclass(frozen=True)
class System:
    """An electronic band system in absorption."""

    lower: State
    upper: State
    oscillator_strength: float  # of the 0-0 band
    v_max: int  # bands of all v′, v″ ≤ v_max …
    j_max: int
    homonuclear: bool = False  # of nuclei without spin: one Λ component of two exists


def franck_condon(lower: State, upper: State, reduced_mass: float, v_max: int) -> np.ndarray:
    """|⟨v′|v″⟩|² of the vibrational levels of two Morse potentials, (v′, v″) up to `v_max`; mass in u."""
    centre = [np.sqrt(ROTATION_UNIT / (reduced_mass * state.rotation)) for state in (lower, upper)]
    r = np.linspace(min(centre) * 0.55, max(centre) * 2.2, 1200)
    waves = []
    for state, r0 in zip((lower, upper), centre):
        depth = state.vibration**2 / (4.0 * state.anharmonicity)
        a = np.sqrt(state.anharmonicity * reduced_mass / ROTATION_UNIT)
        potential = depth * (1.0 - np.exp(-a * (r - r0))) ** 2
        kinetic = ROTATION_UNIT / reduced_mass / (r[1] - r[0]) ** 2
        _, vectors = eigh_tridiagonal(
            potential + 2 * kinetic, np.full(len(r) - 1, -kinetic), select="i", select_range=(0, v_max)
        )
        waves.append(vectors)
    return (waves[1].T @ waves[0]) ** 2


def system_lines(
    system: System, reduced_mass: float, wave_min: float, wave_max: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vacuum wavelength [Å], lower energy [cm⁻¹] and gf of the lines between two wavelengths.

    f of a band goes as its Franck-Condon factor times its wavenumber (constant transition moment).
    """
    lower, upper = system.lower, system.upper
    overlap = franck_condon(lower, upper, reduced_mass, system.v_max)
    half = lower.spin % 1
    j = np.arange(half, system.j_max + half)
    zero = upper.origin - lower.origin
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    low = [lower.levels(v, j) for v in range(system.v_max + 1)]
    high = [upper.levels(v, j) for v in range(system.v_max + 1)]
    for v_up in range(system.v_max + 1):
        for v_low in range(system.v_max + 1):
            band = zero + upper.vibrational(v_up) - lower.vibrational(v_low)
            if not 0.9 * wave_min < 1e8 / max(band, 1.0) < 1.1 * wave_max:
                continue
            f = system.oscillator_strength * overlap[v_up, v_low] / overlap[0, 0] * band / zero
            if f < 2e-3 * system.oscillator_strength:
                continue
            parts += _band_lines(system, j, low[v_low], high[v_up], f)
    if not parts:
        return np.empty(0), np.empty(0), np.empty(0)
    wave, energy, gf = (np.concatenate(column) for column in zip(*parts))
    keep = (wave > wave_min) & (wave < wave_max)
    return wave[keep], energy[keep], gf[keep]


def _band_lines(system, j, low, high, f) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    lower, upper = system.lower, system.upper
    sigma = np.arange(-lower.spin, lower.spin + 1)
    weight = 2.0 if lower.angular > 0 and not system.homonuclear else 1.0
    if system.homonuclear and lower.angular == 0:
        weight = 0.5
    lines = []
    for step in (-1, 0, 1):
        n = len(j) - 1
        first = 1 if step < 0 else 0
        below = slice(first, n)
        above = slice(first + step, n + step)
        j_low, j_high = j[below], j[above]
        # amplitude (J, upper component, lower component): Σ is conserved
        three_j = np.stack(
            [_three_j(j_high, j_low, lower.angular + s, upper.angular - lower.angular) for s in sigma], axis=1
        )
        amplitude = np.einsum("jsu,jsl,js->jul", high[1][above], low[1][below], three_j)
        strength = (2 * j_high + 1)[:, None, None] * amplitude**2
        energy_low = np.broadcast_to(low[0][below][:, None, :], strength.shape)
        energy_high = np.broadcast_to(high[0][above][:, :, None], strength.shape)
        number = energy_high - energy_low
        good = (strength > 3e-3) & np.isfinite(number) & (np.nan_to_num(number) > 1000.0)
        gf = f * weight * strength * (2 * j_low + 1)[:, None, None]
        lines.append((1e8 / number[good], energy_low[good], gf[good]))
    return lines


def _three_j(j_high: np.ndarray, j_low: np.ndarray, omega: float, change: int) -> np.ndarray:
    """The 3j symbol (J′ 1 J″; −Ω′ q Ω″) with Ω′ = Ω″ + q, up to a sign that is common to a branch, 0 where undefined.

    By Clebsch-Gordan coefficients ⟨J″ Ω″ 1 q | J′ Ω′⟩ / √(2 J′ + 1).
    """
    m = omega + change
    j = j_low
    with np.errstate(invalid="ignore", divide="ignore"):
        up, same = j_high > j_low + 0.5, np.abs(j_high - j_low) < 0.5
        if change == 1:
            plus = (j + m) * (j + m + 1) / ((2 * j + 1) * (2 * j + 2))
            zero = (j + m) * (j - m + 1) / (2 * j * (j + 1))
            minus = (j - m) * (j - m + 1) / (2 * j * (2 * j + 1))
            sign = -1.0
        elif change == 0:
            plus = (j - m + 1) * (j + m + 1) / ((2 * j + 1) * (j + 1))
            zero = m * m / (j * (j + 1))
            minus = (j - m) * (j + m) / (j * (2 * j + 1))
            sign = np.sign(m) if m else 1.0
        else:
            plus = (j - m) * (j - m + 1) / ((2 * j + 1) * (2 * j + 2))
            zero = (j - m) * (j + m + 1) / (2 * j * (j + 1))
            minus = (j + m + 1) * (j + m) / (2 * j * (2 * j + 1))
            sign = 1.0
        square = np.where(up, plus, np.where(same, zero, minus))
        square = np.where(np.isfinite(square) & (np.abs(omega) <= j) & (np.abs(m) <= j_high), square, 0.0)
    coefficient = np.sqrt(np.maximum(square, 0.0)) * np.where(same, sign, 1.0)
    if change == 0:
        coefficient = np.where(~up & ~same, -coefficient, coefficient)
    return coefficient / np.sqrt(2 * j_high + 1)


def reduced_mass(weights: Sequence[float]) -> float:
    """μ [u] of two atoms."""
    return weights[0] * weights[1] / (weights[0] + weights[1])
