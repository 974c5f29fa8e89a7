"""The synthesizer: line profiles and flux integral against closed forms, line strengths against physics."""

import numpy as np
import pytest
from scipy.special import wofz

from dioscuri.arms import C_KMS, air_to_vacuum
from dioscuri.synthesis import synthesizer as synthesis
from dioscuri.synthesis.atmosphere import D_LN_TAU, LOG_TAU
from dioscuri.synthesis.lines import LineList, line_list, read_linelist
from dioscuri.synthesis.profiles import voigt
from dioscuri.synthesis.synthesizer import (
    VALIDITY,
    Spectrum,
    microturbulence_relation,
    smooth_to_resolution,
    synthesize,
    synthesize_windows,
)

SUN = (5777.0, 4.44, 0.0, 0.0)
MG_B1 = air_to_vacuum(5183.604)
H_ALPHA = 6564.61


@pytest.fixture(scope="module")
def embedded() -> LineList:
    return read_linelist()


def one_line(log_gf: float, z: int = 26, ion: int = 0, excitation: float = 3.0, wave: float = 6500.0) -> LineList:
    return line_list([wave], [z], [ion], [excitation], [log_gf])


def equivalent_width(spectrum: Spectrum) -> float:
    """Å, over the whole spectrum."""
    return float(np.trapezoid(1.0 - spectrum.flux / spectrum.continuum, spectrum.wave))


def line_width(lines: LineList, labels=SUN, wave: float = 6500.0, half: float = 4.0, **settings) -> float:
    """Equivalent width [mÅ] of `lines` near `wave`, the Balmer wings taken out."""
    limits = (wave - half, wave + half)
    with_line = synthesize(*labels, *limits, linelist=lines, step_kms=0.5, **settings)
    without = synthesize(*labels, *limits, linelist=lines.select(np.zeros(0, int)), step_kms=0.5, **settings)
    return 1e3 * float(np.trapezoid(1.0 - with_line.flux / without.flux, with_line.wave))


def test_voigt_function():
    a, v = np.meshgrid(np.geomspace(1e-4, 3.0, 25), np.linspace(0.0, 30.0, 200))
    ours = np.array([[voigt(x, y) for x, y in zip(row_a, row_v)] for row_a, row_v in zip(a, v)])
    np.testing.assert_allclose(ours, wofz(v + 1j * a).real, rtol=3e-3, atol=2e-6)


def test_flux_of_a_linear_source_function():
    """S = a + b τ in a grey atmosphere gives F = π (a + 2b/3) exactly (Eddington-Barbier)."""
    tau = 10.0**LOG_TAU
    knots = np.array([5000.0, 5100.0])
    opacity = np.ones((2, len(tau)))
    none = np.zeros((len(tau), 2), dtype=np.float32)
    source = np.tile(1.0 + 2.0 * tau, (2, 1))
    flux = synthesis._emergent_flux(none, none, knots, knots, opacity, source, tau, D_LN_TAU, synthesis._E4)
    np.testing.assert_allclose(flux, np.pi * (1.0 + 4.0 / 3.0), rtol=0.01)


def test_solar_continuum_flux(embedded):
    """The Sun's surface continuum at 5000 Å is 1.1e7 erg/s/cm²/Å within 10 % (Neckel & Labs 1984: F = 1.08e7)."""
    spectrum = synthesize(*SUN, 4990, 5010, linelist=embedded)
    assert spectrum.continuum.mean() == pytest.approx(1.08e7, rel=0.1)


def test_grid_is_vacuum_and_uniform_in_log(embedded):
    spectrum = synthesize(*SUN, 5180, 5190, linelist=embedded, step_kms=1.0)
    np.testing.assert_allclose(np.diff(np.log(spectrum.wave)), 1.0 / C_KMS, rtol=1e-6)
    assert spectrum.wave[0] == pytest.approx(5180.0) and spectrum.wave[-1] <= 5190.0
    relative = spectrum.flux / spectrum.continuum
    assert spectrum.wave[np.argmin(relative)] == pytest.approx(MG_B1, abs=0.03)
    assert np.all((relative > 0.02) & (relative < 1.0 + 1e-3))


