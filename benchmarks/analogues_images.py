"""Images of the toy catalogue: ours, and a ray march through the same snapshot laid on a grid; and its gravity."""

import json
import sys
import time

import numpy as np
from scipy.ndimage import map_coordinates

from dioscuri.analogues.observation import images as observe
from dioscuri.analogues.simulation import dynamics
from dioscuri.analogues.simulation.collapse import simulate
from dioscuri.analogues.simulation.geometry import lines_of_sight
from dioscuri.analogues.simulation.system import G, Gas
from dioscuri.analogues.synthetic import observe_system
from inference import median_seconds, row

N_PARTICLES, SEPARATION, N_PIXELS, FIELD = 4000, 150.0, 96, 1600.0  # AU
N_CELLS = 96  # a side of the grid of the plain ray march
WAVELENGTHS = (0.87, 1.3)  # mm
SYSTEM = {"n_particles": N_PARTICLES, "n_snapshots": 57, "duration": 60.0}  # as the catalogue's by default


def rows() -> list[dict]:
    """One mapping per comparison: name, ours, published, unit, ratio. One thread."""
    system = simulate(3, n_particles=N_PARTICLES, n_snapshots=2, duration=4.0, separation_au=SEPARATION)
    snapshot = next(one for one in system.snapshots if one.stars.separation >= SEPARATION)
    scene = observe.emitters(snapshot)
    gas = scene.clouds
    lines = lines_of_sight(snapshot.stars.position[0], snapshot.stars.position[1], SEPARATION)
    assert lines is not None
    view = observe.views(snapshot, lines)[1]
    position = gas.position[:N_PARTICLES]
    mass = np.full(len(position), 1e-3)
    x, y, z = np.ascontiguousarray(position.T, np.float32)
    pull = np.empty_like(position)
    settings = {"separation_au": SEPARATION, "n_pixels": N_PIXELS, "fov_au": FIELD}
    n_images = len(observe_system(system, 0, **settings)[1]["image_id"])
    density, temperature = _grid(gas, view)
    started = time.perf_counter()
    simulate(3, **SYSTEM, separation_au=SEPARATION)
    system_seconds = time.perf_counter() - started
    seconds = median_seconds(
        {
            "ours": lambda: observe.image(scene, view, WAVELENGTHS, N_PIXELS, FIELD),
            "published": lambda: _ray_march(density, temperature, view),
            "all": lambda: observe_system(system, 0, **settings),
            "gravity": lambda: dynamics.gas_gravity(x, y, z, mass.astype(np.float32), pull),
            "numpy": lambda: _gravity(position, mass),
        },
        repeats=5,
    )
    image = f"continuum at 2 wavelengths, {N_PIXELS} px, {N_PARTICLES} particles"
    return [
        {
            **row(
                f"{image}, against a ray march through a grid",
                1 / seconds["ours"],
                1 / seconds["published"],
                "images/s",
            ),
            "seconds per line of sight with both moment-1 maps and the beam": seconds["all"] / n_images,
            f"seconds per system, {SYSTEM['n_particles']} particles over {SYSTEM['duration']:g} kyr": system_seconds,
        },
        row(
            f"self-gravity of {len(x)} particles, against numpy",
            1 / seconds["gravity"],
            1 / seconds["numpy"],
            "forces/s",
        ),
    ]


def _grid(gas: Gas, view: observe.View) -> tuple[np.ndarray, np.ndarray]:
    """Density and temperature on a grid, filled once per snapshot (not timed)."""
    edges = np.linspace(-FIELD / 2, FIELD / 2, N_CELLS + 1)
    offset = gas.position - view.centre
    mass = np.histogramdd(offset, bins=[edges] * 3, weights=gas.mass)[0]
    heat = np.histogramdd(offset, bins=[edges] * 3, weights=gas.mass * gas.temperature)[0]
    temperature = np.where(mass > 0, heat / np.where(mass > 0, mass, 1), 10.0)
    return mass / (FIELD / N_CELLS) ** 3, temperature


def _ray_march(density: np.ndarray, temperature: np.ndarray, view: observe.View) -> np.ndarray:
    """Every ray in steps of half a cell, interpolated with scipy, as analysis scripts do it."""
    step = 0.5 * FIELD / N_CELLS
    pixels = (np.arange(N_PIXELS) + 0.5) * FIELD / N_PIXELS - FIELD / 2
    depth = np.arange(-FIELD / 2, FIELD / 2, step)[::-1]
    up, right, along = np.meshgrid(pixels, pixels, depth, indexing="ij")
    points = right[..., None] * view.right + up[..., None] * view.north + along[..., None] * view.toward
    cells = np.moveaxis((points + FIELD / 2) / FIELD * N_CELLS - 0.5, -1, 0)
    rho, kelvin = (map_coordinates(values, cells, order=1) for values in (density, np.maximum(temperature, 10.0)))
    images = []
    for wavelength in WAVELENGTHS:
        tau = observe.opacity(wavelength) * observe.COLUMN * rho * step
        before = np.cumsum(tau, axis=-1) - tau
        source = observe.planck(np.maximum(kelvin, 10.0), wavelength)
        images.append((source * -np.expm1(-tau) * np.exp(-before)).sum(axis=-1))
    return np.stack(images)


def _gravity(position: np.ndarray, mass: np.ndarray) -> np.ndarray:
    pull = np.empty_like(position)
    for i, one in enumerate(position):
        d = position - one
        pull[i] = G * (mass / ((d**2).sum(axis=1) + dynamics.GAS_SOFTENING**2) ** 1.5) @ d
    return pull


if __name__ == "__main__":
    json.dump(rows(), sys.stdout, indent=2)
