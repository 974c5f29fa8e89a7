"""Matching of exposures against known stars, and the regions of the colour–magnitude diagram."""

import numpy as np
import pandas as pd
import pytest
from astropy.wcs import WCS

from dioscuri.cluster import cmd
from dioscuri.cluster.matching import crossmatch
from dioscuri.flags import SourceFlag

SCALE = 0.03962
EXPOSURES = {
    "b1": ("F467M", 0.3),
    "b2": ("F467M", -0.1),
    "r1": ("F775W", 0.0),
    "r2": ("F775W", 0.05),
    "r3": ("F775W", -0.2),
}
POSITION_ERROR, MAG_ERROR = 0.02, 0.02


def ridge_colour(mag):
    """A main sequence like M4's between −12 and −7."""
    return -0.35 + 0.28 * (mag + 11) + 0.01 * (mag + 11) ** 2


def measured(
    ra: float = 245.9, n: int = 400, seed: int = 1, shift: float = 0.4
) -> tuple[list[pd.DataFrame], pd.DataFrame]:
    """Tables of five exposures of the same stars, each with its own pointing error, and the stars themselves."""
    rng = np.random.default_rng(seed)
    # At least 3 px apart: what is closer is another question.
    place = (np.indices((30, 30)).reshape(2, -1).T[rng.choice(900, n, replace=False)] - 15.0) * 8 + rng.uniform(
        -2, 2, (n, 2)
    )
    red = rng.uniform(-11, -8, n)
    stars = pd.DataFrame({"u": place[:, 0], "v": place[:, 1], "F775W": red, "F467M": red + ridge_colour(red)})
    tables = []
    for exposure, (band, offset) in EXPOSURES.items():
        turn = np.radians(rng.uniform(-0.05, 0.05))
        turned = place @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        seen = turned + rng.uniform(-shift, shift, 2) / SCALE + rng.normal(0, POSITION_ERROR, (n, 2))
        sky = WCS(naxis=2)
        sky.wcs.ctype, sky.wcs.crval, sky.wcs.crpix = ["RA---TAN", "DEC--TAN"], [ra, -26.5], [1.0, 1.0]
        sky.wcs.cd = np.diag([-SCALE, SCALE]) / 3600
        right, declination = sky.wcs_pix2world(seen[:, 0], seen[:, 1], 0)
        mag = stars[band] + offset + rng.normal(0, MAG_ERROR, n)
        table = pd.DataFrame(
            {
                "ra": right, "dec": declination, "mag": mag, "mag_err": MAG_ERROR, "flux": 10 ** (-0.4 * mag),
                "x_err": POSITION_ERROR, "y_err": POSITION_ERROR, "chi2": 1.0, "qfit": 0.02,
                "flags": 0, "exposure": exposure, "extension": 1, "filter": band, "true": np.arange(n),
            }
        )  # fmt: skip
        false = table.sample(20, random_state=len(tables)).assign(true=-1)
        false["dec"] += rng.uniform(3e-4, 9e-4, 20)
        lost = rng.random(n) < 0.1
        tables.append(pd.concat([table[~lost], false], ignore_index=True).sample(frac=1.0, random_state=seed))
    return tables, stars


@pytest.fixture(scope="module")
def catalogue():
    tables, stars = measured()
    return crossmatch(tables, pixel_scale=SCALE, n_min=2), stars


def test_every_star_is_found_once(catalogue):
    """Detections of one star, and of no other, share a star_id."""
    found, stars = catalogue
    by_star = found.detections[found.detections["true"] >= 0].groupby("star_id")["true"]
    assert (by_star.nunique() == 1).all()
    by_truth = found.detections[found.detections["true"] >= 0].groupby("true")["star_id"]
    assert (by_truth.nunique() == 1).mean() > 0.995
    assert len(by_truth) == len(stars)
    assert found.detections.groupby(["star_id", "exposure"]).size().max() == 1
    assert len(found.stars) < len(stars) + 25  # false detections do not recur at one place


