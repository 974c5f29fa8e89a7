"""Sub-grid discs: what falls onto a star waits in a disc that drains, spreads and drives a wind.

A disc is a mass and an angular momentum. With a surface density ∝ 1/R out to R_d around a star of mass M its mean
specific angular momentum is ⅔ √(G M R_d), which gives its size.
"""

import numpy as np
from scipy.special import ndtri

from dioscuri.analogues.simulation.system import AU_PER_YR, N_STARS, G, Gas, Stars

REFERENCE_SIZE = 50.0  # AU, where the viscous time is quoted
SMALLEST, LARGEST = 3.0, 300.0  # AU
SELF_GRAVITY = 0.25  # disc-to-star mass ratio above which spiral arms drain the disc fast
STELLAR_RADIUS = 2.5 * 0.00465047  # AU
SOLAR_LUMINOSITY = 2.7015e-4  # M☉ AU² yr^-3
ACCRETION_EFFICIENCY = 0.75
PASSIVE_TEMPERATURE = 150.0  # K at 1 AU from 1 L☉: a flared disc in starlight at grazing incidence
COLDEST, HOTTEST = 10.0, 1500.0  # K; dust sublimates above
SOUND_SPEED_10K = 0.19 / AU_PER_YR  # AU/yr


class Discs:
    """The discs of S stars: `mass` (S,) [M☉], `spin` (S, 3) [M☉ AU²/yr], and what they have passed on.

    `wind` (S,) is mass waiting to be launched; `shed` (3,) the angular momentum carried away by braking and tides,
    which the simulation no longer follows.
    """

    def __init__(self, viscous_time: float, braking: float, wind_fraction: float) -> None:
        self.viscous_time, self.braking, self.wind_fraction = viscous_time, braking, wind_fraction
        self.mass, self.spin, self.wind = np.zeros(0), np.zeros((0, 3)), np.zeros(0)
        self.accretion_rate = np.zeros(0)
        self.shed = np.zeros(3)

    def add(self, mass: float, spin: np.ndarray) -> None:
        """A new star's disc of `mass` [M☉] and angular momentum `spin` (3,)."""
        self.mass = np.append(self.mass, mass)
        self.spin = np.vstack([self.spin, spin])
        self.wind, self.accretion_rate = np.append(self.wind, 0.0), np.append(self.accretion_rate, 0.0)

    def size(self, star_mass: np.ndarray) -> np.ndarray:
        """Outer radii (S,) [AU] around stars of `star_mass` (S,), their discs included."""
        specific = np.linalg.norm(self.spin, axis=1) / np.maximum(self.mass, 1e-12)
        return np.clip(2.25 * specific**2 / (G * star_mass), SMALLEST, LARGEST)

    def axis(self) -> np.ndarray:
        """Unit vectors (S, 3) of the discs' angular momenta."""
        return self.spin / np.maximum(np.linalg.norm(self.spin, axis=1, keepdims=True), 1e-300)

    def evolve(self, star_mass: np.ndarray, limit: np.ndarray, dt: float) -> None:
        """Drain the discs for `dt` [yr]; `limit` (S,) [AU] is where tides truncate them.

        The drained gas goes onto the star, but for the wind's share. It leaves most of its angular momentum behind,
        so the disc spreads; what lies beyond `limit` is shed.
        """
        time = self.viscous_time * self.size(star_mass) / REFERENCE_SIZE
        time /= 1 + (self.mass / (SELF_GRAVITY * np.maximum(self.naked(star_mass), 1e-3))) ** 2
        drained = self.mass * -np.expm1(-dt / np.maximum(time, 100.0))
        self._keep_spin(1 - self.braking * drained / np.maximum(self.mass, 1e-12))
        self.mass = self.mass - drained
        self.wind = self.wind + self.wind_fraction * drained
        self.accretion_rate = (1 - self.wind_fraction) * drained / dt
        self.truncate(star_mass, limit)

    def truncate(self, star_mass: np.ndarray, limit: np.ndarray) -> None:
        """Shed the angular momentum of what lies beyond `limit` (S,) [AU]."""
        largest = self.mass * 2 / 3 * np.sqrt(G * star_mass * np.minimum(limit, LARGEST))
        self._keep_spin(np.minimum(1, largest / np.maximum(np.linalg.norm(self.spin, axis=1), 1e-300)))

    def _keep_spin(self, share: np.ndarray) -> None:
        self.shed = self.shed + ((1 - share)[:, None] * self.spin).sum(axis=0)
        self.spin = self.spin * share[:, None]

    def naked(self, star_mass: np.ndarray) -> np.ndarray:
        """Masses (S,) [M☉] of the stars alone, without disc and waiting wind."""
        return star_mass - self.mass - self.wind

    def luminosity(self, star_mass: np.ndarray) -> np.ndarray:
        """Luminosity (S,) [L☉] of the stars: ¾ G M Ṁ/R with R = 2.5 R☉, and M^1.5 of their own."""
        star = self.naked(star_mass)
        accretion = ACCRETION_EFFICIENCY * G * star * self.accretion_rate / STELLAR_RADIUS / SOLAR_LUMINOSITY
        return accretion + star**1.5


def tidal_limit(star_mass: np.ndarray, star_position: np.ndarray) -> np.ndarray:
    """Radii (S,) [AU] to which tides truncate circumstellar discs: ⅘ of Eggleton's (1983) Roche lobe."""
    if len(star_mass) < 2:
        return np.full(len(star_mass), LARGEST)
    ratio = np.cbrt(star_mass / star_mass[::-1])
    lobe = 0.49 * ratio**2 / (0.6 * ratio**2 + np.log1p(ratio))
    return np.maximum(0.8 * lobe * np.linalg.norm(star_position[0] - star_position[1]), SMALLEST)


def disc_elements(stars: Stars, n_elements: int = 400) -> list[Gas]:
    """The discs of a snapshot as clouds in Keplerian rotation, one `Gas` of `n_elements` per star with a disc.

    Surface density ∝ 1/R, so rings of equal width weigh the same; scale height H = c_s/Ω; passively heated dust.
    """
    order = np.arange(n_elements)
    share = (order + 0.5) / n_elements
    angle = order * np.pi * (3 - np.sqrt(5))  # the golden angle spreads them evenly
    height = ndtri(((order + 0.5) * np.sqrt(2)) % 1)  # another irrational: heights know nothing of angles
    found = []
    for s in range(N_STARS):
        if stars.disc_mass[s] <= 0:
            continue
        radius = share * stars.disc_size[s]
        temperature = PASSIVE_TEMPERATURE * stars.luminosity[s] ** 0.25 / np.sqrt(radius)
        temperature = np.clip(temperature, COLDEST, HOTTEST)
        speed = np.sqrt(G * stars.mass[s] / radius)
        sound = SOUND_SPEED_10K * np.sqrt(temperature / 10.0)
        axis = stars.disc_axis[s]
        first = np.cross(axis, np.eye(3)[np.argmin(np.abs(axis))])
        first /= np.linalg.norm(first)
        outward = np.cos(angle)[:, None] * first + np.sin(angle)[:, None] * np.cross(axis, first)
        position = radius[:, None] * outward + (height * radius * sound / speed)[:, None] * axis
        velocity = (speed * AU_PER_YR)[:, None] * np.cross(axis, outward)
        found.append(
            Gas(
                stars.position[s] + position,
                stars.velocity[s] + velocity,
                np.full(n_elements, stars.disc_mass[s] / n_elements),
                temperature,
                np.sqrt(12 * radius * stars.disc_size[s] / n_elements),  # about six clouds deep at any point
            )
        )
    return found
