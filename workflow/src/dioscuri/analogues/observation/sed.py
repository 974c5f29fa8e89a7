"""Spectral energy distributions of a toy system's dust, and the bolometric temperature that they have."""

import numpy as np
from astropy import constants, units

from dioscuri.analogues.observation.images import Scene, View, image

WAVELENGTHS_UM = np.geomspace(8.0, 3000.0, 12)
PIXELS, FIELD = 12, 3000.0  # AU: all that a snapshot keeps lies within; discs get closer rays by themselves
DISTANCE = 100.0  # pc, at which flux densities are given
MEAN_FREQUENCY = 1.25e-11  # K/Hz: T_bol of a mean frequency (Myers & Ladd 1993, ApJ 413, L47, eq. 6)
LIGHT_UM = constants.c.to("um/s").value
PIXEL_SR = (FIELD / PIXELS * units.AU / (DISTANCE * units.pc)).decompose().value ** 2


def sed(scene: Scene, view: View) -> np.ndarray:
    """Flux density (L,) [Jy at 100 pc] at `WAVELENGTHS_UM` of the dust, its own absorption included.

    Stars shine on the dust but are not seen themselves, and nothing scatters: below 10 µm this is a lower bound.
    """
    intensity = image(scene, view, (1e-3 * WAVELENGTHS_UM).tolist(), PIXELS, FIELD)
    return np.asarray(intensity.sum(axis=(1, 2)) * PIXEL_SR)


def bolometric_temperature(flux: np.ndarray, wavelength_um: np.ndarray = WAVELENGTHS_UM) -> float:
    """T_bol [K]: of the black body with the same mean frequency; straight lines between points in log ν, log S."""
    frequency = LIGHT_UM / np.asarray(wavelength_um)[::-1]
    fine = np.geomspace(frequency[0], frequency[-1], 400)
    faintest = np.max(flux) * 1e-30
    density = 10 ** np.interp(np.log(fine), np.log(frequency), np.log10(np.maximum(flux[::-1], faintest)))
    return float(MEAN_FREQUENCY * np.trapezoid(fine * density, fine) / np.trapezoid(density, fine))
