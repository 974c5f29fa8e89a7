"""PSFs from files: any FITS image of one, and grids over a detector in the STDPSF format."""

import logging
import os
from pathlib import Path

import numpy as np

from dioscuri.psf.effective import DEFAULT_OVERSAMPLING, Psf
from dioscuri.reading import open_fits, reading

log = logging.getLogger(__name__)

IMAGE = "a FITS file whose first image is one PSF"
GRID = "a STDPSF grid (NXPSFS, NYPSFS, IPSFX01, …)"
STDPSF_OVERSAMPLING = 4
# Of the native, distorted frames that the STDPSF grids are for [arcsec/px].
STDPSF_PIXEL_SCALES = {"WFC3UV": 0.03962, "WFC3IR": 0.1283, "ACSWFC": 0.0497, "ACSHRC": 0.0265, "WFPC2": 0.0996}
UVIS_CHIP_ROWS = 2048  # rows of a chip in the coordinates of a STDPSF grid, chip 2 below chip 1


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


def read_stdpsf(path: str | os.PathLike, *, chip: int | None = None, pixel_scale: float | None = None) -> Psf:
    """A grid of PSFs over a detector, in STScI's STDPSF format (Anderson 2016, WFC3 ISR 2016-12).

    Members lie at the parameters x, y, 0-based px. Grids of WFC3/UVIS and ACS/WFC stack their chips along y;
    `chip` (1 or 2, as CCDCHIP in a frame) takes that one alone, in the coordinates of its own frame. The pixel
    scale is that of the camera named in the file; give it for others.
    """
    with reading(path, GRID), open_fits(path) as hdus:
        header, data = hdus[0].header, hdus[0].data
        try:
            n_x, n_y = header["NXPSFS"], header["NYPSFS"]
            x_grid = np.array([header[f"IPSFX{i:02d}"] for i in range(1, n_x + 1)]) - 1.0
            y_grid = np.array([header[f"JPSFY{i:02d}"] for i in range(1, n_y + 1)]) - 1.0
        except KeyError as error:
            raise ValueError(
                f"{path}: expected a STDPSF grid (NXPSFS, NYPSFS, IPSFX01, ...), found no {error}"
            ) from error
        about = f"{Path(path).name} {' '.join(str(card) for card in header.get('COMMENT', []))}"
        samples = np.asarray(data, float)
        if samples.ndim != 3:
            raise ValueError(f"{path}: found {samples.ndim} axes, a grid of PSFs has 3")
    if samples.shape[0] != n_x * n_y:
        raise ValueError(f"{path}: found {samples.shape[0]} PSFs, the header promises {n_x} x {n_y}")
    if pixel_scale is None:
        scales = [scale for camera, scale in STDPSF_PIXEL_SCALES.items() if camera in about]
        if not scales:
            raise ValueError(f"{path}: found none of {', '.join(STDPSF_PIXEL_SCALES)} in its name; give pixel_scale")
        pixel_scale = scales[0]
    x, y = np.tile(x_grid, n_y), np.repeat(y_grid, n_x)
    if chip is not None:
        if chip not in (1, 2) or y_grid.max() < UVIS_CHIP_ROWS:
            raise ValueError(f"{path}: there is no chip {chip}; accepted: 1 or 2, for a grid over two chips")
        upper = y >= UVIS_CHIP_ROWS
        chosen = upper if chip == 1 else ~upper
        x, y, samples = x[chosen], y[chosen] - (UVIS_CHIP_ROWS if chip == 1 else 0), samples[chosen]
    about_it = {"source": "stdpsf", "file": Path(path).name, "chip": chip}
    with reading(path, GRID):
        return Psf(samples, STDPSF_OVERSAMPLING, float(pixel_scale), {"x": x, "y": y}, about_it)


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
