"""Dissociation equilibrium of the molecules that bind C, N, O, Si and Ti in a cool atmosphere."""

import numpy as np

from dioscuri.synthesis.equation_of_state import (
    ATOMIC_MASS,
    BOLTZMANN,
    ELECTRONVOLT,
    ELEMENTS,
    PARTITION_LN_T,
    PLANCK,
)

HC_OVER_K = 1.438777  # cm K

# Huber & Herzberg (1979): D0 [eV], B [cm⁻¹], ω [cm⁻¹], symmetry number, electronic states as (energy [cm⁻¹], weight)
BOUND = {
    "CO": ((6, 8), 11.092, 1.9313, 2169.8, 1, ((0.0, 1),)),
    "CH": ((6, 1), 3.465, 14.19, 2860.8, 1, ((0.0, 4),)),
    "CN": ((6, 7), 7.72, 1.891, 2068.6, 1, ((0.0, 2), (9117.0, 4))),
    "C2": ((6, 6), 6.24, 1.811, 1854.7, 2, ((0.0, 1), (614.0, 6), (5719.0, 3), (8268.0, 2))),
    "N2": ((7, 7), 9.759, 1.9896, 2358.6, 2, ((0.0, 1),)),
    "NH": ((7, 1), 3.40, 16.35, 3282.0, 1, ((0.0, 3),)),
    "OH": ((8, 1), 4.392, 18.55, 3737.8, 1, ((0.0, 4),)),
    "TiO": ((22, 8), 6.87, 0.5339, 1009.0, 1, ((0.0, 2), (98.0, 2), (203.0, 2), (3446.5, 2), (5661.0, 1))),
    "SiO": ((14, 8), 8.26, 0.7242, 1241.6, 1, ((0.0, 1),)),
}
# H2O (Herzberg): energy of atomisation [eV], rotational constants and vibrations [cm⁻¹]
WATER = (9.512, (27.88, 14.51, 9.29), (3657.0, 1595.0, 3756.0))

N_ITERATIONS = 40


def _atomic_partition(z: int, temperature: np.ndarray) -> np.ndarray:
    row = ELEMENTS.row(z)
    return np.interp(np.log(temperature), PARTITION_LN_T, ELEMENTS.partition[row, 0])


def translation(mass: float, temperature: np.ndarray) -> np.ndarray:
    """(h² / 2π m k T)^{3/2} [cm³] of a reduced mass [u]."""
    return (PLANCK**2 / (2.0 * np.pi * mass * ATOMIC_MASS * BOLTZMANN * temperature)) ** 1.5


def association(name: str, temperature: np.ndarray) -> np.ndarray:
    """n(AB) / (n(A) n(B)) [cm³] of a diatomic molecule: rigid rotor, harmonic oscillator."""
    (a, b), dissociation, rotation, vibration, symmetry, states = BOUND[name]
    t = temperature
    partition = t / (HC_OVER_K * rotation * symmetry) / (1.0 - np.exp(-HC_OVER_K * vibration / t))
    partition = partition * sum(weight * np.exp(-HC_OVER_K * energy / t) for energy, weight in states)
    masses = [ELEMENTS.weight[ELEMENTS.row(z)] for z in (a, b)]
    mass = masses[0] * masses[1] / (masses[0] + masses[1])
    atoms = _atomic_partition(a, t) * _atomic_partition(b, t)
    return partition / atoms * translation(mass, t) * np.exp(dissociation * ELECTRONVOLT / (BOLTZMANN * t))


def water_association(temperature: np.ndarray) -> np.ndarray:
    """n(H2O) / (n(H)² n(O)) [cm⁶]."""
    dissociation, rotations, vibrations = WATER
    t = temperature
    partition = np.sqrt(np.pi * (t / HC_OVER_K) ** 3 / np.prod(rotations)) / 2.0
    for vibration in vibrations:
        partition = partition / (1.0 - np.exp(-HC_OVER_K * vibration / t))
    atoms = _atomic_partition(1, t) ** 2 * _atomic_partition(8, t)
    # three atoms into one molecule: (m_H m_H m_O / m)^{3/2} in two factors
    factors = translation(1.008**2 / 2.016, t) * translation(2.016 * 15.999 / 18.015, t)
    return partition / atoms * factors * np.exp(dissociation * ELECTRONVOLT / (BOLTZMANN * t))


def free_fractions(
    temperature: np.ndarray, n_hi: np.ndarray, n_h: np.ndarray, ion_factor: dict[int, np.ndarray], ratios: np.ndarray
) -> dict[int, np.ndarray]:
    """By how much molecules lower the atoms of C, N, O, Si and Ti, atomic number → (D,) in (0, 1].

    `temperature` [K], `n_hi` free hydrogen atoms and `n_h` hydrogen nuclei [cm⁻³], all (D,); `ion_factor`
    (1 + n(II)/n(I) + …) per element; `ratios` nuclei per hydrogen nucleus. Iterated, with C and O, which CO binds
    both, solved together.
    """
    k = {name: association(name, temperature) for name in BOUND}
    k_water = water_association(temperature)
    total = {z: n_h * ratios[ELEMENTS.row(z)] for z in (6, 7, 8, 14, 22)}
    free = {z: total[z] / ion_factor[z] for z in total}
    alone = dict(free)
    for _ in range(N_ITERATIONS):
        carbon = ion_factor[6] + k["CH"] * n_hi + k["CN"] * free[7] + 2.0 * k["C2"] * free[6]
        oxygen = ion_factor[8] + k["OH"] * n_hi + k_water * n_hi**2 + k["TiO"] * free[22] + k["SiO"] * free[14]
        # both balances with CO: a quadratic of the free oxygen
        a = oxygen * k["CO"]
        b = carbon * oxygen + k["CO"] * (total[6] - total[8])
        c = carbon * total[8]
        root = np.sqrt(b * b + 4.0 * a * c)
        free[8] = np.where(b > 0, 2.0 * c / (b + root), (root - b) / (2.0 * a))
        free[6] = 0.5 * (free[6] + total[6] / (carbon + k["CO"] * free[8]))
        b = ion_factor[7] + k["NH"] * n_hi + k["CN"] * free[6]
        free[7] = 2.0 * total[7] / (b + np.sqrt(b * b + 8.0 * k["N2"] * total[7]))
        free[22] = total[22] / (ion_factor[22] + k["TiO"] * free[8])
        free[14] = total[14] / (ion_factor[14] + k["SiO"] * free[8])
    return {z: free[z] / alone[z] for z in total}
