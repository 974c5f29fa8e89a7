"""Molecular bands: sum rules of line strengths, heads where the laboratory has them, dissociation equilibrium."""

import numpy as np
import pytest

from dioscuri.arms import vacuum_to_air
from dioscuri.synthesis.atmosphere import model_atmosphere
from dioscuri.synthesis.band_systems import MOLECULES
from dioscuri.synthesis.chemistry import BOUND, association
from dioscuri.synthesis.diatomics import _band_lines, franck_condon, reduced_mass, system_lines
from dioscuri.synthesis.synthesizer import read_linelist, synthesize

NAMED = {molecule.name: molecule for molecule in MOLECULES}
SYSTEMS = [(molecule, system) for molecule in MOLECULES for system in molecule.systems]
NAMES = [f"{molecule.name} {1e8 / (s.upper.origin - s.lower.origin):.0f}" for molecule, s in SYSTEMS]


@pytest.mark.parametrize(("molecule", "system"), SYSTEMS, ids=NAMES)
def test_lines_of_a_band_add_up_to_its_oscillator_strength(molecule, system):
    """Σ over all lines from the levels of one J of gf = f Σ g: Hönl-London factors are complete."""
    j = np.arange(system.lower.spin % 1, 30)
    levels = system.lower.levels(0, j), system.upper.levels(0, j)
    parts = _band_lines(system, j, *levels, 1.0)
    energy = np.concatenate([part[1] for part in parts])
    gf = np.concatenate([part[2] for part in parts])
    doublets = 2 if system.lower.angular and not system.homonuclear else 1
    lower = levels[0][0]
    limit = np.nanmin(lower[20]) + 1e-6
    weights = np.where(lower <= limit, doublets * (2 * j + 1)[:, None], 0.0)
    assert gf[energy <= limit].sum() == pytest.approx(weights.sum(), rel=0.05)  # satellites below 0.3 % are left out


@pytest.mark.parametrize(("molecule", "system"), SYSTEMS, ids=NAMES)
def test_franck_condon_factors_are_probabilities(molecule, system):
    factors = franck_condon(system.lower, system.upper, reduced_mass(molecule.masses), 8)
    assert np.all(factors >= 0)
    assert np.all(factors.sum(0) <= 1 + 1e-6)
    assert factors[:, 0].sum() > 0.95  # nearly all of v″ = 0 reaches v′ ≤ 8


# Band heads as listed by Pearse & Gaydon (1976), air Å, and the side to which the band is degraded
HEADS = [
    ("C2", 5165.2, "violet"),
    ("C2", 4737.1, "violet"),
    ("CN", 3883.4, "violet"),
    ("CN", 4216.0, "violet"),
    ("TiO", 7054.5, "red"),
    ("TiO", 7087.9, "red"),
    ("TiO", 7125.6, "red"),
    ("TiO", 6158.5, "red"),
    ("TiO", 4954.6, "red"),
    ("CaH", 6389.3, "violet"),
]


@pytest.mark.parametrize(("name", "head", "degraded"), HEADS)
def test_heads_stand_where_the_laboratory_has_them(name, head, degraded):
    """Within 2 Å of the listed head the absorption of a 3500 K gas rises at least twofold: a pixel of LRS is 1.2 Å."""
    molecule = NAMED[name]
    strength = np.zeros(200)
    edges = head + np.linspace(-20, 20, 201)
    for system in molecule.systems:
        wave, energy, gf = system_lines(system, reduced_mass(molecule.masses), head - 30, head + 30)
        strength += np.histogram(vacuum_to_air(wave), edges, weights=gf * np.exp(-1.4388 * energy / 3500))[0]
    centres = 0.5 * (edges[1:] + edges[:-1]) - head
    sign = 1 if degraded == "red" else -1
    inside = strength[(sign * centres > 0) & (sign * centres < 5)].mean()
    outside = strength[(sign * centres < -2) & (sign * centres > -7)].mean()
    assert inside > 2 * outside


@pytest.mark.parametrize("name", BOUND)
def test_equilibrium_constants_fall_with_the_dissociation_energy(name):
    """d ln K / d(1/kT) is the energy of dissociation but for a few kT (van 't Hoff)."""
    temperature = np.array([3500.0, 3700.0])
    slope = np.diff(np.log(association(name, temperature))) / np.diff(1 / (8.617e-5 * temperature))
    assert slope[0] == pytest.approx(BOUND[name][1], abs=0.8)


def test_carbon_goes_into_carbon_monoxide_and_titanium_follows_the_oxygen():
    """At 3500 K all carbon is CO where lines form, and solar oxygen minus carbon, 45 %, bounds what is left of O."""
    cool = model_atmosphere(3500, 4.5, 0.0, 0.0, molecules=True)
    sun = model_atmosphere(5777, 4.44, 0.0, 0.0, molecules=True)
    where = np.searchsorted(cool.tau, 0.03)
    assert cool.free[6][where] < 1e-2
    assert cool.free[8][where] < 0.46
    assert 0.05 < cool.free[22][where] < 0.98
    for z, share in sun.free.items():
        assert share[np.searchsorted(sun.tau, 1.0)] > 0.99, z


def test_bands_leave_the_spectrum_as_it_was_unless_asked_for():
    """MRS libraries are made without: the released models were trained on those spectra."""
    lines = read_linelist()
    plain = synthesize(4800, 4.5, 0, 0, 5100, 5150, linelist=lines)
    banded = synthesize(4800, 4.5, 0, 0, 5100, 5150, linelist=lines, molecules=True)
    assert np.abs(banded.flux / plain.flux - 1).max() > 0.05
    again = synthesize(4800, 4.5, 0, 0, 5100, 5150, linelist=lines)
    np.testing.assert_array_equal(plain.flux, again.flux)


def test_titanium_oxide_grows_towards_cool_stars():
    """The γ band at 7054 Å, depth over 30 Å: nothing in a G dwarf, a few per cent at K7, a quarter in early M."""
    lines = read_linelist()
    depth = {}
    for teff in (3600, 4000, 4500, 5500):
        star = synthesize(teff, 4.7, 0, 0, 7000, 7110, linelist=lines, step_kms=20.0, resolution=3000, molecules=True)
        red = star.flux[(star.wave > 7060) & (star.wave < 7085)].mean()
        blue = star.flux[(star.wave > 7035) & (star.wave < 7053)].mean()
        depth[teff] = 1 - red / blue
    assert depth[3600] > 0.15 > depth[4000] > depth[4500]
    assert abs(depth[5500]) < 0.01
