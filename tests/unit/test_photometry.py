"""Detection and PSF photometry on frames of known stars: unbiased, with honest errors, at the photon limit."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from astropy.wcs import WCS
from scipy.spatial import cKDTree

from dioscuri.cluster import detection, joint_fit, photometry
from dioscuri.cluster.frames import DataQuality, Frame
from dioscuri.cluster.photometry_checks import error_by_magnitude, match, photon_limit
from dioscuri.cluster.scene import Scene
from dioscuri.flags import SourceFlag
from dioscuri.psf.effective import Psf

SKY, READ_NOISE = 10.0, 3.0
FLOOR = SKY + READ_NOISE**2  # variance of a pixel without stars


def gaussian(sigma: float = 0.85) -> np.ndarray:
    """Samples (n, n) of a Gaussian PSF, 4 to a pixel, of about the width of WFC3's."""
    offset = (np.arange(101) - 50) / 4
    return np.exp(-0.5 * (offset[:, None] ** 2 + offset**2) / sigma**2) / (2 * np.pi * sigma**2)


PSF = Psf(gaussian()[None], 4, 0.03962)


def frame_of(stars: pd.DataFrame, shape=(200, 200), seed: int = 1, psf: Psf = PSF, dq=None, area=1.0) -> Frame:
    """A frame of `stars` (x, y, flux) with noise, as the pipeline would deliver it."""
    rng = np.random.default_rng(seed)
    expected = np.full(shape, SKY)
    Scene(psf).paint(expected, stars["x"], stars["y"], stars["flux"])
    science = rng.poisson(expected) + rng.normal(0, READ_NOISE, shape)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [245.9, -26.5], [100.5, 100.5]
    wcs.wcs.cd = np.diag([-1.0, 1.0]) * 0.03962 / 3600
    return Frame(
        science=science.astype(np.float32),
        error=np.sqrt(np.maximum(science, 0) + READ_NOISE**2).astype(np.float32),
        dq=np.zeros(shape, np.int32) if dq is None else dq,
        wcs=wcs, filter="F775W", exposure_time=20.0, exposure="test", pixel_scale=0.03962,
        read_noise=READ_NOISE, pixel_area=area,
    )  # fmt: skip


