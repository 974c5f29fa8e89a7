"""Errors of a PSF, as the stars of a frame tell them, against those that made the stars."""

import dataclasses

import numpy as np
import pytest

from dioscuri.psf.effective import Psf
from dioscuri.psf.optics import OPTICS, psf_bank
from dioscuri.stamps.mocks import CENTRE, Renderer
from dioscuri.stamps.psf_errors import Leftovers, leftovers, measure_errors, terms

VARIANCE = 12.0  # e²
FLUX = 2e4  # e-


@pytest.fixture(scope="module")
def psfs() -> tuple[Psf, Psf]:
    """HST's PSF, and three modes in which it may change."""
    bank = psf_bank(OPTICS["hst_f775w"], members=5, places=5, focus_nm=10, seed=4, size=21)
    deviations = (bank.samples - bank.samples.mean(0)).reshape(5, -1) / np.sqrt(5)
    _, scale, shapes = np.linalg.svd(deviations, full_matrices=False)
    modes = (scale[:, None] * shapes)[:3].reshape(3, *bank.samples.shape[1:])
    return bank.member(0), dataclasses.replace(bank, samples=modes, parameters={})


def stars(psfs: tuple[Psf, Psf], amplitudes: np.ndarray, seed: int = 1) -> Leftovers:
    """What the PSF leaves of stars that have it with `amplitudes` (S, M) of the modes."""
    psf, modes = psfs
    rng = np.random.default_rng(seed)
    n = len(amplitudes)
    x, y = CENTRE + rng.uniform(-0.5, 0.5, (2, n))
    image = Renderer(psf).render(x, y, FLUX)
    for k, values in enumerate(amplitudes.T):
        image += Renderer(modes).render(x, y, FLUX * values, k)
    stamps = rng.poisson(np.maximum(image, 0) + VARIANCE) - VARIANCE
    place = place_of(n)
    return leftovers(stamps, np.full(stamps.shape, VARIANCE), Renderer(psf), np.zeros(n, int), modes, *place)


def place_of(n: int) -> np.ndarray:
    return np.random.default_rng(9).uniform(-1, 1, (2, n))


def test_terms_are_orthogonal_over_the_frame():
    nodes, weights = np.polynomial.legendre.leggauss(5)
    x, y = (plane.ravel() for plane in np.meshgrid(nodes, nodes))
    found = terms(x, y, 3)
    assert found.shape == (25, 10)
    products = found.T @ (np.outer(weights, weights).ravel()[:, None] * found)
    np.testing.assert_allclose(products - np.diag(np.diag(products)), 0, atol=1e-12)


def test_a_change_over_the_frame_is_found(psfs):
    x, y = place_of(300)
    truth = np.stack([0.8 * x, 0.5 - 0.6 * y, 0.7 * x * y], 1)
    errors = measure_errors(stars(psfs, truth), degree=2)
    assert errors.degree == 2 and errors.used > 280
    np.testing.assert_allclose(errors.amplitudes(x, y), truth, atol=0.15)
    assert (errors.scatter < 0.15).all()


def test_what_scatters_is_an_error(psfs):
    amplitudes = np.zeros((300, 3))
    amplitudes[:, 1] = np.random.default_rng(2).normal(0, 0.6, 300)
    errors = measure_errors(stars(psfs, amplitudes), degree=1)
    assert errors.scatter[1] == pytest.approx(0.6, abs=0.1)
    assert errors.scatter[[0, 2]].max() < 0.15
    np.testing.assert_allclose(errors.coefficients, 0, atol=0.15)


def test_with_the_right_psf_nothing_is_left(psfs):
    found = stars(psfs, np.zeros((200, 3)))
    assert (found.chi2 / (found.n - 3)).mean() == pytest.approx(1, abs=0.03)
    best = found.marginal(np.full(3, 10.0))
    assert (found.chi2 - best).mean() == pytest.approx(3, abs=0.6)  # χ² of three free amplitudes


def test_few_stars_tell_few_terms(psfs):
    assert measure_errors(stars(psfs, np.zeros((40, 3))), degree=3).degree == 1
    assert measure_errors(stars(psfs, np.zeros((5, 3))), degree=3).degree == 0
