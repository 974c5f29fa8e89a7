"""Scores of LRS spectra at rest: calibrated, fitted with one and two stars, classified, and flagged."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dioscuri.evaluation.lrs_models import load_folder
from dioscuri.flags import LrsQuality
from dioscuri.learn.spectra.dense import DenseNet, load_dense, probabilities
from dioscuri.spectra.compressed import Components
from dioscuri.spectra.lrs_calibration import Calibration, load
from dioscuri.spectra.pair_fit import Fits, PairFitter

# Without a catalogue: what a dwarf of the sample is, and how far it may be from the template's temperature.
PRIOR_LOGG, PRIOR_FEH = 4.58, -0.15
PRIOR_SIGMA = (350.0, 0.12, 0.35)
CATALOGUE_SIGMA = (150.0, 0.12, 0.15)  # DR10's errors by repeats, widened
ROUNDS = 3  # of calibration and fit: the correction depends on labels, the labels on the correction
LOGG_MIN, FEH_MIN = 4.0, -1.0
FIT_MARGIN = 0.15  # dex by which a fit must lie within: its own error at S/N_g 20
DCHI2_OF_Q = 9.0


@dataclass(frozen=True)
class Scorer:
    """All that turns spectra into probabilities.

    `nets` of one or more seeds; `calibrations` release → what is taken off;
    `teff` (2,) range [K] that was trained; `chi2_max` the 99 % of mocks;
    `evolved` (B, 2) Teff [K] and the log g below which hardly any trained dwarf lies: what does is a giant.
    """

    components: Components
    fitter: PairFitter
    nets: Sequence[DenseNet]
    calibrations: Mapping[str, Calibration]
    teff: tuple[float, float]
    chi2_max: float
    evolved: np.ndarray

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
        n = len(flux)
        release = np.asarray(release, object)
        x = self.components.project(flux, good)
        prior, sigma = self._prior(teff, catalogue)
        labels, fits, corrected = prior.copy(), None, x
        for _ in range(ROUNDS):
            corrected = x - self._correction(release, labels)
            fits = self.fitter.fit(corrected, snrg, prior, sigma)
            labels = fits.single
        assert fits is not None
        chi2 = np.minimum(fits.chi2_single, fits.chi2_pair)
        columns = {
            "teff": fits.teff,
            "logg": fits.logg,
            "feh": fits.feh,
            "p": probabilities(self.nets, corrected) if n and self.nets else np.full(n, np.nan),
            # Of a second star that is not there no mass ratio can be told.
            "q": np.where(fits.dchi2 > DCHI2_OF_Q, fits.q, np.nan),
            "q_err": np.where(fits.dchi2 > DCHI2_OF_Q, fits.q_err, np.nan),
            "dchi2": fits.dchi2,
            "chi2": chi2,
        }
        return columns | {"flags": self._flags(fits, chi2, snrg, release, catalogue)}

    def _prior(self, teff: np.ndarray, catalogue: Mapping[str, np.ndarray] | None) -> tuple[np.ndarray, np.ndarray]:
        n = len(teff)
        prior = np.stack([teff, np.full(n, PRIOR_LOGG), np.full(n, PRIOR_FEH)], axis=1)
        sigma = np.tile(PRIOR_SIGMA, (n, 1))
        if catalogue is not None:
            for column, name in ((0, "teff"), (2, "feh")):  # its log g is too uncertain to be of help for dwarfs
                known = np.isfinite(catalogue[name])
                prior[known, column] = catalogue[name][known]
                sigma[known, column] = CATALOGUE_SIGMA[column]
        return prior, sigma

    def _correction(self, release: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The calibration as components (S, K); nothing for a release that has none."""
        out = np.zeros((len(labels), self.components.vectors.shape[1]), np.float32)
        for name, calibration in self.calibrations.items():
            rows = release == name
            projected = (calibration.coefficients * self.components.weight) @ self.components.vectors
            out[rows] = calibration.terms(labels[rows, 0], labels[rows, 2]) @ projected
        return out

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


def with_misfit(calibration: Calibration, scorer: Scorer, spectra: Mapping[str, np.ndarray]) -> Calibration:
    """The calibration with what its own `spectra` (flux, good, snrg, teff) leave of χ² when it has been applied."""
    own = dataclasses.replace(scorer, calibrations={calibration.release: calibration}, nets=())
    release = [calibration.release] * len(spectra["flux"])
    columns = own(spectra["flux"], spectra["good"], spectra["snrg"], release, spectra["teff"])
    beyond = (columns["chi2"] - len(scorer.components.systematics)) / spectra["snrg"] ** 2
    return dataclasses.replace(calibration, misfit=max(float(np.quantile(beyond, 0.99)), 0.0))


def load_scorer(
    folder: str | Path, calibration: str | Path | None = None, networks: str | Path | None = None
) -> Scorer:
    """All models of a folder as `pack_lrs` makes it, with its calibrations or those of a file of one's own."""
    folder = Path(folder)
    components, fitter, limits = load_folder(folder)
    nets, _ = load_dense(networks or folder / "dense.safetensors")
    own = Path(calibration) if calibration else folder / "calibration.h5"
    calibrations = load(own) if own.is_file() else {}
    low, high = limits["teff"]
    evolved = np.array(limits["evolved"])
    return Scorer(components, fitter, nets, calibrations, (low, high), limits["chi2_max"], evolved)
