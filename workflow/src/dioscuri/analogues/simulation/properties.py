"""What is measured in a snapshot of the toy collapse: the metadata of Al-Belmeisi et al. (2023), §2.3."""

import numpy as np
from scipy.spatial import cKDTree

from dioscuri.analogues.simulation.cloud import Cloud
from dioscuri.analogues.simulation.dynamics import FLOOR_TEMPERATURE, STAR_SOFTENING
from dioscuri.analogues.simulation.system import AU_PER_YR, G, Gas, Profiles, Snapshot, Stars

REGION = 3500.0  # AU about the stars: the gas that a snapshot keeps
NEIGHBOURS = 14  # within the cloud that a particle stands for
PROFILE_EDGES = np.geomspace(20.0, 3000.0, 13)  # AU
NEAR_PRIMARY = 100.0  # AU, of the gas mass in the metadata


def measure(cloud: Cloud) -> Snapshot:
    """The present state of a collapse as a snapshot, relative to the stars' centre of mass."""
    centre = cloud.star_mass @ cloud.star_position / cloud.star_mass.sum()
    drift = cloud.star_mass @ cloud.star_velocity / cloud.star_mass.sum()
    star_position, star_velocity = cloud.star_position - centre, cloud.star_velocity - drift
    discs = cloud.discs
    stars = Stars(
        position=star_position,
        velocity=star_velocity * AU_PER_YR,
        mass=discs.naked(cloud.star_mass),
        age=(cloud.time - cloud.born) / 1e3,
        accretion_rate=discs.accretion_rate.copy(),
        luminosity=cloud.luminosity.copy(),
        disc_size=discs.size(cloud.star_mass),
        disc_mass=discs.mass.copy(),
        disc_axis=discs.axis(),
    )
    position, velocity = cloud.position - centre, (cloud.velocity - drift) * AU_PER_YR
    spacing = cKDTree(position).query(position, NEIGHBOURS + 1)[0][:, -1]
    inside = (position**2).sum(axis=1) < REGION**2
    gas = Gas(
        position[inside].astype(np.float32),
        velocity[inside].astype(np.float32),
        cloud.mass[inside].astype(np.float32),
        dust_temperature(position[inside], stars).astype(np.float32),
        spacing[inside].astype(np.float32),
    )
    near = np.linalg.norm(position - star_position[0], axis=1) < NEAR_PRIMARY
    disc = discs.mass[0] * min(1.0, NEAR_PRIMARY / stars.disc_size[0])
    semi_major_axis, eccentricity = orbit(star_position, star_velocity, cloud.star_mass.sum())
    return Snapshot(
        time=cloud.time / 1e3,
        gas=gas,
        stars=stars,
        profiles=radial_profiles(position, velocity, cloud.mass, stars),
        gas_mass_100au=float(cloud.mass[near].sum() + disc),
        semi_major_axis=semi_major_axis,
        eccentricity=eccentricity,
    )


def dust_temperature(position: np.ndarray, stars: Stars) -> np.ndarray:
    """Temperature (P,) [K] of optically thin dust at `position` (P, 3) [AU], not below 10 K."""
    t4 = np.full(len(position), FLOOR_TEMPERATURE**4)
    for where, luminosity in zip(stars.position, stars.luminosity):
        t4 += 279.0**4 * luminosity / (((position - where) ** 2).sum(axis=1) + STAR_SOFTENING**2)
    return t4**0.25


def orbit(position: np.ndarray, velocity: np.ndarray, total_mass: float) -> tuple[float, float]:
    """Semi-major axis [AU] (NaN if unbound) and eccentricity of two bodies at `position`, `velocity` (2, 3) [AU/yr]."""
    d, u = position[0] - position[1], velocity[0] - velocity[1]
    energy = 0.5 * u @ u - G * total_mass / np.linalg.norm(d)
    h2 = float((np.cross(d, u) ** 2).sum())
    eccentricity = np.sqrt(max(0.0, 1 + 2 * energy * h2 / (G * total_mass) ** 2))
    return (float(-G * total_mass / (2 * energy)) if energy < 0 else float("nan")), float(eccentricity)


def radial_profiles(position: np.ndarray, velocity: np.ndarray, mass: np.ndarray, stars: Stars) -> Profiles:
    """Specific angular momentum and radial velocity in shells about each star; P particles [AU, km/s, M☉]."""
    n = len(PROFILE_EDGES) - 1
    angular, radial = np.full((2, n, 3), np.nan), np.full((2, n), np.nan)
    for s in range(2):
        d, u = position - stars.position[s], velocity - stars.velocity[s]
        r = np.linalg.norm(d, axis=1)
        shell = np.searchsorted(PROFILE_EDGES, r) - 1
        inside = (shell >= 0) & (shell < n)
        weight = np.bincount(shell[inside], mass[inside], n)
        filled = weight > 0
        for values, out in [((d * u).sum(axis=1) / r, radial[s])] + [
            (h, angular[s, :, axis]) for axis, h in enumerate(np.cross(d, u).T)
        ]:
            total = np.bincount(shell[inside], (mass * values)[inside], n)
            out[filled] = total[filled] / weight[filled]
    return Profiles(PROFILE_EDGES, angular, radial)
