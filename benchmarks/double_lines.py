"""Fits of one and two stars to spectra: ours beside a fit by scipy and a laspec-style correlation, one by one."""

import json
import sys
import time

import numpy as np
from scipy.optimize import least_squares
from scipy.special import j1

from dioscuri.arms import C_KMS, Arm
from dioscuri.spectra.double_lines import BATCH, DoubleLineFitter
from dioscuri.spectra.velocity import Templates
from inference import row

BLUE = Arm("blue", 5000, 5300, 3347, 7500)
N_TEMPLATES = 11
N_SPECTRA, N_PUBLISHED = 512, 3
CCF_GRID = np.arange(-400, 401, 10.0)  # km/s


def rows() -> list[dict]:
    """One mapping per comparison: name, ours, published, unit, ratio. One thread, blue arm, pairs of Δv 60–200 km/s."""
    rng = np.random.default_rng(0)
    wave = np.exp(np.arange(np.log(4985), np.log(5315), 4 / C_KMS))
    flux = np.stack([_star(wave, rng) for _ in range(N_TEMPLATES)])
    fitter = DoubleLineFitter(Templates(wave, flux, np.linspace(4250, 7500, N_TEMPLATES), np.zeros(N_TEMPLATES)), BLUE)
    which = rng.integers(0, N_TEMPLATES, (2, N_SPECTRA))
    v1, dv, light = rng.normal(0, 20, N_SPECTRA), rng.uniform(60, 200, N_SPECTRA), rng.uniform(0.5, 1, N_SPECTRA)
    stars = [np.stack([_moved(wave, flux[k], v) for k, v in zip(*pair)]) for pair in zip(which, (v1, v1 + dv))]
    observed = (stars[0] + light[:, None] * stars[1]) / (1 + light[:, None]) - 1
    observed += rng.normal(0, 1 / 30, observed.shape)
    found = fitter.fit(observed)
    few = range(N_PUBLISHED)
    ours = _cpu(lambda: fitter.fit(observed))
    spent = _cpu(lambda: [_scipy(observed[s], wave, flux[which[:, s]], v1[s], dv[s]) for s in few])
    correlated = _cpu(lambda: [_ccf(observed[s], wave, flux) for s in few])
    theirs = np.array([_scipy(observed[s], wave, flux[which[:, s]], v1[s], dv[s])[:2] for s in few])
    difference = max(np.abs(np.sort([found.v1[s], found.v2[s]]) - np.sort(theirs[s])).max() for s in few)
    # What the one matrix product takes of the whole, and how fast a product of its size goes at best here.
    matrix = fitter._templates
    flops = 2 * matrix.size
    block = observed[:BATCH].astype(np.float32)
    peak = max(flops * BATCH / _cpu(lambda: block @ matrix) for _ in range(5))
    share = flops * N_SPECTRA / ours / peak
    name = f"fits of one and two stars, {N_TEMPLATES} templates"
    extra = {"largest difference, km/s": difference, "share of the GEMM peak": share, "GEMM peak, GFLOP/s": peak / 1e9}
    rate = N_SPECTRA / ours
    return [
        row(f"{name}, against scipy from true labels and start", rate, len(few) / spent, "spectra/s") | extra,
        row(f"{name}, against one laspec-style correlation", rate, len(few) / correlated, "spectra/s"),
    ]


def _cpu(task) -> float:
    """Seconds of CPU that `task` takes, best of three."""
    best = np.inf
    for _ in range(3):
        start = time.process_time()
        task()
        best = min(best, time.process_time() - start)
    return best


def _star(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    centres = np.random.default_rng(1).uniform(4980, 5320, (150, 1))
    depths = rng.uniform(0, 0.4, (150, 1))
    return np.prod(1 - depths * np.exp(-0.5 * ((wave - centres) / 0.3) ** 2), axis=0)


def _moved(wave: np.ndarray, flux: np.ndarray, rv: float) -> np.ndarray:
    return np.interp(BLUE.wave, wave * (1 + rv / C_KMS), flux)


def _scipy(observed: np.ndarray, wave: np.ndarray, pair: np.ndarray, v1: float, dv: float) -> np.ndarray:
    """v1, v2, v sin i 1 and 2, light fractions by Levenberg–Marquardt, right templates, started near the truth."""
    frequency = np.fft.rfftfreq(len(wave), 4.0)

    def broadened(flux: np.ndarray, vsini: float) -> np.ndarray:
        u = 2 * np.pi * frequency * max(abs(vsini), 0.1)
        u[0] = 1e-6
        kernel = (0.8 * j1(u) / u + 1.2 * (np.sin(u) - u * np.cos(u)) / u**3) / 0.8
        return 1 + np.fft.irfft(np.fft.rfft(flux - 1) * kernel, len(wave))

    def residual(p: np.ndarray) -> np.ndarray:
        models = (_moved(wave, broadened(flux, p[2 + k]), p[k]) - 1 for k, flux in enumerate(pair))
        return observed - sum(p[4 + k] * model for k, model in enumerate(models))

    return least_squares(residual, [v1 + 5, v1 + dv - 5, 10, 10, 0.6, 0.4], diff_step=1e-3).x


def _ccf(observed: np.ndarray, wave: np.ndarray, templates: np.ndarray) -> np.ndarray:
    """Every template at every velocity, as laspec does."""
    a = observed - observed.mean()
    out = np.empty((len(templates), len(CCF_GRID)))
    for k, flux in enumerate(templates):
        for j, rv in enumerate(CCF_GRID):
            b = _moved(wave, flux, rv)
            b = b - b.mean()
            out[k, j] = np.mean(a * b) / np.sqrt(np.mean(a * a) * np.mean(b * b))
    return out


if __name__ == "__main__":
    json.dump(rows(), sys.stdout, indent=2)
