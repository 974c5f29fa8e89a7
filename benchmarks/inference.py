"""Scoring with noise draws: ours, a per-spectrum loop in the published manner, the arithmetic's limit."""

import json
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from dioscuri.learn import noise
from dioscuri.learn.spectra.inference import Ensemble
from dioscuri.learn.spectra.networks import SpectrumCNN, multiply_adds

N_PIXELS = 3347  # blue arm
N_MODELS, N_DRAWS = 5, 20  # Zhang et al. 2022, §3.3
N_SPECTRA = 64


def rows() -> list[dict]:
    """One mapping per comparison: name, ours, published, unit, ratio. One thread, blue arm."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    flux = rng.normal(0, 0.1, (N_SPECTRA, N_PIXELS)).astype(np.float16)
    sigma, keys = np.full_like(flux, 0.02), np.arange(N_SPECTRA)
    ensemble = Ensemble([(SpectrumCNN(N_PIXELS).eval(), _info(seed)) for seed in range(N_MODELS)], "cpu")
    plain = [plain_network().eval() for _ in range(N_MODELS)]

    def ours() -> None:
        ensemble.percentiles(flux, sigma, keys, 0, n_draws=N_DRAWS)

    def published() -> None:
        with torch.no_grad():
            for one, error in zip(flux[:8].astype(np.float32), sigma[:8].astype(np.float32)):
                draws = one + error * np.random.default_rng().standard_normal((N_DRAWS, N_PIXELS))
                x = torch.from_numpy(draws).float()[:, None]
                p = np.concatenate([torch.sigmoid(net(x)).numpy() for net in plain])
                np.percentile(p, [0, 16, 50, 84, 100])

    square = torch.randn(1024, 1024)
    flop_per_spectrum = 2.0 * multiply_adds(SpectrumCNN(N_PIXELS)) * N_MODELS * N_DRAWS
    seconds = median_seconds(
        {
            "ours": ours,
            "published": published,
            "gemm": lambda: torch.mm(square, square),
            "philox": lambda: noise.normals(keys[:16], N_DRAWS, N_PIXELS, seed=0),
            "numpy": lambda: np.random.default_rng(0).standard_normal((16, N_DRAWS, N_PIXELS), np.float32),
        },
        clock=time.process_time,
    )
    limit = 2 * 1024**3 / seconds["gemm"] / flop_per_spectrum
    normals = 16 * N_DRAWS * N_PIXELS / 1e6
    scored = N_SPECTRA / seconds["ours"]
    return [
        row(
            "scoring, 100 evaluations, against a per-spectrum loop",
            scored,
            8 / seconds["published"],
            "spectra/s",
        ),
        row("scoring, 100 evaluations, against fp32 GEMM speed", scored, limit, "spectra/s"),
        row(
            "reproducible normals against numpy's stream",
            normals / seconds["philox"],
            normals / seconds["numpy"],
            "M/s",
        ),
    ]


def row(name: str, ours: float, published: float, unit: str) -> dict:
    """A line of the benchmark table."""
    return {"name": name, "ours": ours, "published": published, "unit": unit, "ratio": ours / published}


def median_seconds(
    calls: dict[str, Callable[[], object]], repeats: int = 7, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Median time of each call, by the wall or by another `clock`, in turn so that a busy machine slows all alike."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for repeat in range(repeats + 1):
        for name, call in calls.items():
            started = clock()
            call()
            if repeat:  # the first round warms caches and compiles
                times[name].append(clock() - started)
    return {name: float(np.median(values)) for name, values in times.items()}


def plain_network() -> nn.Module:
    """The same layers as a textbook writes them."""
    layers: list[nn.Module] = []
    for n_in, n_out in ((1, 8), (8, 16), (16, 32)):
        layers += [nn.Conv1d(n_in, n_out, 7, 4), nn.BatchNorm1d(n_out), nn.LeakyReLU(0.01)]
    layers.append(nn.Flatten())
    for n_in, n_out in ((32 * 51, 120), (120, 84)):
        layers += [nn.Linear(n_in, n_out), nn.BatchNorm1d(n_out), nn.LeakyReLU(0.01), nn.Dropout(0.3)]
    return nn.Sequential(*layers, nn.Linear(84, 1))


def _info(seed: int) -> dict:
    return {"arm": "blue", "grid": {"n_pixels": N_PIXELS}, "penalty": 16.0, "seed": seed}


if __name__ == "__main__":
    json.dump(rows(), sys.stdout, indent=2)
