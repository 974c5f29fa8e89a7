"""Scores of LRS spectra at rest: calibrated, fitted with one and two stars, classified, and flagged."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dioscuri.catalogs.lrs_table import match, read_catalogue
from dioscuri.evaluation.lrs_models import load_folder, load_networks
from dioscuri.flags import LrsQuality
from dioscuri.io import atomic
from dioscuri.learn.spectra.dense import probabilities
from dioscuri.learn.spectra.residual import ResidualNet
from dioscuri.shards import read_exposures, read_spectra
from dioscuri.spectra.compressed import Components
from dioscuri.spectra.lrs_calibration import Calibration, corrected_pixels, fit_calibrated, load
from dioscuri.spectra.pair_fit import Fits, PairFitter, dwarf_prior

CATALOGUE_SIGMA = (150.0, 0.12, 0.15)  # DR10's errors by repeats, widened
LOGG_MIN, FEH_MIN = 4.0, -1.0
RV_TOLERANCE = 25.0  # km/s between our velocity and the catalogue's
FIT_MARGIN = 0.15  # dex by which a fit must lie within: its own error at S/N_g 20
DCHI2_OF_Q = 9.0


@dataclass(frozen=True)
class Scorer:
    """All that turns spectra into probabilities.

    `nets` of one or more seeds; `calibrations` release → what is taken off;
    `teff` (2,) range [K] that was trained; `chi2_max` the 99 % of mocks;
    `evolved` (B, 2) Teff [K] and the log g below which hardly any trained dwarf lies: what does is a giant;
    `real` networks were trained on real spectra as they are, so they see them without calibration.
    """

    components: Components
    fitter: PairFitter
    nets: Sequence[Any]
    calibrations: Mapping[str, Calibration]
    teff: tuple[float, float]
    chi2_max: float
    evolved: np.ndarray
    real: bool = False

    def __call__(
        self,
        flux: np.ndarray,
        good: np.ndarray,
        snrg: np.ndarray,
        release: Sequence[str],
        teff: np.ndarray,
        catalogue: Mapping[str, np.ndarray] | None = None,
    ) -> dict[str, np.ndarray]:
        """Columns (S,) of spectra `flux` (S, L), `good` (S, L) bool, of S/N_g `snrg`.

        `teff` [K] of the velocity template, from which fits begin; `catalogue` teff, logg, feh (S,), NaN where unknown.
        Returns teff, logg, feh, p, q, q_err, dchi2, chi2, flags.
        """
        release = np.asarray(release, object)
        x = self.components.project(flux, good)
        prior, sigma = self._prior(teff, catalogue)
        own = (self.components, self.fitter, self.calibrations)
        fits, corrected = fit_calibrated(*own, x, snrg, release, prior, sigma)
        chi2 = np.minimum(fits.chi2_single, fits.chi2_pair)
        taken_off = {} if self.real else self.calibrations
        pixels = partial(corrected_pixels, flux, good, taken_off, release, fits.single)
        columns = {
            "teff": fits.teff,
            "logg": fits.logg,
            "feh": fits.feh,
            "p": self.probability(x if self.real else corrected, pixels),
            # Of a second star that is not there no mass ratio can be told.
            "q": np.where(fits.dchi2 > DCHI2_OF_Q, fits.q, np.nan),
            "q_err": np.where(fits.dchi2 > DCHI2_OF_Q, fits.q_err, np.nan),
            "dchi2": fits.dchi2,
            "chi2": chi2,
        }
        return columns | {"flags": self._flags(fits, chi2, snrg, release, catalogue)}

    def probability(self, x: np.ndarray, pixels: Callable[[], np.ndarray]) -> np.ndarray:
        """Mean over the networks (S,) of spectra by their components (S, K), or by their pixels (S, L)."""
        if not (len(x) and self.nets):
            return np.full(len(x), np.nan)
        on_pixels = [net for net in self.nets if isinstance(net, ResidualNet)]
        each = [probabilities([net], x) for net in self.nets if not isinstance(net, ResidualNet)]
        if on_pixels:
            seen = pixels() * (self.components.weight > 0)
            each += [probabilities([net], seen) for net in on_pixels]
        return np.mean(each, axis=0)

    def _prior(self, teff: np.ndarray, catalogue: Mapping[str, np.ndarray] | None) -> tuple[np.ndarray, np.ndarray]:
        prior, sigma = dwarf_prior(teff)
        if catalogue is not None:
            for column, name in ((0, "teff"), (2, "feh")):  # its log g is too uncertain to be of help for dwarfs
                known = np.isfinite(catalogue[name])
                prior[known, column] = catalogue[name][known]
                sigma[known, column] = CATALOGUE_SIGMA[column]
        return prior, sigma

    def _flags(self, fits: Fits, chi2, snrg, release, catalogue) -> np.ndarray:
        low, high = self.fitter.low, self.fitter.high
        teff, logg, feh = fits.single.T
        outside = (teff < self.teff[0]) | (teff > self.teff[1]) | (feh < FEH_MIN + FIT_MARGIN)
        outside |= (logg < max(LOGG_MIN, low[1] + 0.01)) | (teff < low[0] + 5) | (teff > high[0] - 5)
        if catalogue is not None:
            with np.errstate(invalid="ignore"):
                outside |= (catalogue["teff"] < self.teff[0]) | (catalogue["teff"] > self.teff[1])
                outside |= (catalogue["logg"] < LOGG_MIN) | (catalogue["feh"] < FEH_MIN)
        outside |= logg < np.interp(teff, self.evolved[:, 0], self.evolved[:, 1])
        flags = np.where(outside, int(LrsQuality.OUT_OF_RANGE), 0)
        limit = np.full(len(chi2), self.chi2_max)
        for name, calibration in self.calibrations.items():
            limit += np.where(release == name, calibration.misfit * snrg**2, 0.0)
        flags |= np.where(chi2 > limit, int(LrsQuality.UNLIKE_ANY_MODEL), 0)
        calibrated = np.isin(release, list(self.calibrations))
        flags |= np.where(calibrated, 0, int(LrsQuality.UNCALIBRATED))
        for name, calibration in self.calibrations.items():
            beyond = (release == name) & ~calibration.within(teff, feh)
            flags |= np.where(beyond, int(LrsQuality.CALIBRATION_RANGE), 0)
        return flags


def load_scorer(
    folder: str | Path, calibration: str | Path | None = None, networks: str | Path | Sequence[str] = ()
) -> Scorer:
    """All models of a folder as `pack_lrs` makes it, with its calibrations or those of a file of one's own.

    `networks`: files of trained networks in place of the folder's.
    """
    folder = Path(folder)
    components, fitter, limits = load_folder(folder)
    files = [networks] if isinstance(networks, str | Path) else list(networks)
    loaded = [load_networks(file) for file in files or [folder / "dense.safetensors"]]
    nets = [net for found, _ in loaded for net in found]
    real = any(one.get("observed", False) for _, header in loaded for one in header["models"])
    own = Path(calibration) if calibration else folder / "calibration.h5"
    calibrations = load(own) if own.is_file() else {}
    low, high = limits["teff"]
    evolved = np.array(limits["evolved"])
    return Scorer(components, fitter, nets, calibrations, (low, high), limits["chi2_max"], evolved, real)


def score_shard(
    shard: str | Path, out: str | Path, scorer: Scorer, catalogue: str | Path | None, columns: Mapping[str, str]
) -> None:
    """Score one shard of spectra and write its rows (Parquet): facts of the files, of the catalogue, and scores."""
    facts = read_exposures(shard)
    flux, sigma = read_spectra(shard, "full")
    known = None
    flags = facts.pop("flags").astype(np.int64)
    if catalogue is not None:
        known = match(read_catalogue(catalogue, columns), facts["obsid"], list(facts["file"]))
        with np.errstate(invalid="ignore"):
            disagrees = np.abs(known["rv"].to_numpy(float) - facts["rv"]) > RV_TOLERANCE
        flags |= np.where(disagrees, int(LrsQuality.VELOCITY_DISAGREES), 0)
        flags |= _impossible(known)
    labels = None if known is None else {n: known[n].to_numpy(float) for n in ("teff", "logg", "feh")}
    good = np.isfinite(sigma.astype(np.float32))
    release = [str(name) for name in facts["release"]]
    scores = scorer(flux.astype(np.float32), good, facts["snrg"], release, facts.pop("template_teff"), labels)
    table = pd.DataFrame(facts | scores)
    table["flags"] = scores["flags"] | flags
    if known is not None:
        for name in ("source_id", "g", "ks", "bp", "rp", "parallax", "parallax_error", "ebv", "distance", "ruwe"):
            table[name] = known[name].to_numpy() if name in known else np.nan
        table["source_id"] = table["source_id"].fillna(0).astype(np.int64)
        for name in ("teff", "logg", "feh"):
            table[f"{name}_catalogue"] = known[name].to_numpy(float)
    with atomic(out) as temporary:
        table.to_parquet(temporary, index=False)


def _impossible(known: pd.DataFrame) -> np.ndarray:
    """Flag (S,) of distances at which a dwarf of M_G > 4 would be fainter than its own apparent magnitude says."""
    with np.errstate(invalid="ignore", divide="ignore"):
        absolute = known["g"] - 5 * np.log10(known["distance"] / 10.0) - 2.5 * known["ebv"].fillna(0.0)
    return np.where(absolute.to_numpy(float) < 4.0 - 1.0, int(LrsQuality.DISTANCE), 0)
