"""A PSF that changes over a frame, found from its stars; single stars stay single in a search that knows."""

import dataclasses
import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dioscuri.cluster.frames import Frame
from dioscuri.cluster.psf_field import BLUR, STARS_FOR_BLUR, modes_of, over_the_field
from dioscuri.cluster.scene import Scene
from dioscuri.cluster.scoring import Search, score_stars
from dioscuri.psf.effective import Psf
from dioscuri.psf.optics import OPTICS, optical_psf
from dioscuri.stamps.mocks import Law

_KNOWN = runpy.run_path(str(Path(__file__).with_name("cluster_frames.py")))
SKY, READ_NOISE, frame_of, lattice, measured = (
    _KNOWN[name] for name in ("SKY", "READ_NOISE", "frame_of", "lattice", "measured")
)
SIDE = 336  # px
STARS = lattice(12, 26, flux=20000.0)
LAW = Law(flux_ratio="uniform", flux_min=5000, flux_max=25000)


@pytest.fixture(scope="module")
def truth() -> Psf:
    """HST's optics, whose focus changes by 10 nm from left to right: as much as over a whole chip."""
    ends = [optical_psf(OPTICS["hst_f775w"], focus_nm=focus, size=25) for focus in (-5.0, 5.0)]
    samples, places = np.concatenate([one.samples for one in ends]), np.array([0.0, SIDE - 1.0])
    return dataclasses.replace(ends[0], samples=samples, parameters={"x": places, "y": np.zeros(2)})


def painted_with(psf: Psf, stars: pd.DataFrame, shape: tuple[int, int]) -> Frame:
    """Single stars painted with a PSF, with their noise."""
    expected = np.full(shape, SKY)
    Scene(psf).paint(expected, *(stars[name].to_numpy(float) for name in ("x", "y", "flux")))
    rng = np.random.default_rng(3)
    science = rng.poisson(np.maximum(expected, 0)) + rng.normal(0, READ_NOISE, expected.shape)
    error = np.sqrt(np.maximum(science, 0) + READ_NOISE**2)
    empty = frame_of(stars.iloc[:0], shape)
    return dataclasses.replace(empty, science=science.astype(np.float32), error=error.astype(np.float32))


@pytest.fixture(scope="module")
def frame(truth):
    """144 single stars painted with it."""
    return painted_with(truth, STARS, (SIDE, SIDE))


def test_the_psf_is_found_at_every_place(frame, truth):
    mean = dataclasses.replace(truth, samples=truth.samples.mean(0)[None], parameters={"draw": np.zeros(1)})
    found = over_the_field(frame, mean, measured(STARS), 2)
    for x in (30, 300):
        there, peak = truth.at(x, 170).samples[0], truth.samples.max()
        before, after = (np.abs(psf.samples[0] - there).max() / peak for psf in (mean, found.at(x, 170)))
        assert before > 0.01 and after < 0.5 * before


def test_single_stars_stay_single_when_the_telescope_has_breathed(frame, truth):
    """The PSF given is right but for a focus 25 nm away: the frame's own stars set it right."""
    given = optical_psf(OPTICS["hst_f775w"], focus_nm=-25.0, size=25)
    rows = np.arange(0, 144, 2)
    wrong = score_stars(frame, given, measured(STARS), rows, Search(LAW, fit_above=np.inf, exact=True))
    careful = score_stars(frame, given, measured(STARS), rows, Search(LAW, fit_above=np.inf))
    assert (careful["log_bf"] > 0).mean() < 0.06 < 0.3 < (wrong["log_bf"] > 0).mean()


def test_the_error_of_the_psf_is_that_of_the_place(truth):
    """At the right side of the frame the PSF has a ghost that optics do not know: doubt there, and not at the left."""
    right = truth.at(SIDE / 2, 0)
    ghost = sum(np.roll(right.samples, shift, (1, 2)) for shift in ((6, 6), (6, -6))) / 2
    samples = np.concatenate([right.samples, 0.9 * right.samples + 0.1 * ghost])
    width, height, edge = 520, 260, 250.0
    places = {"x": np.array([0.0, edge, edge + 20, width - 1.0]), "y": np.zeros(4)}
    painted = dataclasses.replace(right, samples=samples[[0, 0, 1, 1]], parameters=places)
    stars = lattice(19, 26).query(f"y < {height - 10}").reset_index(drop=True)
    stars["flux"] = np.random.default_rng(1).permutation(np.geomspace(3e3, 6e4, len(stars)))
    frame = painted_with(painted, stars, (height, width))
    scores = score_stars(frame, right, measured(stars), np.arange(len(stars)), Search(LAW, fit_above=np.inf))
    left = stars["x"] < width / 2
    error = scores["psf_error"].to_numpy()
    assert error[left].max() + 0.02 < error[~left].min()
    assert (scores["log_bf"] > 0)[~left].mean() < 0.1


def test_blur_along_a_direction_is_among_the_modes():
    """A Gaussian of more variance along x and less along y, or tilted, is the round one and a mode, to first order."""

    def gaussian(along: float = 0.0, across: float = 0.0) -> np.ndarray:
        y, x = (np.indices((101, 101)) - 50) / 4
        inverse = np.linalg.inv([[0.81 + along, across], [across, 0.81 - along]])
        exponent = inverse[0, 0] * x**2 + 2 * inverse[0, 1] * x * y + inverse[1, 1] * y**2
        return np.exp(-0.5 * exponent) * np.sqrt(np.linalg.det(inverse)) / (2 * np.pi)

    frame = frame_of(lattice(2, 30), (80, 80))
    psf = Psf(gaussian()[None], 4, 0.03962)
    elongated, tilted, _ = modes_of(frame, psf, STARS_FOR_BLUR).samples[-3:]
    for mode, changed in ((elongated, gaussian(along=BLUR)), (tilted, gaussian(across=BLUR))):
        np.testing.assert_allclose(mode, changed - psf.samples[0], atol=0.12 * np.abs(mode).max())  # finite differences
    few = modes_of(frame, psf, STARS_FOR_BLUR - 1)  # their own pairs would decide
    assert few.n_members == modes_of(frame, psf, STARS_FOR_BLUR).n_members - 3
