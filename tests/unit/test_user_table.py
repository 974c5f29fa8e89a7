"""A user's table of stars: found by any key, in any format, and refused with what is wrong with it."""

import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.table import Table

from dioscuri.catalogs.files import read_catalog
from dioscuri.catalogs.merge import make_catalog
from dioscuri.catalogs.stars import add_photometry, describe, nearby
from dioscuri.catalogs.user_table import read_stars

GAIA = 2_100_000_000_000_000_001


@pytest.fixture
def rows():
    """Five observations of three stars."""
    return {
        "source_id": np.array(["LAMOST J1", "LAMOST J1", "LAMOST J2", "LAMOST J3", "LAMOST J3"]),
        "designation": np.array(["LAMOST J1", "LAMOST J1a", "LAMOST J2", "LAMOST J3", "LAMOST J3"]),
        "gaia_id": np.array([GAIA, GAIA, 0, 0, 0]),
        "n_exposures": np.ones(5, int),
        "obsid": np.array([11, 12, 21, 31, 32]),
        "ra": np.array([10.0, 10.0, 20.0, 30.0, 30.0]),
        "dec": np.zeros(5),
    }


@pytest.fixture
def saved(tmp_path):
    def save(columns, name="mine.csv"):
        path = tmp_path / name
        if name.endswith(".csv"):
            pd.DataFrame(columns).to_csv(path, index=False)
        elif name.endswith(".parquet"):
            pd.DataFrame(columns).to_parquet(path)
        else:
            Table(columns).write(path)
        return path

    return save


@pytest.mark.parametrize("name", ["mine.csv", "mine.parquet", "mine.fits"])
def test_a_gaia_identifier_survives_every_format(rows, saved, name):
    path = saved({"SOURCE_ID": [GAIA - 1, GAIA], "phot_g_mean_mag": [10.0, 12.5], "bp_rp": [0.5, 0.8]}, name)
    stars = describe(rows, path).set_index("source_id")
    assert stars["matched_by"].tolist() == ["gaia_id", "", ""]
    assert stars["g"]["LAMOST J1"] == 12.5 and np.isnan(stars["g"]["LAMOST J2"])


def test_each_star_is_found_by_the_first_key_that_knows_it(rows, saved):
    path = saved(
        {
            "gaia_id": [0, 0, GAIA],
            "desig": ["", "J2", ""],
            "obsid": [32, 0, 0],
            "period": [3.0, 2.0, 1.0],
        }
    )
    stars = describe(rows, path)
    assert stars["matched_by"].tolist() == ["gaia_id", "designation", "obsid"]
    assert stars["period"].tolist() == [1.0, 2.0, 3.0]


def test_by_position_the_nearest_within_the_radius(rows, saved):
    path = saved({"ra": [10.0, 10.0, 20.0], "dec": [1.5 / 3600, -0.5 / 3600, 3 / 3600], "g": [11.0, 12.0, 13.0]})
    stars = describe(rows, path)
    assert stars["matched_by"].tolist() == ["position", "", ""] and stars["g"][0] == 12.0
    assert describe(rows, path, radius=4)["g"][1] == 13.0


def test_own_names_of_columns(rows, saved):
    path = saved({"star": ["J1"], "P": [4.3], "T": [54956.7]})
    stars = describe(rows, path, {"designation": "star", "period": "P", "bjd0": "T"})
    assert stars["bjd0"][0] == pytest.approx(2454956.7)  # Kepler's catalogues print BJD − 2,400,000


def test_units_of_fits_are_converted_and_others_refused(rows, saved):
    good = saved({"obsid": [11], "parallax": [5e-3] * u.arcsec, "period": [24.0] * u.h}, "a.fits")
    stars = describe(rows, good)
    assert (stars["parallax"][0], stars["period"][0]) == (pytest.approx(5.0), pytest.approx(1.0))
    with pytest.raises(ValueError, match="column parallax: its unit is 'km', which is not convertible to mas"):
        read_stars(saved({"obsid": [11], "parallax": [5.0] * u.km}, "b.fits"))


@pytest.mark.parametrize(
    ("columns", "mapping", "message"),
    [
        ({"kic": [1], "g": [2.0]}, None, "no key column among kic, g; needed is source_id"),
        ({"obsid": [1, 1], "g": [2.0, 3.0]}, None, r"1 values of the key obsid .* \(first: 1\)"),
        ({"obsid": [1], "dec": [120.0]}, None, "1 of 1 values lie outside -90 to 90 deg .first: 120."),
        ({"obsid": [1], "bjd0": [250000.0]}, None, "is bjd0 in d"),
        ({"obsid": [1]}, {"period": "P"}, r"no column 'P' \(found: obsid\)"),
        ({"obsid": [1]}, {"colour": "obsid"}, "no quantity 'colour' is known here"),
        ({"source_id": [2.1e18]}, None, "64-bit identifiers stored as floating point"),
        ({"obsid": ["a"]}, None, "whole numbers expected"),
    ],
)
def test_a_wrong_table_is_refused_with_its_reason(saved, columns, mapping, message):
    with pytest.raises(ValueError, match=message):
        read_stars(saved(columns), mapping)


