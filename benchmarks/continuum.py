"""The smoothing-spline continuum: ours beside the published per-spectrum Python, plain and tuned."""

import json
import sys
import time

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
from scipy.interpolate import CubicSpline
from scipy.linalg import solveh_banded

from dioscuri.spectra.continuum import fit_continuum
from inference import median_seconds, row

WAVE = np.linspace(5000, 5300, 3347)  # blue arm
P, HALF_WIDTH, N_ITERATIONS = 1e-6, 30.0, 3
N_SPECTRA, N_PUBLISHED = 128, 8


def rows() -> list[dict]:
    """One mapping per comparison: name, ours, published, unit, ratio. One thread, blue arm."""
    flux = _spectra(np.random.default_rng(0))
    few = flux[:N_PUBLISHED]
    ours = {
        "exact": lambda rows: fit_continuum(WAVE, rows),
        "few knots": lambda rows: fit_continuum(WAVE, rows, exact=False),
    }
    theirs = {"laspec's way (sparse solver)": published_continuum, "laspec's way tuned (banded)": tuned_continuum}
    seconds = median_seconds(
        {
            **{way: lambda fit=fit: fit(flux) for way, fit in ours.items()},
            **{way: lambda fit=fit: [fit(one) for one in few] for way, fit in theirs.items()},
        },
        repeats=7,
        clock=time.process_time,
    )
    expected = np.stack([published_continuum(one) for one in few])
    return [
        {
            **row(
                f"continuum, {name}, against {way}", N_SPECTRA / seconds[name], N_PUBLISHED / seconds[way], "spectra/s"
            ),
            "largest difference": float(np.abs(fit(few) / expected - 1).max()),
        }
        for name, fit in ours.items()
        for way in theirs
    ]


def _spectra(rng: np.random.Generator) -> np.ndarray:
    """Random lines on a curved continuum at S/N 5 to 100, (S, L)."""
    centres, depths = rng.uniform(5000, 5300, (300, 1)), rng.uniform(0, 0.5, (300, 1))
    lines = np.prod(1 - depths * np.exp(-0.5 * ((WAVE - centres) / 0.35) ** 2), axis=0)
    snr = rng.uniform(5, 100, (N_SPECTRA, 1))
    return lines * (1 + 0.2 * np.sin(WAVE / 60)) + rng.normal(0, 1 / snr, (N_SPECTRA, len(WAVE)))


def published_continuum(flux: np.ndarray) -> np.ndarray:
    """The iteration of `normalize_spectrum_spline` in laspec, one spectrum, numpy and scipy."""
    good = np.ones(len(flux), bool)
    centres = np.linspace(WAVE[0], WAVE[-1], int(np.ceil((WAVE[-1] - WAVE[0]) / HALF_WIDTH)) + 1)
    for _ in range(N_ITERATIONS):
        residual = flux - _smooth(WAVE[good], flux[good])
        scatter = [np.std(residual[good & (np.abs(WAVE - centre) <= HALF_WIDTH)]) for centre in centres]
        deviation = (residual - np.percentile(residual, 50)) / np.interp(WAVE, centres, scatter)
        good &= (deviation > -1) & (deviation < 3)
    return _smooth(WAVE[good], flux[good])


def _smooth(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The smoothing spline through (x, y) at WAVE, straight beyond its ends, by the general sparse solver."""
    step = np.diff(x)
    n, per = len(x) - 2, 1 / step
    r = scipy.sparse.diags_array([step[1:-1], 2 * (step[1:] + step[:-1]), step[1:-1]], offsets=(-1, 0, 1), shape=(n, n))
    q = scipy.sparse.diags_array([per[:-1], -(per[:-1] + per[1:]), per[1:]], offsets=(0, -1, -2), shape=(n + 2, n))
    bends = scipy.sparse.linalg.spsolve((6 * (1 - P) * (q.T @ q) + P * r).tocsc(), np.diff(np.diff(y) / step))
    u = np.concatenate([[0.0], bends, [0.0]])
    third = np.concatenate([[0.0], np.diff(u) / step, [0.0]])
    spline = CubicSpline(x, y - 6 * (1 - P) * np.diff(third), bc_type="natural")
    inside = spline(np.clip(WAVE, x[0], x[-1]))
    return inside + spline(x[0], 1) * np.minimum(WAVE - x[0], 0) + spline(x[-1], 1) * np.maximum(WAVE - x[-1], 0)


class TunedContinuum:
    """The same, spectrum by spectrum still, as fast as numpy and scipy allow.

    LAPACK's banded Cholesky decomposition; only the dropped pixels evaluated, from the bends that are at hand;
    bins as slices, found once.
    """

    def __init__(self, wave: np.ndarray) -> None:
        self.wave = wave
        self.centres = np.linspace(wave[0], wave[-1], int(np.ceil((wave[-1] - wave[0]) / HALF_WIDTH)) + 1)
        self.starts = np.searchsorted(wave, self.centres - HALF_WIDTH)
        self.stops = np.searchsorted(wave, self.centres + HALF_WIDTH, side="right")

    def __call__(self, flux: np.ndarray) -> np.ndarray:
        good = np.ones(len(flux), bool)
        for _ in range(N_ITERATIONS):
            residual = flux - self._smooth(flux, good)
            scatter = [residual[i:j][good[i:j]].std() for i, j in zip(self.starts, self.stops)]
            deviation = (residual - np.median(residual)) / np.interp(self.wave, self.centres, scatter)
            good &= (deviation > -1) & (deviation < 3)
        return self._smooth(flux, good)

    def _smooth(self, flux: np.ndarray, good: np.ndarray) -> np.ndarray:
        x, y = self.wave[good], flux[good]
        step = np.diff(x)
        per = 1 / step
        middle = per[:-1] + per[1:]
        bands = np.zeros((3, len(x) - 2))
        bands[2] = 6 * (1 - P) * (per[:-1] ** 2 + middle**2 + per[1:] ** 2) + 2 * P * (step[1:] + step[:-1])
        bands[1, 1:] = P * step[1:-1] - 6 * (1 - P) * per[1:-1] * (middle[:-1] + middle[1:])
        bands[0, 2:] = 6 * (1 - P) * per[1:-2] * per[2:-1]
        u, third = np.zeros(len(x)), np.zeros(len(x) + 1)
        right = np.diff(np.diff(y) * per)
        u[1:-1] = solveh_banded(bands, right, overwrite_ab=True, overwrite_b=True, check_finite=False)
        third[1:-1] = np.diff(u) * per
        f = y - 6 * (1 - P) * np.diff(third)
        out = np.empty_like(flux)
        out[good] = f
        dropped = np.flatnonzero(~good)
        below = np.cumsum(good)[dropped]
        at, k = self.wave[dropped], np.clip(below, 1, len(x) - 1)
        h = step[k - 1]
        a = (x[k] - at) / h
        b = 1 - a
        between = a * f[k - 1] + b * f[k] + P * h * h * ((a**3 - a) * u[k - 1] + (b**3 - b) * u[k])
        before = f[0] + ((f[1] - f[0]) * per[0] - P * step[0] * u[1]) * (at - x[0])
        after = f[-1] + ((f[-1] - f[-2]) * per[-1] + P * step[-1] * u[-2]) * (at - x[-1])
        out[dropped] = np.where(below == 0, before, np.where(below == len(x), after, between))
        return out


tuned_continuum = TunedContinuum(WAVE)


if __name__ == "__main__":
    json.dump(rows(), sys.stdout, indent=2)
