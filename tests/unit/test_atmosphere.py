"""Equation of state, continuous opacity and scaled-solar atmospheres, against closed forms and textbooks."""

import numpy as np
import pytest

from dioscuri.synthesis.atmosphere import D_LN_TAU, LOG_TAU, SOLAR_RATIO, SOLAR_TEFF, model_atmosphere
from dioscuri.synthesis.equation_of_state import (
    ATOMIC_MASS,
    BOLTZMANN,
    DONOR_ROWS,
    ELECTRONVOLT,
    ELEMENTS,
    SAHA_CONSTANT,
    partition_function,
    saha,
    solve_state,
)
from dioscuri.synthesis.opacity import ROSSELAND_WAVE, continuous_opacity, rosseland_opacity
from dioscuri.synthesis.synthesizer import planck

STEFAN_BOLTZMANN = 5.670374e-5


def state(temperature: float, pressure: float, feh: float = 0.0) -> tuple[float, ...]:
    ratios = ELEMENTS.number_ratios(feh, 0.0)
    return solve_state(temperature, pressure, ratios, ELEMENTS.partition, ELEMENTS.ionisation, DONOR_ROWS)


@pytest.mark.parametrize(
    ("symbol", "stage", "temperature", "expected"),
    # Gray (2005), Appendix D, at θ = 1.0 (5040 K)
    [("H", 0, 5040, 2.0), ("Na", 0, 5040, 2.09), ("Fe", 0, 5040, 27.5), ("Fe", 1, 5040, 42.7), ("Ca", 1, 5040, 2.20)],
)
def test_partition_functions_agree_with_the_textbook(symbol, stage, temperature, expected):
    row = ELEMENTS.symbol.index(symbol)
    assert partition_function(ELEMENTS.partition[row, stage], float(temperature)) == pytest.approx(expected, rel=0.06)


def test_hydrogen_saha_is_the_closed_form():
    temperature = 9000.0
    first, second = saha(ELEMENTS.partition[0], ELEMENTS.ionisation[0], temperature)
    expected = SAHA_CONSTANT * temperature**1.5 / 2.0 * np.exp(-13.5984 * ELECTRONVOLT / (BOLTZMANN * temperature))
    assert first == pytest.approx(expected, rel=1e-3)
    assert second == 0.0


def test_ionisation_of_hot_gas_solves_the_quadratic():
    """At 12000 K hydrogen alone sets n_e: with x = n_p / n_H and N particles, x² / ((1 − x)(1 + x + He)) = S / N."""
    temperature, pressure = 12000.0, 1e3
    n_e, n_hi, _, _, n_h = state(temperature, pressure, feh=-2.0)
    s, _ = saha(ELEMENTS.partition[0], ELEMENTS.ionisation[0], temperature)
    helium = ELEMENTS.number_ratios(0.0, 0.0)[1]
    total = pressure / (BOLTZMANN * temperature)
    x = np.linspace(1e-4, 1 - 1e-4, 200_001)
    closed = x[np.argmin(np.abs(x**2 / ((1 - x) * (1 + x + helium)) - s / total))]
    assert n_e / n_h == pytest.approx(closed, rel=0.01)
    assert 1 - n_hi / n_h == pytest.approx(closed, rel=0.01)


def test_charge_and_particles_are_conserved():
    temperature, pressure = 4500.0, 3e4
    n_e, n_hi, n_h2, _, n_h = state(temperature, pressure)
    others = ELEMENTS.number_ratios(0.0, 0.0)[1:].sum()
    particles = n_e + n_hi + n_h2 + others * n_h
    assert particles * BOLTZMANN * temperature == pytest.approx(pressure, rel=1e-3)
    # in a cool photosphere the metals give the electrons, about one per 1e4 hydrogen nuclei
    assert 2e-5 < n_e / n_h < 2e-4


def test_alpha_elements_alone_follow_afe():
    plain, enhanced = ELEMENTS.number_ratios(-1.0, 0.0), ELEMENTS.number_ratios(-1.0, 0.4)
    change = np.log10(enhanced / plain)
    magnesium, iron, helium = (ELEMENTS.symbol.index(symbol) for symbol in ("Mg", "Fe", "He"))
    assert change[magnesium] == pytest.approx(0.4)
    assert change[iron] == change[helium] == 0.0


