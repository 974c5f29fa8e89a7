"""The smoothing-spline continuum: ours beside the published per-spectrum Python, plain and tuned."""

import json
import sys

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
    expected = np.stack([_published(one, _sparse_bends) for one in few])
    difference = np.abs(fit_continuum(WAVE, few) / expected - 1).max()
    seconds = median_seconds(
        {
            "ours": lambda: fit_continuum(WAVE, flux),
            "sparse": lambda: [_published(one, _sparse_bends) for one in few],
            "banded": lambda: [_published(one, _banded_bends) for one in few],
        },
        repeats=5,
    )
    ours = N_SPECTRA / seconds["ours"]
    return [
        {
            **row(
                "continuum, against laspec's way (sparse solver)",
                ours,
                N_PUBLISHED / seconds["sparse"],
                "spectra/s",
            ),
            "largest difference": difference,
        },
        row("continuum, the same tuned (banded Cholesky)", ours, N_PUBLISHED / seconds["banded"], "spectra/s"),
    ]


def _spectra(rng: np.random.Generator) -> np.ndarray:
    """Random lines on a curved continuum at S/N 5 to 100, (S, L)."""
    centres, depths = rng.uniform(5000, 5300, (300, 1)), rng.uniform(0, 0.5, (300, 1))
    lines = np.prod(1 - depths * np.exp(-0.5 * ((WAVE - centres) / 0.35) ** 2), axis=0)
    snr = rng.uniform(5, 100, (N_SPECTRA, 1))
    return lines * (1 + 0.2 * np.sin(WAVE / 60)) + rng.normal(0, 1 / snr, (N_SPECTRA, len(WAVE)))


def _published(flux: np.ndarray, bends) -> np.ndarray:
    """The iteration of `normalize_spectrum_spline` in laspec, one spectrum, numpy and scipy."""
    good = np.ones(len(flux), bool)
    centres = np.linspace(WAVE[0], WAVE[-1], int(np.ceil((WAVE[-1] - WAVE[0]) / HALF_WIDTH)) + 1)
    for _ in range(N_ITERATIONS):
        residual = flux - _smooth(WAVE[good], flux[good], bends)
        scatter = [np.std(residual[good & (np.abs(WAVE - centre) <= HALF_WIDTH)]) for centre in centres]
        deviation = (residual - np.percentile(residual, 50)) / np.interp(WAVE, centres, scatter)
        good &= (deviation > -1) & (deviation < 3)
    return _smooth(WAVE[good], flux[good], bends)


def _smooth(x: np.ndarray, y: np.ndarray, bends) -> np.ndarray:
    """The smoothing spline through (x, y) at WAVE, straight beyond its ends."""
    step = np.diff(x)
    u = np.concatenate([[0.0], bends(step, np.diff(np.diff(y) / step)), [0.0]])
    third = np.concatenate([[0.0], np.diff(u) / step, [0.0]])
    spline = CubicSpline(x, y - 6 * (1 - P) * np.diff(third), bc_type="natural")
    inside = spline(np.clip(WAVE, x[0], x[-1]))
    return inside + spline(x[0], 1) * np.minimum(WAVE - x[0], 0) + spline(x[-1], 1) * np.maximum(WAVE - x[-1], 0)


def _sparse_bends(step: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Second derivatives over 6p by the general sparse solver, as in laspec."""
    n, per = len(right), 1 / step
    r = scipy.sparse.diags_array([step[1:-1], 2 * (step[1:] + step[:-1]), step[1:-1]], offsets=(-1, 0, 1), shape=(n, n))
    q = scipy.sparse.diags_array([per[:-1], -(per[:-1] + per[1:]), per[1:]], offsets=(0, -1, -2), shape=(n + 2, n))
    return scipy.sparse.linalg.spsolve((6 * (1 - P) * (q.T @ q) + P * r).tocsc(), right)


def _banded_bends(step: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The same by LAPACK's banded Cholesky decomposition: the fastest that scipy offers."""
    per = 1 / step
    middle = per[:-1] + per[1:]
    bands = np.zeros((3, len(right)))
    bands[2] = 6 * (1 - P) * (per[:-1] ** 2 + middle**2 + per[1:] ** 2) + 2 * P * (step[1:] + step[:-1])
    bands[1, 1:] = P * step[1:-1] - 6 * (1 - P) * per[1:-1] * (middle[:-1] + middle[1:])
    bands[0, 2:] = 6 * (1 - P) * per[1:-2] * per[2:-1]
    return solveh_banded(bands, right)


if __name__ == "__main__":
    json.dump(rows(), sys.stdout, indent=2)