def test_means_and_errors(catalogue):
    """Mean magnitudes on the first exposure's zero point, positions to a common shift; pulls of unit scatter."""
    found, stars = catalogue
    true = found.detections[found.detections["true"] >= 0].groupby("star_id")["true"].first()
    table = found.stars.set_index("star_id").loc[true.index]
    for band, first in (("F467M", "b1"), ("F775W", "r1")):
        seen = table[f"n_{band}"].to_numpy() > 0
        pull = (table[f"mag_{band}"] - stars[band].to_numpy()[true] - EXPOSURES[first][1]) / table[f"mag_err_{band}"]
        assert abs(pull[seen].mean()) < 0.35 and 0.75 < pull[seen].std() < 1.1
        multiple = table[f"n_{band}"].to_numpy() > 1
        assert np.sqrt((table.loc[multiple, f"scatter_{band}"] ** 2).mean()) == pytest.approx(MAG_ERROR, rel=0.12)
    assert (table["n"] == table["n_F467M"] + table["n_F775W"]).all()
    away = table[["x", "y"]].to_numpy() - stars[["u", "v"]].to_numpy()[true]
    # The reference exposure defines the frame: its own shift and turn remain.
    design = np.c_[stars[["u", "v"]].to_numpy()[true], np.ones(len(true))]
    away -= design @ np.linalg.lstsq(design, away, rcond=None)[0]
    pull = away / table[["x_err", "y_err"]].to_numpy()
    assert 0.7 < pull.std() < 1.15


def test_alignment_tells_what_was_done(catalogue):
    found, _ = catalogue
    assert list(found.alignment["exposure"]) == list(EXPOSURES)
    assert (found.alignment["n_matched"] > 250).all()
    np.testing.assert_allclose(found.alignment["scale"], 1.0, atol=1e-4)
    assert found.alignment["rms"].max() < 2 * POSITION_ERROR
    offsets = found.alignment.set_index("exposure")["mag_offset"]
    assert offsets["b2"] == pytest.approx(-0.4, abs=0.01) and offsets["r3"] == pytest.approx(-0.2, abs=0.01)
    assert offsets["b1"] == offsets["r1"] == 0


def test_order_of_the_tables_does_not_matter(catalogue):
    tables, _ = measured()
    other = crossmatch(tables[::-1], pixel_scale=SCALE, n_min=2).stars
    first, second = (t.sort_values("mag_F775W")["mag_F775W"].to_numpy() for t in (catalogue[0].stars, other))
    np.testing.assert_allclose(first, second)


def test_across_right_ascension_zero():
    found = crossmatch(measured(ra=0.0)[0], pixel_scale=SCALE, n_min=2)
    assert 380 < len(found.stars) < 425
    assert found.stars["x"].abs().max() < 200
    assert (found.stars["ra"].between(0, 0.01) | found.stars["ra"].between(359.99, 360)).all()


def test_exposures_of_another_field_are_named():
    tables, _ = measured(shift=0.1)
    tables[1] = tables[1].assign(dec=tables[1]["dec"] + 0.1)
    with pytest.raises(ValueError, match="exposure 'b2' has only 0 stars in common"):
        crossmatch(tables, pixel_scale=SCALE)
    with pytest.raises(ValueError, match="no exposure 'r9'"):
        crossmatch(tables, pixel_scale=SCALE, reference="r9")


def test_one_outlier_of_three_is_left_out():
    """A cosmic ray on one of three exposures does not move the mean; a flag needs half of the detections."""
    tables, stars = measured()
    row = {exposure: table.index[table["true"] == 7] for exposure, table in zip(EXPOSURES, tables)}
    assert len(row["r1"]) and len(row["r2"]) and len(row["r3"])
    tables[2].loc[row["r1"], ["mag", "flags"]] = (
        tables[2].loc[row["r1"], "mag"].iloc[0] - 0.5,
        int(SourceFlag.BAD_PIXELS),
    )
    found = crossmatch(tables, pixel_scale=SCALE)
    star = found.detections.loc[found.detections["true"] == 7, "star_id"].iloc[0]
    mean = found.stars.set_index("star_id").loc[star]
    assert abs(mean["mag_F775W"] - stars["F775W"][7]) < 0.06
    assert mean["flags"] == 0


# --- the diagram ------------------------------------------------------------------------------------------


