"""PSF files that others made."""

import warnings

import numpy as np
import pytest
from astropy.wcs import WCS

from dioscuri.cluster.frames import Frame
from dioscuri.cluster.photometry import measure
from dioscuri.psf.files import read_psf
from dioscuri.psf.grids import one_chip, read_stdpsf


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


GRIDS = {
    "PSFSTD_WFC3UV_F775W.fits": ("WFC3UV", "F775W"),
    "PSFSTD_WFC3UV_F814W.fits": ("WFC3UV", "F814W"),
    "PSFSTD_ACSWFC_F606W.fits": ("WFC3UV", "F606W"),  # so its comments say
    "PSFSTD_WFC3IR_F160W.fits": ("WFC3IR", "F160W"),
}


@pytest.mark.parametrize("name", GRIDS)
def test_genuine_grids_member_for_member(real_data, name):
    """As photutils reads them, but for fill values; every PSF has a star's light, and no fill is left."""
    path = real_data / "psf" / name
    grid = read_stdpsf(path)
    assert (grid.provenance["detector"], grid.provenance["filter"]) == GRIDS[name]
    assert grid.samples.min() > -0.002
    np.testing.assert_allclose(grid.samples.sum((1, 2)) / 16, 1.04, atol=0.03)  # one within 5 px
    for chip, detector in ((1, 2), (2, 1)) if "chip" in grid.parameters else ((None, None),):
        ours, theirs = grid if chip is None else one_chip(grid, chip), photutils_grid(path, detector)
        np.testing.assert_array_equal(np.c_[ours.parameters["x"], ours.parameters["y"]], theirs.grid_xypos)
        there = theirs.data > -0.05
        np.testing.assert_array_equal(ours.samples[there], theirs.data[there])
        assert chip is None or (ours.n_members == 28 and not there.all())


@pytest.mark.parametrize("chip", [1, 2])
def test_stars_that_photutils_paints_are_recovered(real_data, chip):
    """Flux to 1e-3 and place to 0.003 px, all over the chip, with the genuine grid of the paper's filter."""
    path = real_data / "psf" / "PSFSTD_WFC3UV_F775W.fits"
    painter = photutils_grid(path, 3 - chip)
    x, y = (part.ravel() for part in np.meshgrid(np.linspace(40.3, 4050.7, 7), np.linspace(40.9, 2005.2, 5)))
    science = np.zeros((2051, 4096), np.float32)
    for one_x, one_y in zip(x, y):
        rows, columns = np.mgrid[int(one_y) - 10 : int(one_y) + 11, int(one_x) - 10 : int(one_x) + 11]
        science[rows, columns] += painter.evaluate(columns, rows, 20000.0, one_x, one_y)
    sky = WCS(naxis=2)
    sky.wcs.ctype, sky.wcs.crval = ["RA---TAN", "DEC--TAN"], [245.9, -26.5]
    sky.wcs.cd = np.diag([-1.0, 1.0]) * 0.03962 / 3600
    frame = Frame(
        science=science, error=np.sqrt(science.clip(0) + 9.0), dq=np.zeros(science.shape, np.int32), wcs=sky,
        filter="F775W", exposure_time=20.0, exposure="one", chip=chip, pixel_scale=0.03962, read_noise=3.0,
    )  # fmt: skip
    found = measure(frame, one_chip(read_stdpsf(path), chip)).sort_values(["y", "x"], ignore_index=True)
    order = np.lexsort((x, y.round()))
    assert len(found) == len(x)
    nearest = np.hypot(found["x"].to_numpy() - x[order, None], found["y"].to_numpy() - y[order, None]).argmin(1)
    found = found.iloc[nearest]
    np.testing.assert_allclose(found["flux"], 20000.0, rtol=1e-3)
    np.testing.assert_allclose(found[["x", "y"]], np.c_[x[order], y[order]], atol=0.003)


def photutils_grid(path, detector):
    from photutils.psf import GriddedPSFModel

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of headers without END
        return GriddedPSFModel.read(str(path), format="stdpsf", detector_id=detector)


def test_uvis_grid_with_cut_members(real_data):
    """A genuine header; its PSFs are cut to 5 × 5 samples."""
    grid = read_stdpsf(real_data / "images" / "STDPSF_WFC3UV_F814W_mock.fits")
    assert (grid.n_members, grid.samples.shape[1:], grid.pixel_scale) == (56, (5, 5), 0.03962)
    # A WFC3/UVIS star has a fifth of its light in one pixel.
    assert 0.1 < one_chip(grid, 1).at(1000, 952).samples[0, 2, 2] < 0.25
