"""Stamps of a crowd, their scores, and what several exposures say together."""

import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dioscuri.cluster import scoring
from dioscuri.cluster.candidates import combine, is_candidate, mean_offset
from dioscuri.cluster.cutouts import cut_stamps
from dioscuri.cluster.frames import DataQuality
from dioscuri.cluster.scoring import Search, score_exposure, score_stars
from dioscuri.flags import SourceFlag
from dioscuri.stamps.mocks import Law

_KNOWN = runpy.run_path(str(Path(__file__).with_name("cluster_frames.py")))
PSF, READ_NOISE, SKY = (_KNOWN[name] for name in ("PSF", "READ_NOISE", "SKY"))
frame_of, lattice, measured = (_KNOWN[name] for name in ("frame_of", "lattice", "measured"))

LAW = Law(flux_ratio="uniform", flux_min=5000, flux_max=25000)
LIMITS = {"n_min": 2, "p_min": 0.5, "log_bf_min": 4.0, "agreement_min": 0.01, "chi2_max": 3.0, "sep_max": 0.1}
SEP, NORTH_EAST, RATIO = 1.2, 40.0, 0.5  # px, deg east of north


def split(stars: pd.DataFrame, rows, roll: float = 0.0) -> pd.DataFrame:
    """The stars, those in `rows` as pairs: photocentres, total fluxes and angles on the sky stay."""
    angle = np.radians(90.0 + NORTH_EAST - roll)  # east is −x where north is up
    pair = stars.iloc[rows]
    first, second = pair.copy(), pair.copy()
    share = RATIO / (1 + RATIO)
    for star, part, light in ((first, -share, 1 - share), (second, 1 - share, share)):
        star["x"] += part * SEP * np.cos(angle)
        star["y"] += part * SEP * np.sin(angle)
        star["flux"] *= light
    return pd.concat([stars.drop(index=stars.index[rows]), first, second], ignore_index=True)


def test_star_lies_between_pixels_6_and_7_and_neighbours_are_gone():
    stars = pd.concat([lattice(4), lattice(4).assign(x=lambda t: t["x"] + 4.0)], ignore_index=True)
    frame = frame_of(stars)
    cut = cut_stamps(frame, PSF, measured(stars), np.arange(16))
    x, y = stars["x"][:16] - cut.column, stars["y"][:16] - cut.row
    assert ((x >= 6) & (x < 7) & (y >= 6) & (y < 7)).all()
    # The light left is the star's own: total flux within the noise of 196 pixels.
    np.testing.assert_allclose(cut.stamps.sum((1, 2)), 15000, atol=5 * np.sqrt(30000 + 196 * (SKY + READ_NOISE**2)))
    quiet = cut.variance[:, :, 0]
    np.testing.assert_allclose(quiet.mean(), SKY + READ_NOISE**2, rtol=0.1)
    assert cut.variance.max() > 300  # under the neighbour its photons remain


def test_bad_pixels_and_what_lies_beyond_the_frame_are_infinite():
    stars = pd.DataFrame({"x": [3.2, 100.4], "y": [100.3, 100.4], "flux": 9000.0})
    frame = frame_of(stars)
    frame.dq[100, 102] = DataQuality.COSMIC_RAY
    cut = cut_stamps(frame, PSF, measured(stars), np.arange(2))
    assert np.isinf(cut.variance[0, :, :3]).all() and np.isfinite(cut.variance[0, :, 3:]).all()
    assert np.argwhere(np.isinf(cut.variance[1])).tolist() == [[100 - cut.row[1], 102 - cut.column[1]]]


@pytest.fixture(scope="module")
def exposures():
    """Scores of 64 stars, 12 of them pairs, in three exposures of different roll."""
    stars = lattice()
    scores = []
    for number, roll in enumerate((0.0, 25.0, 120.0)):
        frame = frame_of(split(stars, np.arange(12), roll), seed=number, roll=roll, name=f"dither{number}")
        table = measured(stars).assign(star_id=np.arange(len(stars)), exposure=frame.exposure)
        scores.append(score_exposure([frame], PSF, table, np.arange(len(stars)), Search(LAW)))
    return pd.concat(scores, ignore_index=True)


