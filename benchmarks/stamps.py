"""Mock stamps, with and without noise: ours beside a loop over photutils models and one over shifted images."""

import json
import sys
import time

import galsim
import numpy as np
from photutils.psf import ImagePSF
from scipy.ndimage import shift

from dioscuri.psf.effective import Psf
from dioscuri.psf.optics import OPTICS, optical_psf
from dioscuri.stamps.companions import fit_pair
from dioscuri.stamps.mocks import CENTRE, SIZE, Law, Noise, Renderer, draw_sources, make_stamps
from dioscuri.stamps.optimum import fit_single, log_bayes_factor
from inference import median_seconds, row

OPTICS_HERE = OPTICS["csst_u"]
LAW, NOISE = Law(flux_ratio="uniform"), Noise(sigma=0.59)
N_STAMPS, N_FITS, N_PUBLISHED, N_SHIFTED, N_GALSIM = 20_000, 200, 100, 10, 20


def rows() -> list[dict]:
    """One mapping per comparison: name, ours, published, unit, ratio. One core's time, half of the stamps pairs."""
    psf = optical_psf(OPTICS_HERE, size=25)
    renderer, model = Renderer(psf), ImagePSF(psf.samples[0], x_0=0, y_0=0, flux=1, oversampling=psf.oversampling)
    sources = draw_sources(N_STAMPS, 1, LAW)
    stamps = make_stamps(sources, renderer, NOISE, 2)
    rng, star = np.random.default_rng(0), _star()
    seconds = median_seconds(
        {
            "ours": lambda: make_stamps(draw_sources(N_STAMPS, 1, LAW), renderer, NOISE, 2),
            "noiseless": lambda: renderer.render_pairs(sources),
            "photutils": lambda: [_noisy(_photutils(model, sources, k), rng) for k in range(N_PUBLISHED)],
            "photutils, noiseless": lambda: [_photutils(model, sources, k) for k in range(N_PUBLISHED)],
            "shift": lambda: [_noisy(_shifted(psf, sources, k), rng) for k in range(N_SHIFTED)],
            "galsim": lambda: [_noisy(_drawn(star, sources, k), rng) for k in range(N_GALSIM)],
            "single": lambda: fit_single(stamps[:N_FITS], NOISE.variance, renderer),
            "optimum": lambda: log_bayes_factor(stamps[:N_FITS], NOISE.variance, renderer, LAW),
            "optimum, equal": lambda: log_bayes_factor(stamps[:N_FITS], NOISE.variance, renderer, Law()),
            "pair": lambda: fit_pair(stamps[: N_FITS // 10], NOISE.variance, renderer),
        },
        repeats=7,
        clock=time.process_time,  # of one core: another job on the machine takes turns, and would count twice
    )
    published = N_PUBLISHED / seconds["photutils"]
    return [
        {
            **row(
                "mock stamps with noise, against a photutils loop", N_STAMPS / seconds["ours"], published, "stamps/s"
            ),
            "largest difference to galsim, of the peak": _difference(renderer, star),
        },
        row(
            "mock stamps with noise, against galsim",
            N_STAMPS / seconds["ours"],
            N_GALSIM / seconds["galsim"],
            "stamps/s",
        ),
        row(
            "mock stamps without noise, against a photutils loop",
            N_STAMPS / seconds["noiseless"],
            N_PUBLISHED / seconds["photutils, noiseless"],
            "stamps/s",
        ),
        row(
            "mock stamps with noise, against scipy's shift",
            N_STAMPS / seconds["ours"],
            N_SHIFTED / seconds["shift"],
            "stamps/s",
        ),
        *(
            {"name": name, "ours": n / seconds[key], "unit": "stamps/s"}
            for name, key, n in (
                ("fits of one star", "single", N_FITS),
                ("optimum, uniform flux ratios", "optimum", N_FITS),
                ("optimum, equal fluxes", "optimum, equal", N_FITS),
                ("second stars with their posterior", "pair", N_FITS // 10),
            )
        ),
    ]


def _photutils(model: ImagePSF, sources: dict, k: int) -> np.ndarray:
    """One noiseless stamp from photutils' model of an oversampled PSF."""
    y, x = np.mgrid[:SIZE, :SIZE]
    image = model.evaluate(x, y, sources["flux1"][k], sources["x1"][k], sources["y1"][k])
    if sources["is_binary"][k]:
        image = image + model.evaluate(x, y, sources["flux2"][k], sources["x2"][k], sources["y2"][k])
    return image


def _shifted(psf: Psf, sources: dict, k: int) -> np.ndarray:
    """One noiseless stamp by moving the oversampled PSF and taking every fourth sample."""
    o, half = psf.oversampling, psf.samples.shape[1] // 2
    first = half - SIZE // 2 * o
    image = np.zeros((SIZE, SIZE))
    for star in ("1", "2")[: 1 + int(sources["is_binary"][k])]:
        offset = [o * (sources[axis + star][k] - SIZE // 2) for axis in "yx"]
        moved = shift(psf.samples[0], offset, order=3)
        image += sources["flux" + star][k] * moved[first::o, first::o][:SIZE, :SIZE]
    return image


def _noisy(mean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.poisson(np.maximum(mean, 0)) + NOISE.sigma * rng.standard_normal(mean.shape)


def _star() -> galsim.GSObject:
    """The star as galsim has it: optics, jitter and pixel."""
    return galsim.Convolve(
        galsim.OpticalPSF(lam=OPTICS_HERE.wavelength, diam=OPTICS_HERE.diameter, oversampling=1.5, pad_factor=2.0),
        galsim.Gaussian(sigma=OPTICS_HERE.jitter),
        galsim.Pixel(OPTICS_HERE.pixel_scale),
        gsparams=galsim.GSParams(maximum_fft_size=16384),
    )


def _drawn(star: galsim.GSObject, sources: dict, k: int) -> np.ndarray:
    """One noiseless stamp by galsim's own drawing, which is a Fourier transform a star."""
    image = np.zeros((SIZE, SIZE))
    for number in ("1", "2")[: 1 + int(sources["is_binary"][k])]:
        image += sources[f"flux{number}"][k] * _at(star, sources[f"x{number}"][k], sources[f"y{number}"][k])
    return image


def _at(star: galsim.GSObject, x: float, y: float) -> np.ndarray:
    return star.drawImage(
        nx=SIZE, ny=SIZE, scale=OPTICS_HERE.pixel_scale, method="no_pixel", offset=(x - CENTRE, y - CENTRE)
    ).array


def _difference(renderer: Renderer, star: galsim.GSObject) -> float:
    """Largest difference of 40 stars to galsim's own drawing, in units of the peak."""
    largest = 0.0
    for x, y in np.random.default_rng(1).uniform(CENTRE - 1.5, CENTRE + 1.5, (40, 2)):
        drawn = _at(star, x, y)
        largest = max(largest, np.abs(renderer.render(x, y, 1.0)[0] - drawn).max() / drawn.max())
    return float(largest)


if __name__ == "__main__":
    json.dump(rows(), sys.stdout, indent=2)
