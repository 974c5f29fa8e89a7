"""PSF files that others made."""

import numpy as np

from dioscuri.psf.files import read_psf, read_stdpsf


def test_csst_psf(real_data):
    """A CSST PSF at the detector's own sampling, the star between pixels; 80 % of its light within 1.61 px."""
    path = real_data / "images" / "csst_psf_9999.fits"
    psf = read_psf(path, oversampling=1, pixel_scale=0.074, pixel_integrated=True)
    np.testing.assert_allclose(psf.provenance["centre"], 23.5, atol=0.05)
    offsets = (np.arange(psf.samples.shape[1]) - psf.centre) / psf.oversampling
    distance = np.hypot(*np.meshgrid(offsets, offsets))
    inside = psf.samples[0][distance <= 1.61].sum() / psf.oversampling**2
    assert abs(inside - 0.80) < 0.03
    assert 0.13 < psf.fwhm() < 0.16  # the published 0.15″
    assert 0.96 < psf.enclosed(14) < 0.99


def test_uvis_grid(real_data):
    """A genuine header; its PSFs are cut to 5 × 5 samples."""
    path = real_data / "images" / "STDPSF_WFC3UV_F814W_mock.fits"
    grid = read_stdpsf(path)
    assert (grid.n_members, grid.samples.shape[1:], grid.pixel_scale) == (56, (5, 5), 0.03962)
    assert 0.1 < grid.at(1000, 3000).samples[0, 2, 2] < 0.25  # a WFC3/UVIS star has a fifth of its light in one pixel
    upper, lower = read_stdpsf(path, chip=1), read_stdpsf(path, chip=2)
    assert upper.n_members == lower.n_members == 28
    np.testing.assert_array_equal(upper.at(1000, 1500).samples, grid.at(1000, 3548).samples)
    np.testing.assert_array_equal(lower.at(1000, 1500).samples, grid.at(1000, 1500).samples)
