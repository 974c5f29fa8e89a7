"""Magnitudes in G, BP, RP and Ks of the stars of a spectral library, zero-pointed at the Sun."""

import os

import numpy as np
import torch

from dioscuri import __version__
from dioscuri.libraries.build import node_labels
from dioscuri.libraries.grid import SpectralLibrary, Window

# Transmission of photon-counting bands, (Å, relative response): the shapes of Gaia EDR3 (Riello et al. 2021) and
# 2MASS Ks (Cohen et al. 2003), rounded. The Sun's zero point takes up what rounding shifts.
PASSBANDS: dict[str, tuple[list[float], list[float]]] = {
    "G": (
        [3300, 3500, 4000, 4500, 5000, 5500, 6000, 6500, 7000, 7500, 8000, 8500, 9000, 9500, 10000, 10500, 10600],
        [0, 0.08, 0.33, 0.55, 0.62, 0.66, 0.69, 0.70, 0.69, 0.66, 0.59, 0.49, 0.36, 0.24, 0.12, 0.03, 0],
    ),
    "BP": (
        [3300, 3500, 3700, 4000, 4200, 4500, 4800, 5100, 5400, 5700, 6000, 6300, 6500, 6600, 6700, 6800],
        [0, 0.12, 0.30, 0.50, 0.55, 0.59, 0.62, 0.64, 0.66, 0.67, 0.67, 0.66, 0.64, 0.58, 0.35, 0],
    ),
    "RP": (
        [6150, 6250, 6350, 6450, 6600, 7000, 7500, 8000, 8500, 9000, 9500, 10000, 10300, 10600],
        [0, 0.10, 0.45, 0.60, 0.66, 0.70, 0.74, 0.755, 0.75, 0.70, 0.55, 0.32, 0.17, 0],
    ),
    "Ks": (
        [19500, 20000, 20300, 20800, 21300, 21800, 22300, 22800, 23100, 23300, 23600],
        [0, 0.5, 0.8, 0.95, 0.97, 1.0, 0.98, 0.9, 0.7, 0.3, 0],
    ),
}
# Absolute Vega magnitudes of the Sun: Willmer (2018) for G and Ks, the colours of Casagrande & VandenBerg (2018).
SUN = {"G": 4.67, "BP": 4.99, "RP": 4.18, "Ks": 3.27}
SOLAR_LABELS = (5772.0, 4.438, 0.0, 0.0)
# A / E(B−V) of a star of 5000 K: Casagrande & VandenBerg (2018), their table 2; Ks by Yuan et al. (2013).
EXTINCTION = {"G": 2.58, "BP": 3.23, "RP": 2.01, "Ks": 0.31}


def alpha_of(feh: np.ndarray) -> np.ndarray:
    """[α/Fe] of the Galactic discs at [Fe/H]: 0 for the Sun's metals, rising by 0.25 per dex to 0.3."""
    return np.clip(-0.25 * np.asarray(feh, float), 0.0, 0.3)


