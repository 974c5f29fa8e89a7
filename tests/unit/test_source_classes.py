"""Stars of known nature, observed a few times: classes, mass ratios and orbits from the columns of the catalogue."""

import numpy as np
import pytest

from dioscuri.catalogs.epochs import combined
from dioscuri.catalogs.source_classes import classify
from dioscuri.catalogs.source_table import classified, classified_exposures
from dioscuri.flags import Quality

ERROR = 1.5  # km/s
NIGHTS = np.array([0, 1, 7, 20, 21, 30, 350, 351, 366, 380.0])


def catalog(stars, rng):
    """Catalogue columns of stars: name → (v1, v2 or None, light ratio) at NIGHTS."""
    columns: dict[str, list] = {}
    for name, (v1, v2, light) in stars.items():
        for i, night in enumerate(NIGHTS):
            pair = v2 is not None and abs(v1[i] - v2[i]) > 45
            blend = v1[i] if v2 is None else (v1[i] + light * v2[i]) / (1 + light)
            row = {"source_id": name, "ra": 10.0, "dec": 20.0, "bjdmid": 2_458_800 + night + 0.3 * rng.uniform()}
            row["logodds"] = rng.normal(6, 2) if pair else rng.normal(-3, 1)
            for end in "BR":
                first, second = (v1[i], v2[i]) if pair else (blend + 40 * rng.normal(), blend + 40 * rng.normal())
                values = {"v1": first, "v2": second, "vs": first if pair else blend}
                row |= {f"{k}_{end}": v + ERROR * rng.normal() for k, v in values.items()}
                row |= {f"{k}_err_{end}": ERROR for k in values} | {f"light_ratio_{end}": light, f"flags_{end}": 0}
            for key, value in row.items():
                columns.setdefault(key, []).append(value)
    return {key: np.array(values) for key, values in columns.items()}


def orbit(period, k1, k2, gamma, phase=0.2):
    swing = np.sin(2 * np.pi * (NIGHTS + 0.15) / period + phase)
    return gamma + k1 * swing, gamma - k2 * swing


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(4)
    calm = np.full(len(NIGHTS), 12.0)
    stars = {
        "single": (calm, None, 0.0),
        "sb1": (orbit(29.3, 25, 0, -5)[0], None, 0.0),
        "sb2": (*orbit(37.7, 62, 74, 8), 0.5),
        "neighbour": (calm, calm - 80, 0.4),
    }
    return classified(catalog(stars, rng)).set_index("source_id")


def test_each_star_gets_its_class(table):
    assert table["class"].to_dict() == {"single": "single", "sb1": "sb1", "sb2": "sb2", "neighbour": "sb2"}
    np.testing.assert_allclose(table[["p_single", "p_sb1", "p_sb2"]].sum(axis=1), 1.0)
    assert table["p_sb2"]["sb2"] > 0.99
    assert table["n_epochs"].eq(10).all() and table["n_nights"].eq(10).all()


def test_two_stars_that_never_move_are_neighbours(table):
    assert table["remark"].to_dict() == {"single": "", "sb1": "", "sb2": "", "neighbour": "neighbour"}
    assert np.isnan(table["q"]["neighbour"]) and np.isnan(table["period"]["neighbour"])


def test_mass_ratio_and_orbit_of_the_binary(table):
    row = table.loc["sb2"]
    assert row["q"] == pytest.approx(62 / 74, abs=0.05) and row["gamma"] == pytest.approx(8, abs=3)
    periods = [row["period"], *(float(one.split(":")[0]) for one in row["aliases"].split())]
    assert min(abs(period / 37.7 - 1) for period in periods) < 0.01
    assert np.isnan(table["q"]["sb1"]) and np.isfinite(table["k1"]["sb1"])


def test_exposures_out_of_ingest_with_one_arm_and_a_file_met_twice():
    """Two designations 0.3 arcsec apart are one star, and the exposure of a second release does not count again."""
    rng = np.random.default_rng(2)
    rows = catalog({"a": (*orbit(37.7, 62, 74, 8), 0.5)}, rng)
    rows = {name: np.concatenate([values, values[:1]]) for name, values in rows.items() if not name.endswith("_R")}
    n = len(rows["ra"])
    rows["dec"] = rows["dec"] + 0.3 / 3600 * (np.arange(n) % 2)
    rows["source_id"] = np.array([f"LAMOST J{k % 2}" for k in range(n)], object)
    rows |= {"gaia_id": np.zeros(n, int), "obsid": np.append(np.arange(10), 0), "exposure": np.ones(n, int)}
    rows |= {"file": np.array([f"{k}.fits" for k in range(n)]), "snr_B": np.full(n, 30.0)}
    rows["specflag_B"] = np.ones(n, bool)
    found = classified_exposures(rows)
    assert len(found) == 1 and found["n_epochs"][0] == 10 and found["class"][0] == "sb2"
    assert found["q"][0] == pytest.approx(62 / 74, abs=0.06)


def test_few_epochs_fall_back_to_the_prior():
    p = classify(np.array([3.0]), np.array([1.0]), np.array([np.nan]))
    assert p["sb2"] == pytest.approx(0.02, abs=0.005)
    assert classify(np.array([]), np.array([]), np.array([]))["single"] == pytest.approx(0.86)


def test_one_template_mismatch_at_all_epochs_does_not_add_up():
    """Thirty spectra of one star, each with odds of e², are no thirty votes."""
    p = classify(np.full(30, 5.0), np.full(30, 1.0), np.full(30, 2.0))
    assert p["sb2"] < 0.5


def test_a_wild_velocity_makes_no_binary():
    velocity = np.full(10, 5.0)
    velocity[3] = 180.0
    assert classify(velocity, np.full(10, 1.0), np.full(10, -3.0))["single"] > 0.5


def test_arms_agree_on_which_star_is_which_and_guesses_do_not_count():
    one = {"v1": 50.0, "v2": -40.0, "light_ratio": 0.5, "vs": 20.0, "v1_err": 1.0, "v2_err": 1.0, "vs_err": 1.0}
    other = one | {"v1": -41.0, "v2": 51.0, "light_ratio": 0.95}
    rows = {f"{k}_{end}": np.array([arm[k]] * 2) for end, arm in (("B", one), ("R", other)) for k in one}
    rows |= {"flags_B": np.array([0, 0]), "flags_R": np.array([0, Quality.WEAK_CCF]), "logodds": np.ones(2)}
    found = combined(rows)
    np.testing.assert_allclose(found["v1"], [50.5, 50.0])
    np.testing.assert_allclose(found["v2"], [-40.5, -40.0])
