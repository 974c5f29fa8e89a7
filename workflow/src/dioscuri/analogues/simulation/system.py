"""A simulated protostellar binary: its snapshots, their measured properties, and the HDF5 file that holds them."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import h5py
import numpy as np

from dioscuri import io

SCHEMA = "dioscuri/protosystem/1"
G = 4 * np.pi**2  # AU³ M☉⁻¹ yr⁻²
AU_PER_YR = 4.740470  # km/s
N_STARS = 2


@dataclass(frozen=True)
class Gas:
    """P gas particles: `position` (P, 3) [AU], `velocity` (P, 3) [km/s], `mass` (P,) [M☉], `temperature` (P,) [K],
    `size` (P,) [AU], the radius of the cloud that each stands for."""

    position: np.ndarray
    velocity: np.ndarray
    mass: np.ndarray
    temperature: np.ndarray
    size: np.ndarray


@dataclass(frozen=True)
class Stars:
    """The primary and the secondary, in this order (the primary is the star that formed first).

    `position`, `velocity` (2, 3) [AU, km/s]; (2,) each: `mass` [M☉] without the disc, `age` [kyr], `accretion_rate`
    [M☉/yr], `luminosity` [L☉], and the disc's `disc_size` [AU, outer radius], `disc_mass` [M☉] and, (2, 3),
    `disc_axis`, the unit vector of its angular momentum.
    """

    position: np.ndarray
    velocity: np.ndarray
    mass: np.ndarray
    age: np.ndarray
    accretion_rate: np.ndarray
    luminosity: np.ndarray
    disc_size: np.ndarray
    disc_mass: np.ndarray
    disc_axis: np.ndarray

    @property
    def separation(self) -> float:
        """Distance between the stars in space [AU]."""
        return float(np.linalg.norm(self.position[0] - self.position[1]))


@dataclass(frozen=True)
class Profiles:
    """Mass-weighted averages of the gas in spherical shells about each star (§2.3), NaN in empty shells.

    `edges` (R + 1,) [AU]; `angular_momentum` (2, R, 3) [AU km/s, per mass]; `radial_velocity` (2, R) [km/s].
    """

    edges: np.ndarray
    angular_momentum: np.ndarray
    radial_velocity: np.ndarray


@dataclass(frozen=True)
class Snapshot:
    """One moment: `time` [kyr] since the collapse began, and what is there."""

    time: float
    gas: Gas
    stars: Stars
    profiles: Profiles
    gas_mass_100au: float  # M☉ within 100 AU of the primary, its disc included
    semi_major_axis: float  # AU; NaN while the stars are unbound
    eccentricity: float


@dataclass(frozen=True)
class System:
    """One simulated binary: the `parameters` drawn for it, its `budgets` of conserved quantities, its snapshots."""

    seed: int
    parameters: dict[str, float]
    budgets: dict[str, float]
    snapshots: list[Snapshot]


def write_system(path: str | os.PathLike, system: System, provenance: Mapping[str, Any] | None = None) -> None:
    """Write a system as HDF5 `dioscuri/protosystem/1`, whole or not at all: one group `snapshot0000`… per moment."""
    with io.atomic(path) as temporary, h5py.File(temporary, "w") as stream:
        stream.attrs["schema"] = SCHEMA
        stream.attrs["provenance"] = json.dumps(dict(provenance or {}), default=str)
        stream.attrs["seed"] = system.seed
        stream.attrs["parameters"] = json.dumps(system.parameters)
        stream.attrs["budgets"] = json.dumps(system.budgets)
        for number, snapshot in enumerate(system.snapshots):
            group = stream.create_group(f"snapshot{number:04d}")
            for field in fields(Snapshot):
                value = getattr(snapshot, field.name)
                if isinstance(value, Gas | Stars | Profiles):
                    for part in fields(value):
                        group[f"{field.name}/{part.name}"] = getattr(value, part.name)
                else:
                    group.attrs[field.name] = value


def read_system(path: str | os.PathLike, snapshots: Sequence[int] | None = None) -> System:
    """Read a system, or only some of its snapshots (by number); another kind of file is a ValueError."""
    with io.open_shard(path, SCHEMA) as stream:
        names = sorted(name for name in stream if name.startswith("snapshot"))
        if snapshots is not None:
            names = [names[number] for number in snapshots]
        return System(
            int(stream.attrs["seed"]),
            json.loads(stream.attrs["parameters"]),
            json.loads(stream.attrs["budgets"]),
            [_read_snapshot(stream[name]) for name in names],
        )


def _read_snapshot(group: h5py.Group) -> Snapshot:
    def arrays(name: str) -> dict[str, np.ndarray]:
        return {key: value[:] for key, value in group[name].items()}

    return Snapshot(
        time=float(group.attrs["time"]),
        gas=Gas(**arrays("gas")),
        stars=Stars(**arrays("stars")),
        profiles=Profiles(**arrays("profiles")),
        gas_mass_100au=float(group.attrs["gas_mass_100au"]),
        semi_major_axis=float(group.attrs["semi_major_axis"]),
        eccentricity=float(group.attrs["eccentricity"]),
    )