def test_curve_of_growth():
    """Weak lines grow with gf, saturated lines slower than half as fast, damped ones as its square root."""
    weak, twice = line_width(one_line(-4.5)), line_width(one_line(-4.5 + np.log10(2)))
    assert twice / weak == pytest.approx(2.0, rel=0.03)
    flat, flat_twice = line_width(one_line(-1.2)), line_width(one_line(-1.2 + np.log10(2)))
    assert 1.05 < flat_twice / flat < 1.4
    damped, damped_four = line_width(one_line(2.0), half=40.0), line_width(one_line(2.0 + np.log10(4)), half=40.0)
    assert damped_four / damped == pytest.approx(2.0, rel=0.15)


def test_microturbulence_strengthens_saturated_lines_only():
    strong, weak = one_line(-1.2), one_line(-4.5)
    assert line_width(strong, microturbulence=2.0) > 1.15 * line_width(strong, microturbulence=0.5)
    assert line_width(weak, microturbulence=2.0) == pytest.approx(line_width(weak, microturbulence=0.5), rel=0.01)


def test_microturbulence_relation():
    assert microturbulence_relation(5777, 4.44, 0.0) == pytest.approx(1.07, abs=0.03)
    assert 1.4 < microturbulence_relation(6550, 4.0, 0.0) < 2.0
    grid = [microturbulence_relation(t, 2.0, 0.0) for t in (4500, 6000, 8000)]
    assert np.all(np.diff(grid) >= 0) and max(grid) <= 2.5
    # no jump where the dwarf and the giant branch meet
    assert microturbulence_relation(5500, 3.001, 0) == pytest.approx(microturbulence_relation(5500, 2.999, 0), abs=0.01)


def test_neutral_iron_weakens_with_temperature():
    widths = [
        line_width(one_line(-2.5, excitation=1.0), (teff, 4.4, 0.0, 0.0)) for teff in (4500, 5250, 6000, 7000, 8000)
    ]
    assert np.all(np.diff(widths) < 0)


def test_balmer_lines_strengthen_with_temperature(embedded):
    widths = []
    for teff in (4500, 5250, 6000, 7000, 8000):
        spectrum = synthesize(teff, 4.2, 0.0, 0.0, 6450, 6680, linelist=embedded.select(np.zeros(0, int)))
        widths.append(equivalent_width(spectrum))
    assert np.all(np.diff(widths) > 0)
    # the Sun's Hα is 4.02 Å wide (Moore, Minnaert & Houtgast 1966)
    solar = synthesize(*SUN, 6450, 6680, linelist=embedded.select(np.zeros(0, int)))
    assert equivalent_width(solar) == pytest.approx(4.0, rel=0.15)


def test_ionised_iron_strengthens_in_giants():
    widths = [
        line_width(one_line(-2.5, ion=1), (6000, logg, 0.0, 0.0), microturbulence=1.0) for logg in (4.5, 3.5, 2.5)
    ]
    assert np.all(np.diff(widths) > 0)


@pytest.mark.parametrize("labels", [(5000, 4.5), (5777, 4.44), (4500, 2.0), (7000, 4.0)])
def test_spectra_deepen_with_metallicity(embedded, labels):
    absorbed = [
        equivalent_width(synthesize(*labels, feh, 0.0, 5000, 5300, linelist=embedded))
        for feh in (-2.0, -1.0, -0.5, 0.0, 0.5)
    ]
    assert np.all(np.diff(absorbed) > 0)


def test_alpha_enhancement_acts_on_magnesium_and_hardly_on_iron():
    magnesium = one_line(-2.0, z=12, excitation=2.7)
    iron = one_line(-2.5, z=26, excitation=3.0)
    mg = [line_width(magnesium, (5500, 4.4, -1.0, afe)) for afe in (-0.4, 0.0, 0.4)]
    fe = [line_width(iron, (5500, 4.4, -1.0, afe)) for afe in (-0.4, 0.0, 0.4)]
    assert np.all(np.diff(mg) > 0.2 * mg[1])
    np.testing.assert_allclose(fe, fe[1], rtol=0.08)


def test_magnesium_hydride_marks_cool_dwarfs(embedded):
    atoms = embedded.select(np.flatnonzero(embedded.z < 100))

    def absorbed(teff: float, logg: float) -> float:
        bare = synthesize(teff, logg, 0.0, 0.0, 5100, 5215, linelist=atoms)
        full = synthesize(teff, logg, 0.0, 0.0, 5100, 5215, linelist=embedded)
        return float(np.mean(1.0 - full.flux / bare.flux))

    assert absorbed(4500, 4.6) > 0.02
    assert absorbed(4500, 4.6) > 2 * absorbed(4500, 2.0)
    assert absorbed(6500, 4.2) < 2e-3


