"""Magnesium hydride: lines of the A²Π–X²Σ⁺ system and the number of molecules, from molecular constants."""

from dataclasses import dataclass

import numpy as np

from dioscuri.synthesis.equation_of_state import ATOMIC_MASS, BOLTZMANN, ELECTRONVOLT, PLANCK

MGH = 112  # the code of the molecule in MOOG-format lists (1.12: H and Mg)
MGH_WEIGHT = 25.31  # u
MGH_IONISATION = 6.9  # eV
MGH_DISSOCIATION = 1.2852  # eV, D0 (Shayesteh et al. 2007, J. Phys. Chem. A 111, 12495)
MGH_REDUCED_MASS = 0.9675  # u

CM1_TO_EV = 1.0 / 8065.544


@dataclass(frozen=True)
class Band:
    """One vibrational band; energies in cm⁻¹. Upper origin and rotation were fitted to the Sun's spectrum."""

    upper_origin: float  # of A²Π above the lower level's N = 0
    upper_b: float
    upper_d: float
    lower_origin: float  # of X²Σ⁺(v) above X²Σ⁺(0)
    lower_b: float
    lower_d: float
    oscillator_strength: float
    n_max: int


# X: Shayesteh & Bernath (2011, J. Chem. Phys. 135, 094308). A: B and D start from Huber & Herzberg (1979) and, with the
# origin, are fitted to the HARPS Sun and the FERRE 5750 K node; both bands then show, unshifted, in PHOENIX at 5000 K.
# f(0-0) is fitted too, and 0.2 dex below the 0.161 of Henneker & Popkie (1971); f(1-1) keeps their ratio. Beyond n_max
# the constants no longer place the lines well (the Sun's spectrum shows no trace of them), so they are left out.
BANDS = (
    Band(19286.77, 6.0900, 3.712e-4, 0.0, 5.736508, 3.543e-4, 0.100, 27),
    Band(19387.65, 5.9000, 3.701e-4, 1431.98, 5.555285, 3.564e-4, 0.088, 25),
)
LOWER_H = 1.33e-8  # sextic distortion, Kratzer-Pekeris estimate
UPPER_H = 1.47e-8
SPIN_ORBIT = 35.0  # of A²Π
SPIN_ROTATION = 0.0264  # of X²Σ⁺


def _lower_level(band: Band, n: np.ndarray, spin: int) -> np.ndarray:
    """Energy of X²Σ⁺ above its N = 0 level [cm⁻¹]; `spin` 1 for J = N + ½, 2 for J = N − ½."""
    x = n * (n + 1.0)
    splitting = 0.5 * SPIN_ROTATION * (n if spin == 1 else -(n + 1.0))
    return band.lower_b * x - band.lower_d * x**2 + LOWER_H * x**3 + splitting


def _upper_level(band: Band, j: np.ndarray, spin: int) -> np.ndarray:
    """Energy of A²Π above the N = 0 level of X [cm⁻¹] (Hill & Van Vleck, between Hund's cases a and b)."""
    y = SPIN_ORBIT / band.upper_b
    centre = (j + 0.5) ** 2
    split = 0.5 * np.sqrt(4.0 * centre + y * (y - 4.0))
    n = j - 0.5 if spin == 1 else j + 0.5
    x = n * (n + 1.0)
    rotation = band.upper_b * (centre - 1.0 + (-split if spin == 1 else split))
    return band.upper_origin + rotation - band.upper_d * x**2 + UPPER_H * x**3


def magnesium_hydride_lines() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vacuum wavelength [Å], excitation [eV] and log gf of the six main branches of the 0-0 and 1-1 bands."""
    wave, excitation, log_gf = [], [], []
    for band in BANDS:
        for spin in (1, 2):
            n = np.arange(1.0, band.n_max)
            j = n + 0.5 if spin == 1 else n - 0.5
            lower = _lower_level(band, n, spin)
            # Hönl-London fractions of P, Q and R from a Σ to a Π state; they add up to one
            for step, fraction in ((-1, (n - 1) / (4 * n + 2)), (0, np.full(len(n), 0.5)), (1, (n + 2) / (4 * n + 2))):
                exists = (j + step >= (1.5 if spin == 1 else 0.5)) & (fraction > 0)
                wave.append(1e8 / (_upper_level(band, (j + step)[exists], spin) - lower[exists]))
                excitation.append((band.lower_origin + lower[exists]) * CM1_TO_EV)
                log_gf.append(np.log10(band.oscillator_strength * (2 * j + 1)[exists] * fraction[exists]))
    return np.concatenate(wave), np.concatenate(excitation), np.concatenate(log_gf)


def magnesium_hydride_population(temperature: np.ndarray, magnesium: np.ndarray, hydrogen: np.ndarray) -> np.ndarray:
    """n(MgH) / U(MgH) [cm⁻³] from n/U of Mg I and H I, in dissociation equilibrium; the loss of Mg is negligible.

    The molecule's own partition function cancels.
    """
    kt = BOLTZMANN * temperature
    thermal = (PLANCK**2 / (2.0 * np.pi * MGH_REDUCED_MASS * ATOMIC_MASS * kt)) ** 1.5
    return magnesium * hydrogen * thermal * np.exp(MGH_DISSOCIATION * ELECTRONVOLT / kt)
