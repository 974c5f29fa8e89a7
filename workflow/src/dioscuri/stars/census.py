"""The share of binaries, and of double-lined ones, among the stars of a survey: what a purity starts from."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dioscuri.stars import population, realistic
from dioscuri.stars.tracks import TrackGrid


@dataclass(frozen=True)
class Census:
    """`n_systems` counted; the share with a companion, and the share seen as double-lined at one visit."""

    n_systems: int
    binary_fraction: float
    sb2_fraction: float


def census(
    n: int,
    seed: int,
    tracks: TrackGrid,
    limits: Mapping[str, tuple[float, float]],
    *,
    dv_min: float = 50.0,
    light_min: float = 0.1,
    max_age_gyr: float | None = None,
    imf: str = "kroupa",
    magnitude_limited: bool = True,
) -> Census:
    """Of `n` candidates of the realistic law (or a few more), count those with a primary within the `limits`.

    Binaries have one companion or more of q > 0.1: 1 − exp(−frequency), as if companions came at random
    (which gives the published 40 % at solar masses). Double-lined: detached, both stars within `limits`,
    |Δv| ≥ `dv_min` [km/s] and the fainter star at least `light_min` of the brighter in bolometric light.
    `magnitude_limited`: each system counts by the volume in which it outshines the limit, L^(3/2); else all
    count alike. Systems whose primary has died are no part of it.
    """
    systems = 0
    weights = np.zeros(3)  # of all systems, of binaries, of double-lined ones
    block = 0
    while block * population.BLOCK < n:
        stars = population.candidates(seed, block, tracks, "realistic", max_age_gyr, imf)
        seen = population.within(stars, limits, 1)
        stars = {name: values[seen] for name, values in stars.items()}
        one, two = (stars[f"radius{k}"] ** 2 * stars[f"teff{k}"] ** 4 for k in (1, 2))
        two = np.nan_to_num(two)  # below the tracks: dark
        with_companion, alone = (one + two, one) if magnitude_limited else (np.ones_like(one), np.ones_like(one))
        with_companion, alone = with_companion**1.5, alone**1.5
        frequency = realistic.companion_frequency(stars["m1"])
        binary = -np.expm1(-frequency)
        double_lined = (
            stars[population.DETACHED]
            & population.within(stars, limits, 2)
            & (np.abs(stars["dv"]) >= dv_min)
            & (np.minimum(one, two) >= light_min * np.maximum(one, two))
        )
        systems += len(one)
        weights += (
            np.sum((1 - binary) * alone + binary * with_companion),
            np.sum(binary * with_companion),
            # Every companion has its chance, the inner as the outer ones of a multiple star.
            np.sum(frequency * with_companion * double_lined),
        )
        block += 1
    if systems == 0:
        raise ValueError(f"census: none of {n} candidates has its primary within {dict(limits)}; widen them")
    return Census(systems, float(weights[1] / weights[0]), float(weights[2] / weights[0]))
