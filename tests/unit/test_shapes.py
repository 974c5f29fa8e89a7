"""Statistics of photometry programs on stamps: against the programs' own definitions, and what they can tell."""

import numpy as np
import pytest
from scipy.stats import rankdata

from dioscuri.evaluation.image_merits import SHAPES
from dioscuri.psf.effective import Psf
from dioscuri.stamps.mocks import Law, Noise, Renderer, draw_sources, make_stamps
from dioscuri.stamps.optimum import fit_single, log_bayes_factor
from dioscuri.stamps.shapes import NAMES, shape_statistics

LAW, NOISE = Law(sep_min=0.3, flux_min=5000), Noise(3.0)


@pytest.fixture(scope="module")
def scored():
    offset = (np.arange(101) - 50) / 4
    psf = Psf((np.exp(-0.5 * (offset[:, None] ** 2 + offset**2) / 0.85**2) / (2 * np.pi * 0.85**2))[None], 4, 0.04)
    renderer, sources = Renderer(psf), draw_sources(300, 1, LAW)
    stamps = make_stamps(sources, renderer, NOISE, 2)
    return stamps, sources, renderer, shape_statistics(stamps, NOISE.variance, renderer)


def area(score, binary):
    rank = rankdata(np.nan_to_num(score, nan=-1e9))
    n = binary.sum()
    return (rank[binary].sum() - n * (n + 1) / 2) / (n * (~binary).sum())


def test_pairs_have_more_of_each_and_less_than_the_optimum_tells(scored):
    stamps, sources, renderer, found = scored
    assert tuple(found) == NAMES == SHAPES
    binary = sources["is_binary"]
    best = area(log_bayes_factor(stamps, NOISE.variance, renderer, LAW)[0], binary)
    areas = {name: area(values, binary) for name, values in found.items()}
    assert all(0.6 < one < best + 0.01 for one in areas.values()), areas
    assert areas["dolphot_chi"] > areas["dao_roundness"]


def test_sharpness_and_qfit_are_photutils_own(scored):
    from photutils.detection import DAOStarFinder

    stamps, _, renderer, found = scored
    fit = fit_single(stamps, NOISE.variance, renderer)
    for k in range(0, 20, 3):
        one = DAOStarFinder(50.0, 2.0, sharpness_range=(-9, 9), roundness_range=(-9, 9))(stamps[k].astype(float))
        brightest = one[int(np.argmax(one["flux"]))]
        if np.hypot(brightest["x_centroid"] - fit.x[k], brightest["y_centroid"] - fit.y[k]) < 0.3:
            assert found["dao_sharpness"][k] == pytest.approx(-brightest["sharpness"], rel=0.25)
    single = ~draw_sources(300, 1, LAW)["is_binary"]
    # Of a single star qfit is noise alone: 25 pixels of √(2/π) σ each.
    model = renderer.render(fit.x, fit.y, fit.flux)
    expected = np.sqrt(2 / np.pi) * np.sqrt(model + 9.0).sum((1, 2)) / fit.flux
    assert (found["qfit"][single] < expected[single]).mean() > 0.9


def test_a_broader_star_is_not_sharp(scored):
    _, sources, _, found = scored
    single = ~sources["is_binary"]
    assert abs(np.median(found["dolphot_sharpness"][single])) < 0.01
    assert np.median(found["dolphot_sharpness"][~single]) > 0.02
