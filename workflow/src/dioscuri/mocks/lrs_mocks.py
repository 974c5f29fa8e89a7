"""Mock LRS of the field: systems that the library can serve, normalised at rest, without noise."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

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
FAST_KMS, MOON_MAX = 200.0, 0.15  # the fastest disturbed rotator; the most moonlight, as a share of the light
MOON_KMS = 35.0  # 1σ of the Sun's velocity in a star's frame: stars of the discs


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


@dataclass(frozen=True)
class Disturbances:
    """What singles and pairs alike may be seen with, so that none of it is taken for a second star.

    `velocity_error` [km/s, 1σ] of the rest frame; R within ± `resolution_spread`; `fast_share` of the systems whose
    stars turn with up to `FAST_KMS` whatever their orbit; `moonlit_share` of the spectra with up to `MOON_MAX` of
    moonlight; `alpha_spread` [dex, 1σ] of [α/Fe] beyond that of the field.
    """

    velocity_error: float = 0.0
    resolution_spread: float = 0.0
    fast_share: float = 0.0
    moonlit_share: float = 0.0
    alpha_spread: float = 0.0


def disturbed(
    sample: Mapping[str, np.ndarray], seed: int, law: Disturbances, afe: tuple[float, float] = (0.0, 0.4)
) -> dict[str, np.ndarray]:
    """The sample as it is seen: columns frame (km/s), resolution, moon (share), moon_rv, spread; vsini, afe changed.

    `afe`: limits of the library.
    """
    random = np.random.default_rng([seed, 0x117])
    n = len(sample["m1"])
    out = dict(sample)
    out["frame"] = frame_velocity(sample) + law.velocity_error * random.standard_normal(n)
    out["resolution"] = lrs_frame.RESOLUTION * random.uniform(1 - law.resolution_spread, 1 + law.resolution_spread, n)
    fast = random.random(n) < law.fast_share
    for k in (1, 2):
        out[f"vsini{k}"] = np.where(fast, random.uniform(0.0, FAST_KMS, n), sample[f"vsini{k}"])
    out["moon"] = np.where(random.random(n) < law.moonlit_share, random.uniform(0.0, MOON_MAX, n), 0.0)
    out["moon_rv"] = random.normal(0.0, MOON_KMS, n)
    out["afe"] = np.clip(sample["afe"] + law.alpha_spread * random.standard_normal(n), *afe)
    out["spread"] = lrs_frame.excess_spread(out["resolution"], out["vsini1"])
    return out


def normalised_light(sample: Mapping[str, np.ndarray], library: SpectralLibrary, width: float) -> np.ndarray:
    """Normalised flux − 1 (N, L) float16 without noise of a `disturbed` sample, in the frame of its velocity."""
    frame, dv = sample["frame"], sample["dv"]
    light = LightMaker(library)(sample, -frame, dv - frame, sample["resolution"], sample["moon"], sample["moon_rv"])
    return lrs_frame.normalised(light, width).astype(np.float16)
