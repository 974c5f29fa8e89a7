"""A real ALMA map as a query: its beam and coordinates, on the pixels of a catalogue."""

import numpy as np
import pytest
from astropy.io import fits

from dioscuri.analogues.catalogue import Frame
from dioscuri.analogues.distances import pairwise
from dioscuri.analogues.features import Stretch, ceiling_of, measure
from dioscuri.analogues.observation.maps import read_map
from dioscuri.analogues.observation.query import FWHM, observe_like, prepare
from dioscuri.learn.features.networks import build

DISTANCE = 140.0  # pc, Taurus


@pytest.fixture(scope="module")
def tmc1a(real_data):
    return read_map(real_data / "images" / "alma_tmc1a_1.3mm.fits")


def test_beam_and_unit_are_the_headers(real_data, tmc1a):
    assert tmc1a.unit == "Jy/sr" and tmc1a.image.shape == (640, 640)
    assert tmc1a.beam == pytest.approx((0.035604, 0.024695, -176.7297), abs=1e-4)
    janskys_per_beam = fits.getdata(real_data / "images" / "alma_tmc1a_1.3mm.fits")[0, 0]
    beam = np.pi / (4 * np.log(2)) * tmc1a.beam[0] * tmc1a.beam[1] / 206264.806**2
    np.testing.assert_allclose(tmc1a.image * beam, janskys_per_beam, rtol=1e-4)


@pytest.mark.parametrize(("pixel", "beam"), [(5.0, 15.0), (12.5, 35.0)])
def test_tmc1a_lies_in_mid_image(tmc1a, pixel, beam):
    query = prepare(tmc1a, Frame(pixel, (beam, beam, 0.0)), 96, distance_pc=DISTANCE)
    n = len(query.image)
    assert n % 2 == 0 and n * pixel == pytest.approx(3.456 * DISTANCE, abs=2 * pixel + 10)
    assert np.isfinite(query.image).all() and not query.missing.any()
    assert query.beam_au == (beam, beam, 0.0)  # the map is sharper than the catalogue
    # TMC1A, 04:39:35.20 +25:41:44.2: the peak of its disc, in the middle of four pixels
    assert (query.history["ra"], query.history["dec"]) == pytest.approx((69.89667, 25.69562), abs=1e-5)
    rows, columns = np.indices(query.image.shape) - 0.5 * (n - 1)
    bright = np.where(query.image > 0.5 * query.image.max(), query.image, 0)
    assert abs((bright * rows).sum() / bright.sum()) < 1 and abs((bright * columns).sum() / bright.sum()) < 1
    # Smoothing and cutting out keep the flux: that of the map within 100 AU, in Jy.
    y, x = np.indices(tmc1a.image.shape)
    cx, cy = tmc1a.wcs.world_to_pixel_values(query.history["ra"], query.history["dec"])
    inside = np.hypot(x - cx, y - cy) * 0.0054 * DISTANCE < 150
    expected = tmc1a.image[inside].sum() * (0.0054 * DISTANCE) ** 2
    found = query.image[np.hypot(rows, columns) * pixel < 150].sum() * pixel**2
    assert found == pytest.approx(expected, rel=0.05)
    assert 0 < query.noise < 0.05 * query.image.max()


def test_what_tmc1a_is_compared_with_has_its_noise_and_beam(tmc1a):
    query = prepare(tmc1a, Frame(5.0, (15.0, 15.0, 0.0)), 96, distance_pc=DISTANCE)
    n = len(query.image)
    rows, columns = np.indices((96, 96)) - 47.5
    widths = ((6, 3), (15 / 5 / FWHM, 15 / 5 / FWHM))  # a disc, and what the beam makes of a point
    models = [np.exp(-0.5 * ((rows / a) ** 2 + (columns / b) ** 2)) for a, b in widths]
    models = (np.array(models) * query.image.max()).astype(np.float32)
    one, other = (observe_like(models, ["disc", "point"], query, seed) for seed in (1, 2))
    cut = (96 - n) // 2
    noise = one - models[:, cut : cut + n, cut : cut + n]
    assert noise.std() == pytest.approx(query.noise, rel=0.1)
    network, stretch = build("random_cnn"), Stretch("log", ceiling_of(query.image[None]), 2.0)
    features = measure(np.concatenate([one, other, query.image[None]]), network, stretch)
    assert np.isfinite(features).all()
    apart = pairwise(features, features, "euclidean")
    # Another night's noise changes less than another source does.
    assert max(apart[0, 2], apart[1, 3]) < min(apart[0, 1], apart[2, 3])