def lattice(flux, spacing: int = 20, n: int = 9, seed: int = 2) -> pd.DataFrame:
    """Isolated stars at random sub-pixel positions."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((n, n)) * spacing + spacing
    place = np.c_[columns.ravel(), rows.ravel()] + rng.uniform(-0.5, 0.5, (n * n, 2))
    return pd.DataFrame({"x": place[:, 0], "y": place[:, 1], "flux": np.broadcast_to(flux, n * n).astype(float)})


def fit(frame: Frame, start: pd.DataFrame, psf: Psf = PSF, radius: float = 2.5, floor=None) -> joint_fit.Fit:
    """The joint fit alone, from the given positions, with the true sky."""
    floor = np.full(frame.shape, FLOOR) if floor is None else floor
    x, y, flux = (start[name].to_numpy(float) for name in ("x", "y", "flux"))
    return joint_fit.fit_stars(frame.science - SKY, floor, Scene(psf), x, y, flux, np.full(len(x), radius))


def shaken(stars: pd.DataFrame, by: float = 0.3) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    moved = stars.copy()
    moved[["x", "y"]] += rng.uniform(-by, by, (len(stars), 2))
    return moved.assign(flux=stars["flux"] * rng.uniform(0.5, 1.5, len(stars)))


# --- the fit ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flux", [300.0, 3000.0, 30000.0])
def test_isolated_stars_are_unbiased_with_honest_errors(flux):
    """81 stars × 6 noise draws: mean of the pulls 0, their scatter 1, in x, y and flux."""
    stars = lattice(flux)
    pulls = []
    for seed in range(6):
        found = fit(frame_of(stars, seed=seed), shaken(stars))
        pulls.append([
            (found.x - stars["x"]) / found.x_err, (found.y - stars["y"]) / found.y_err,
            (found.flux - flux) / found.flux_err,
        ])  # fmt: skip
        assert abs(found.chi2.mean() - 1.0) < 0.15
    pulls = np.concatenate(pulls, axis=1)
    n = pulls.shape[1]
    assert (np.abs(pulls.mean(1)) < 4 / np.sqrt(n) + 0.05).all()
    assert (np.abs(pulls.std(1) - 1) < 4 / np.sqrt(2 * n) + 0.04).all()


def test_errors_reach_the_photon_limit():
    """A wide fit of an isolated star against Cramér–Rao; and without sky and readout that is √flux."""
    stars = lattice(3000.0)
    found = fit(frame_of(stars), stars, radius=6.0)
    limit = photon_limit(PSF, stars["x"], stars["y"], stars["flux"], FLOOR)
    np.testing.assert_allclose(found.flux_err, limit, rtol=0.04)  # the fluxes in the model are measured ones
    dark = photon_limit(PSF, stars["x"], stars["y"], stars["flux"], 1e-9)
    np.testing.assert_allclose(dark, np.sqrt(3000.0), rtol=1e-3)


def test_close_pairs_are_fitted_together():
    """Stars 2.2 px apart, 3 : 1 in flux: unbiased, honest, correlated."""
    first = lattice(9000.0, seed=4)
    angle = np.random.default_rng(5).uniform(0, 2 * np.pi, len(first))
    second = first.assign(x=first["x"] + 2.2 * np.cos(angle), y=first["y"] + 2.2 * np.sin(angle), flux=3000.0)
    stars = pd.concat([first, second], ignore_index=True)
    pulls = []
    for seed in range(4):
        found = fit(frame_of(stars, seed=seed), shaken(stars, 0.15))
        pulls.append(((found.flux - stars["flux"]) / found.flux_err).to_numpy())
        assert (found.group_size == 2).all()
    pulls = np.array(pulls)
    assert abs(pulls[:, :81].mean()) < 4 / np.sqrt(324) + 0.05 and abs(pulls[:, 81:].mean()) < 4 / np.sqrt(324) + 0.05
    assert abs(pulls.std() - 1) < 0.12
    alone = fit(frame_of(second), second)
    assert (found.flux_err[81:] > 1.03 * alone.flux_err.mean()).mean() > 0.9


def test_wings_of_far_stars_are_subtracted():
    """A faint star 6 px from one 300 times as bright belongs to another group, and must not gain from its wings."""
    wide = Psf((0.8 * gaussian() + 0.2 * gaussian(2.5))[None], 4, 0.03962)
    bright = lattice(150_000.0, seed=6)
    faint = bright.assign(x=bright["x"] + 6.0, flux=500.0)
    stars = pd.concat([bright, faint], ignore_index=True)
    found = fit(frame_of(stars, psf=wide), shaken(stars, 0.1), psf=wide)
    assert (found.group_size == 1).all()
    pull = ((found.flux - stars["flux"]) / found.flux_err)[81:]
    assert abs(pull.mean()) < 4 / 9 + 0.05 and abs(pull.std() - 1) < 0.3


def test_masked_pixels_cost_precision_not_truth():
    stars = lattice(5000.0)
    frame = frame_of(stars)
    floor = np.full(frame.shape, FLOOR)
    row, column = (np.rint(stars[name]).astype(int).to_numpy() for name in ("y", "x"))
    floor[row, column + 1] = np.inf
    frame.science[row, column + 1] = 60_000.0
    found, whole = fit(frame, stars, floor=floor), fit(frame_of(stars), stars)
    assert (found.n_masked == 1).all() and (whole.n_masked == 0).all()
    pull = (found.flux - 5000.0) / found.flux_err
    assert abs(pull.mean()) < 4 / 9 and abs(pull.std() - 1) < 0.35
    assert (found.flux_err > 1.02 * whole.flux_err).all()


def test_position_dependent_psf():
    """With the PSFs of the corners the fluxes are right; with the average PSF they follow its width."""
    x, y = np.array([0.0, 199.0, 0.0, 199.0]), np.array([0.0, 0.0, 199.0, 199.0])
    grid = Psf(np.stack([gaussian(s) for s in (0.75, 0.95, 0.75, 0.95)]), 4, 0.03962, {"x": x, "y": y})
    stars = lattice(50_000.0)
    frame = frame_of(stars, psf=grid)
    right, wrong = fit(frame, stars, psf=grid), fit(frame, stars, psf=grid.at(100.0, 100.0))
    assert abs(((right.flux - 50_000.0) / right.flux_err).std() - 1) < 0.3
    slope = np.polyfit(stars["x"], wrong.flux / 50_000.0, 1)[0] * 200
    assert slope < -0.03


def test_groups_are_friends_of_friends_of_limited_size():
    chain = np.c_[np.arange(60) * 3.0, np.zeros(60)]
    far = np.array([[500.0, 0.0], [500.0, 3.9], [600.0, 0.0]])
    order, bounds = joint_fit.groups(np.vstack([chain, far]), 4.0)
    members = [set(order[a:b].tolist()) for a, b in pairwise(bounds)]
    assert {60, 61} in members and {62} in members
    assert sorted(order.tolist()) == list(range(63))
    assert max(map(len, members)) <= joint_fit.LARGEST_GROUP
    assert joint_fit.groups(np.vstack([chain[:20], far]), 4.0)[1].tolist() == [0, 20, 22, 23]


# --- detection ------------------------------------------------------------------------------------------------


def test_detection_finds_all_bright_stars_and_hardly_anything_else():
    stars = lattice(1500.0)
    found = detection.detect(frame_of(stars))
    rows = match(found, stars)
    assert (rows >= 0).all() and len(found) <= len(stars) + 3
    off = np.hypot(found["x"].to_numpy()[rows] - stars["x"], found["y"].to_numpy()[rows] - stars["y"])
    assert np.median(off) < 0.15
    pull = (found["flux"].to_numpy()[rows] / 0.998 - 1500.0) / found["flux_err"].to_numpy()[rows]
    assert abs(pull.mean()) < 0.6 and abs(pull.std() - 1) < 0.4


@pytest.mark.parametrize("angle", [0.0, 45.0, 90.0])
def test_unresolved_pairs_are_one_detection(angle):
    """1.9 px is one source (paper, §4.2), 4 px are two; and no pair is lost for its shape."""
    for separation, expected in ((1.0, 81), (1.9, 81), (4.0, 162)):
        first = lattice(8000.0)
        shift = separation * np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
        stars = pd.concat([first, first.assign(x=first["x"] + shift[0], y=first["y"] + shift[1])], ignore_index=True)
        frame = frame_of(stars)
        found = detection.detect(frame)
        assert abs(len(found) - expected) <= 1
        if separation < 2:
            centre = first.assign(x=first["x"] + shift[0] / 2, y=first["y"] + shift[1] / 2, flux=16_000.0)
            table = photometry.measure(frame, PSF, found, background_box=0)
            assert (match(table, centre) >= 0).all() and len(table) <= 83


def test_background_follows_the_sky_below_the_stars():
    rng = np.random.default_rng(7)
    image = rng.poisson(np.where(np.arange(320) < 160, 20.0, 30.0), (320, 320)).astype(float)
    Scene(PSF).paint(image, *rng.uniform(0, 320, (2, 150)), np.full(150, 3000.0))
    found = detection.background_map(image, np.zeros(image.shape, bool))
    assert abs(found[:, :96].mean() - 20) < 0.3 and abs(found[:, -96:].mean() - 30) < 0.3
    assert np.abs(found[:, :64] - 20).max() < 1.5
    flat = detection.background_map(image, np.zeros(image.shape, bool), box=0)
    assert np.ptp(flat) == 0 and 18 < flat[0, 0] < 30


def test_saturated_stars_are_found_and_measured_by_their_wings():
    stars = lattice(3000.0, spacing=30, n=5)
    wide = Psf((0.8 * gaussian() + 0.2 * gaussian(2.5))[None], 4, 0.03962)
    stars.loc[12, "flux"] = 2e6
    frame = frame_of(stars, psf=wide)
    frame.dq[frame.science > 50_000] = int(DataQuality.FULL_WELL)
    frame.science[frame.dq > 0] = 50_000.0
    table = photometry.measure(frame, wide)
    saturated = table[(table["flags"] & int(SourceFlag.SATURATED)) != 0]
    assert len(saturated) == 1
    assert saturated["flux"].iloc[0] == pytest.approx(2e6, rel=0.02)
    assert np.hypot(saturated["x"] - stars["x"][12], saturated["y"] - stars["y"][12]).iloc[0] < 0.1
    assert len(table) <= 27 and (match(table, stars) >= 0).all()


def test_psf_stars_are_bright_clean_and_alone():
    stars = lattice(np.geomspace(500, 50_000, 81), spacing=30, n=9)
    beside = stars.iloc[[78, 79]].assign(x=lambda t: t["x"] + 7, flux=lambda t: 0.2 * t["flux"])
    crowd = pd.concat([stars, beside], ignore_index=True)
    frame = frame_of(crowd, shape=(310, 310))
    row, column = int(stars["y"][77]), int(stars["x"][77])
    frame.dq[row + 3, column] = int(DataQuality.BAD_PIXEL)
    found = detection.detect(frame)
    picked = detection.pick_psf_stars(frame, found, n=20, cells=1)
    chosen = match(stars.iloc[match(stars, picked)], stars) >= 0
    assert len(picked) == 20 and (np.diff(picked["flux"]) <= 0).all()
    assert not chosen[[77, 78, 79]].any() and chosen[80]
    spread = detection.pick_psf_stars(frame, found, n=20, cells=2, snr_min=20)
    quarter = (spread["y"] > 155) * 2 + (spread["x"] > 155)
    assert (quarter.value_counts().reindex(range(4)).fillna(0) >= 4).all()


# --- the table ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crowded():
    """600 stars on 300 × 300 px, most of them faint: as dense as the core of M4 in a UVIS frame."""
    rng = np.random.default_rng(8)
    flux = 150.0 * (1 - rng.random(600)) ** -0.7
    stars = pd.DataFrame({"x": rng.uniform(8, 292, 600), "y": rng.uniform(8, 292, 600), "flux": np.minimum(flux, 2e5)})
    frame = frame_of(stars, shape=(300, 300))
    return stars, frame, photometry.measure(frame, PSF, background_box=0)


def test_crowded_field(crowded):
    """Unbiased, with honest errors, near the photon limit, complete where stars are bright."""
    stars, _, table = crowded
    close = cKDTree(stars[["x", "y"]]).query(stars[["x", "y"]], k=2)[0][:, 1] < 3.0
    stars = stars.assign(is_binary=close)  # what is no point has no error of a point
    assert list(table.columns) == list(photometry.COLUMNS)
    limit = photon_limit(PSF, stars["x"], stars["y"], stars["flux"], FLOOR)
    report = error_by_magnitude(table, stars, limit, [-13, -8, -7, -6.5, -5.4]).set_index("mag")
    bright = report.iloc[:3]
    assert (bright["completeness"] > 0.93).all() and (bright["completeness"].diff().dropna() < 0.05).all()
    assert report["completeness"].iloc[3] < bright["completeness"].min()
    assert (bright["pull_mean"].abs() < 0.2 + 5 / np.sqrt(bright["n"])).all()
    assert bright["pull_scatter"].between(0.7, 1.35).all()
    assert (bright["scatter"] < 1.5 * bright["limit"]).all() and (bright["error"] >= 0.97 * bright["limit"]).all()
    rows = match(stars, table, 1.5)
    assert (rows < 0).mean() < 0.02  # false detections


def test_table_carries_sky_positions_and_magnitudes(crowded):
    _, frame, table = crowded
    x, y = frame.wcs.all_world2pix(table["ra"], table["dec"], 0)
    np.testing.assert_allclose(np.c_[x, y], table[["x", "y"]], atol=1e-6)
    np.testing.assert_allclose(table["mag"], -2.5 * np.log10(table["flux"]))
    assert (np.diff(table["flux"]) <= 0).all()
    blended = (table["flags"] & int(SourceFlag.BLENDED)) != 0
    assert (blended == (table["group_size"] > 1)).all() and 0.1 < blended.mean() < 0.9
    area = np.full(frame.shape, 0.97)
    again = photometry.measure(
        Frame(**{**vars(frame), "pixel_area": area}), PSF, table[["x", "y", "flux", "flags"]], passes=1
    )
    np.testing.assert_allclose(again["mag"], -2.5 * np.log10(0.97 * again["flux"]))


def test_stars_hidden_beside_bright_ones_are_found_late():
    bright = lattice(100_000.0)
    faint = bright.assign(y=bright["y"] + 3.0, flux=4000.0)
    stars = pd.concat([bright, faint], ignore_index=True)
    frame = frame_of(stars)
    once, twice = (photometry.measure(frame, PSF, passes=passes, background_box=0) for passes in (1, 2))
    assert (match(once, faint) >= 0).mean() < 0.5
    rows = match(twice, faint)
    assert (rows >= 0).mean() > 0.95
    late = twice.iloc[rows[rows >= 0]]
    assert ((late["flags"] & int(SourceFlag.LATE)) != 0).any()
    assert abs(np.median(late["flux"]) / 4000 - 1) < 0.03


def test_photutils_agrees_on_isolated_stars():
    """The published way as an oracle: same fluxes within a fraction of their errors."""
    stars = lattice(20_000.0, spacing=30, n=5)
    frame = frame_of(stars)
    ours, theirs = (
        photometry.measure(frame, PSF, stars.assign(flags=0), method=method, background_box=0)
        for method in photometry.METHODS
    )
    rows, others = match(ours, stars), match(theirs, stars)
    assert (rows >= 0).all() and (others >= 0).all()
    difference = ours["flux"].to_numpy()[rows] - theirs["flux"].to_numpy()[others]
    error = theirs["flux_err"].to_numpy()[others]
    # They fit 5 × 5 px with errors from the data, we a circle with errors from the model.
    assert np.abs(difference / error).max() < 1.0 and abs(np.mean(difference / error)) < 0.4
    for axis in "xy":
        assert np.abs(ours[axis].to_numpy()[rows] - theirs[axis].to_numpy()[others]).max() < 0.02


def test_unknown_method():
    with pytest.raises(ValueError, match="accepted: joint, photutils"):
        photometry.measure(frame_of(lattice(1000.0)), PSF, method="daophot")


def test_match_is_one_to_one():
    truth = pd.DataFrame({"x": [10.0, 10.5, 30.0], "y": [10.0, 10.0, 30.0], "flux": [100.0, 1000.0, 10.0]})
    measured = pd.DataFrame({"x": [10.4, 50.0], "y": [10.0, 50.0]})
    assert match(measured, truth).tolist() == [-1, 0, -1]


@pytest.mark.parametrize("method", photometry.METHODS)
def test_an_empty_frame_gives_an_empty_table(method):
    nothing = lattice(0.0, n=2)
    table = photometry.measure(frame_of(nothing, shape=(80, 80)), PSF, method=method, threshold=8.0)
    assert list(table.columns) == list(photometry.COLUMNS) and not len(table)


def test_positions_that_are_not_finite_are_told():
    stars = pd.DataFrame({"x": [30.0, np.nan], "y": [30.0, 31.0], "flux": [5000.0, 5000.0]})
    image = np.zeros((60, 60))
    with pytest.raises(ValueError, match="1 of 2 stars have positions that are not finite"):
        joint_fit.fit_stars(image, image + 9.0, Scene(PSF), stars["x"], stars["y"], stars["flux"], np.full(2, 2.5))