def test_windows_share_an_atmosphere_and_change_nothing(embedded):
    windows = [(5100.0, 5150.0), (6500.0, 6550.0)]
    together = synthesize_windows(*SUN, windows, linelist=embedded)
    for window, spectrum in zip(windows, together):
        alone = synthesize(*SUN, *window, linelist=embedded)
        np.testing.assert_array_equal(spectrum.flux, alone.flux)


def test_cutting_line_wings_costs_less_than_it_claims(embedded, monkeypatch):
    usual = synthesize(5000, 4.5, 0.3, 0.0, 5150, 5200, linelist=embedded)
    monkeypatch.setattr(synthesis, "FLUX_TOLERANCE", 1e-6)
    full = synthesize(5000, 4.5, 0.3, 0.0, 5150, 5200, linelist=embedded)
    assert np.max(np.abs(usual.flux - full.flux) / full.continuum) < 5e-3
    assert np.sqrt(np.mean(((usual.flux - full.flux) / full.continuum) ** 2)) < 3e-3


def test_coarse_steps_are_computed_finer(embedded):
    """Point samples every 4 km/s would be wrong by 3 %: narrow lines fall between them."""
    fine = synthesize(*SUN, 5100, 5120, linelist=embedded, step_kms=0.5, resolution=20000)
    coarse = synthesize(*SUN, 5100, 5120, linelist=embedded, step_kms=4.0, resolution=20000)
    difference = np.interp(coarse.wave, fine.wave, fine.flux) - coarse.flux
    assert np.max(np.abs(difference) / coarse.continuum) < 0.01
    assert np.std(difference / coarse.continuum) < 2e-3


def test_resolution_widens_lines_and_keeps_their_area():
    lines = one_line(-3.0)
    sharp = synthesize(*SUN, 6490, 6510, linelist=lines, step_kms=1.0)
    broad = synthesize(*SUN, 6490, 6510, linelist=lines, step_kms=1.0, resolution=7500)
    assert equivalent_width(broad) == pytest.approx(equivalent_width(sharp), rel=0.01)
    depth = 1 - broad.flux / np.median(broad.flux)
    above_half = broad.wave[depth > 0.5 * depth.max()]
    assert np.ptp(above_half) == pytest.approx(6500 / 7500, rel=0.05)


def test_resolution_must_be_sampled():
    with pytest.raises(ValueError, match="km/s"):
        smooth_to_resolution(np.ones(100), 60000.0, 4.0)


@pytest.mark.parametrize(("name", "bad"), [("teff", 3500.0), ("logg", 0.0), ("feh", -3.0), ("afe", 1.0)])
def test_labels_outside_validity_are_refused(embedded, name, bad):
    labels = dict(zip(("teff", "logg", "feh", "afe"), SUN)) | {name: bad}
    low, high = VALIDITY[name]
    with pytest.raises(ValueError, match=f"{name} = .*{low:g} to {high:g}"):
        synthesize(**labels, wave_min=5000, wave_max=5010, linelist=embedded)


def test_the_corners_of_validity_give_sane_spectra(embedded):
    for teff in VALIDITY["teff"]:
        for logg in VALIDITY["logg"]:
            for feh in VALIDITY["feh"]:
                for afe in VALIDITY["afe"]:
                    spectrum = synthesize(teff, logg, feh, afe, 5160, 5200, linelist=embedded)
                    relative = spectrum.flux / spectrum.continuum
                    assert np.all(np.isfinite(relative)) and np.all((relative > 0) & (relative < 1.01))


def test_jitter_changes_lines_one_by_one(embedded):
    plain = synthesize(*SUN, 5000, 5050, linelist=embedded)
    jittered = synthesize(*SUN, 5000, 5050, linelist=embedded.jittered(0.25, 1))
    change = (jittered.flux - plain.flux) / plain.continuum
    assert 0.01 < change.std() < 0.1
    assert abs(change.mean()) < 0.02


def test_a_list_without_lines_leaves_the_continuum():
    empty = one_line(-1.0).select(np.zeros(0, int))
    spectrum = synthesize(*SUN, 5400, 5450, linelist=empty)
    np.testing.assert_allclose(spectrum.flux, spectrum.continuum, rtol=1e-3)
