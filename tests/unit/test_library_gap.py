"""The measure of how far a library is from real spectra: noise is no gap, a gap is found, few stars say nothing."""

import numpy as np
import pytest

from dioscuri.lamost.library_gap import residual_table
from dioscuri.spectra import lrs_frame

STARTS = np.array([4700.0, 5200.0])


def made_up(n, noise, gap, seed=0):
    """Residuals of `n` stars: noise, and a ripple of rms `gap` that all of them share at 5200-5450 Å."""
    ripple = np.sqrt(2.0) * gap * np.sin(lrs_frame.WAVE / 3.0)
    ripple *= (lrs_frame.WAVE >= 5200) & (lrs_frame.WAVE < 5450)
    random = np.random.default_rng(seed)
    residual = ripple + noise * random.standard_normal((n, len(lrs_frame.WAVE)))
    return residual.astype(np.float32), np.full(residual.shape, noise, np.float32)


def test_noise_is_taken_off_and_a_shared_ripple_stays():
    residual, sigma = made_up(60, 0.02, 0.01)
    table, counts = residual_table(residual, sigma, np.full(60, 5000.0), (4800, 5200, 5600), STARTS)
    assert counts.tolist() == [60, 0]
    assert table[0, 0] < 0.0015  # the noise of the median alone would be 0.0032
    assert table[0, 1] == pytest.approx(0.01, rel=0.1)
    assert np.isnan(table[1]).all()


def test_pixels_without_error_and_stars_without_model_do_not_count():
    residual, sigma = made_up(20, 0.01, 0.01)
    residual[:17] = np.nan  # outside the library
    table, counts = residual_table(residual, sigma, np.full(20, 5000.0), (4800, 5200), STARTS)
    assert counts[0] == 3
    assert np.isnan(table).all()
    residual, sigma = made_up(20, 0.01, 0.01)
    sigma[:, (lrs_frame.WAVE > 5190) & (lrs_frame.WAVE < 5460)] = np.inf
    table, _ = residual_table(residual, sigma, np.full(20, 5000.0), (4800, 5200), STARTS)
    assert np.isnan(table[0, 1])
    assert table[0, 0] >= 0
