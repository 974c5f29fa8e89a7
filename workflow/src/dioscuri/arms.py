"""The wavelength grid and resolution of each spectrograph arm, and the air/vacuum conversion."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

C_KMS = 299792.458  # speed of light, km/s (exact)


@dataclass(frozen=True)
class Arm:
    """One arm: the common rest-frame grid (vacuum Å) on which mocks and observations meet.

    `wave_min`, `wave_max` [Å, vacuum], `n_pixels` on an equidistant grid, resolving power `resolution`.
    """

    name: str
    wave_min: float
    wave_max: float
    n_pixels: int
    resolution: float

    @cached_property
    def wave(self) -> np.ndarray:
        """Grid wavelengths, (L,) float64, Å in vacuum."""
        return np.linspace(self.wave_min, self.wave_max, self.n_pixels)


def arms_of(facts: Mapping[str, Mapping[str, Any]]) -> list[Arm]:
    """The arms of a survey, from name → what config/surveys.yaml says of it."""
    return [Arm(name, **values) for name, values in facts.items()]


def refractive_index_minus_one(wave_vacuum: np.ndarray) -> np.ndarray:
    """n − 1 of standard air at vacuum wavelengths [Å] (Birch & Downs 1994, as used by VALD3)."""
    s2 = (1e4 / np.asarray(wave_vacuum, float)) ** 2
    return 8.34254e-5 + 2.406147e-2 / (130.0 - s2) + 1.5998e-4 / (38.9 - s2)


def vacuum_to_air(wave: np.ndarray) -> np.ndarray:
    """Air wavelengths [Å] of vacuum wavelengths [Å], valid above 2000 Å."""
    wave = np.asarray(wave, float)
    return wave / (1.0 + refractive_index_minus_one(wave))


def air_to_vacuum(wave: np.ndarray) -> np.ndarray:
    """Vacuum wavelengths [Å] of air wavelengths [Å]; inverts `vacuum_to_air` to 1e-9 Å."""
    wave = np.asarray(wave, float)
    vacuum = wave
    for _ in range(3):
        vacuum = wave * (1.0 + refractive_index_minus_one(vacuum))
    return vacuum
