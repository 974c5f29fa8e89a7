"""Grids of PSFs in the layouts of every camera: member for member as photutils reads them, mended where needed."""

import logging
import runpy
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from dioscuri.cluster.exposure_psf import chip_psf
from dioscuri.psf.grids import one_chip, read_stdpsf, read_stpsf
from dioscuri.psf.sources import read_any

_FILES = runpy.run_path(str(Path(__file__).with_name("psf_grids.py")))
CAMERAS, star, write_stdpsf, write_stpsf = (_FILES[name] for name in ("CAMERAS", "star", "write_stdpsf", "write_stpsf"))


def photutils_grid(path, detector=None):
    from photutils.psf import GriddedPSFModel

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of headers without END
        return GriddedPSFModel.read(str(path), format="stdpsf", detector_id=detector)


@pytest.mark.parametrize("name", CAMERAS)
def test_member_for_member_as_photutils(name, tmp_path):
    path = write_stdpsf(tmp_path, name)
    grid = read_stdpsf(path)
    chips = CAMERAS[name][2]
    assert sorted(chips) == sorted(np.unique(grid.parameters.get("chip", [])))
    for chip, detector in (chips or {None: None}).items():
        ours, theirs = grid if chip is None else one_chip(grid, chip), photutils_grid(path, detector)
        np.testing.assert_array_equal(np.c_[ours.parameters["x"], ours.parameters["y"]], theirs.grid_xypos)
        np.testing.assert_array_equal(ours.samples, theirs.data)
        if name.split("_")[1] != "NRCSW":  # photutils' own interpolation takes x and y of the whole camera there
            at = np.array([[300.0, 700.0]]).T
            expected = theirs.evaluate(at[:1] + 0.0, at[1:] + 0.0, 1.0, 300.0, 700.0)
            assert ours.at(300.0, 700.0).samples[0, 10, 10] == pytest.approx(expected.item(), rel=1e-5)


def test_a_block_without_end_and_samples_without_value(tmp_path, caplog):
    name = "STDPSF_WFC3UV_F775W.fits"
    whole = np.repeat(star(size=41)[None], 56, axis=0)
    filled = whole.copy()
    filled[6, :, -1] = filled[30, 0, :] = -0.1
    path = write_stdpsf(tmp_path, name, filled, tail=True)
    with warnings.catch_warnings(), caplog.at_level(logging.INFO):
        warnings.simplefilter("error")
        grid = read_any(path)
    assert grid.provenance["repaired"] == 2 and "2 of 56" in caplog.text
    assert grid.samples.min() >= 0
    np.testing.assert_allclose(grid.samples, whole, atol=2e-3 * whole.max())
    assert (grid.provenance["detector"], grid.provenance["filter"]) == ("WFC3UV", "F775W")


def test_a_member_without_values_at_its_star_is_refused(tmp_path):
    samples = np.repeat(star()[None], 9, axis=0)
    samples[4] = -0.1
    path = write_stdpsf(tmp_path, "STDPSF_WFC3IR_F160W.fits", samples)
    with pytest.raises(ValueError, match=r"PSF 4 of the grid has no values \(100% are fill\)"):
        read_stdpsf(path)


def test_comments_are_believed_before_the_name(tmp_path, caplog):
    path = write_stdpsf(tmp_path, "STDPSF_WFC3UV_F775W.fits").rename(tmp_path / "STDPSF_ACSWFC_F606W.fits")
    grid = read_stdpsf(path)
    assert grid.provenance["detector"] == "WFC3UV" and grid.provenance["filter"] == "F775W"
    assert "not of ACSWFC" in caplog.text and "not of F606W" in caplog.text


def test_the_chip_of_the_frame_is_taken(tmp_path):
    grid = read_any(write_stdpsf(tmp_path, "STDPSF_ACSWFC_F814W.fits"))
    upper, lower = (chip_psf(grid, extension, chip=chip) for extension, chip in ((2, 1), (1, 2)))
    assert upper.n_members == lower.n_members == 45
    assert upper.at(0, 0).samples.max() > lower.at(0, 0).samples.max()
    with pytest.raises(ValueError, match="number of the chip"):
        chip_psf(grid, 1)
    with pytest.raises(ValueError, match="over several chips"):
        grid.at(0, 0)


def test_stdpsf_troubles(tmp_path):
    path = write_stdpsf(tmp_path, "STDPSF_WFC3UV_F775W.fits")
    with pytest.raises(ValueError, match="no chip 3; accepted: 1, 2"):
        read_stdpsf(path, chip=3)
    with pytest.raises(ValueError, match="--no-pixel-integrated is wrong here"):
        read_any(path, pixel_integrated=False)
    nameless = path.rename(tmp_path / "grid.fits")
    fits.delval(nameless, "COMMENT")
    with pytest.raises(ValueError, match=r"found none of WFC3UV, .*give pixel_scale"):
        read_stdpsf(nameless)
    assert read_stdpsf(nameless, pixel_scale=0.02).pixel_scale == 0.02
    fits.setval(nameless, "NXPSFS", value=8)
    with pytest.raises(ValueError, match="found 56 PSFs, the header promises 8 x 8"):
        read_stdpsf(nameless, pixel_scale=0.02)
    fits.writeto(tmp_path / "other.fits", np.ones((9, 9)))
    with pytest.raises(ValueError, match="expected a STDPSF grid"):
        read_stdpsf(tmp_path / "other.fits")


@pytest.mark.parametrize("total", [1.0, 16.0])
def test_stpsf_grid(tmp_path, total):
    """Positions are (y, x), as the file says; the star between four samples comes to lie on one."""
    grid = read_any(write_stpsf(tmp_path, total=total), pixel_scale=0.0311)
    np.testing.assert_array_equal(grid.parameters["x"], [0, 2047, 0, 2047])
    np.testing.assert_array_equal(grid.parameters["y"], [100, 100, 1900, 1900])
    np.testing.assert_allclose(grid.samples[0], star(0.6, 19), atol=3e-3)
    assert grid.samples[0].sum() == pytest.approx(16, rel=1e-2)
    assert (grid.provenance["detector"], grid.provenance["filter"]) == ("NRCA1", "F150W")


def test_stpsf_of_another_sum_is_refused(tmp_path):
    with pytest.raises(ValueError, match="its PSFs sum to 40; accepted: about 1, or 16"):
        read_stpsf(write_stpsf(tmp_path, total=40.0), pixel_scale=0.0311)
