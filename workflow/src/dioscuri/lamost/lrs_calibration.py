"""Measures what real stars of a data release differ by from the library."""

import dataclasses
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from dioscuri.lamost.lrs_reduction import reduce_files
from dioscuri.libraries.grid import SpectralLibrary
from dioscuri.mocks.lrs_light import LightMaker
from dioscuri.spectra import lrs_frame
from dioscuri.spectra.compressed import Components
from dioscuri.spectra.lrs_calibration import Calibration, fit_calibrated, terms_of
from dioscuri.spectra.pair_fit import PairFitter, dwarf_prior
from dioscuri.spectra.velocity import VelocityMeter

log = logging.getLogger(__name__)

FEWEST_STARS = 30
ROUNDS = 10
LOGG_MIN, FEH_MIN = 4.05, -1.0  # of the stars that calibrate


def calibrate(
    release: str,
    files: Iterable[Path],
    labels: pd.DataFrame,
    library: SpectralLibrary,
    meter: VelocityMeter,
    components: Components,
    fitter: PairFitter,
    *,
    snrg_min: float = 20.0,
) -> Calibration:
    """The calibration of `release` from those of `files` that `labels` knows (obsid or file, teff, logg, feh).

    `components` and `fitter` of the mocks say what its own stars leave of χ² when it has been applied.
    """
    keys = set(labels["obsid"]) if "obsid" in labels else set()
    names = set(labels["file"]) if "file" in labels else set()
    reduced = reduce_files(sorted(files), meter, snrg_min=snrg_min, width=components.width)
    known = np.array([f.obsid in keys or f.path.name in names for f in reduced.files], bool)
    foreign = {f.release for f in reduced.files} - {release}
    if foreign:
        raise ValueError(
            f"calibration of '{release}': {len(foreign)} other releases among its files: {', '.join(sorted(foreign))}"
        )
    rows = []
    for file in reduced.files:
        row = labels[labels["obsid"] == file.obsid] if file.obsid in keys else labels.iloc[:0]
        if not len(row) and file.path.name in names:
            row = labels[labels["file"] == file.path.name]
        rows.append(row[["teff", "logg", "feh"]].iloc[0].to_numpy(float) if len(row) else np.full(3, np.nan))
    teff, logg, feh = np.array(rows).reshape(-1, 3).T
    used = known & (logg > LOGG_MIN) & (feh > FEH_MIN) & np.isfinite(teff)
    log.info("%s: %d spectra, %d refused, %d calibrate", release, len(known), len(reduced.rejected), used.sum())
    chosen = {"teff": teff[used], "logg": logg[used], "feh": feh[used]}
    one = measure(release, reduced.flux[used], reduced.sigma[used], chosen, library, components.width)
    snrg = np.array([file.snrg for file in reduced.files])[used]
    x = components.project(reduced.flux[used], np.isfinite(reduced.sigma[used]))
    names = np.full(len(x), release, object)
    fits, _ = fit_calibrated(components, fitter, {release: one}, x, snrg, names, *dwarf_prior(reduced.teff[used]))
    beyond = (np.minimum(fits.chi2_single, fits.chi2_pair) - x.shape[1]) / snrg**2
    return dataclasses.replace(one, misfit=max(float(np.quantile(beyond, 0.99)), 0.0))


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
    terms = terms_of(teff, feh, 4 if covered.sum() >= 100 else 3)
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
