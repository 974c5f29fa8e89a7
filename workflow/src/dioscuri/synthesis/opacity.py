"""Continuous opacity of stellar matter: H⁻, H I, Rayleigh and electron scattering, and its Rosseland mean."""

import numba
import numpy as np

from dioscuri.synthesis.equation_of_state import BOLTZMANN

# John (1988, A&A 193, 189): H⁻ bound-free cross-section and free-free coefficient (λ > 0.3645 µm).
_BOUND_FREE = np.array([152.519, 49.534, -118.858, 92.536, -34.194, 4.982])
_FREE_FREE = np.array(
    [
        [2483.346, 285.827, -2054.291, 2827.776, -1341.537, 208.952],
        [-3449.889, -1158.382, 8746.523, -11485.632, 5303.609, -812.939],
        [2200.040, 2427.719, -13651.105, 16755.524, -7510.494, 1132.738],
        [-696.271, -1841.400, 8624.970, -10051.530, 4400.067, -655.020],
        [88.283, 444.517, -1863.864, 2095.288, -901.788, 132.985],
    ]
)
_RYDBERG_EV = 13.598
_HC_OVER_K = 1.438777e4  # µm K
_KRAMERS = 1.0449e-26  # cm² Å⁻³ per neutral hydrogen atom (Gray 2005, eq. 8.8)

ROSSELAND_WAVE = np.geomspace(1500.0, 200000.0, 40)  # Å; carries 99.9 % of ∂B/∂T between 3000 and 15000 K


@numba.njit(cache=True)
def continuous_opacity(wave, temperature, n_e, n_hi, n_h2, n_hei):
    """Absorption and scattering coefficient of the continuum [cm⁻¹] at one wavelength [Å] and one state [cm⁻³]."""
    micron = wave * 1e-4
    theta = 5040.0 / temperature
    stimulated = 1.0 - np.exp(-_HC_OVER_K / (micron * temperature))

    # H⁻, per neutral hydrogen atom and unit electron pressure
    h_minus = 0.0
    x = 1.0 / micron - 1.0 / 1.6419
    if x > 0.0:
        root = np.sqrt(x)
        series = 0.0
        for n in range(5, -1, -1):
            series = series * root + _BOUND_FREE[n]
        cross_section = 1e-18 * micron**3 * x * root * series
        h_minus += 0.750 * temperature**-2.5 * np.exp(_HC_OVER_K / (1.6419 * temperature)) * stimulated * cross_section
    red = max(micron, 0.3645)
    inverse = 1.0 / red
    power = theta**1.5
    free_free = 0.0
    for n in range(5):
        c = _FREE_FREE[n]
        free_free += power * (
            red * red * c[0] + c[1] + inverse * (c[2] + inverse * (c[3] + inverse * (c[4] + inverse * c[5])))
        )
        power *= np.sqrt(theta)
    h_minus += 1e-29 * free_free
    opacity = h_minus * n_e * BOLTZMANN * temperature * n_hi

    # H I bound-free of the first eight levels, the levels above as an integral, free-free (Gray 2005, ch. 8)
    rydberg = micron * 10.968  # λ R
    hydrogen = 0.0
    for n in range(1, 9):
        if micron < 0.0911763 * n * n:
            gaunt = 1.0 - 0.3456 * rydberg ** (-1.0 / 3.0) * (rydberg / (n * n) - 0.5)
            hydrogen += gaunt / n**3 * 10.0 ** (-theta * _RYDBERG_EV * (1.0 - 1.0 / (n * n)))
    ionised = 10.0 ** (-theta * _RYDBERG_EV)
    tail = 10.0 ** (-theta * _RYDBERG_EV * (1.0 - 1.0 / 9.5**2)) - ionised
    gaunt = 1.0 + 0.3456 * rydberg ** (-1.0 / 3.0) * (0.4343 * micron / (theta * 1.2398) + 0.5)
    hydrogen += 0.4343 / (2.0 * theta * _RYDBERG_EV) * (tail + gaunt * ionised)
    opacity += _KRAMERS * wave**3 * hydrogen * stimulated * n_hi

    # Rayleigh scattering (Dalgarno & Williams 1962) and electrons
    w2 = 1.0 / (max(wave, 1600.0) ** 2)
    opacity += n_hi * w2 * w2 * (5.799e-13 + w2 * (1.422e-6 + w2 * 2.784))
    opacity += n_h2 * w2 * w2 * (8.14e-13 + w2 * (1.28e-6 + w2 * 1.61))
    opacity += n_hei * w2 * w2 * 5.484e-14
    return opacity + 6.6525e-25 * n_e


@numba.njit(cache=True)
def rosseland_opacity(temperature, n_e, n_hi, n_h2, n_hei):
    """Rosseland mean of the continuous opacity [cm⁻¹]; line blanketing is left out."""
    weight_sum = 0.0
    mean = 0.0
    for wave in ROSSELAND_WAVE:
        x = _HC_OVER_K / (wave * 1e-4 * temperature)
        if x > 40.0:
            continue
        # ∂B_λ/∂T dλ on a logarithmic grid: x^5 e^x / (e^x − 1)²
        e = np.exp(-x)
        weight = x**5 * e / (1.0 - e) ** 2
        weight_sum += weight
        mean += weight / continuous_opacity(wave, temperature, n_e, n_hi, n_h2, n_hei)
    return weight_sum / mean
