"""Analytic tracks against the oracle of the same formulae (cosmic-popsynth) and published MIST values."""

import ast
import contextlib
import json
import warnings
from pathlib import Path

import numpy as np
import pytest

from dioscuri.stars import analytic
from dioscuri.stars.hurley import Formulae
from dioscuri.stars.tracks import COLUMNS, LOG_AGE, LOG_LUMINOSITY, LOG_RADIUS, LOG_TEFF, LOGG, TrackGrid

MASSES = np.array([0.1, 0.2, 0.4, 0.55, 0.62, 0.8, 0.95, 1.0, 1.05, 1.1, 1.2, 1.35, 1.5, 1.7, 1.95, 2.05, 2.2])


@pytest.fixture(scope="module")
def grid() -> TrackGrid:
    *axes, provenance = analytic.build()
    return TrackGrid(*axes, provenance)


@pytest.fixture(scope="module")
def oracle(tmp_path_factory):
    """Single-star evolution by cosmic-popsynth: a function (masses, Z, ages) → its table of time steps."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cosmic = pytest.importorskip(
            "cosmic.evolve", reason="cosmic-popsynth, the oracle, is not installed", exc_type=ImportError
        )
        from cosmic.sample.initialbinarytable import InitialBinaryTable
    described = json.loads((Path(cosmic.__file__).parent / "data" / "cosmic-settings.json").read_text())
    settings = {}
    for entry in next(c for c in described if c["category"] == "bse")["settings"]:
        value = next(option["name"] for option in entry["options"] if option.get("default"))
        if entry["name"] == "fprimc_array":
            value = [2.0 / 21.0] * 16  # written there as fractions
        settings[entry["name"]] = ast.literal_eval(value) if isinstance(value, str) else value
    scratch = tmp_path_factory.mktemp("cosmic")
    # No wind (our stars keep their mass), and the solar metallicity of the published fits.
    settings.update(zsun=0.02, neta=1e-12, windflag=0)

    def evolve(mass: np.ndarray, z: float, until: np.ndarray):
        nobody = np.zeros(mass.size)
        table = InitialBinaryTable.InitialBinaries(
            m1=mass, m2=nobody, porb=nobody - 1, ecc=nobody - 1, tphysf=until,
            kstar1=np.where(mass < 0.7, 0, 1), kstar2=np.full(mass.size, 15), metallicity=nobody + z,
        )  # fmt: skip
        # Its Fortran leaves a fort.99 in the working folder.
        with warnings.catch_warnings(), contextlib.chdir(scratch):
            warnings.simplefilter("ignore")
            _, steps, _, _ = cosmic.Evolve.evolve(
                initialbinarytable=table,
                BSEDict=settings,
                SSEDict={"stellar_engine": "sse"},
                dtp=until / 250,
                randomseed=1,
            )
        return steps[steps["kstar_1"] <= 3]

    return evolve


@pytest.mark.parametrize("z", [1e-4, 1e-3, 0.0142857, 0.02, 0.03])
def test_formulae_agree_with_cosmic(oracle, z):
    # At these Z the paper's main-sequence fraction (eq. 6) and the one coded in SSE coincide.
    formulae = Formulae(z)
    steps = oracle(MASSES, z, 0.9999 * formulae.tip_age(MASSES))
    for number, mass in enumerate(MASSES):
        rows = steps[steps["bin_num"] == number]
        age = rows["tphys"].to_numpy()
        luminosity, radius = formulae.evolve(mass, age)
        giant = age >= formulae.giant_base_age(mass)
        assert (~giant).sum() > 80
        np.testing.assert_allclose(luminosity[~giant], rows["lum_1"][~giant], rtol=1e-6)
        np.testing.assert_allclose(radius[~giant], rows["rad_1"][~giant], rtol=1e-6)
        if mass < 0.6:
            continue  # our tracks end with the main sequence there
        # SSE starts the passage to non-degenerate cores at 2 M☉, the paper at the helium-flash mass.
        tolerance = 1e-6 if mass < formulae.mass_flash and mass < 2.0 else 0.12
        assert giant.any()
        np.testing.assert_allclose(luminosity[giant], rows["lum_1"][giant], rtol=tolerance)
        np.testing.assert_allclose(radius[giant], rows["rad_1"][giant], rtol=tolerance)


def test_formulae_between_the_metallicities_where_sse_and_paper_coincide(oracle):
    formulae = Formulae(0.004)
    masses = MASSES[MASSES > 0.6]
    steps = oracle(masses, 0.004, 0.9 * formulae.main_sequence_age(masses))
    for number, mass in enumerate(masses):
        rows = steps[steps["bin_num"] == number]
        luminosity, radius = formulae.evolve(mass, rows["tphys"].to_numpy())
        np.testing.assert_allclose(luminosity, rows["lum_1"], rtol=0.05)
        np.testing.assert_allclose(radius, rows["rad_1"], rtol=0.05)


def test_tip_is_where_the_giant_branch_ends(oracle):
    formulae = Formulae(0.02)
    luminosity, _ = formulae.evolve(MASSES, formulae.tip_age(MASSES))
    np.testing.assert_allclose(luminosity, formulae.tip_luminosity(MASSES), rtol=1e-6)
    assert np.isnan(formulae.evolve(1.0, 1.001 * formulae.tip_age(1.0))[0])


@pytest.mark.parametrize("z", [0.00005, 0.04])
def test_metallicity_outside_the_fits_is_refused(z):
    with pytest.raises(ValueError, match=r"accepted: 0\.0001 to 0\.03"):
        Formulae(z)


def test_phases_join_continuously():
    for z in (1.5e-4, 0.004, 0.0142857, 0.03):
        formulae = Formulae(z)
        mass = np.linspace(0.6, 2.4, 91)
        for edge in (formulae.main_sequence_age(mass), formulae.giant_base_age(mass)):
            before, after = formulae.evolve(mass, edge * (1 - 1e-9)), formulae.evolve(mass, edge * (1 + 1e-9))
            np.testing.assert_allclose(before, after, rtol=1e-5)


def test_sun():
    """One solar mass at Z☉ and 4.57 Gyr is near the Sun; 13 % too bright, as the fits take Z☉ = 0.02."""
    luminosity, radius = Formulae(analytic.Z_SUN).evolve(1.0, 4570.0)
    assert luminosity == pytest.approx(1.0, abs=0.15)
    assert radius == pytest.approx(1.0, abs=0.04)


# MIST v1.2, 1 M☉, [Fe/H] = 0, v/vcrit = 0.4, as published: EEP → (age [yr], log L, log Teff, log R).
MIST_1_MSUN = {
    202: (4.18735e7, -0.12721, 3.75641, -0.05375),
    231: (1.02959e8, -0.11491, 3.75720, -0.04918),
    281: (4.86640e8, -0.09785, 3.75866, -0.04357),
    353: (4.50136e9, 0.04114, 3.76692, 0.00941),
    401: (6.80949e9, 0.14512, 3.76946, 0.05632),
    454: (9.91942e9, 0.35846, 3.75465, 0.19260),
    531: (1.128139e10, 1.70569, 3.63917, 1.09718),
    605: (1.133618e10, 3.37782, 3.48718, 2.23723),
}


@pytest.mark.parametrize("eep", MIST_1_MSUN)
def test_equal_eeps_lie_on_mist(grid, eep):
    age, log_l, log_t, log_r = MIST_1_MSUN[eep]
    star = grid.evaluate(1.0, eep, 0.0)[0]
    # Half way up the giant branch MIST lingers at the luminosity bump, which the formulae do not have.
    log_l_error, log_r_error = (0.25, 0.1) if eep == 531 else (0.055, 0.05)
    assert 10 ** star[LOG_AGE] == pytest.approx(age, rel=0.05 if eep == 401 else 0.015)
    assert star[LOG_LUMINOSITY] == pytest.approx(log_l, abs=log_l_error)
    assert star[LOG_RADIUS] == pytest.approx(log_r, abs=log_r_error)
    assert 10 ** star[LOG_TEFF] == pytest.approx(10**log_t, abs=270 if eep == 605 else 125)


def test_grid_is_complete_and_ages_grow(grid):
    assert grid.values.shape == (11, grid.mass.size, 404, len(COLUMNS))
    reached = np.isfinite(grid.values).all(-1).sum(-1)
    low = grid.mass < 0.6
    assert (reached[:, low] == 454 - 202 + 1).all()
    assert (reached[:, ~low] == 404).all()
    steps = np.diff(grid.values[..., LOG_AGE], axis=-1)
    assert (steps[np.isfinite(steps)] > 0).all()


def test_columns_obey_stefan_boltzmann_and_newton(grid):
    ok = np.isfinite(grid.values[..., LOG_AGE])
    log_t, logg, log_r, log_l, mass = (grid.values[..., c][ok] for c in (LOG_TEFF, LOGG, LOG_RADIUS, LOG_LUMINOSITY, 5))
    np.testing.assert_allclose(log_l, 2 * log_r + 4 * (log_t - np.log10(5772)), atol=1e-9)
    np.testing.assert_allclose(logg, 4.438 + np.log10(mass) - 2 * log_r, atol=1e-9)


def test_stars_between_mass_nodes_are_those_of_the_formulae(grid):
    """Interpolated luminosity and radius at a given age, against the formulae at that very mass."""
    formulae = Formulae(analytic.Z_SUN)
    for mass in (0.67, 0.83, 1.07, 1.33, 1.79):
        eep = np.arange(202.0, 606.0)
        star = grid.evaluate(mass, eep, 0.0)
        age = 10 ** (star[:, LOG_AGE] - 6) - analytic.contraction_age(mass)
        luminosity, radius = formulae.evolve(mass, np.clip(age, 0, None))
        here = (eep > 205) & (eep <= 454)  # on the giant branch a hundredth in age is a factor in luminosity
        np.testing.assert_allclose(star[here, LOG_LUMINOSITY], np.log10(luminosity[here]), atol=0.03)
        np.testing.assert_allclose(star[here, LOG_RADIUS], np.log10(radius[here]), atol=0.03)


def test_metallicity_beyond_the_fits_is_recorded(grid):
    assert grid.provenance["feh_evaluated_at_z_max"] == [0.5]
    with pytest.raises(ValueError, match="below the published fits"):
        analytic.build(feh=[-3.0, 0.0])
    with pytest.raises(ValueError, match="mass_max"):
        analytic.build(mass_max=8.0)


def test_chosen_nodes_are_the_same_stars(grid):
    feh, mass, _, values, _ = analytic.build(feh=[0.0, -1.0], mass_max=1.2)
    assert feh.tolist() == [-1.0, 0.0]
    assert mass.max() <= 1.2
    np.testing.assert_array_equal(values, grid.values[[4, 8], : mass.size])
