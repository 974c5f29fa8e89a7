"""How far a library is from real LRS spectra: residuals per stretch and Teff, at known or fitted labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from dioscuri.lamost.fits_units import RefusedFile
from dioscuri.lamost.lrs_files import read_lrs
from dioscuri.lamost.lrs_reduction import cleaned, to_frame
from dioscuri.libraries.grid import SpectralLibrary
from dioscuri.mocks.lrs_light import LightMaker
from dioscuri.spectra import lrs_frame

WIDE = 350.0  # Å: the normalisation in which labels are fitted, which leaves TiO and MgH their shape
STRETCH = 250.0  # Å
GRID = {"teff": 50.0, "logg": 0.25, "feh": 0.25}  # steps of the labels that are tried


@dataclass(frozen=True)
class Observed:
    """Real spectra (S, L) on `lrs_frame.WAVE` at the velocities of their headers: flux − 1 at two widths, and 1σ."""

    names: list[str]
    subclass: list[str]
    flux: np.ndarray  # over the flux smoothed at lrs_frame.WIDTH
    sigma: np.ndarray  # infinite where there is none
    wide: np.ndarray  # over the flux smoothed at WIDE


def observe(paths: Sequence[Path], snr_min: float = 20.0) -> Observed:
    """Read stars; those that are refused, or below `snr_min` at 5000-5300 Å, are left out (old files state no S/N)."""
    files, native, rv = [], [], []
    for path in paths:
        try:
            file = read_lrs(path)
            near = (file.wave > 5000) & (file.wave < 5300) & (file.ivar > 0)
            snr = float(np.median(file.flux[near] * np.sqrt(file.ivar[near]))) if near.any() else 0.0
            native.append(cleaned(replace(file, snrg=snr), snr_min))
        except RefusedFile:
            continue
        files.append(file)
        rv.append(file.z if abs(file.z) < 500 else 0.0)
    flux, sigma = to_frame(native, np.array(rv))
    wide, _ = to_frame(native, np.array(rv), WIDE)
    return Observed([file.path.name for file in files], [file.subclass for file in files], flux, sigma, wide)


def library_light(
    library: SpectralLibrary, labels: Mapping[str, np.ndarray], resolution: float, width: float = lrs_frame.WIDTH
) -> np.ndarray:
    """Normalised flux − 1 (S, L) of single stars of `labels` teff, logg, feh (S,); NaN outside the library."""
    maker, n = LightMaker(library), len(labels["teff"])
    zero = np.zeros(n)
    stars = {f"{name}{k}": np.asarray(labels[name], float) for name in ("teff", "logg") for k in (1, 2)}
    stars |= {"feh": np.asarray(labels["feh"], float), "afe": np.clip(-0.25 * np.asarray(labels["feh"]), 0.0, 0.3)}
    stars |= {"radius1": zero + 1, "radius2": zero, "vsini1": zero + 5, "vsini2": zero}
    usable = maker.usable(stars)
    light = np.full((n, len(lrs_frame.WAVE)), np.nan, np.float32)
    some = {name: values[usable] for name, values in stars.items()}
    light[usable] = lrs_frame.normalised(maker(some, resolution=resolution), width)
    return light


def fitted_labels(seen: Observed, library: SpectralLibrary, resolution: float) -> dict[str, np.ndarray]:
    """Labels teff, logg, feh (S,) of the library's nearest spectra over 4500-8800 Å, normalised at WIDE."""
    low, high = (np.array(ends) for ends in zip(*library.limits.values()))
    axes = [np.arange(low[k], high[k] + 1e-6, step) for k, step in enumerate(GRID.values())]
    axes[1] = axes[1][axes[1] >= 4.25] if (axes[1] >= 4.25).any() else axes[1]
    mesh = dict(zip(GRID, (values.ravel() for values in np.meshgrid(*axes, indexing="ij"))))
    pixels = np.flatnonzero(lrs_frame.kept(4500.0, 8800.0))[::2]
    models = library_light(library, mesh, resolution, WIDE)[:, pixels]
    weight = np.isfinite(seen.sigma[:, pixels]).astype(np.float32)
    real = np.where(weight > 0, seen.wide[:, pixels], 0.0)
    distance = weight @ (models**2).T - 2 * (weight * real) @ models.T
    best = np.argmin(np.where(np.isfinite(distance), distance, np.inf), axis=1)
    return {name: values[best] for name, values in mesh.items()}


def residual_table(
    residual: np.ndarray, sigma: np.ndarray, teff: np.ndarray, edges: Sequence[float], starts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """rms (T, W) of the median residual in bins of Teff and stretches of wavelength, its noise taken off; stars (T,).

    The noise of a median of n stars is 1.86 MAD/√n per pixel. NaN with fewer than 4 stars or 30 pixels.
    """
    kept = lrs_frame.kept()
    table = np.full((len(edges) - 1, len(starts)), np.nan)
    counts = np.zeros(len(edges) - 1, int)
    values = np.where(np.isfinite(sigma), residual, np.nan)
    for row, (low, high) in enumerate(pairwise(edges)):
        here = (teff >= low) & (teff < high) & np.isfinite(residual).all(1)
        counts[row] = here.sum()
        if counts[row] < 4:
            continue
        pixels = kept & (np.isfinite(values[here]).sum(0) >= 4)
        some = values[here][:, pixels]
        middle = np.nanmedian(some, axis=0)
        noise = 1.86 * np.nanmedian(np.abs(some - middle), axis=0) / np.sqrt(np.isfinite(some).sum(0))
        for column, start in enumerate(starts):
            inside = (lrs_frame.WAVE[pixels] >= start) & (lrs_frame.WAVE[pixels] < start + STRETCH)
            if inside.sum() >= 30:
                table[row, column] = np.sqrt(max(np.mean(middle[inside] ** 2 - noise[inside] ** 2), 0.0))
    return table, counts
