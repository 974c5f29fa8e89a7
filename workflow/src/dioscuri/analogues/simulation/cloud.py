"""The gas, stars and discs of a toy collapse, and their motion from one step to the next."""

import numpy as np
from scipy.spatial import cKDTree

from dioscuri.analogues.simulation import core, dynamics
from dioscuri.analogues.simulation.core import Parameters
from dioscuri.analogues.simulation.discs import Discs, tidal_limit
from dioscuri.analogues.simulation.system import G

MACRO_STEP = 100.0  # yr: gas self-gravity, far gas
ROUNDS = 5  # collisions and accretion near the stars, per macro step
NEAR = 450.0  # AU: gas within this distance of a star takes short steps
SINK_RADIUS = 25.0  # AU
CELL_SHARE, SMALLEST_CELL = 0.17, 12.0  # of the distance to the star, AU; with REFERENCE_PARTICLES
REFERENCE_PARTICLES = 4000
WIND_RADIUS = 10.0  # AU: the wind, loaded with entrained gas, moves at the orbital speed of this radius
WIND_OPENING = 0.2  # rad, scatter about the disc's axis
BIRTH_SIZE = 50.0  # AU, largest disc that the second star starts with
DISC_SHARE = 0.1  # of the clump that becomes the second star, at its birth


