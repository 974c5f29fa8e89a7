"""Forces, collisions and accretion of sticky gas particles around one or two stars: the compiled kernels.

All in AU, yr and M☉. Every force and every collision acts along the line between two bodies, equal and opposite,
so momentum and angular momentum are conserved to rounding; accretion and winds hand theirs to the star and its disc.
"""

import numba as nb
import numpy as np

from dioscuri.analogues.simulation.system import AU_PER_YR, G

GAS_SOFTENING = 100.0  # AU, gas on gas: keeps the toy from making a third star that it could not follow
STAR_SOFTENING = 10.0  # AU, star on gas
BINARY_SOFTENING = 1.0  # AU, star on star
REBOUND = 0.7  # of the speed of sound: what is left of a faster approach; slower particles bounce elastically
FLOOR_TEMPERATURE = 10.0  # K, of gas far from any star
SOUND_SPEED = 0.19 / AU_PER_YR  # AU/yr at 10 K, molecular gas


@nb.njit(cache=True, fastmath=True, error_model="numpy")
def gas_gravity(x, y, z, mass, acceleration):
    """Direct-sum attraction of the gas by itself: float32 coordinates (P,) each → `acceleration` (P, 3)."""
    softening = np.float32(GAS_SOFTENING**2)
    for i in range(len(x)):
        ax, ay, az = np.float32(0), np.float32(0), np.float32(0)
        xi, yi, zi = x[i], y[i], z[i]
        for j in range(len(x)):
            dx, dy, dz = x[j] - xi, y[j] - yi, z[j] - zi
            r2 = dx * dx + dy * dy + dz * dz + softening
            pull = mass[j] / (r2 * np.sqrt(r2))
            ax += pull * dx
            ay += pull * dy
            az += pull * dz
        acceleration[i, 0], acceleration[i, 1], acceleration[i, 2] = G * ax, G * ay, G * az


@nb.njit(cache=True)
def kick(position, velocity, mass, star_position, star_velocity, star_mass, dt):
    """Gas pulled by the stars, and the stars by the gas, over `dt`: velocities change in place."""
    for s in range(len(star_mass)):
        fx = fy = fz = 0.0
        sx, sy, sz = star_position[s, 0], star_position[s, 1], star_position[s, 2]
        for i in range(len(mass)):
            dx, dy, dz = sx - position[i, 0], sy - position[i, 1], sz - position[i, 2]
            r2 = dx * dx + dy * dy + dz * dz + STAR_SOFTENING**2
            pull = G * dt / (r2 * np.sqrt(r2))
            onto = pull * star_mass[s]
            velocity[i, 0] += onto * dx
            velocity[i, 1] += onto * dy
            velocity[i, 2] += onto * dz
            fx += pull * mass[i] * dx
            fy += pull * mass[i] * dy
            fz += pull * mass[i] * dz
        star_velocity[s, 0] -= fx
        star_velocity[s, 1] -= fy
        star_velocity[s, 2] -= fz


@nb.njit(cache=True)
def move_stars(position, velocity, mass, dt):
    """The stars alone over `dt`: leapfrog with steps short against their distance; one star moves straight."""
    if len(mass) < 2:
        position += velocity * dt
        return
    d = position[1] - position[0]
    r2 = (d * d).sum() + BINARY_SOFTENING**2
    n = int(np.ceil(dt / (0.03 * np.sqrt(r2 * np.sqrt(r2) / (G * mass.sum()))))) + 1
    step = dt / n
    for _ in range(n):
        position += 0.5 * step * velocity
        d = position[1] - position[0]
        r2 = (d * d).sum() + BINARY_SOFTENING**2
        pull = G * step / (r2 * np.sqrt(r2))
        velocity[0] += pull * mass[1] * d
        velocity[1] -= pull * mass[0] * d
        position += 0.5 * step * velocity


@nb.njit(cache=True)
def inner_steps(position, velocity, mass, star_position, star_velocity, star_mass, dt, n_steps):
    """`n_steps` leapfrog steps of the stars and the gas near them (kick, drift, kick)."""
    for _ in range(n_steps):
        kick(position, velocity, mass, star_position, star_velocity, star_mass, 0.5 * dt)
        position += dt * velocity
        move_stars(star_position, star_velocity, star_mass, dt)
        kick(position, velocity, mass, star_position, star_velocity, star_mass, 0.5 * dt)


@nb.njit(cache=True)
def temperature_at(x, y, z, star_position, luminosity):
    """Optically thin dust temperature [K]: 279 K (L/L☉)^¼ (r/AU)^-½ of each star, and the floor."""
    t4 = FLOOR_TEMPERATURE**4
    for s in range(len(luminosity)):
        dx, dy, dz = x - star_position[s, 0], y - star_position[s, 1], z - star_position[s, 2]
        t4 += 279.0**4 * luminosity[s] / (dx * dx + dy * dy + dz * dz + STAR_SOFTENING**2)
    return t4**0.25


