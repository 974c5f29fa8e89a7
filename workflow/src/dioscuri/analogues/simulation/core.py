"""Prestellar cores for the toy collapse: what is drawn for each, and the gas particles that they start from."""

from dataclasses import asdict, dataclass

import numpy as np
from scipy.ndimage import map_coordinates

from dioscuri.analogues.simulation.system import AU_PER_YR, G

TURBULENCE_GRID = 48
ROTATION_SLOPE = 0.4  # of the rotation speed with radius: j ∝ r^1.4, between solid body (2) and flat rotation (1)
STIRRED = 0.25  # rms displacement by turbulence before the start, in units of the radius
TURBULENCE_SLOPE = 4.0  # of the power spectrum P(k) ∝ k^-4 (Burgers): most of the power on the scale of the core


@dataclass(frozen=True)
class Parameters:
    """What differs between systems. The ranges are in `draw`."""

    core_mass: float  # M☉
    core_radius: float  # AU
    concentration: float  # r ∝ (M(<r)/M)^concentration; 1 is the singular isothermal sphere
    turbulence: float  # km/s, rms
    rotation: float  # ratio of rotational to gravitational energy
    primary_seed: float  # M☉, at the start
    mass_ratio: float  # of the clump that becomes the secondary, to the primary at that time
    secondary_time: float  # yr
    secondary_radius: float  # AU, about where it forms
    wind_fraction: float  # share of the mass leaving a disc inwards that the wind carries off
    viscous_time: float  # yr, for a disc of 50 AU to drain onto its star
    braking: float  # angular momentum that draining gas loses to the wind, in units of the disc's mean

    def as_dict(self) -> dict[str, float]:
        """Plain numbers, for a file."""
        return asdict(self)


def draw(rng: np.random.Generator) -> Parameters:
    """One system's parameters: from the smallest cores that make a pair of stars to those of 6 M☉."""
    return Parameters(
        core_mass=10 ** rng.uniform(0.1, 0.78),
        core_radius=10 ** rng.uniform(3.45, 3.92),
        concentration=rng.uniform(0.6, 1.0),
        turbulence=rng.uniform(0.2, 0.9),
        rotation=10 ** rng.uniform(-1.6, -0.5),
        primary_seed=10 ** rng.uniform(-1.2, -0.35),
        mass_ratio=rng.uniform(0.2, 1.0),
        secondary_time=10 ** rng.uniform(3.5, 4.5),
        secondary_radius=10 ** rng.uniform(2.7, 3.45),
        wind_fraction=rng.uniform(0.05, 0.35),
        viscous_time=10 ** rng.uniform(3.1, 4.6),
        braking=rng.uniform(0.0, 0.8),
    )


def make(parameters: Parameters, n_particles: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, float]:
    """Positions (P, 3) [AU] and velocities (P, 3) [AU/yr] of P gas particles, and the mass of each [M☉].

    A sphere with a power-law density, rotating about a random axis and stirred by a random velocity field; its
    momentum is zero. The same draw is the same core whatever the number of particles.
    """
    flow, axis = _turbulence(rng), _directions(1, rng)[0]  # first, so that they do not depend on P
    share = (np.arange(n_particles) + rng.uniform(size=n_particles)) / n_particles  # stratified: little noise
    radius = parameters.core_radius * np.maximum(share, 5e-4) ** parameters.concentration
    position = _directions(n_particles, rng) * radius[:, None]
    # The sphere fills 0.9 of the periodic box, so that opposite sides are not copies of each other.
    cells = (0.5 + 0.45 * position.T / parameters.core_radius) * (TURBULENCE_GRID - 1)
    velocity = np.stack([map_coordinates(one, cells, order=1, mode="nearest") for one in flow], axis=1)
    velocity -= velocity.mean(axis=0)
    velocity /= np.sqrt((velocity**2).sum(axis=1).mean())
    # The flow has stirred the core for a while: converging streams have become filaments, as in a real cloud.
    position = position + STIRRED * velocity * radius[:, None]
    velocity *= parameters.turbulence / AU_PER_YR
    # E_grav = G M²/R / (2 − c) for r ∝ M^c.
    gravity = G * parameters.core_mass / parameters.core_radius / (2 - parameters.concentration)
    spinning = np.cross(axis, position) * (radius ** (ROTATION_SLOPE - 1))[:, None]
    velocity += spinning * np.sqrt(2 * parameters.rotation * gravity / (spinning**2).sum(axis=1).mean())
    position -= position.mean(axis=0)
    velocity -= velocity.mean(axis=0)
    return position, velocity, parameters.core_mass / n_particles


def _directions(n: int, rng: np.random.Generator) -> np.ndarray:
    vectors = rng.normal(size=(n, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _turbulence(rng: np.random.Generator) -> list[np.ndarray]:
    """Three components of a random velocity field on a periodic grid; arbitrary scale."""
    n = TURBULENCE_GRID
    k = np.fft.fftfreq(n) * n
    magnitude = np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + k[None, None, :] ** 2)
    amplitude = np.where((magnitude > 0) & (magnitude < n / 3), magnitude, np.inf) ** (-TURBULENCE_SLOPE / 2)
    return [np.fft.ifftn(np.fft.fftn(rng.normal(size=(n, n, n))) * amplitude).real for _ in range(3)]