def test_pairs_are_told_from_single_stars(exposures):
    table = combine(exposures)
    table["is_candidate"] = is_candidate(table, **LIMITS)
    assert table["is_candidate"][:12].sum() >= 11  # exposures of one pair in a hundred differ by more than they may
    assert table["is_candidate"][12:].sum() <= 1
    assert (table["n_scored"] == 3).all()


def test_the_second_star_is_found_where_it_is_on_the_sky(exposures):
    """Whatever the roll of an exposure, offsets point to the same place, with honest errors."""
    pairs = combine(exposures).iloc[:12]
    assert (pairs["agreement"] > 1e-3).all()
    np.testing.assert_allclose(pairs["sep"], SEP * 0.04, atol=5 * pairs["sep_err"].max())
    turn = (pairs["sky_angle"] - NORTH_EAST + 180) % 360 - 180
    assert (np.abs(turn) < 5 * pairs["sky_angle_err"]).all() and np.abs(np.median(turn)) < 3
    pulls = (pairs["flux_ratio"] - RATIO) / pairs["flux_ratio_err"]
    assert abs(pulls.mean()) < 4 / np.sqrt(12) and pulls.std() < 2.5


def test_psf_error_is_none_where_the_psf_is_right_and_grows_where_it_is_not(exposures):
    assert exposures["psf_error"].max() <= 0.03
    stars = lattice().assign(flux=np.geomspace(2e3, 6e4, 64))
    wrong = PSF.__class__(PSF.samples * 0.9 + 0.1 * np.roll(PSF.samples, 4, axis=2), 4, 0.04)
    scores = score_stars(frame_of(stars), wrong, measured(stars), np.arange(64), Search(LAW))
    assert scores["psf_error"].iloc[0] > exposures["psf_error"].max()


def test_a_stamp_without_its_core_is_not_scored():
    stars = lattice(4)
    frame = frame_of(stars)
    row, column = round(stars["y"][5]), round(stars["x"][5])
    frame.dq[row - 1 : row + 2, column] = DataQuality.BAD_PIXEL
    scores = score_stars(frame, PSF, measured(stars), np.arange(16), Search(LAW))
    assert np.flatnonzero(scores["log_bf"].isna()).tolist() == [5]


def test_saturated_stars_are_not_eligible():
    flags = [0, int(SourceFlag.SATURATED), int(SourceFlag.BLENDED), int(SourceFlag.EDGE | SourceFlag.BLENDED)]
    assert scoring.eligible(pd.DataFrame({"flags": flags})).tolist() == [True, False, True, False]


def test_mean_offset_by_hand():
    """Two offsets with errors 1 and 2: weights 4 to 1, χ² = 1² / (1 + 4) along x."""
    offset = np.array([[10.0, 0.0], [11.0, 0.0]])
    covariance = np.array([np.eye(2), 4 * np.eye(2)])
    mean, error, misfit = mean_offset(offset, covariance, np.zeros(2))
    np.testing.assert_allclose(mean, [10.2, 0.0])
    np.testing.assert_allclose(error, 0.8 * np.eye(2))
    assert misfit == pytest.approx(0.2)


def test_equals_may_be_turned_round_but_unequals_not():
    offset, covariance = np.array([[5.0, 1.0], [-5.0, -1.0]]), np.array([np.eye(2), np.eye(2)])
    assert mean_offset(offset, covariance, np.array([0.5, 0.5]))[2] == pytest.approx(0.0)
    assert mean_offset(offset, covariance, np.zeros(2))[2] == pytest.approx(52.0)


def test_a_cosmic_ray_in_one_exposure_does_not_make_a_candidate(exposures):
    """Large in one exposure, elsewhere against: the sum is for a pair, but no second exposure agrees."""
    one = exposures[exposures["star_id"] == 20].copy()
    one["log_bf"] = [40.0, -3.0, -3.0]
    for name, values in (("sep", [0.8, 1.0, 1.0]), ("east", [0.03, -0.03, -0.03]), ("north", [0.0, 0.03, 0.03])):
        one[name] = values
    for name in ("var_east", "var_north"):
        one[name] = 1e-5
    one[["cov_east_north", "opposite"]] = 0.0
    one["chi2_pair"] = 1.0
    table = combine(one)
    assert table["log_bf"].iloc[0] > LIMITS["log_bf_min"] and table["agreement"].iloc[0] < 1e-6
    assert not is_candidate(table, **LIMITS)[0]