@nb.njit(cache=True)
def nearest_star(position, star_position):
    """Distance (P,) [AU] of each particle from the nearer star."""
    distance = np.empty(len(position))
    for i in range(len(position)):
        nearest = np.inf
        for s in range(len(star_position)):
            d = position[i] - star_position[s]
            nearest = min(nearest, (d * d).sum())
        distance[i] = np.sqrt(nearest)
    return distance


@nb.njit(cache=True)
def collide(position, velocity, mass, star_position, luminosity, cell_share, smallest_cell, shift):
    """Inelastic collisions of approaching particles in common cells; returns the energy radiated [M☉ AU²/yr²].

    The cells are `cell_share` of the distance to the nearer star, in octaves, and their grid has a random offset
    `shift` (3,). Of the velocity of approach at most 0.7 of the speed of sound survives: shocks radiate, slow gas
    bounces.
    """
    n = len(mass)
    keys = np.empty(n, np.int64)
    distance = nearest_star(position, star_position)
    for i in range(n):
        octave = int(np.floor(np.log2(max(cell_share * distance[i] / smallest_cell, 1.0))))
        octave = min(octave, 10)
        cell = smallest_cell * 2.0**octave
        key = np.int64(octave)
        for axis in range(3):
            key = (key << 18) | ((np.int64(np.floor(position[i, axis] / cell + shift[axis])) + (1 << 17)) & 0x3FFFF)
        keys[i] = key
    order = np.argsort(keys, kind="mergesort")
    radiated = 0.0
    first = 0
    while first < n:
        last = first + 1
        while last < n and keys[order[last]] == keys[order[first]]:
            last += 1
        for a in range(first, last):
            for b in range(a + 1, min(a + 4, last)):
                radiated += _bounce(order[a], order[b], position, velocity, mass, star_position, luminosity)
        first = last
    return radiated


@nb.njit(cache=True)
def _bounce(i, j, position, velocity, mass, star_position, luminosity):
    dx, dy, dz = position[j, 0] - position[i, 0], position[j, 1] - position[i, 1], position[j, 2] - position[i, 2]
    r = np.sqrt(dx * dx + dy * dy + dz * dz) + 1e-12
    dx, dy, dz = dx / r, dy / r, dz / r
    approach = -(
        (velocity[j, 0] - velocity[i, 0]) * dx
        + (velocity[j, 1] - velocity[i, 1]) * dy
        + (velocity[j, 2] - velocity[i, 2]) * dz
    )
    if approach <= 0:
        return 0.0
    kelvin = temperature_at(position[i, 0], position[i, 1], position[i, 2], star_position, luminosity)
    rebound = min(approach, REBOUND * SOUND_SPEED * np.sqrt(kelvin / 10.0))
    reduced = mass[i] * mass[j] / (mass[i] + mass[j])
    impulse = reduced * (approach + rebound)
    for axis, along in enumerate((dx, dy, dz)):
        velocity[i, axis] -= impulse / mass[i] * along
        velocity[j, axis] += impulse / mass[j] * along
    return 0.5 * reduced * (approach**2 - rebound**2)


@nb.njit(cache=True)
def accrete(position, velocity, mass, star_position, star_velocity, star_mass, reach, spin, disc_mass, kept):
    """Let the stars and their discs swallow bound gas within `reach` (S,) [AU] whose orbit would end there.

    The star takes mass and momentum, the disc counts the mass (`disc_mass` (S,)) and receives in `spin` (S, 3) the
    angular momentum about the star; `kept` (P,) becomes False.
    """
    for i in range(len(mass)):
        if not kept[i]:
            continue
        for s in range(len(star_mass)):
            d = position[i] - star_position[s]
            r2 = (d * d).sum()
            if r2 > reach[s] ** 2:
                continue
            u = velocity[i] - star_velocity[s]
            u2 = (u * u).sum()
            total = star_mass[s] + mass[i]
            h = np.cross(d, u)
            if 0.5 * u2 > G * total / np.sqrt(r2 + STAR_SOFTENING**2) or (h * h).sum() > G * total * reach[s]:
                continue
            reduced = mass[i] * star_mass[s] / total
            spin[s] += reduced * h
            star_position[s] += mass[i] / total * d
            star_velocity[s] += mass[i] / total * u
            star_mass[s] = total
            disc_mass[s] += mass[i]
            kept[i] = False
            break


@nb.njit(cache=True)
def potential(position, mass, star_position, star_mass):
    """Potential energy [M☉ AU²/yr²] with the softenings of the forces."""
    total = 0.0
    for i in range(len(mass)):
        for j in range(i):
            d = position[j] - position[i]
            total -= G * mass[i] * mass[j] / np.sqrt((d * d).sum() + GAS_SOFTENING**2)
        for s in range(len(star_mass)):
            d = position[i] - star_position[s]
            total -= G * mass[i] * star_mass[s] / np.sqrt((d * d).sum() + STAR_SOFTENING**2)
    if len(star_mass) > 1:
        d = star_position[1] - star_position[0]
        total -= G * star_mass[0] * star_mass[1] / np.sqrt((d * d).sum() + BINARY_SOFTENING**2)
    return total
