"""From a simulated system to its shard of the toy catalogue: images from all lines of sight, and their metadata."""

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dioscuri.analogues.catalogue import METADATA, Frame, write_catalogue
from dioscuri.analogues.observation import images as observe
from dioscuri.analogues.observation.sed import WAVELENGTHS_UM, bolometric_temperature, sed
from dioscuri.analogues.simulation.geometry import LinesOfSight, lines_of_sight
from dioscuri.analogues.simulation.system import Snapshot, System

log = logging.getLogger(__name__)

CONTINUUM = {"continuum_870um": 0.87, "continuum_1300um": 1.3}  # channel → wavelength [mm]
MOMENT1 = {f"moment1_{tracer}": tracer for tracer in observe.TRACERS}
CHANNELS = (*CONTINUUM, *MOMENT1)
UNITS = dict.fromkeys(CONTINUUM, "Jy/sr") | dict.fromkeys(MOMENT1, "km/s")


def observe_system(
    system: System,
    number: int,
    *,
    separation_au: float,
    n_pixels: int = 96,
    fov_au: float = 1600.0,
    beam_au: Sequence[float] = (50.0, 50.0, 0.0),
    n_lines: int = 8,
    mirror: bool = False,
    channels: Sequence[str] = CHANNELS,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, np.ndarray], int]:
    """Images (N, H, W) by channel, metadata (N,) by column and profiles (N, …) by name, and snapshots skipped.

    `number` names the system. Snapshots whose stars are closer than `separation_au` have no line of sight with that
    projected separation; they are skipped and counted. With `mirror` every line is also looked along from behind.
    """
    unknown = sorted(set(channels) - set(CHANNELS))
    if unknown:
        raise ValueError(f"unknown channels {', '.join(unknown)}: accepted are {', '.join(CHANNELS)}")
    images: dict[str, list[np.ndarray]] = {name: [] for name in channels}
    rows: list[dict[str, Any]] = []
    shells: dict[str, list[np.ndarray]] = {}
    skipped = 0
    for moment, snapshot in enumerate(system.snapshots):
        axis = _orbit_axis(snapshot)
        stars = snapshot.stars.position
        cones = [
            lines_of_sight(stars[0], stars[1], separation_au, n_lines, side, axis)
            for side in (False, True)[: 1 + mirror]
        ]
        if cones[0] is None:
            skipped += 1
            continue
        scene = observe.emitters(snapshot)
        dust = sed(scene, observe.views(snapshot, cones[0])[0])  # cold dust is thin: it looks alike from all sides
        seen = {"tbol": bolometric_temperature(dust)}
        for side, lines in enumerate(cones):
            assert lines is not None  # both sides exist or neither
            for k, view in enumerate(observe.views(snapshot, lines)):
                maps = _maps(scene, view, channels, n_pixels, fov_au, beam_au)
                for name, one in maps.items():
                    images[name].append(one)
                where = {"system": f"{number:03d}", "snapshot": moment, "projection": k, "phi": lines.phi[k]}
                name = f"system{number:03d}/snapshot{moment:04d}/view{k}{'m' * side}"
                rows.append({"image_id": name, **where, "mirror": bool(side), **_measured(snapshot, lines, k), **seen})
                for shell, values in (_profiles(snapshot) | {"sed": dust}).items():
                    shells.setdefault(shell, []).append(values)
    metadata = {name: np.array([row[name] for row in rows]) for name in METADATA if rows}
    profiles = {name: np.stack(values).astype(np.float32) for name, values in shells.items()}
    return {name: np.stack(values) for name, values in images.items() if values}, metadata, profiles, skipped