def test_equation_six():
    """Equal stars are 0.7526 mag brighter together, q = 0.5 gives 0.4402 (Wu et al. 2023, eq. 6)."""
    assert cmd.binary_magnitude(-10.0, 1.0) == pytest.approx(-10.752575)
    assert cmd.binary_magnitude(-10.0, 0.5) == pytest.approx(-10.440228)
    assert cmd.binary_magnitude(-10.0, 0.0) == -10.0


def diagram(n: int = 3000, binaries: float = 0.15, width: float = 0.02, seed: int = 2) -> pd.DataFrame:
    """Single stars and pairs (flux ratio in F775W uniform) with colour errors."""
    rng = np.random.default_rng(seed)
    red = rng.uniform(-12, -6.5, n)
    ratio = np.where(rng.random(n) < binaries, rng.uniform(0, 1, n), 0.0)
    with np.errstate(divide="ignore"):
        second = red - 2.5 * np.log10(ratio)
    blue, blue_second = red + ridge_colour(red), second + ridge_colour(second)
    ratio_blue = np.where(ratio > 0, 10 ** (-0.4 * (np.where(ratio > 0, blue_second, 0) - blue)), 0)
    joint = cmd.binary_magnitude(red, ratio)
    joint_blue = cmd.binary_magnitude(blue, ratio_blue) + rng.normal(0, width, n)
    return pd.DataFrame({"mag_F775W": joint, "mag_F467M": joint_blue, "ratio": ratio})


def test_ridge_line_ignores_the_binaries():
    stars = diagram()
    ridge = cmd.fit_ridge(stars["mag_F467M"] - stars["mag_F775W"], stars["mag_F775W"], -11.25, -7.5)
    mag = np.linspace(-11, -8, 50)
    assert np.abs(ridge.colour_at(mag) - ridge_colour(mag)).max() < 0.012
    assert np.abs(ridge.sigma_at(mag) - 0.02).max() < 0.008


def test_equal_pairs_have_the_colour_of_their_stars():
    mag = np.linspace(-12, -7, 400)
    ridge = cmd.Ridge(mag, ridge_colour(mag), np.full(400, 0.02))
    joint = np.linspace(-11, -9, 20)
    np.testing.assert_allclose(ridge.binary_colour(joint, 1.0), ridge_colour(joint + 2.5 * np.log10(2)), atol=1e-4)
    single = ridge.colour_at(joint)
    assert (ridge.binary_colour(joint, 1.0) > ridge.binary_colour(joint, 0.3)).all()
    assert (ridge.binary_colour(joint, 0.3) > single + 0.05).all()


def test_ridge_regions():
    settings = {"blue": "F467M", "red": "F775W", "mag_min": -11.0, "mag_max": -9.0, "flux_ratio_min": 0.3}
    stars = diagram()
    region = cmd.regions(stars, settings)
    inside = stars["mag_F775W"].between(-11, -9)
    assert (region[~inside] == "").all()
    assert (region[inside & (stars["ratio"] > 0.5)] == "binary").mean() > 0.9
    assert (region[inside & (stars["ratio"] < 0.1)] == "ms").mean() > 0.98
    assert (stars["ratio"][region == "binary"] > 0.2).mean() > 0.95
    assert (stars["ratio"][region == "ms"] < 0.45).mean() > 0.99


def test_polygons():
    stars = pd.DataFrame(
        {"mag_F775W": [-10.0, -10.0, -10.0, -8.0, np.nan], "mag_F467M": [-10.0, -9.7, -9.0, -8.0, -8.0]}
    )
    settings = {
        "kind": "polygons", "blue": "F467M", "red": "F775W",
        "ms": [(-0.1, -11), (0.1, -11), (0.1, -9), (-0.1, -9)],
        "binary": [(0.0, -11), (0.5, -11), (0.5, -9), (0.0, -9)],
    }  # fmt: skip
    assert cmd.regions(stars, settings).tolist() == ["ms", "binary", "", "", ""]
    with pytest.raises(ValueError, match="accepted: ridge, polygons"):
        cmd.regions(stars, {**settings, "kind": "ellipse"})


def test_too_few_stars_for_a_ridge():
    with pytest.raises(ValueError, match="too few"):
        cmd.fit_ridge(np.zeros(5), np.linspace(-11, -9, 5), -11, -9)
