"""What real single stars differ by from the library, per data release: kept, read and evaluated.

The signal of a second star is half a percent of the flux and the library is wrong by one to five: without this step
most real stars are 'binaries'. The mean star is declared single by it, so the share of binaries found after it proves
nothing; composites of real stars, repeats and mass ratios do.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from dioscuri import io
from dioscuri.reading import reading
from dioscuri.spectra.compressed import Components
from dioscuri.spectra.pair_fit import Fits, PairFitter

SCHEMA = "dioscuri/lrs_calibration/1"
ROUNDS = 3
TEFF0, TEFF1, FEH0, FEH1 = 5300.0, 300.0, -0.1, 0.3  # zero points and units of the terms


@dataclass(frozen=True)
class Calibration:
    """Residual real − library of normalised flux, smooth in Teff and [Fe/H].

    `coefficients` and `errors` (T, L) of the terms 1, t, f (and t² from 100 stars on), t = (Teff − 5300)/300, f =
    ([Fe/H] + 0.1)/0.3; `n_stars`; `teff`, `feh` (2,) their range; `release` as written in DATA_V; `width` [Å] of the
    normalisation; `misfit` what 99 % of its stars have at most of χ² beyond noise, per S/N_g².
    """

    release: str
    coefficients: np.ndarray
    errors: np.ndarray
    n_stars: int
    teff: tuple[float, float]
    feh: tuple[float, float]
    width: float
    misfit: float = 0.0

    def terms(self, teff: np.ndarray, feh: np.ndarray) -> np.ndarray:
        """The terms (S, T) at labels (S,), which are held at the ends of the range."""
        return terms_of(np.clip(teff, *self.teff), np.clip(feh, *self.feh), len(self.coefficients))

    def at(self, teff: np.ndarray, feh: np.ndarray) -> np.ndarray:
        """What to take off normalised spectra of these labels (S,), (S, L)."""
        return self.terms(teff, feh) @ self.coefficients

    def within(self, teff: np.ndarray, feh: np.ndarray) -> np.ndarray:
        """Whether labels (S,) lie within the stars of the calibration, (S,) bool."""
        return (teff >= self.teff[0]) & (teff <= self.teff[1]) & (feh >= self.feh[0]) & (feh <= self.feh[1])


def terms_of(teff: np.ndarray, feh: np.ndarray, n_terms: int) -> np.ndarray:
    """The terms 1, t, f, t² (S, ≤ 4) of labels (S,)."""
    t, f = (teff - TEFF0) / TEFF1, (feh - FEH0) / FEH1
    return np.stack([np.ones(len(t)), t, f, t**2], axis=1)[:, :n_terms]


def save(path: str | os.PathLike, calibrations: Mapping[str, Calibration], provenance: Mapping[str, Any]) -> None:
    """Write the calibrations of several releases into one HDF5 file: means only, no spectrum of a star."""
    with io.atomic(path) as temporary, h5py.File(temporary, "w") as stream:
        stream.attrs["schema"] = SCHEMA
        stream.attrs["provenance"] = json.dumps(dict(provenance), default=str)
        for number, one in enumerate(calibrations.values()):
            group = stream.create_group(f"{number:02d}")
            for name in ("release", "n_stars", "teff", "feh", "width", "misfit"):
                group.attrs[name] = getattr(one, name)
            for name in ("coefficients", "errors"):
                group.create_dataset(name, data=getattr(one, name).astype(np.float32), compression="gzip", shuffle=True)


def load(path: str | os.PathLike) -> dict[str, Calibration]:
    """Release → calibration, of a file written by `save`."""
    with (
        reading(path, "calibrations that the workflow makes (lamost_lrs.calibration)"),
        io.open_shard(path, SCHEMA) as stream,
    ):
        found = {}
        for group in stream.values():
            attributes = group.attrs
            ends = [(float(attributes[name][0]), float(attributes[name][1])) for name in ("teff", "feh")]
            value, error = (group[name][:].astype(float) for name in ("coefficients", "errors"))
            release, n, width = str(attributes["release"]), int(attributes["n_stars"]), float(attributes["width"])
            found[release] = Calibration(release, value, error, n, ends[0], ends[1], width, float(attributes["misfit"]))
    return found


def correction(
    components: Components, calibrations: Mapping[str, Calibration], release: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """The calibrations as components (S, K) at `labels` (S, 3), Teff first and [Fe/H] last; 0 for other releases."""
    out = np.zeros((len(labels), components.vectors.shape[1]), np.float32)
    for name, one in calibrations.items():
        rows = release == name
        projected = (one.coefficients * components.weight) @ components.vectors
        out[rows] = one.terms(labels[rows, 0], labels[rows, 2]) @ projected
    return out


def corrected_pixels(
    flux: np.ndarray, good: np.ndarray, calibrations: Mapping[str, Calibration], release: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """Normalised spectra (S, L) less the calibration of their release at `labels` (S, 3), 0 where not `good`."""
    out = np.where(good, flux, 0.0).astype(np.float32)
    for name, one in calibrations.items():
        rows = release == name
        out[rows] -= one.at(labels[rows, 0], labels[rows, 2]).astype(np.float32)
    return np.where(good, out, 0.0)


def fit_calibrated(
    components: Components,
    fitter: PairFitter,
    calibrations: Mapping[str, Calibration],
    x: np.ndarray,
    snrg: np.ndarray,
    release: np.ndarray,
    prior: np.ndarray,
    sigma: np.ndarray,
) -> tuple[Fits, np.ndarray]:
    """Fits of components `x` (S, K) after their release's calibration, and the corrected components.

    The correction depends on labels and the labels on the correction: three rounds. `prior`, `sigma` (S, 3) as in
    `PairFitter.fit`.
    """
    labels = prior
    for _ in range(ROUNDS):
        corrected = x - correction(components, calibrations, release, labels)
        fits = fitter.fit(corrected, snrg, prior, sigma)
        labels = fits.single
    return fits, corrected
