"""The LAMOST medium-resolution spectrograph, simulated: pixels, throughput, noise, cosmic rays, co-adds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dioscuri.arms import C_KMS
from dioscuri.lamost.exposures import COADD, Exposure
from dioscuri.lamost.mrs_writer import LETTERS

N_PIXELS = 4136  # of a single exposure
COADD_STEP = 1e-5  # log10 λ
ALONG = np.linspace(-1, 1, N_PIXELS)  # x, along the detector


@dataclass(frozen=True)
class Detector:
    """One arm of the spectrograph, as measured on files of DR7 and DR9.

    `wave` polynomial in x ∈ [−1, 1] along the detector [Å]; `blaze` (height, curvature, centre) of the
    throughput; `gain` photons per count; `sky` variance of sky and read-out [counts²]; `snr` relative to the
    blue arm; `rays` cosmic rays per exposure; `defect` pixels that are always masked.
    """

    wave: tuple[float, ...]
    blaze: tuple[float, float, float]
    gain: float
    sky: float
    snr: float
    rays: float
    defect: tuple[int, int] = (0, 0)

    def pixels(self, helio_rv: float) -> np.ndarray:
        """Vacuum wavelengths of the pixels (4136,) [Å] after a heliocentric correction [km/s]."""
        return np.polyval(self.wave, ALONG) * (1 + helio_rv / C_KMS)

    def throughput(self) -> np.ndarray:
        """The blaze on the pixels, (4136,)."""
        height, curvature, centre = self.blaze
        return height - curvature * (ALONG - centre) ** 2


DETECTORS = {
    "blue": Detector((-3.618, -11.531, 249.187, 5155.618), (1.40, 1.05, -0.08), 0.60, 900.0, 1.0, 2.0, (1608, 1612)),
    "red": Detector((-4.206, -15.963, 290.295, 6572.262), (1.17, 0.55, -0.05), 0.75, 900.0, 1.6, 4.0),
}


def observe(
    model: np.ndarray, detector: Detector, snr: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """One exposure of `model` (P,), whose median is 1: flux, ivar, mask, and flux without cosmic rays, each
    (P,).

    Photon, sky and read-out noise give a median S/N of `snr` (0: sky alone); the detector's defect is masked.
    """
    photons = snr**2 / detector.gain
    level = 0.5 * (photons + math.sqrt(photons**2 + 4 * snr**2 * detector.sky))
    clean = level * model
    # Most cosmic rays hit one to four pixels; grazing ones leave tracks of up to fifteen.
    rays = np.zeros_like(clean)
    for _ in range(rng.poisson(detector.rays)):
        start, width = rng.integers(0, len(clean)), 1 + min(int(rng.exponential(2)), 14)
        hit = rays[start : start + width]
        hit += rng.lognormal(0.5, 1.0, len(hit)) * max(level, 10 * math.sqrt(detector.sky))
    variance = (clean + rays) / detector.gain + detector.sky
    unhit = clean + rng.normal(size=len(clean)) * np.sqrt(variance)
    mask = np.zeros(len(clean), bool)
    mask[slice(*detector.defect)] = True
    flux = unhit + rays
    flux[mask] *= rng.uniform(0, 3, mask.sum())
    return flux, 1 / variance, mask, unhit


def coadd(exposures: Sequence[Exposure], cleaned: Sequence[np.ndarray]) -> Exposure:
    """The co-add as the pipeline makes it: inverse-variance mean of `cleaned` fluxes, on a log λ grid."""
    first = exposures[0]
    low, high = np.log10(first.wave[[0, -1]])
    # Two pixels beyond either end have no data: the IVAR 0 of genuine co-adds.
    steps = np.arange(math.ceil(low / COADD_STEP) - 2, math.floor(high / COADD_STEP) + 3)
    wave = 10.0 ** (COADD_STEP * steps)
    weights = np.stack([np.interp(wave, e.wave, e.ivar, left=0, right=0) for e in exposures])
    values = np.stack([np.interp(wave, e.wave, flux) for e, flux in zip(exposures, cleaned, strict=True)])
    ivar = weights.sum(axis=0)
    flux = np.divide((weights * values).sum(axis=0), ivar, out=np.zeros_like(ivar), where=ivar > 0)
    good = ivar > 0
    return Exposure(
        name=f"COADD_{LETTERS[first.arm]}",
        arm=first.arm,
        lmjm=COADD,
        mjd_mid=float(np.mean([e.mjd_mid for e in exposures])),
        exptime=sum(e.exptime for e in exposures),
        snr=max(0.0, float(np.median(flux[good] * np.sqrt(ivar[good])))),
        wave=wave,
        flux=flux,
        ivar=ivar,
        mask=np.zeros(len(wave), bool),
    )
