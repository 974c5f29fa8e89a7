"""A toy collapse of a turbulent, rotating core onto a protostellar binary: the embedded catalogue's simulation.

Sticky particles (Lin & Pringle 1976; Brahic 1977) stand for the gas: they attract each other and the stars, and
collide inelastically. Stars are sinks with sub-grid discs and winds; the second star forms from the densest clump
at a drawn time. Orbit, masses, discs and ages follow from that.

Mass is conserved to rounding, momentum and angular momentum (with what the discs have shed) to 1e-6: gravity of the
gas is summed in single precision. Every system says how well (`budgets`). Energy is not conserved, and cannot be:
sticky collisions stand for shocks that radiate (`energy_radiated` counts it), sinks swallow the energy of what they
accrete, and winds get theirs from within the discs. With collisions, sinks and winds off, the integrator keeps the
energy to 1 % of the potential over 3 kyr. With 1,000 to 8,000 particles the mass in stars and discs at 20 kyr stays
within 1 and 10 % of its mean in two draws; orbits do not converge one by one: encounters of three bodies are chaotic.

It is a toy, made so that the whole method runs offline and its answers can be checked against a truth. What it does
not have: magnetic fields (no braking but the discs', no pseudo-discs), radiation transfer (temperatures are those of
optically thin dust), a pressure beyond the rebound of slow collisions, resolved discs and fragmentation, chemistry.
Nothing about a real protostar should be concluded from it alone: load real simulations for that
(`dioscuri.analogues.user_catalogue`).
"""

import logging

import numpy as np

from dioscuri.analogues.simulation import core, properties
from dioscuri.analogues.simulation.cloud import Cloud
from dioscuri.analogues.simulation.core import Parameters
from dioscuri.analogues.simulation.system import N_STARS, Snapshot, System

log = logging.getLogger(__name__)

SEPARATIONS = (10.0, 3000.0)  # AU, the orbits that a catalogue may have
WIDE_SHARE = 0.25  # of the snapshots in which the wanted separation must be possible
ATTEMPTS = 12
SETTLING = 1500.0  # yr from the birth of the second star to the first snapshot


def simulate(
    seed: int,
    *,
    n_particles: int = 4000,
    n_snapshots: int = 57,
    duration: float = 60.0,
    separation_au: float = 0.0,
    parameters: Parameters | None = None,
) -> System:
    """Simulate one system; the same arguments give the same system.

    `n_snapshots` are evenly spread over `duration` [kyr] from the birth of the second star. In all of them
    the stars are 10–3000 AU apart, and in a quarter of them `separation_au` (closer, they cannot be seen that far
    apart): a draw that does otherwise is thrown away for the next one of the seed; `budgets["attempts"]` counts them.
    RuntimeError if none of 12 draws will do.
    """
    for attempt in range(ATTEMPTS):
        rng = np.random.Generator(np.random.Philox(key=[seed, attempt]))
        drawn = parameters or core.draw(rng)
        cloud = Cloud(drawn, n_particles, rng)
        snapshots = _watch(cloud, n_snapshots, 1e3 * duration, separation_au)
        if snapshots:
            budgets = cloud.budgets() | {"attempts": attempt + 1.0}
            log.info("system %d: %d snapshots over %.0f kyr, budgets %s", seed, n_snapshots, duration, budgets)
            return System(seed, drawn.as_dict(), budgets, snapshots)
        log.info(
            "system %d, attempt %d: stars too close or too far apart at %.1f kyr", seed, attempt + 1, cloud.time / 1e3
        )
    raise RuntimeError(
        f"system {seed}: in none of {ATTEMPTS} draws the stars stay within {SEPARATIONS} AU and are {separation_au} AU "
        "apart often enough; take another seed or a smaller separation"
    )


def _watch(cloud: Cloud, n_snapshots: int, duration: float, separation_au: float) -> list[Snapshot]:
    """Evolve and measure; nothing once the stars left the bounds, or have too often been closer than wanted."""
    while len(cloud.star_mass) < N_STARS:
        cloud.advance()
    due = cloud.time + SETTLING + np.arange(n_snapshots) * (duration / n_snapshots)
    snapshots: list[Snapshot] = []
    n_close = 0
    for time in due:
        while cloud.time < time - 1e-6:
            cloud.advance()
        separation = np.linalg.norm(cloud.star_position[0] - cloud.star_position[1])
        n_close += separation < separation_au
        if not SEPARATIONS[0] <= separation <= SEPARATIONS[1] or n_close > (1 - WIDE_SHARE) * n_snapshots:
            return []
        snapshots.append(properties.measure(cloud))
    return snapshots
