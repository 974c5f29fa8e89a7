"""Artificial stars: they arrive as drawn, in every exposure the same, and are found as real ones are."""

import dataclasses
import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import pdist

from dioscuri.cluster.injection import combine_injected, draw_artificial, inject, recover
from dioscuri.cluster.scoring import Search
from dioscuri.psf.effective import Psf
from dioscuri.stamps.mocks import Law

_KNOWN = runpy.run_path(str(Path(__file__).with_name("cluster_frames.py")))
PSF, SCALE, frame_of, lattice = (_KNOWN[name] for name in ("PSF", "SCALE", "frame_of", "lattice"))

LAW = Law(flux_ratio="uniform", flux_min=9000, flux_max=25000, sep_min=0.9, sep_max=1.6, flux_ratio_min=0.4)
FIELD = lattice(3, 70)
PHOTOMETRY = {"passes": 1, "background_box": 0}


@pytest.fixture(scope="module")
def artificial():
    return draw_artificial([frame_of(FIELD)], LAW, 36, binary_share=0.5, spacing=22, seed=4)


def test_stars_keep_their_distance_and_depend_on_the_seed_alone(artificial):
    frame = frame_of(FIELD)
    x, y = frame.wcs.all_world2pix(artificial["ra"], artificial["dec"], 0)
    assert len(artificial) > 20
    assert pdist(np.c_[x, y]).min() >= 22
    assert artificial["is_binary"].mean() == pytest.approx(0.5, abs=0.05)
    again = draw_artificial([frame_of(FIELD, seed=9)], LAW, 36, binary_share=0.5, spacing=22, seed=4)
    pd.testing.assert_frame_equal(artificial, again)


def test_what_is_added_is_the_flux_with_its_photon_noise(artificial):
    frame = frame_of(FIELD)
    filled, truth = inject(frame, PSF, artificial)
    added = filled.science - frame.science
    assert (added >= 0).all() and np.allclose(added, np.rint(added), atol=1e-2)
    assert added.sum() == pytest.approx(truth["flux"].sum(), rel=4 / np.sqrt(truth["flux"].sum()))
    np.testing.assert_allclose(filled.error**2 - frame.error**2, added, atol=0.5)


def test_pairs_point_where_they_are_told_on_the_sky(artificial):
    """Photocentre at the place, second moments along the position angle, in a frame that is rolled by 70°."""
    frame = frame_of(FIELD.iloc[:0], roll=70.0)
    pairs = artificial[artificial["is_binary"]].assign(flux=4e6)
    filled, truth = inject(frame, PSF, pairs)
    star = truth.iloc[0]
    row, column = round(star["y"]), round(star["x"])
    light = (filled.science - frame.science)[row - 6 : row + 7, column - 6 : column + 7].astype(float)
    rows, columns = np.indices(light.shape) - 6.0
    x, y = (float((light * axis).sum() / light.sum()) for axis in (columns, rows))
    assert (column + x, row + y) == pytest.approx((star["x"], star["y"]), abs=0.02)
    xx, yy, xy = (float((light * a * b).sum() / light.sum()) for a, b in
                  ((columns - x, columns - x), (rows - y, rows - y), (columns - x, rows - y)))  # fmt: skip
    along = 0.5 * np.arctan2(2 * xy, xx - yy)
    ra, dec = frame.wcs.all_pix2world([star["x"], star["x"] + np.cos(along)], [star["y"], star["y"] + np.sin(along)], 0)
    sky = np.arctan2((ra[1] - ra[0]) * np.cos(np.radians(dec[0])), dec[1] - dec[0])
    turn = (np.degrees(sky - star["position_angle"]) + 90) % 180 - 90
    assert abs(turn) < 3


def test_each_star_gets_one_of_the_possible_psfs(artificial):
    """With bootstrap members twice their distance from the best PSF is injected; without, the best one."""
    other = Psf(PSF.samples * 0.99, 4, SCALE)
    both = dataclasses.replace(
        PSF, samples=np.concatenate([PSF.samples, other.samples]), parameters={"draw": np.array([0.0, 1.0])}
    )
    frame = frame_of(FIELD)
    bright = artificial.assign(flux=1e6)
    with_error, _ = inject(frame, both, bright, psf_error=True)
    without, truth = inject(frame, both, bright, psf_error=False)
    total = truth["flux"].sum()
    assert (with_error.science - frame.science).sum() == pytest.approx(0.98 * total, rel=1e-3)
    assert (without.science - frame.science).sum() == pytest.approx(total, rel=1e-3)


def test_easy_pairs_come_back_and_single_stars_do_not(artificial):
    tables = []
    for number in range(2):
        frame = frame_of(FIELD, seed=number, name=f"dither{number}")
        tables.append(recover([frame], PSF, artificial, Search(LAW), PHOTOMETRY, seed=1))
    table = combine_injected(tables)
    assert (table["n_exposures"] == 2).all() and (table["n_found"] == 2).mean() > 0.9
    pair = table["true_is_binary"].to_numpy(bool)
    assert (table["log_bf"][pair] > 4).mean() > 0.9
    assert (table["log_bf"][~pair] > 4).mean() < 0.1
    found = table[pair & (table["log_bf"] > 4)]
    np.testing.assert_allclose(found["sep"] / SCALE, found["true_sep"], atol=0.35)
    turn = (found["sky_angle"] - np.degrees(found["true_position_angle"]) + 90) % 180 - 90
    assert np.abs(turn).median() < 6