class Photometry:
    """Absolute magnitudes over a library's labels; the file is a SpectralLibrary of one pixel per band."""

    def __init__(self, bands: SpectralLibrary) -> None:
        self._bands = bands
        sun = self._magnitudes(np.array([SOLAR_LABELS]))[0]
        self._zero = np.array([SUN[name] for name in PASSBANDS]) - sun

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Photometry":
        """Open what `make_photometry` wrote."""
        return cls(SpectralLibrary.load(path))

    @property
    def limits(self) -> dict[str, tuple[float, float]]:
        """Lowest and highest label."""
        return self._bands.limits

    def absolute(
        self,
        teff: np.ndarray,
        logg: np.ndarray,
        feh: np.ndarray,
        radius: np.ndarray,
        afe: np.ndarray | None = None,
    ) -> dict[str, np.ndarray]:
        """Absolute magnitudes [mag, Vega] of stars (S,) in G, BP, RP and Ks; NaN outside the library.

        `teff` [K], `logg` [cgs], `feh` [dex], `radius` [R☉]; `afe` [dex], by default `alpha_of(feh)`.
        """
        feh = np.asarray(feh, float)
        afe = alpha_of(feh) if afe is None else afe
        columns = np.broadcast_arrays(*(np.asarray(x, float) for x in (teff, logg, feh, afe, radius)))
        labels = np.stack(columns[:4], axis=-1).reshape(-1, 4)
        covered = self._bands.covered(labels)
        magnitudes = np.full((len(labels), len(PASSBANDS)), np.nan)
        if covered.any():
            magnitudes[covered] = self._magnitudes(labels[covered]) + self._zero
        magnitudes -= 5.0 * np.log10(columns[4].reshape(-1, 1))
        return {name: magnitudes[:, k].reshape(columns[0].shape) for k, name in enumerate(PASSBANDS)}

    def _magnitudes(self, labels: np.ndarray) -> np.ndarray:
        """−2.5 log10 of the mean flux per unit surface, (S, 4)."""
        return -2.5 * np.log10(self._bands.flux("bands", labels).numpy().astype(float))


def make_photometry(path: str | os.PathLike, library: str | os.PathLike, window: str = "full") -> None:
    """Integrate the bands over the spectra of `library` and write a table for `Photometry` to `path` (HDF5).

    `window` spans 3700–9000 Å. Outside it the continuum of the embedded atmospheres of the same labels serves, in the
    blue and to 1.06 µm tied to the window's ends, in Ks as it is: 15 ms per node.
    """
    source = SpectralLibrary.load(library)
    labels = node_labels(source.axes)
    flux = np.ones((len(labels), len(PASSBANDS)), np.float32)
    for node in np.flatnonzero(source.present):
        spectrum = np.exp(source.windows[window].log_flux[node].numpy().astype(float))
        flux[node] = list(band_fluxes(source.grid(window), spectrum, labels[node]).values())
    table = torch.from_numpy(np.log(flux))
    wave = np.array([np.average(points, weights=response) for points, response in PASSBANDS.values()])
    provenance = {"version": __version__, "library": dict(source.provenance), "bands": list(PASSBANDS)}
    bands = Window(wave, table, table[:, [0, -1]])
    SpectralLibrary(source.axes, 1.0, {"bands": bands}, source.present, provenance).save(path)


def band_fluxes(wave: np.ndarray, flux: np.ndarray, label: np.ndarray) -> dict[str, float]:
    """Photon-weighted mean F_λ [erg/s/cm²/Å] in every band of one star.

    `wave` (L,) [vacuum Å] from about 3700 to 9000, `flux` (L,) at the surface, `label` (4,) teff, logg, feh, afe.
    """
    from dioscuri.synthesis.atmosphere import model_atmosphere
    from dioscuri.synthesis.synthesizer import continuum_flux

    teff, logg, feh, afe = map(float, label)
    atmosphere = model_atmosphere(teff, logg, feh, afe, molecules=True)
    blue = np.arange(3300.0, wave[0] - 20.0, 50.0)
    red = np.arange(wave[-1] + 50.0, 10650.0, 100.0)
    infrared = np.arange(19500.0, 23600.1, 100.0)
    ends = np.array([3800.0, 8950.0])
    level = continuum_flux(atmosphere, np.concatenate([blue, red, infrared, ends]))
    near = [np.mean(flux[np.abs(wave - end) < 75.0]) for end in ends]
    tie_blue, tie_red = near[0] / level[-2], near[1] / level[-1]
    n, m = len(blue), len(blue) + len(red)
    x = np.concatenate([blue, wave, red, infrared])
    y = np.concatenate([level[:n] * tie_blue, flux, level[n:m] * tie_red, level[m:-2]])
    means = {}
    for name, (points, response) in PASSBANDS.items():
        weight = np.interp(x, points, response, 0.0, 0.0) * x
        means[name] = float(np.trapezoid(y * weight, x) / np.trapezoid(weight, x))
    return means