def write_system_catalogue(
    path: str | os.PathLike, system: System, number: int, provenance: Mapping[str, Any] | None = None, **settings: Any
) -> int:
    """Observe `system` and write its shard; how many images. `settings` are those of `observe_system`.

    ValueError if the stars are never as far apart as the wanted separation: the shard would be empty.
    """
    images, metadata, profiles, skipped = observe_system(system, number, **settings)
    if not metadata:
        closest = max(snapshot.stars.separation for snapshot in system.snapshots)
        raise ValueError(
            f"{path}: system {number} never reaches a separation of {settings['separation_au']} AU (at most "
            f"{closest:.0f} AU); take a smaller separation or another seed"
        )
    n_pixels = next(iter(images.values())).shape[-1]
    frame = Frame(
        pixel_au=settings.get("fov_au", 1600.0) / n_pixels,
        beam_au=tuple(float(value) for value in settings.get("beam_au", (50.0, 50.0, 0.0))),  # type: ignore[arg-type]
        separation_au=settings["separation_au"],
        units={name: UNITS[name] for name in images},
    )
    shared = {"radius": system.snapshots[0].profiles.edges, "sed_wavelength": WAVELENGTHS_UM}
    record = {**(provenance or {}), "seed": system.seed, "snapshots_skipped": skipped, "catalogue": "toy"}
    write_catalogue(path, images, metadata, frame, profiles=shared | profiles, provenance=record)
    n_images = len(metadata["image_id"])
    log.info("%s: %d images, %d of %d snapshots skipped", path, n_images, skipped, len(system.snapshots))
    return n_images


def _maps(
    scene: observe.Scene,
    view: observe.View,
    channels: Sequence[str],
    n_pixels: int,
    fov_au: float,
    beam_au: Sequence[float],
) -> dict[str, np.ndarray]:
    continuum = [name for name in channels if name in CONTINUUM]
    maps: dict[str, np.ndarray] = {}
    if continuum:
        intensity = observe.image(scene, view, [CONTINUUM[name] for name in continuum], n_pixels, fov_au)
        smooth = observe.convolve(intensity, beam_au, fov_au / n_pixels)
        # Fourier ringing of a compact source can undercut zero by rounding; a log stretch wants positive numbers.
        maps |= dict(zip(continuum, np.maximum(smooth, 0).astype(np.float32)))
    for name in channels:
        if name in MOMENT1:
            one = observe.moment1(scene, view, MOMENT1[name], n_pixels, fov_au, beam_au=beam_au)
            maps[name] = one.astype(np.float16)
    return {name: maps[name] for name in channels}


def _orbit_axis(snapshot: Snapshot) -> np.ndarray:
    d, u = np.diff(snapshot.stars.position, axis=0)[0], np.diff(snapshot.stars.velocity, axis=0)[0]
    return np.cross(d, u)


def _measured(snapshot: Snapshot, lines: LinesOfSight, k: int) -> dict[str, float]:
    """The physical columns of one image; disc axes are given as seen: (right, north, toward the observer)."""
    stars = snapshot.stars
    columns = {
        "time_kyr": snapshot.time,
        "separation": stars.separation,
        "semi_major_axis": snapshot.semi_major_axis,
        "eccentricity": snapshot.eccentricity,
        "gas_mass_100au": snapshot.gas_mass_100au,
    }
    for s in (0, 1):
        seen = np.array([lines.right[k], lines.north[k], lines.toward[k]]) @ stars.disc_axis[s]
        columns |= {
            f"age{s + 1}": stars.age[s],
            f"m{s + 1}": stars.mass[s],
            f"mdot{s + 1}": stars.accretion_rate[s],
            f"l{s + 1}": stars.luminosity[s],
            f"disc_size{s + 1}": stars.disc_size[s],
            f"disc_mass{s + 1}": stars.disc_mass[s],
            **{f"j{s + 1}{axis}": value for axis, value in zip("xyz", seen)},
            f"inclination{s + 1}": np.degrees(np.arccos(np.clip(seen[2], -1, 1))),
        }
    return {name: float(value) for name, value in columns.items()}


def _profiles(snapshot: Snapshot) -> dict[str, np.ndarray]:
    shells = snapshot.profiles
    return {f"angular_momentum{s + 1}": shells.angular_momentum[s] for s in (0, 1)} | {
        f"radial_velocity{s + 1}": shells.radial_velocity[s] for s in (0, 1)
    }
