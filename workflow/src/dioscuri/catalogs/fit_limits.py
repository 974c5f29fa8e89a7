"""What fits of one and two stars are good for, measured on mocks: true errors of velocities, third stars, misfits."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import least_squares, minimize
from scipy.special import gammaln, stdtrit

BELIEVED = 2.0  # log-odds beyond which a fit of two stars is taken for one: what follows is measured on such fits
THIRD_SHARE, UNLIKE_SHARE = 0.995, 0.99  # of mocked pairs that show no third star; of mocks that are like the templates
SIGMA = 0.02  # of a pixel at S/N 50, where `lines` are told
BINS = 8

Fits = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class ErrorLaw:
    """True errors are √(e^2power (noise² + (lines · 0.02/σ)² + misfit² (r⁴ − 1)) + floor²) km/s.

    e: errors by noise alone, σ of a pixel, r the residual of the fit. Lines of other strengths than the templates'
    move a velocity by e/σ, however little noise there is, and by more where r shows it. A power above one: the less is
    known, the more often a fit takes another line, or noise, for the second star.
    """

    noise: float
    lines: float
    misfit: float
    power: float
    floor: float

    def __call__(self, error: np.ndarray, residual: np.ndarray, sigma: np.ndarray) -> np.ndarray:
        """The true errors (S,) of errors by noise (S,); residual and σ may be unknown (NaN)."""
        lines = np.nan_to_num(self.lines * SIGMA / sigma)
        misfit = np.fmax(residual, 1.0) ** 4 - 1
        variance = self.noise**2 + lines**2 + self.misfit**2 * misfit
        return np.sqrt(error ** (2 * self.power) * variance + self.floor**2)

    @classmethod
    def measured(
        cls, error: np.ndarray, residual: np.ndarray, sigma: np.ndarray, deviation: np.ndarray, extra: float = 0.0
    ) -> "ErrorLaw":
        """The most likely law of deviations (S,) from known truth, of which `extra` [km/s] is the truth's own.

        A fit that takes another line for the second star is far off: Student's t, of free degrees of freedom, within
        whose one σ 68 % of the deviations are.
        """
        known = np.isfinite(error) & np.isfinite(deviation) & (error > 0)
        if known.sum() < 40:  # nothing to learn from
            return cls(1.0, 0.0, 0.0, 1.0, 0.0)
        e, r, s, d = (values[known] for values in (error, residual, sigma, deviation))

        def surprise(p: np.ndarray) -> float:
            *law, freedom = np.exp(np.clip(p, -6, 4))
            width = np.hypot(cls(*law)(e, r, s), extra) / stdtrit(1 + freedom, 0.84)
            return float(np.mean(np.log(width) - _log_t(d / width, 1 + freedom)))

        starts = [np.array([0, 0, 0, power, -1, 1.0]) for power in (0.0, 0.5)]  # logarithms
        options = {"maxiter": 6000, "fatol": 1e-7, "xatol": 1e-3}
        for _ in range(2):  # simplices get stuck: a fresh one about where each of them ended
            found = [minimize(surprise, start, method="Nelder-Mead", options=options) for start in starts]
            starts = [fit.x for fit in found]
        best = min(found, key=_value)
        return cls(*map(float, np.exp(np.clip(best.x[:-1], -6, 4))))


def _log_t(x: np.ndarray, freedom: float) -> np.ndarray:
    """Logarithm of Student's t distribution, (S,)."""
    norm = gammaln((freedom + 1) / 2) - gammaln(freedom / 2) - 0.5 * np.log(freedom * np.pi)
    return norm - (freedom + 1) / 2 * np.log1p(x**2 / freedom)


def _value(fit: Any) -> float:
    return float(fit.fun)


@dataclass(frozen=True)
class FitLimits:
    """Of one arm: laws of the velocity errors of fits of one star (`one`) and of two (`two`, of the difference);
    `third`: `dchi2_third` that THIRD_SHARE of the mocked pairs keep below; UNLIKE_SHARE of the mocks have residual²
    below `unlike_noise` + `unlike_lines` / σ².
    """

    one: ErrorLaw
    two: ErrorLaw
    third: float
    unlike_noise: float
    unlike_lines: float

    @classmethod
    def measured(
        cls, fits: Fits, y: np.ndarray, v1: np.ndarray, dv: np.ndarray, sigma: np.ndarray, offset: float
    ) -> "FitLimits":
        """From mocks: `fits` (S,) with pair_logodds and velocities in the frame of `v1` (S,), the primary's true one.

        `y` (S,) 1 where there is a second star, at `v1` + `dv`; `sigma` (S,) of a pixel; `offset` [km/s] the
        scatter of the mocks' own zero points.
        """
        one = y == 0
        sure = (y == 1) & (fits["pair_logodds"] > BELIEVED)
        wide = sure & (np.abs(dv) > 50)
        apart = np.abs(fits["v1"] - fits["v2"]) - np.abs(dv)  # free of the zero point
        residual = fits["residual"]
        noise, lines = _quantile_law(sigma**-2.0, residual**2, UNLIKE_SHARE)
        return cls(
            ErrorLaw.measured(fits["vs_err"][one], residual[one], sigma[one], (fits["vs"] - v1)[one], offset),
            ErrorLaw.measured(np.hypot(fits["v1_err"], fits["v2_err"])[wide], residual[wide], sigma[wide], apart[wide]),
            float(np.nanquantile(fits["dchi2_third"][sure], THIRD_SHARE)) if sure.any() else np.inf,
            noise,
            lines,
        )

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> "FitLimits":
        """From the plain values of `dataclasses.asdict`."""
        laws = {name: ErrorLaw(**content[name]) for name in ("one", "two")}
        return cls(**{**content, **laws})

    def errors(self, fits: Fits, sigma: np.ndarray) -> dict[str, np.ndarray]:
        """The true errors `vs_err`, `v1_err`, `v2_err` (S,) of fits; `sigma` (S,) of a pixel."""
        stated = np.hypot(fits["v1_err"], fits["v2_err"])
        factor = self.two(stated, fits["residual"], sigma) / stated
        two = {name: factor * fits[name] for name in ("v1_err", "v2_err")}
        return {"vs_err": self.one(fits["vs_err"], fits["residual"], sigma), **two}

    def unlike(self, residual: np.ndarray, sigma: np.ndarray) -> np.ndarray:
        """Residuals (S,) over those that UNLIKE_SHARE of the mocks keep below at σ (S,)."""
        return residual / np.sqrt(self.unlike_noise + self.unlike_lines / sigma**2)


def _quantile_law(x: np.ndarray, y: np.ndarray, share: float) -> tuple[float, float]:
    """Positive a, b of y = a + b x that `share` of the y keep below, from bins of x."""
    known = np.isfinite(x) & np.isfinite(y)
    bins = np.array_split(np.flatnonzero(known)[np.argsort(x[known])], BINS)
    middle = np.array([np.median(x[rows]) for rows in bins if len(rows) > 4])
    top = np.array([np.quantile(y[rows], share) for rows in bins if len(rows) > 4])
    if len(top) < 2:
        return float(np.max(top, initial=1.0)), 0.0
    law = least_squares(lambda p: np.log(np.exp(p[0]) + np.exp(p[1]) * middle) - np.log(top), (0.0, np.log(1e-4)))
    return float(np.exp(law.x[0])), float(np.exp(law.x[1]))