class Cloud:
    """The state of a collapsing core: gas (P, …), stars and discs (S, …), the time [yr] and what has been lost."""

    def __init__(self, parameters: Parameters, n_particles: int, rng: np.random.Generator) -> None:
        self.parameters, self.rng, self.time = parameters, rng, 0.0
        self.position, self.velocity, self.particle_mass = core.make(parameters, n_particles, rng)
        self.mass = np.full(n_particles, self.particle_mass)
        self.star_position, self.star_velocity = np.zeros((1, 3)), np.zeros((1, 3))
        self.star_mass, self.born = np.array([parameters.primary_seed]), np.zeros(1)
        self.discs = Discs(parameters.viscous_time, parameters.braking, parameters.wind_fraction)
        self.discs.add(0.0, np.zeros(3))
        self.luminosity = self.discs.luminosity(self.star_mass)
        self.cells = CELL_SHARE * (REFERENCE_PARTICLES / n_particles) ** (1 / 3)
        self.pull = self._self_gravity()  # AU/yr², of the gas on itself
        self.radiated = 0.0  # M☉ AU²/yr², by collisions
        self.first = (self.total_mass(), self.momentum(), self.angular_momentum())

    # --- one step -------------------------------------------------------------------------------------------

    def advance(self) -> None:
        """Move everything by one macro step: long kick, short steps near the stars, long kick; then the sub-grid."""
        stars = (self.star_position, self.star_velocity, self.star_mass)
        n_near = self._near_first()
        self._long_kick(n_near)
        self.position[n_near:] += MACRO_STEP * self.velocity[n_near:]
        n_steps = int(np.ceil(MACRO_STEP / ROUNDS / self._short_step()))
        limit = tidal_limit(self.star_mass, self.star_position)
        reach = np.clip(self.discs.size(self.star_mass), SINK_RADIUS, np.maximum(limit, SINK_RADIUS))
        for _ in range(ROUNDS):
            near = slice(0, n_near)
            gas = (self.position[near], self.velocity[near], self.mass[near])
            dynamics.inner_steps(*gas, *stars, MACRO_STEP / ROUNDS / n_steps, n_steps)
            kept = np.ones(len(self.mass), bool)
            dynamics.accrete(*gas, *stars, reach, self.discs.spin, self.discs.mass, kept)
            n_near = self._keep(kept, n_near)
            self.radiated += self._collide(slice(0, n_near))
        self.pull = self._self_gravity()
        self._long_kick(n_near)
        self.radiated += self._collide(slice(None))
        self.time += MACRO_STEP
        self.discs.evolve(self.star_mass, limit, MACRO_STEP)
        self.luminosity = self.discs.luminosity(self.star_mass)
        self._launch_winds()
        if len(self.star_mass) == 1 and self.time >= self.parameters.secondary_time:
            self._form_secondary()

    def _near_first(self) -> int:
        """Sort the gas so that what needs short steps comes first; how much that is."""
        distance = dynamics.nearest_star(self.position, self.star_position)
        near = (distance < NEAR) | (np.linalg.norm(self.velocity, axis=1) * MACRO_STEP > 0.3 * distance)
        order = np.argsort(~near, kind="stable")
        self.position, self.velocity = self.position[order], self.velocity[order]
        self.mass, self.pull = self.mass[order], self.pull[order]
        return int(near.sum())

    def _short_step(self) -> float:
        """A twelfth of the time in which gas at the edge of a sink would fall in [yr]."""
        scale = (SINK_RADIUS**2 + dynamics.STAR_SOFTENING**2) ** 1.5 / (G * self.star_mass.max())
        return 0.12 * np.sqrt(scale)

    def _self_gravity(self) -> np.ndarray:
        centre = self.star_position.mean(axis=0)
        coordinates = np.ascontiguousarray((self.position - centre).T, np.float32)
        acceleration = np.empty_like(self.position)
        x, y, z = coordinates
        dynamics.gas_gravity(x, y, z, self.mass.astype(np.float32), acceleration)
        return acceleration

    def _long_kick(self, n_near: int) -> None:
        """Half a macro step of the gas's own gravity, and of the pull between the stars and the far gas."""
        self.velocity += 0.5 * MACRO_STEP * self.pull
        far = (self.position[n_near:], self.velocity[n_near:], self.mass[n_near:])
        dynamics.kick(*far, self.star_position, self.star_velocity, self.star_mass, 0.5 * MACRO_STEP)

    def _collide(self, rows: slice) -> float:
        gas = (self.position[rows], self.velocity[rows], self.mass[rows])
        shift = self.rng.uniform(size=3)
        return dynamics.collide(*gas, self.star_position, self.luminosity, self.cells, SMALLEST_CELL, shift)

    def _keep(self, kept: np.ndarray, n_near: int) -> int:
        """Drop gas that is no more; how much of the near gas is left."""
        if not kept.all():
            self.position, self.velocity = self.position[kept], self.velocity[kept]
            self.mass, self.pull = self.mass[kept], self.pull[kept]
        return int(kept[:n_near].sum())

    # --- stars ----------------------------------------------------------------------------------------------

    def _launch_winds(self) -> None:
        """Give one particle's mass of waiting wind back to the gas, along the axis of the disc, on either side.

        Star and wind part along the line between them: neither momentum nor angular momentum changes.
        """
        for s in np.flatnonzero(self.discs.wind >= self.particle_mass):
            along = self.discs.axis()[s] * self.rng.choice([-1.0, 1.0]) + WIND_OPENING * self.rng.normal(size=3)
            along /= np.linalg.norm(along)
            speed = np.sqrt(G * self.star_mass[s] / WIND_RADIUS)
            share = self.particle_mass / self.star_mass[s]
            offset = 1.5 * SINK_RADIUS * along
            self.position = np.vstack([self.position, self.star_position[s] + (1 - share) * offset])
            self.velocity = np.vstack([self.velocity, self.star_velocity[s] + (1 - share) * speed * along])
            self.star_position[s] -= share * offset
            self.star_velocity[s] -= share * speed * along
            self.mass = np.append(self.mass, self.particle_mass)
            self.pull = np.vstack([self.pull, np.zeros(3)])
            self.star_mass[s] -= self.particle_mass
            self.discs.wind[s] -= self.particle_mass

    def _form_secondary(self) -> None:
        """Turn the densest clump at the drawn distance from the primary into the second star and its disc."""
        distance = np.linalg.norm(self.position - self.star_position[0], axis=1)
        radius = self.parameters.secondary_radius
        candidates = np.flatnonzero((distance > 0.7 * radius) & (distance < 1.4 * radius))
        wanted = self.parameters.mass_ratio * min(self.star_mass[0], 0.4) / self.particle_mass
        if len(candidates) < 30:
            candidates = np.argsort(np.abs(distance - radius))[:30]
        # Where rotation supports the gas best: the third with the most angular momentum about the primary.
        offset = self.position[candidates] - self.star_position[0]
        swirl = np.cross(offset, self.velocity[candidates] - self.star_velocity[0])
        swirl = swirl @ swirl.mean(axis=0)
        candidates = candidates[swirl >= np.quantile(swirl, 2 / 3)]
        tree = cKDTree(self.position)
        spread = tree.query(self.position[candidates], 24)[0][:, -1]
        _, clump = tree.query(self.position[candidates[np.argmin(spread)]], max(24, int(wanted)))
        mass = self.mass[clump].sum()
        position, velocity = self.position[clump].mean(axis=0), self.velocity[clump].mean(axis=0)
        spin = np.cross(self.position[clump] - position, self.velocity[clump] - velocity) * self.particle_mass
        self.star_position = np.vstack([self.star_position, position])
        self.star_velocity = np.vstack([self.star_velocity, velocity])
        self.star_mass, self.born = np.append(self.star_mass, mass), np.append(self.born, self.time)
        self.discs.add(DISC_SHARE * mass, spin.sum(axis=0))
        self.discs.truncate(self.star_mass, np.append(np.inf, BIRTH_SIZE))
        self.luminosity = self.discs.luminosity(self.star_mass)
        kept = np.ones(len(self.mass), bool)
        kept[clump] = False
        self._keep(kept, 0)
        self.pull = self._self_gravity()

    # --- what is conserved ----------------------------------------------------------------------------------

    def total_mass(self) -> float:
        """Mass [M☉] of gas, stars and discs: never changes."""
        return float(self.mass.sum() + self.star_mass.sum())

    def momentum(self) -> np.ndarray:
        """Momentum (3,) [M☉ AU/yr]."""
        return self.mass @ self.velocity + self.star_mass @ self.star_velocity

    def angular_momentum(self) -> np.ndarray:
        """Angular momentum (3,) [M☉ AU²/yr] of gas, orbit and discs, and what the discs have shed."""
        gas = self.mass @ np.cross(self.position, self.velocity)
        stars = self.star_mass @ np.cross(self.star_position, self.star_velocity)
        return gas + stars + self.discs.spin.sum(axis=0) + self.discs.shed

    def energy(self) -> float:
        """Mechanical energy [M☉ AU²/yr²], with the softened potentials of the forces; O(P²), for checks."""
        kinetic = 0.5 * (self.mass @ (self.velocity**2).sum(axis=1))
        kinetic += 0.5 * (self.star_mass @ (self.star_velocity**2).sum(axis=1))
        return float(kinetic + dynamics.potential(self.position, self.mass, self.star_position, self.star_mass))

    def budgets(self) -> dict[str, float]:
        """Relative errors of what is conserved, and how much energy and angular momentum left the simulation."""
        mass, momentum, spin = self.first
        size = np.linalg.norm(spin)
        return {
            "mass_error": abs(self.total_mass() / mass - 1),
            "momentum_error": float(np.linalg.norm(self.momentum() - momentum))
            / float(self.mass @ np.linalg.norm(self.velocity, axis=1)),
            "angular_momentum_error": float(np.linalg.norm(self.angular_momentum() - spin) / size),
            "angular_momentum_shed": float(np.linalg.norm(self.discs.shed) / size),
            "energy_radiated": self.radiated,
        }