def test_no_overlap_says_how_many_there_are(rows, saved):
    with pytest.raises(ValueError, match=r"0 of 3 observed stars are among the 2 of the table \(looked for by obsid\)"):
        describe(rows, saved({"obsid": [1, 2], "g": [1.0, 2.0]}))


def test_rows_that_are_wholly_alike_are_one(saved):
    assert len(read_stars(saved({"obsid": [1, 1], "g": [2.0, 2.0]}))) == 1


def test_useless_periods_are_unknown_and_counted(saved, caplog):
    table = read_stars(saved({"obsid": [1, 2, 3, 4], "period": [0.0, np.nan, -1.0, 2.0]}))
    assert np.isfinite(table["period"]).tolist() == [False, False, False, True]
    assert "column period: 3 of 4 are zero, negative or not known" in caplog.text


def test_a_missing_or_unreadable_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="no such file"):
        read_stars(tmp_path / "none.csv")
    (tmp_path / "bad.parquet").write_text("no table")
    with pytest.raises(ValueError, match=r"bad.parquet: damaged, or of another kind; accepted: a table"):
        read_stars(tmp_path / "bad.parquet")
    (tmp_path / "stars.txt").write_text("obsid")
    with pytest.raises(ValueError, match=r"accepted: a table of stars as \.fits, \.csv or \.parquet"):
        read_stars(tmp_path / "stars.txt")


def test_absolute_magnitude_and_intrinsic_colour():
    """Eq. 12 at 10 pc gives the apparent magnitude; E(BP − RP) is 0.489 A_G."""
    columns = ("g", "bp_rp", "parallax", "a_g", "ebv")
    stars = pd.DataFrame([(5.0, 1.0, 100.0, 0.0, 9.0), (5.0, 1.0, 100.0, np.nan, 1.0), (5.0, 1.0, -1.0, 0.1, 0.0)])
    table = add_photometry(stars.set_axis(columns, axis=1))
    np.testing.assert_allclose(table["g0"], [5.0, 5.0 - 2.74, np.nan])
    np.testing.assert_allclose(table["bprp0"], [1.0, 1.0 - 1.339, 1.0 - 0.1 * 1.339 / 2.74])


def test_dust_without_its_package_or_map_says_so():
    stars = pd.DataFrame({"ra": [1.0], "dec": [1.0], "g": [9.0], "bp_rp": [1.0], "parallax": [3.0]})
    with pytest.raises(ValueError, match=r"lamost_mrs\.table\.dust: .*bayestar"):
        add_photometry(stars.assign(a_g=np.nan, ebv=np.nan), dust="bayestar")


def test_neighbours_of_the_sun():
    columns = ("parallax", "parallax_error", "ruwe")
    stars = pd.DataFrame([(3.1, 0.1, 1.0), (2.9, 0.1, 1.0), (3.1, 0.7, 1.0), (3.1, 0.1, 1.4), (np.nan, 1, 1)])
    assert nearby(stars.set_axis(columns, axis=1)).tolist() == [True, False, False, False, False]


def test_colours_reach_the_catalogue(tmp_path, products, saved):
    """The cut at (BP − RP)0 < 2.5 had nothing to act on: no LAMOST file knows a colour."""
    from dioscuri.catalogs.scores import write_scores

    columns = products.exposures(2)
    products.write_spectra(tmp_path / "shard.h5", columns)
    products.write_pairs(tmp_path / "pairs.parquet", columns)
    products.evidence().save(tmp_path / "evidence.json")
    percentiles = {16.0: np.full((len(columns["key"]), 5), 0.9)}
    write_scores(tmp_path / "scores.parquet", columns, "blue", products.score_columns(percentiles))
    path = saved({"designation": ["J000000", "J000001"], "bp_rp": [1.0, 3.0], "g": [12.0, 13.0], "ebv": [0.0, 0.1]})
    out = {name: tmp_path / name for name in ("mrs.fits", "mrs.parquet")}
    make_catalog(
        [tmp_path / "shard.h5"],
        {"blue": [tmp_path / "scores.parquet"]},
        [tmp_path / "pairs.parquet"],
        tmp_path / "evidence.json",
        *out.values(),
        penalties=[16],
        zero_point={},
        zero_point_error={},
        stars_path=tmp_path / "stars.parquet",
        table={"path": path},
    )
    catalog, stars = read_catalog(out["mrs.fits"]), read_catalog(tmp_path / "stars.parquet")
    np.testing.assert_allclose(catalog["bprp0"], np.repeat([1.0, 3.0 - 0.1339], 4), rtol=1e-5)
    assert stars["matched_by"].tolist() == ["designation"] * 2 and str(stars["parallax"].unit) == "mas"
