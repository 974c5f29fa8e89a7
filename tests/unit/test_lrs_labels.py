"""Labels of the HR diagram on made-up stars of known mass ratio."""

import numpy as np
import pytest

from dioscuri.catalogs import hrd_labels
from dioscuri.catalogs.hrd_labels import HIGH, INTERMEDIATE, NEITHER, SINGLE, Thresholds


def magnitudes(mass: np.ndarray) -> dict[str, np.ndarray]:
    """A main sequence whose light falls as a power of mass, faster in G than in Ks."""
    log_mass = np.log10(mass)
    return {"G": 4.67 - 15.0 * log_mass, "Ks": 3.27 - 9.5 * log_mass}


def field(n: int, seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    mass, feh = random.uniform(0.6, 0.95, n), random.choice([-0.3, 0.05], n)
    q = np.where(random.random(n) < 0.5, 0.0, random.uniform(0.1, 1.0, n))
    one, two = magnitudes(mass), magnitudes(np.maximum(q, 0.05) * mass)
    light = {}
    for band in one:
        pair = np.where(q > 0, 10 ** (-0.4 * two[band]), 0.0)
        light[band] = -2.5 * np.log10(10 ** (-0.4 * one[band]) + pair) - 0.5 * feh
    scatter = random.normal(0, 0.05, (2, n))
    colour = light["G"] - light["Ks"] + 0.4 * scatter[1]
    return {"colour": colour, "magnitude": light["G"] + scatter[0], "feh": feh, "q": q}


@pytest.fixture(scope="module")
def stars():
    return field(6000, 1)


@pytest.fixture(scope="module")
def classes(stars):
    found = hrd_labels.label(stars["colour"], stars["magnitude"], stars["feh"])
    excess = hrd_labels.excess_of_ratio(magnitudes, np.linspace(0.65, 0.9, 6), (0.71, 0.93))
    return found, found.classes(Thresholds.of(excess, found.width))


def test_the_ridge_is_where_the_single_stars_are(stars, classes):
    found, _ = classes
    single = stars["q"] == 0
    assert abs(np.median(found.excess[single])) < 0.02
    assert 0.03 < found.width < 0.1
    near = stars["q"] > 0.97
    assert np.median(found.excess[near]) == pytest.approx(0.74, abs=0.05)


def test_intermediate_pairs_are_no_single_stars(stars, classes):
    _, kinds = classes
    table = hrd_labels.table_of_ratios(kinds, stars["q"])
    assert table["intermediate"][0] <= 0.02
    assert sum(table["intermediate"]) == pytest.approx(1)
    single = stars["q"] == 0
    assert (kinds[single] == SINGLE).mean() > 0.85
    assert set(kinds) == {SINGLE, INTERMEDIATE, HIGH, NEITHER}


def test_near_twins_cannot_be_told_from_equals():
    excess = hrd_labels.excess_of_ratio(magnitudes, np.linspace(0.65, 0.9, 6), (0.5, 0.71, 0.93, 1.0))
    assert excess[1.0] == pytest.approx(0.7526, abs=0.01)
    assert excess[0.93] > excess[0.71] > excess[0.5]
    assert excess[1.0] - excess[0.93] < 0.05


def test_rows_that_cannot_be_labelled_are_counted(stars):
    colour = stars["colour"].copy()
    colour[:7] = np.nan
    feh = stars["feh"].copy()
    feh[7:17] = -1.5
    found = hrd_labels.label(colour, stars["magnitude"], feh)
    assert found.n_without == {"photometry or parallax unknown": 7, "bin too small": 10}
    assert np.isnan(found.excess[:17]).all()
    with pytest.raises(ValueError, match="no bin of"):
        hrd_labels.label(colour[:30], stars["magnitude"][:30], feh[:30])
