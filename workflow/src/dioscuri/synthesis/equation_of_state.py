"""Equation of state of a stellar atmosphere: elements, ionisation (Saha), electrons, H⁻ and H2 in LTE."""

import csv
from dataclasses import dataclass
from importlib.resources import files

import numba
import numpy as np

# cgs
BOLTZMANN = 1.380649e-16
PLANCK = 6.62607015e-27
LIGHT = 2.99792458e10
ELECTRON_MASS = 9.1093837e-28
ATOMIC_MASS = 1.66053907e-24
ELECTRONVOLT = 1.602176634e-12

ALPHA_ELEMENTS = (8, 10, 12, 14, 16, 18, 20, 22)
# Who gives the electrons between 3000 and 17000 K; the other elements are too rare to matter.
DONORS = (2, 6, 11, 12, 13, 14, 16, 19, 20, 22, 24, 26, 28)

PARTITION_LN_T = np.linspace(np.log(1800.0), np.log(10000.0), 12)
SAHA_CONSTANT = 2.0 * (2.0 * np.pi * ELECTRON_MASS * BOLTZMANN / PLANCK**2) ** 1.5
H_MINUS_ENERGY = 0.754  # eV


@dataclass(frozen=True)
class Elements:
    """The table `data/elements.csv`; E elements in order of atomic number."""

    z: np.ndarray  # (E,) atomic number
    symbol: tuple[str, ...]
    weight: np.ndarray  # (E,) u
    abundance: np.ndarray  # (E,) solar, log ε with H = 12
    ionisation: np.ndarray  # (E, 2) eV; 0 where the stage does not exist
    partition: np.ndarray  # (E, 3, 12) neutral, once, twice ionised at PARTITION_LN_T

    def row(self, z: int) -> int:
        """Index of atomic number `z`, or −1."""
        found = np.flatnonzero(self.z == z)
        return int(found[0]) if len(found) else -1

    def number_ratios(self, feh: float, afe: float) -> np.ndarray:
        """Nuclei per hydrogen nucleus, (E,), for solar-scaled [Fe/H] with the α elements raised by [α/Fe]."""
        log_ratio = self.abundance - 12.0
        metal = self.z > 2
        alpha = np.isin(self.z, ALPHA_ELEMENTS)
        return 10.0 ** (log_ratio + feh * metal + afe * alpha)


def _read_elements() -> Elements:
    text = files("dioscuri.synthesis").joinpath("data/elements.csv").read_text(encoding="utf-8").splitlines()
    rows = list(csv.DictReader(line for line in text if not line.startswith("#")))
    partition = [[[float(row[f"{stage}{k}"]) for k in range(12)] for stage in "abc"] for row in rows]
    return Elements(
        z=np.array([int(row["z"]) for row in rows]),
        symbol=tuple(row["symbol"] for row in rows),
        weight=np.array([float(row["weight"]) for row in rows]),
        abundance=np.array([float(row["abundance"]) for row in rows]),
        ionisation=np.array([[float(row["ie1"]), float(row["ie2"])] for row in rows]),
        partition=np.array(partition),
    )


ELEMENTS = _read_elements()
DONOR_ROWS = np.array([ELEMENTS.row(z) for z in DONORS])


@numba.njit(cache=True, inline="always")
def partition_function(table, temperature):
    """U(T) from its 12 nodes, linear in ln T, constant outside."""
    step = PARTITION_LN_T[1] - PARTITION_LN_T[0]
    x = (np.log(temperature) - PARTITION_LN_T[0]) / step
    x = min(max(x, 0.0), 10.999999)
    k = int(x)
    return table[k] + (x - k) * (table[k + 1] - table[k])


@numba.njit(cache=True)
def saha(partition, ionisation, temperature):
    """n_II n_e / n_I and n_III n_e / n_II of one element [cm⁻³]; 0 where the stage does not exist."""
    u0 = partition_function(partition[0], temperature)
    u1 = partition_function(partition[1], temperature)
    u2 = partition_function(partition[2], temperature)
    front = SAHA_CONSTANT * temperature**1.5
    beta = ELECTRONVOLT / (BOLTZMANN * temperature)
    first = front * u1 / u0 * np.exp(-min(ionisation[0] * beta, 300.0))
    second = 0.0
    if ionisation[1] > 0.0:
        second = front * u2 / u1 * np.exp(-min(ionisation[1] * beta, 300.0))
    return first, second


@numba.njit(cache=True)
def solve_state(temperature, pressure, ratios, partition, ionisation, donors):
    """Number densities [cm⁻³] at one (T, P): n_e, n(H I), n(H2), n(He I), n(H nuclei); the gas is ideal and in LTE.

    `ratios` (E,) nuclei per H nucleus. H2 dissociation: Tsuji (1973); H⁻ counts in the charge balance.
    """
    total = pressure / (BOLTZMANN * temperature)
    theta = 5040.0 / temperature
    log_k = 12.533505 - 4.9251644 * theta + 0.056191273 * theta**2 - 0.0032687661 * theta**3
    k_h2 = 10.0**log_k / (BOLTZMANN * temperature)  # n(H)² / n(H2)
    k_hminus = 4.0 * 0.5 * SAHA_CONSTANT * temperature**1.5
    k_hminus *= np.exp(-H_MINUS_ENERGY * ELECTRONVOLT / (BOLTZMANN * temperature))  # n(H) n_e / n(H⁻)
    h_first, _ = saha(partition[0], ionisation[0], temperature)
    n_donors = len(donors)
    first = np.empty(n_donors)
    second = np.empty(n_donors)
    for k in range(n_donors):
        first[k], second[k] = saha(partition[donors[k]], ionisation[donors[k]], temperature)
    others = 0.0
    for k in range(1, len(ratios)):
        others += ratios[k]

    n_e = 1e-4 * total
    if temperature > 9000.0:
        n_e = 0.45 * total
    elif temperature > 6000.0:
        n_e = 1e-2 * total
    n_hi = n_h2 = n_h = 0.0
    for _ in range(200):
        # N − n_e = n_HI (1 + r)(1 + A) + n_HI² (1 + 2A) / K(H2), A = nuclei heavier than H per H
        r = h_first / n_e
        a = (1.0 + 2.0 * others) / k_h2
        b = (1.0 + r) * (1.0 + others)
        c = max(total - n_e, 1e-3 * total)
        n_hi = 2.0 * c / (b + np.sqrt(b * b + 4.0 * a * c))
        n_h2 = n_hi**2 / k_h2
        n_h = n_hi * (1.0 + r) + 2.0 * n_h2
        charge = n_hi * r
        for k in range(n_donors):
            s0 = first[k] / n_e
            s1 = second[k] / n_e
            charge += n_h * ratios[donors[k]] * s0 * (1.0 + 2.0 * s1) / (1.0 + s0 + s0 * s1)
        charge /= 1.0 + n_hi / k_hminus
        # n_i ∝ 1/n_e in a weakly ionised gas, so the geometric mean is nearly the solution at once
        new = np.sqrt(n_e * charge)
        change = abs(new / n_e - 1.0)
        n_e = new
        if change < 1e-6:
            break
    n_hei = n_h * ratios[1] / (1.0 + first[0] / n_e)
    return n_e, n_hi, n_h2, n_hei, n_h
