"""Mock LRS of the field: systems that the library can serve, normalised at rest, without noise."""

import logging
from collections.abc import Mapping

import numpy as np

from dioscuri.libraries.grid import SpectralLibrary
from dioscuri.mocks.lrs_light import LightMaker, light_share
from dioscuri.spectra import lrs_frame
from dioscuri.stars.field import FieldLaw, draw_systems, draw_visits
from dioscuri.stars.tracks import TrackGrid

log = logging.getLogger(__name__)

LOGG_MIN = 4.0  # dwarfs only (Jing et al. 2025, §2.1)
BLEND_KMS = 150.0  # velocity difference up to which a spectrum's velocity is that of the common light
SNRG = (20.0, 200.0)  # of training spectra


def draw_sample(
    n: int, seed: int, tracks: TrackGrid, library: SpectralLibrary, law: FieldLaw, teff: tuple[float, float]
) -> dict[str, np.ndarray]:
    """`n` systems (columns of stars.field, and dv, snrg of one visit) with primaries of `teff` [K] and dwarf gravity.

    Logged: how many the library cannot serve, and how many secondaries are too faint to be in the light.
    """
    maker, parts, found, dropped, block = LightMaker(library), [], 0, 0, 0
    while found < n:
        systems = draw_systems(20000, seed + 7919 * block, tracks, law)
        wanted = (systems["teff1"] >= teff[0]) & (systems["teff1"] <= teff[1]) & (systems["logg1"] > LOGG_MIN)
        served = maker.usable(systems)
        dropped += int((wanted & ~served).sum())
        parts.append({name: values[wanted & served] for name, values in systems.items()})
        found += len(parts[-1]["m1"])
        block += 1
        if block > 200:
            raise ValueError(f"mocks: only {found} of {n} systems lie within {teff} K and the library; widen it")
    sample = {name: np.concatenate([part[name] for part in parts])[:n] for name in parts[0]}
    sample["system_id"] = np.arange(n, dtype=np.int64)
    visits = draw_visits(sample, seed, law)
    first = visits["visit"] == 0
    faint = (sample["radius2"] > 0) & (light_share(sample) < 0.005)
    log.info("%d systems; %d left out by the library; %d secondaries too faint for the light", n, dropped, faint.sum())
    return sample | {"dv": visits["dv"][first], "snrg": np.clip(visits["snrg"][first], *SNRG)}


def frame_velocity(sample: Mapping[str, np.ndarray]) -> np.ndarray:
    """The velocity (N,) [km/s] beside that of the primary at which a spectrum of the common light is measured."""
    dv = sample["dv"]
    return light_share(sample, 5000.0) * dv * np.exp(-((dv / BLEND_KMS) ** 2))


def normalised_light(
    sample: Mapping[str, np.ndarray],
    library: SpectralLibrary,
    *,
    seed: int,
    width: float,
    velocity_error: float = 0.0,
    resolution_spread: float = 0.0,
) -> np.ndarray:
    """Normalised flux − 1 (N, L) float16 without noise, in the frame that a measured velocity would give."""
    random = np.random.default_rng([seed, 0x117])
    n = len(sample["m1"])
    frame = frame_velocity(sample) + velocity_error * random.standard_normal(n)
    sharp = lrs_frame.RESOLUTION * random.uniform(1 - resolution_spread, 1 + resolution_spread, n)
    light = LightMaker(library)(sample, -frame, sample["dv"] - frame, sharp)
    return lrs_frame.normalised(light, width).astype(np.float16)
