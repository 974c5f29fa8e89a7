"""What fits of one and two stars are good for, measured on mocks: true errors of velocities, third stars, misfits."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import least_squares

BELIEVED = 2.0  # log-odds beyond which a fit of two stars is taken for one: what follows is measured on such fits
THIRD_SHARE, UNLIKE_SHARE = 0.995, 0.99  # of mocked pairs that show no third star; of mocks that are like the templates
BINS = 8

Fits = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class ErrorLaw:
    """True errors are √((scale · x^power)² + floor²) km/s, x the errors by noise times the residual where above one.

    A power above one: the less is known, the more often a fit takes another line, or noise, for the second star.
    """

    scale: float
    power: float
    floor: float

    def __call__(self, error: np.ndarray, residual: np.ndarray) -> np.ndarray:
        """The true errors (S,) of errors by noise (S,)."""
        misfit = np.fmax(residual, 1.0)  # fmax: 1 where no σ was given
        return np.hypot(self.scale * (error * misfit) ** self.power, self.floor)

    @classmethod
    def measured(cls, error: np.ndarray, residual: np.ndarray, deviation: np.ndarray, extra: float = 0.0) -> "ErrorLaw":
        """From deviations (S,) of known truth: half of their 16 to 84 % in bins, `extra` taken off in quadrature."""
        x = error * np.fmax(residual, 1.0)
        known = np.isfinite(x) & np.isfinite(deviation)
        stated, found = [], []
        for rows in np.array_split(np.flatnonzero(known)[np.argsort(x[known])], BINS):
            if len(rows) > 4:
                stated.append(np.median(x[rows]))
                found.append(np.ptp(np.quantile(deviation[rows], (0.16, 0.84))) / 2)
        if len(stated) < 4:  # nothing to learn from
            return cls(1.0, 1.0, 0.0)
        at, target = np.array(stated), np.log(np.maximum(found, 1e-3))

        def law(p: np.ndarray) -> np.ndarray:
            return 0.5 * np.log((p[0] * at ** p[1]) ** 2 + p[2] ** 2 + extra**2) - target

        fit = least_squares(law, (1.0, 1.0, 0.5), bounds=([0.1, 0.5, 0.0], [20.0, 3.0, 20.0]), loss="soft_l1")
        return cls(*map(float, fit.x))


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
            ErrorLaw.measured(fits["vs_err"][one], residual[one], (fits["vs"] - v1)[one], offset),
            ErrorLaw.measured(np.hypot(fits["v1_err"], fits["v2_err"])[wide], residual[wide], apart[wide]),
            float(np.nanquantile(fits["dchi2_third"][sure], THIRD_SHARE)) if sure.any() else np.inf,
            noise,
            lines,
        )

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> "FitLimits":
        """From the plain values of `dataclasses.asdict`."""
        laws = {name: ErrorLaw(**content[name]) for name in ("one", "two")}
        return cls(**{**content, **laws})

    def errors(self, fits: Fits) -> dict[str, np.ndarray]:
        """The true errors `vs_err`, `v1_err`, `v2_err` (S,) of fits."""
        stated = np.hypot(fits["v1_err"], fits["v2_err"])
        factor = self.two(stated, fits["residual"]) / stated
        two = {name: factor * fits[name] for name in ("v1_err", "v2_err")}
        return {"vs_err": self.one(fits["vs_err"], fits["residual"]), **two}

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
