"""What real single stars differ by from the library: the mean residual, measured per data release and taken off.

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
from dioscuri.libraries.grid import SpectralLibrary
from dioscuri.mocks.lrs_light import LightMaker
from dioscuri.spectra import lrs_frame

SCHEMA = "dioscuri/lrs_calibration/1"
FEWEST_STARS = 30
TEFF0, TEFF1, FEH0, FEH1 = 5300.0, 300.0, -0.1, 0.3  # zero points and units of the terms
ROUNDS = 10


@dataclass(frozen=True)
class Calibration:
    """Residual real − library of normalised flux, smooth in Teff and [Fe/H].

    `coefficients` and `errors` (T, L) of the terms 1, t, f (and t² from 100 stars on), t = (Teff − 5300)/300, f =
    ([Fe/H] + 0.1)/0.3; `n_stars`; `teff`, `feh` (2,) their range; `release` as written in DATA_V; `width` [Å] of the
    normalisation.
    """

    release: str
    coefficients: np.ndarray
    errors: np.ndarray
    n_stars: int
    teff: tuple[float, float]
    feh: tuple[float, float]
    width: float

    def terms(self, teff: np.ndarray, feh: np.ndarray) -> np.ndarray:
        """The terms (S, T) at labels (S,), which are held at the ends of the range."""
        return _terms(np.clip(teff, *self.teff), np.clip(feh, *self.feh), len(self.coefficients))

    def at(self, teff: np.ndarray, feh: np.ndarray) -> np.ndarray:
        """What to take off normalised spectra of these labels (S,), (S, L)."""
        return self.terms(teff, feh) @ self.coefficients

    def within(self, teff: np.ndarray, feh: np.ndarray) -> np.ndarray:
        """Whether labels (S,) lie within the stars of the calibration, (S,) bool."""
        return (teff >= self.teff[0]) & (teff <= self.teff[1]) & (feh >= self.feh[0]) & (feh <= self.feh[1])


def _terms(teff: np.ndarray, feh: np.ndarray, n_terms: int) -> np.ndarray:
    t, f = (teff - TEFF0) / TEFF1, (feh - FEH0) / FEH1
    return np.stack([np.ones(len(t)), t, f, t**2], axis=1)[:, :n_terms]


def library_spectra(
    library: SpectralLibrary, teff: np.ndarray, logg: np.ndarray, feh: np.ndarray, width: float = lrs_frame.WIDTH
) -> tuple[np.ndarray, np.ndarray]:
    """Normalised flux − 1 (S, L) of single stars of these labels (S,), and which of them the library covers."""
    n, maker = len(teff), LightMaker(library)
    dark = np.zeros(n)
    stars = {"teff1": teff, "logg1": logg, "feh": feh, "afe": np.clip(-0.25 * feh, 0.0, 0.3), "radius1": np.ones(n)}
    stars |= {"radius2": dark, "teff2": teff, "logg2": logg, "vsini1": dark + 5.0, "vsini2": dark}
    covered = maker.usable(stars)
    spectra = np.zeros((n, len(lrs_frame.WAVE)), np.float32)
    if covered.any():
        spectra[covered] = lrs_frame.normalised(maker({k: v[covered] for k, v in stars.items()}), width)
    return spectra, covered


def measure(
    release: str,
    flux: np.ndarray,
    sigma: np.ndarray,
    labels: Mapping[str, np.ndarray],
    library: SpectralLibrary,
    width: float = lrs_frame.WIDTH,
) -> Calibration:
    """The calibration of a release from spectra (S, L) of stars with catalogue `labels` teff, logg, feh (S,).

    At the catalogue's labels, not at the best fit, which would hide what the library lacks behind wrong metals. Stars
    that differ from the rest weigh little (among them the pairs). ValueError with fewer than 30 stars.
    """
    teff, logg, feh = (np.asarray(labels[name], float) for name in ("teff", "logg", "feh"))
    model, covered = library_spectra(library, teff, logg, feh, width)
    if covered.sum() < FEWEST_STARS:
        raise ValueError(
            f"calibration of '{release}': {int(covered.sum())} stars within the library, accepted: {FEWEST_STARS} or "
            "more"
        )
    seen = np.isfinite(sigma[covered])
    residual = np.where(seen, flux[covered] - model[covered], 0.0).astype(float)
    teff, feh = teff[covered], feh[covered]
    terms = _terms(teff, feh, 4 if covered.sum() >= 100 else 3)
    star_weight = np.ones(len(residual))
    for _ in range(ROUNDS):
        weight = seen * star_weight[:, None] ** 2
        normal = np.einsum("st,sl,su->ltu", terms, weight, terms) + 1e-6 * np.eye(terms.shape[1])
        solution = np.linalg.solve(normal, np.einsum("st,sl->lt", terms, weight * residual)[..., None])[..., 0]
        left = np.where(seen, residual - terms @ solution.T, 0.0)
        distance = np.sqrt((np.clip(left, -0.1, 0.1) ** 2).sum(1) / np.maximum(seen.sum(1), 1))
        star_weight = 1.0 / np.sqrt(1.0 + (distance / np.median(distance)) ** 2)
    scatter = (weight * left**2).sum(0) / np.maximum(weight.sum(0), 1e-9)
    inverse = np.linalg.inv(np.einsum("st,sl,su->ltu", terms, weight, terms) + 1e-6 * np.eye(terms.shape[1]))
    errors = np.sqrt(scatter[:, None] * np.einsum("ltt->lt", inverse)).T
    ends = [(float(np.percentile(values, 1)), float(np.percentile(values, 99))) for values in (teff, feh)]
    return Calibration(release, solution.T, errors, int(covered.sum()), ends[0], ends[1], float(width))


def save(path: str | os.PathLike, calibrations: Mapping[str, Calibration], provenance: Mapping[str, Any]) -> None:
    """Write the calibrations of several releases into one HDF5 file: means only, no spectrum of a star."""
    with io.atomic(path) as temporary, h5py.File(temporary, "w") as stream:
        stream.attrs["schema"] = SCHEMA
        stream.attrs["provenance"] = json.dumps(dict(provenance), default=str)
        for number, one in enumerate(calibrations.values()):
            group = stream.create_group(f"{number:02d}")
            for name in ("release", "n_stars", "teff", "feh", "width"):
                group.attrs[name] = getattr(one, name)
            for name in ("coefficients", "errors"):
                group.create_dataset(name, data=getattr(one, name).astype(np.float32), compression="gzip", shuffle=True)


def load(path: str | os.PathLike) -> dict[str, Calibration]:
    """Release → calibration, of a file written by `save`."""
    with io.open_shard(path, SCHEMA) as stream:
        found = {}
        for group in stream.values():
            attributes = group.attrs
            ends = [(float(attributes[name][0]), float(attributes[name][1])) for name in ("teff", "feh")]
            value, error = (group[name][:].astype(float) for name in ("coefficients", "errors"))
            release, n, width = str(attributes["release"]), int(attributes["n_stars"]), float(attributes["width"])
            found[release] = Calibration(release, value, error, n, ends[0], ends[1], width)
    return found
