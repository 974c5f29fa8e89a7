"""A PSF from any FITS image of one."""

import logging
import os
from pathlib import Path

import numpy as np

from dioscuri.psf.effective import DEFAULT_OVERSAMPLING, Psf
from dioscuri.reading import open_fits, reading

log = logging.getLogger(__name__)

IMAGE = "a FITS file whose first image is one PSF"


def read_psf(path: str | os.PathLike, *, oversampling: int, pixel_scale: float, pixel_integrated: bool) -> Psf:
    """A PSF from the first image of a FITS file, of any size; its sum is taken as the whole flux of the star.

    oversampling: samples a pixel in the file; pixel_scale: arcsec a pixel of the detector, not of the file;
    pixel_integrated: whether the pixel is in it already (always so in an image of a star at oversampling 1).
    The star is put on the central sample by its (Gaussian-weighted) centroid. A file of less than 4 samples a
    pixel is interpolated: what it does not hold about sub-pixel structure is guessed, to several percent of
    the peak for an undersampled camera.
    """
    import galsim

    if oversampling < 1:
        raise ValueError(f"{path}: oversampling {oversampling}; accepted: the whole number of samples a pixel, from 1")
    data = _first_image(path)
    factor = -(-DEFAULT_OVERSAMPLING // oversampling)  # at least 4 samples a pixel, for spline interpolation
    if factor > 1:
        log.warning("%s: %d samples a pixel; structure finer than that is interpolated", path, oversampling)
    file_step, step = pixel_scale / oversampling, pixel_scale / (oversampling * factor)
    image = galsim.Image(data / data.sum(), scale=1.0)
    moments = galsim.hsm.FindAdaptiveMom(image, strict=False)
    if moments.error_message:
        raise ValueError(f"{path}: found no centre of a star in the image ({moments.error_message})")
    centre = np.array([moments.moments_centroid.x, moments.moments_centroid.y]) - 1
    last = np.array(data.shape[::-1]) - 1
    reach = int(min(centre.min(), (last - centre).min()) * factor)
    offset = centre - last / 2
    image.scale = file_step
    star = galsim.InterpolatedImage(image, x_interpolant="lanczos15", flux=1.0).shift(*(-offset * file_step))
    if not pixel_integrated:
        star = galsim.Convolve([star, galsim.Pixel(pixel_scale)])
    n = 2 * reach + 1
    samples = star.drawImage(nx=n, ny=n, scale=step, method="no_pixel", dtype=float).array
    about = {"source": "file", "file": Path(path).name, "oversampling": oversampling, "centre": centre.tolist()}
    per_pixel = oversampling * factor
    return Psf(samples[None] * per_pixel**2, per_pixel, pixel_scale, provenance=about)


def _first_image(path: str | os.PathLike) -> np.ndarray:
    with reading(path, IMAGE), open_fits(path) as hdus:
        images = [hdu.data for hdu in hdus if hdu.is_image and hdu.data is not None and hdu.data.ndim == 2]
        if not images:
            raise ValueError(f"{path}: found no two-dimensional image")
        data = np.asarray(images[0], float)
    if not np.isfinite(data).all() or not data.sum() > 0:
        raise ValueError(f"{path}: the image is not a PSF: it has values that are not finite, or no positive sum")
    if not data.max() > 2 * data.mean():
        raise ValueError(f"{path}: the image is not a PSF: its peak is {data.max() / data.mean():.2g} of its mean")
    return data
