"""How much the numbers of one exposure speak for two stars: calibrated log-odds of each arm's fit, and of both arms.

Logistic regressions on what the pair fit and the networks say, with coefficients that were fitted to mocks sent through
the product's own path. Log-odds are natural and for equal shares of SB2 and single stars: add ln(prior odds).
"""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from scipy.special import expit

from dioscuri import door
from dioscuri.catalogs.fit_limits import FitLimits
from dioscuri.io import read_json, write_json
from dioscuri.reading import reading

SCHEMA = "dioscuri/evidence/3"
RESOLUTION_KMS = 40.0  # FWHM at R = 7500
LARGEST_LOGIT = 8.0  # networks are not calibrated beyond
# Networks find two in five mocked pairs and call one to two in a hundred foreign single stars (PHOENIX) so: where no
# fit of two stars agrees, they are not worth more than 20 : 1.
LARGEST_ALONE = 3.0
AGREEMENT_KMS = (12.0, 40.0)  # arms of one exposure differ by 4 km/s in velocity, fits of blends by more
ARMS = ("blue", "red")
RIDGE = 1.0  # of the standardised coefficients

Fits = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Logistic:
    """log-odds = `intercept` + Σ `weights` (feature − `mean`) / `scale`, all (F,)."""

    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    intercept: float

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Log-odds (S,) of features (S, F)."""
        return self.intercept + ((features - self.mean) / self.scale) @ self.weights

    @classmethod
    def fitted(cls, features: np.ndarray, y: np.ndarray) -> "Logistic":
        """By Newton's method with a ridge; classes `y` (S,) weigh the same whatever their numbers."""
        y = np.asarray(y, float)
        mean, scale = features.mean(0), np.maximum(features.std(0), 1e-6)
        x = np.c_[(features - mean) / scale, np.ones(len(y))]
        share = np.where(y > 0.5, 0.5 / y.mean(), 0.5 / (1 - y.mean()))
        penalty = np.diag(np.r_[np.full(features.shape[1], RIDGE), 0.0])
        beta = np.zeros(x.shape[1])
        for _ in range(30):
            p = 1 / (1 + np.exp(-np.clip(x @ beta, -30, 30)))
            curvature = (x * (share * p * (1 - p))[:, None]).T @ x + penalty
            step = np.linalg.solve(curvature, x.T @ (share * (y - p)) - penalty @ beta)
            beta += step
            if np.abs(step).max() < 1e-8:
                break
        return cls(mean, scale, beta[:-1], float(beta[-1]))


def pair_features(fits: Fits) -> np.ndarray:
    """(S, F) features of the pair fit of one arm.

    `fits` name → (S,), names as in `spectra.double_lines.DoubleLines`.
    """
    gain = np.log1p(np.nan_to_num(fits["dchi2"]) / 10)
    ratio = np.log(np.clip(np.nan_to_num(fits["light_ratio"]), 0.02, 1))
    fast1, fast2, fast = (np.log(20 + np.nan_to_num(fits[name])) for name in ("vsini1", "vsini2", "vsini"))
    resolved = np.abs(fits["v1"] - fits["v2"]) / np.sqrt(RESOLUTION_KMS**2 + fits["vsini1"] ** 2 + fits["vsini2"] ** 2)
    resolved = np.nan_to_num(resolved)
    misfit = np.log(np.clip(np.nan_to_num(fits["residual"], nan=1.0), 0.5, 20))
    return np.stack(
        [
            gain, ratio, np.minimum(resolved, 2), np.minimum(resolved, 6), fast1, fast2, fast, gain * ratio,
            gain * fast2, gain * np.minimum(resolved, 2), misfit, gain * misfit,
        ],
        axis=1,
    )  # fmt: skip


def arm_features(fits: Fits, logit: np.ndarray) -> np.ndarray:
    """(S, 4): what the pair fit and the network of one arm say, clipped to where they are calibrated.

    Networks are led astray by fast rotators, whose velocity is uncertain: so v sin i (best single star) is there too.
    """
    network = _clipped(logit)
    fast = np.log1p(np.nan_to_num(fits["vsini"]) / 100)
    return np.stack([_clipped(fits["pair_logodds"]), network, fast, network * fast], axis=1)


def agreement_features(blue: Fits, red: Fits) -> np.ndarray:
    """(S, 4): whether the two arms' fits of two stars mean the same two velocities (heliocentric, in either order)."""
    same = np.hypot(blue["v1"] - red["v1"], blue["v2"] - red["v2"])
    crossed = np.hypot(blue["v1"] - red["v2"], blue["v2"] - red["v1"])
    distance = np.fmin(same, crossed)
    gain = np.minimum(*(np.log1p(np.nan_to_num(fits["dchi2"]) / 10) for fits in (blue, red)))
    near, nearer = (np.exp(-0.5 * (np.nan_to_num(distance, nan=1e3) / width) ** 2) for width in AGREEMENT_KMS)
    return np.stack([near, nearer, near * gain, nearer * gain], axis=1)


def _clipped(logit: np.ndarray) -> np.ndarray:
    return np.clip(np.nan_to_num(logit), -LARGEST_LOGIT, LARGEST_LOGIT)