def test_negative_hydrogen_ion_shapes_the_solar_opacity():
    """The H⁻ bound-free hump at 0.85 µm, the minimum at 1.6 µm, and the free-free rise beyond (Gray 2005, Fig. 8.5)."""
    s = state(6000.0, 1e5)[:4]
    opacity = {wave: continuous_opacity(wave, 6000.0, *s) for wave in (4000.0, 8500.0, 16400.0, 30000.0)}
    assert opacity[8500.0] > opacity[4000.0] > opacity[16400.0]
    assert opacity[30000.0] > 1.5 * opacity[16400.0]
    assert opacity[8500.0] / opacity[16400.0] == pytest.approx(2.7, rel=0.25)


def test_balmer_jump_appears_in_hot_gas_only():
    def jump(temperature: float, pressure: float) -> float:
        s = state(temperature, pressure)[:4]
        return continuous_opacity(3640.0, temperature, *s) / continuous_opacity(3655.0, temperature, *s)

    assert jump(5500.0, 1e5) < 1.3
    assert jump(9500.0, 1e3) > 4.0


def test_rosseland_mean_lies_between_the_extremes():
    s = state(6000.0, 1e5)[:4]
    values = [continuous_opacity(wave, 6000.0, *s) for wave in ROSSELAND_WAVE]
    assert min(values) < rosseland_opacity(6000.0, *s) < np.median(values) * 3


def test_solar_structure_agrees_with_published_models():
    """Where T = 6400 K: HSRA (Gingerich et al. 1971) has P = 1.2e5 and P_e = 60 dyn/cm²."""
    sun = model_atmosphere(SOLAR_TEFF, 4.44, 0.0, 0.0)
    pressure = np.exp(np.interp(6400.0, sun.temperature, np.log(sun.pressure)))
    electrons = np.exp(np.interp(6400.0, sun.temperature, np.log(sun.n_e * BOLTZMANN * sun.temperature)))
    assert pressure == pytest.approx(1.2e5, rel=0.15)
    assert electrons == pytest.approx(60.0, rel=0.15)
    assert np.all(np.diff(SOLAR_RATIO) > 0)
    assert np.interp(np.log10(2 / 3), LOG_TAU, SOLAR_RATIO) == pytest.approx(1.0, abs=0.08)


@pytest.mark.parametrize(
    "labels", [(5777, 4.44, 0, 0), (4250, 1.5, -1.5, 0.4), (8000, 4.0, 0.0, 0.0), (4000, 5.0, 0.5, 0.0)]
)
def test_atmospheres_are_in_hydrostatic_equilibrium(labels):
    """P(τ₂) − P(τ₁) = g ∫ ρ/κ dτ."""
    star = model_atmosphere(*labels)
    density = star.n_h * ATOMIC_MASS * np.sum(star.ratios * ELEMENTS.weight)
    integrand = 10.0**star.logg * density / star.kappa * star.tau
    rise = np.cumsum(0.5 * (integrand[1:] + integrand[:-1]) * D_LN_TAU)
    expected = star.pressure[0] + rise
    np.testing.assert_allclose(star.pressure[10:], expected[9:], rtol=0.03)
    assert np.all(np.diff(star.pressure) > 0)


@pytest.mark.parametrize("labels", [(4250, 1.5, -2.0, 0.4), (5000, 4.5, 0, 0), (5777, 4.44, 0, 0), (7000, 4.0, 0, 0)])
def test_emergent_continuum_carries_the_effective_temperature(labels):
    """Without lines the flux is a little above σ T⁴; scaled on τ5000 the cool giant would be 2.7 times too bright."""
    star = model_atmosphere(*labels)
    wave = np.geomspace(2500.0, 100_000.0, 200)
    # Eddington-Barbier: F_λ = π B_λ(τ_λ = 2/3)
    tau = np.cumsum(star.continuum_opacity(wave) / star.kappa * star.tau, axis=1) * D_LN_TAU
    temperature = np.array([np.exp(np.interp(np.log(2 / 3), np.log(row), np.log(star.temperature))) for row in tau])
    flux = np.trapezoid(np.pi * planck(wave, temperature), wave)
    assert 0.9 < flux / (STEFAN_BOLTZMANN * star.teff**4) < 1.25
