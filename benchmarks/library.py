"""Interpolation in a library: ours (quadratic in ln F) beside scipy's RegularGridInterpolator (linear)."""

import json
import sys
import time

import numpy as np
import torch
from scipy.interpolate import RegularGridInterpolator

from dioscuri.arms import Arm
from dioscuri.libraries.build import EMBEDDED_AXES, assemble, node_labels
from dioscuri.libraries.grid import AXES, SpectralLibrary, log_grid, window_of
from inference import median_seconds, row

BLUE = Arm("blue", 5000.0, 5300.0, 3347, 7500.0)
N_SPECTRA, N_PUBLISHED = 128, 32


def rows() -> list[dict]:
    """One mapping per comparison: name, ours, published, unit, ratio. One thread, blue arm, 2754 nodes."""
    library = made_up_library()
    labels = random_labels(library, N_SPECTRA)
    published = grid_interpolator(library)
    few = labels[:N_PUBLISHED]
    seconds = median_seconds(
        {
            "ours": lambda: library.flux("blue", labels),
            "batch": lambda: published(few),
            "single": lambda: [published(label) for label in few],
        },
        repeats=7,
        clock=time.process_time,
    )
    ours = N_SPECTRA / seconds["ours"]
    name = "library interpolation, quadratic, against RegularGridInterpolator, linear"
    return [
        row(f"{name}, in batches", ours, N_PUBLISHED / seconds["batch"], "spectra/s"),
        row(f"{name}, one by one", ours, N_PUBLISHED / seconds["single"], "spectra/s"),
    ]


def made_up_library(arms: tuple[Arm, ...] = (BLUE,), seed: int = 0) -> SpectralLibrary:
    """A library of the embedded one's size with random lines: what it holds does not matter for speed."""
    waves = {arm.name: log_grid(*window_of(arm), 4.0) for arm in arms}
    rng = np.random.default_rng(seed)
    lines = {
        name: np.exp(-0.5 * ((wave - rng.uniform(wave[0], wave[-1], (200, 1))) / 0.15) ** 2).sum(0)
        for name, wave in waves.items()
    }

    def spectra():
        for node, (teff, _logg, feh, afe) in enumerate(node_labels(EMBEDDED_AXES)):
            level, strength = 1e6 * (teff / 5000) ** 4, -0.3 * 10 ** (0.4 * feh + 0.2 * afe)
            yield (
                node,
                {name: (level * np.exp(strength * lines[name]), np.full(len(waves[name]), level)) for name in waves},
            )

    return assemble(EMBEDDED_AXES, 20000.0, waves, spectra(), {})


def random_labels(library: SpectralLibrary, n: int) -> np.ndarray:
    """Labels (n, 4) uniform within the library."""
    rng = np.random.default_rng(1)
    return np.column_stack([rng.uniform(low, high, n) for low, high in library.limits.values()])


def grid_interpolator(library: SpectralLibrary) -> RegularGridInterpolator:
    """Scipy's interpolator over the same nodes, in float32 as ours."""
    axes = tuple(library.axes[name] for name in AXES)
    values = torch.exp(library.windows["blue"].log_flux).numpy()
    return RegularGridInterpolator(axes, values.reshape(*map(len, axes), -1))


if __name__ == "__main__":
    torch.set_num_threads(1)
    json.dump(rows(), sys.stdout, indent=2)