@dataclass(frozen=True)
class Evidence:
    """The regressions: `pair[arm]` on a fit, `single[arm]` on fit and network of one arm, `both` on two arms (or None).

    `penalty`: the Λ of the networks whose logits they take. `limits[arm]`: what the fits are good for.
    """

    pair: Mapping[str, Logistic]
    single: Mapping[str, Logistic]
    both: Logistic | None
    penalty: float
    limits: Mapping[str, FitLimits] = field(default_factory=dict)

    @classmethod
    def of_fits(
        cls, fits: Mapping[str, Fits], y: np.ndarray, penalty: float, truth: Mapping[str, Any] | None = None
    ) -> "Evidence":
        """From mocks: arm → columns of the fits, and classes `y` (S,). It knows `pair_logodds` alone.

        With `truth`, arguments of `FitLimits.measured`, the limits too.
        """
        found = cls(
            {arm: Logistic.fitted(pair_features(columns), y) for arm, columns in fits.items()}, {}, None, penalty
        )
        if truth is None:
            return found
        judged = {arm: {**columns, "pair_logodds": found.pair_logodds(arm, columns)} for arm, columns in fits.items()}
        limits = {arm: FitLimits.measured(columns, y, **truth) for arm, columns in judged.items()}
        return replace(found, limits=limits)

    def joined(self, fits: Mapping[str, Fits], y: np.ndarray, logits: Mapping[str, np.ndarray]) -> "Evidence":
        """The same with what networks say: `fits` with `pair_logodds`, arm → logits (S,) of the networks' p (eq. 8)."""
        features = {arm: arm_features(fits[arm], logits[arm]) for arm in fits}
        single = {arm: Logistic.fitted(values, y) for arm, values in features.items()}
        both = None
        if set(fits) == set(ARMS):
            agreement = agreement_features(*(fits[arm] for arm in ARMS))
            both = Logistic.fitted(np.concatenate([*(features[arm] for arm in ARMS), agreement], axis=1), y)
        return replace(self, single=single, both=both)

    def pair_logodds(self, arm: str, fits: Fits) -> np.ndarray:
        """Log-odds (S,) by the pair fit of one arm alone; NaN where nothing was fitted."""
        found = self.pair[arm](pair_features(fits))
        return np.where(np.isfinite(fits["dchi2"]), found, np.nan)

    def logodds(self, fits: Mapping[str, Fits], logits: Mapping[str, np.ndarray]) -> np.ndarray:
        """Log-odds (S,) by everything that is known of an exposure; NaN where no arm is.

        `fits` arm → columns with `pair_logodds` among them, `logits` arm → logit of the networks' p (eq. 8).
        """
        known = {arm: np.isfinite(fits[arm]["pair_logodds"]) & np.isfinite(logits[arm]) for arm in fits}
        features = {arm: arm_features(fits[arm], logits[arm]) for arm in fits}
        found = np.full(len(next(iter(known.values()))), np.nan)
        for arm in sorted(fits, reverse=True):  # where only one arm is known, and no joint regression: the blue one
            found[known[arm]] = self.single[arm](features[arm][known[arm]])
        if self.both is not None and set(fits) == set(ARMS):
            rows = known["blue"] & known["red"]
            agreement = agreement_features(*(fits[arm] for arm in ARMS))
            together = np.concatenate([*(features[arm] for arm in ARMS), agreement], axis=1)
            found[rows] = self.both(together[rows])
        agreed = np.any([np.nan_to_num(columns["pair_logodds"], nan=-1.0) > 0 for columns in fits.values()], axis=0)
        return np.where(agreed, found, np.minimum(found, LARGEST_ALONE))

    def save(self, path: str | os.PathLike, provenance: Any = None) -> None:
        """Write a JSON file."""
        content = {
            "schema": SCHEMA,
            "pair": {arm: _plain(model) for arm, model in self.pair.items()},
            "single": {arm: _plain(model) for arm, model in self.single.items()},
            "both": None if self.both is None else _plain(self.both),
            "penalty": self.penalty,
            "limits": {arm: asdict(limits) for arm, limits in self.limits.items()},
            "provenance": provenance,
        }
        write_json(path, content, sealed=True)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Evidence":
        """Read what `save` wrote; ValueError says what is wrong with a file."""
        what = "an evidence file, which `make release` and the workflow write"
        content = read_json(path, what)
        if content.get("schema") != SCHEMA:
            raise ValueError(f"{path}: expected schema '{SCHEMA}'; make it again with `make release`")
        with reading(path, what):
            both = content["both"]
            return cls(
                {arm: _logistic(model) for arm, model in content["pair"].items()},
                {arm: _logistic(model) for arm, model in content["single"].items()},
                None if both is None else _logistic(both),
                door.positive(float(content["penalty"]), "penalty"),
                {arm: FitLimits.read(limits) for arm, limits in content["limits"].items()},
            )

    def logits(self, p: np.ndarray, penalty: float) -> np.ndarray:
        """Logits at the regressions' own Λ of probabilities at `penalty`."""
        return logit(p) - np.log(self.penalty / penalty)


def logit(p: np.ndarray) -> np.ndarray:
    """ln p / (1 − p); NaN stays."""
    p = np.clip(np.asarray(p, float), 1e-6, 1 - 1e-6)
    return np.log(p / (1 - p))


def probability(logodds: np.ndarray) -> np.ndarray:
    """1 / (1 + e^−x)."""
    return expit(np.asarray(logodds, float))


def _plain(model: Logistic) -> dict[str, Any]:
    arrays = {name: getattr(model, name).tolist() for name in ("mean", "scale", "weights")}
    return {**arrays, "intercept": model.intercept}


def _logistic(content: Mapping[str, Any]) -> Logistic:
    mean, scale, weights = (np.array(content[name]) for name in ("mean", "scale", "weights"))
    numbers = np.stack([mean, scale, weights])
    if not (np.isfinite(numbers).all() and (scale > 0).all() and np.isfinite(content["intercept"])):
        raise ValueError("its coefficients are not finite, or a scale is not positive")
    return Logistic(mean, scale, weights, float(content["intercept"]))
