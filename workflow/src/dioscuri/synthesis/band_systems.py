"""Molecular constants and band systems that shape cool stars between 3700 and 9000 Å: CH, CN, C2, TiO, MgH, CaH."""

from dataclasses import dataclass

from dioscuri.synthesis.diatomics import State, System


@dataclass(frozen=True)
class Molecule:
    """A diatomic molecule: atomic numbers and isotope masses [u] of its atoms, D0 [eV], its band systems."""

    name: str
    atoms: tuple[int, int]
    masses: tuple[float, float]
    dissociation: float
    systems: tuple[System, ...]


# Strengths are the laboratory's: CH Larsson & Siegbahn (1983), CN Knowles et al. (1988), C2 Grevesse et al. (1991), TiO
# and CaH Jørgensen (1994), MgH as fitted to the Sun (molecules.py). None was fitted to a star here.
# Constants: Huber & Herzberg (1979), with origins by the observed 0-0 bands; TiO also Schamps et al. (1992).
# State(T0, ωe, ωexe, Be, αe, De, Λ, S, A, λ), cm⁻¹
CH_X = State(0.0, 2860.75, 64.44, 14.457, 0.534, 1.45e-3, 1, 0.5, 28.0)
CH_A = State(23217.5, 2945.7, 104.15, 14.934, 0.697, 1.54e-3, 2, 0.5, -1.1)
CH_B = State(25698.2, 2246.4, 225.7, 13.39, 1.49, 2.2e-3, 0, 0.5)
CN_X = State(0.0, 2068.59, 13.087, 1.8997, 0.01736, 6.40e-6, 0, 0.5)
CN_A = State(9117.4, 1812.56, 12.60, 1.7151, 0.01708, 6.15e-6, 1, 0.5, -52.64)
CN_B = State(25797.84, 2163.9, 20.2, 1.973, 0.023, 6.6e-6, 0, 0.5)
C2_A = State(613.65, 1641.35, 11.67, 1.6324, 0.01661, 6.44e-6, 1, 1.0, -15.25)
C2_D = State(613.65 + 19378.4, 1788.22, 16.44, 1.7527, 0.01608, 6.74e-6, 1, 1.0, -14.0)
TIO_X = State(0.0, 1009.02, 4.498, 0.53541, 0.00302, 6.03e-7, 2, 1.0, 50.61, 1.75)
TIO_A = State(14093.0, 867.78, 3.942, 0.50739, 0.00315, 6.9e-7, 3, 1.0, 57.5, -0.5)
TIO_B = State(16150.6, 875.0, 5.0, 0.50617, 0.00320, 6.9e-7, 1, 1.0, 27.5, 0.0)
TIO_C = State(19341.7, 838.26, 4.76, 0.48989, 0.00306, 6.7e-7, 2, 1.0, 48.8, 0.0)
TIO_E = State(11838.0, 924.2, 5.1, 0.51717, 0.00310, 6.4e-7, 1, 1.0, 86.8, 0.0)
TIO_a = State(3446.5, 1018.27, 4.52, 0.53760, 0.00298, 6.0e-7, 2, 0.0)
TIO_b = State(3446.5 + 11272.7, 919.76, 4.28, 0.51337, 0.00288, 6.4e-7, 1, 0.0)
TIO_c = State(3446.5 + 17840.5, 917.55, 4.63, 0.52300, 0.00313, 6.8e-7, 3, 0.0)
MGH_X = State(0.0, 1495.25, 31.64, 5.8255, 0.1780, 3.54e-4, 0, 0.5, sextic=1.33e-8)
MGH_A = State(19286.8, 1599.5, 32.5, 6.185, 0.190, 3.71e-4, 1, 0.5, 35.0, sextic=1.47e-8)
CAH_X = State(0.0, 1298.34, 19.10, 4.2766, 0.0970, 1.837e-4, 0, 0.5)
CAH_A = State(14430.0, 1333.0, 20.0, 4.348, 0.106, 1.85e-4, 1, 0.5, 79.3)
CAH_B = State(15755.0, 1285.0, 20.0, 4.490, 0.120, 2.0e-4, 0, 0.5)

MOLECULES = (
    Molecule(
        "CH",
        (6, 1),
        (12.0, 1.00783),
        3.465,
        (System(CH_X, CH_A, 0.0052, 2, 38), System(CH_X, CH_B, 0.0026, 1, 20)),
    ),
    Molecule(
        "CN",
        (6, 7),
        (12.0, 14.00307),
        7.72,
        (System(CN_X, CN_B, 0.0338, 5, 95), System(CN_X, CN_A, 0.00237, 9, 100)),
    ),
    Molecule("C2", (6, 6), (12.0, 12.0), 6.24, (System(C2_A, C2_D, 0.0245, 6, 95, homonuclear=True),)),
    Molecule(
        "TiO",
        (22, 8),
        (47.94795, 15.99491),
        6.87,
        (
            System(TIO_X, TIO_C, 0.106, 7, 140),
            System(TIO_a, TIO_c, 0.125, 5, 140),
            System(TIO_X, TIO_A, 0.092, 7, 140),
            System(TIO_X, TIO_B, 0.094, 6, 140),
            System(TIO_a, TIO_b, 0.048, 4, 140),
            System(TIO_X, TIO_E, 0.0023, 4, 140),
        ),
    ),
    Molecule("MgH", (12, 1), (23.98504, 1.00783), 1.2852, (System(MGH_X, MGH_A, 0.100, 4, 50),)),
    Molecule(
        "CaH",
        (20, 1),
        (39.96259, 1.00783),
        1.70,
        (System(CAH_X, CAH_A, 0.16, 2, 40), System(CAH_X, CAH_B, 0.09, 2, 40)),
    ),
)
