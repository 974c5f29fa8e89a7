"""The likelihood ratio with an unknown PSF: no modes is the known PSF, and modes forgive what the bank can do."""

import numpy as np
import pytest

from dioscuri.psf.effective import Psf
from dioscuri.psf.optics import OPTICS, psf_bank
from dioscuri.stamps.mocks import Law, Noise, Renderer, draw_sources, make_stamps
from dioscuri.stamps.optimum import log_bayes_factor
from dioscuri.stamps.unknown_psf import log_bayes_factor_unknown, unknown_of

NOISE, LAW = Noise(sigma=0.59), Law()


@pytest.fixture(scope="module")
def bank() -> Psf:
    """Eight PSFs of CSST whose jitter and wavefront differ."""
    return psf_bank(OPTICS["csst_u"], members=8, jitter_fraction=0.02, wfe_nm=15, seed=3, size=21)


def mocks(psf: Psf, n: int, **options):
    sources = draw_sources(n, 5, LAW, noise=NOISE, n_members=psf.n_members, **options)
    return sources, make_stamps(sources, Renderer(psf), NOISE, 6)


def test_components_hold_the_bank(bank):
    unknown, explained = unknown_of(bank, n_modes=99)
    assert unknown.n_modes == bank.n_members - 1
    assert explained == pytest.approx(1)
    few, explained = unknown_of(bank, n_modes=2)
    assert few.n_modes == 2 and 0.5 < explained < 1


def test_without_an_error_of_the_psf_it_is_the_optimum(bank):
    _, stamps = mocks(bank.member(0), 60)
    psf, _ = unknown_of(bank.member(0))
    assert psf.n_modes == 0
    known = log_bayes_factor(stamps, NOISE.variance, Renderer(bank.member(0)), LAW)[0]
    np.testing.assert_allclose(log_bayes_factor_unknown(stamps, NOISE.variance, psf, LAW), known, atol=0.02)


def test_single_stars_of_any_member_stay_single(bank):
    """A wrong PSF makes bright single stars double; one that is known to be uncertain does not."""
    _, stamps = mocks(bank, 400, binary_share=0.0, snr=150)
    wrong = log_bayes_factor(stamps, NOISE.variance, Renderer(bank), LAW)[0]
    careful = log_bayes_factor_unknown(stamps, NOISE.variance, unknown_of(bank)[0], LAW)
    assert np.mean(careful > 0) < 0.04 < 0.1 < np.mean(wrong > 0)


def test_wide_pairs_are_found_all_the_same(bank):
    _, stamps = mocks(bank, 100, binary_share=1.0, snr=100, sep=1.0)
    assert np.mean(log_bayes_factor_unknown(stamps, NOISE.variance, unknown_of(bank)[0], LAW) > 0) > 0.97


def test_centred_primaries_are_refused(bank):
    law = Law(placement="primary_centred")
    with pytest.raises(ValueError, match="accepted with an unknown PSF: photocentre_random"):
        log_bayes_factor_unknown(np.zeros((1, 14, 14)), NOISE.variance, unknown_of(bank)[0], law)
