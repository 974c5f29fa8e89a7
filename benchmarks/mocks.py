"""The whole chain from labels to normalised pairs: ours beside the same steps spectrum by spectrum."""

import json
import sys
import time

import numpy as np
import torch

from continuum import published_continuum, tuned_continuum
from dioscuri.libraries.grid import SpectralLibrary
from dioscuri.mocks.pairs import make_mocks
from inference import median_seconds, row
from kinematics import observed_directly, observed_tuned
from library import BLUE, grid_interpolator, made_up_library, random_labels

N_PAIRS, N_PUBLISHED = 128, 4


def rows() -> list[dict]:
    """One mapping per comparison: name, ours, published, unit, ratio. One thread, blue arm."""
    library = made_up_library()
    pairs = made_up_pairs(library, N_PAIRS)
    interpolator = grid_interpolator(library)
    wave = library.grid("blue")
    ways = {"as published": (observed_directly, published_continuum), "tuned": (observed_tuned, tuned_continuum)}
    seconds = median_seconds(
        {
            "paper": lambda: list(make_mocks(pairs, [library], [BLUE], recipe="paper", seed=1)),
            "survey": lambda: list(make_mocks(pairs, [library], [BLUE], recipe="survey", seed=1)),
            **{
                way: lambda tools=tools: [
                    pair_by_pair(pairs, i, interpolator, wave, *tools) for i in range(N_PUBLISHED)
                ]
                for way, tools in ways.items()
            },
        },
        repeats=7,
        clock=time.process_time,
    )
    return [
        row(
            f"mock pairs, {recipe} recipe, against one spectrum at a time, {way}",
            N_PAIRS / seconds[recipe],
            N_PUBLISHED / seconds[way],
            "pairs/s",
        )
        for recipe in ("paper", "survey")
        for way in ways
    ]


def made_up_pairs(library: SpectralLibrary, n: int) -> dict[str, np.ndarray]:
    """Columns of `n` pairs with Table 1's velocities and S/N, and labels anywhere in the library."""
    rng = np.random.default_rng(2)
    first, second = random_labels(library, n), random_labels(library, n)[::-1]
    return {
        "pair_id": np.arange(n),
        "teff1": first[:, 0],
        "logg1": first[:, 1],
        "teff2": second[:, 0],
        "logg2": second[:, 1],
        "feh": first[:, 2],
        "afe": first[:, 3],
        "radius1": np.ones(n),
        "radius2": np.full(n, 0.8),
        "vsini1": rng.uniform(0, 500, n),
        "vsini2": rng.uniform(0, 500, n),
        "v1": rng.normal(0, 5, n),
        "dv": rng.uniform(-500, 500, n),
        "snr": rng.uniform(5, 100, n),
    }


def pair_by_pair(
    pairs: dict[str, np.ndarray], i: int, interpolator, wave: np.ndarray, observed, continuum
) -> list[np.ndarray]:
    """One pair the usual way: scipy's interpolator, convolutions, laspec's continuum.

    `observed` and `continuum` make one spectrum each: as published, or as fast as numpy and scipy allow.
    """
    stars = []
    for star, rv in (("1", pairs["v1"][i]), ("2", pairs["v1"][i] + pairs["dv"][i])):
        label = np.array([pairs[f"teff{star}"][i], pairs[f"logg{star}"][i], pairs["feh"][i], pairs["afe"][i]])
        flux = observed(wave, np.ravel(interpolator(label)), pairs[f"vsini{star}"][i], rv, BLUE.wave)
        stars.append(flux * pairs[f"radius{star}"][i] ** 2)
    made = []
    for kind, flux in enumerate((stars[0], stars[0] + stars[1])):
        rng = np.random.default_rng([kind, i])
        noisy = flux / flux.mean() + rng.normal(0, 1 / pairs["snr"][i], len(flux))
        made.append((noisy / continuum(noisy) - 1).astype(np.float16))
    return made


if __name__ == "__main__":
    torch.set_num_threads(1)
    json.dump(rows(), sys.stdout, indent=2)
