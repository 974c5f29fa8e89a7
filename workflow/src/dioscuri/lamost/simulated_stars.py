"""The stars of a simulated survey: binaries with orbits and eclipses, single stars, and what is mistaken for binaries.

They are simple (main-sequence scaling relations, synchronous rotation): what the survey tests is the way from files
to probabilities, orbits and figures, with a truth beside it, not the priors of the mocks.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dioscuri.libraries.grid import SpectralLibrary
from dioscuri.stars.realistic import radial_velocity, semi_amplitudes, separation

# What is no double-lined binary, or not a plain one, in the order of the objects' numbers.
IMPOSTORS = ("cool_giant", "fast_rotator", "sb1", "triple", "moonlight", "nebular_halpha", "neighbour")
CHANCES = 200  # draws of a star before the library is called too small
SUN = (5772.0, 4.438, 0.0, 0.0)
NEBULAR_LINES = ((6564.61, 1.0), (6549.86, 0.15), (6585.27, 0.45), (6718.29, 0.2), (6732.67, 0.15))  # vacuum Å
REFERENCE = 2_458_820.0  # BJD near which eclipses are given


@dataclass(frozen=True)
class Star:
    """A star: labels [K, dex], radius [R☉], vsini [km/s]; its velocity is γ + `offset` + `amplitude` × the swing."""

    teff: float
    logg: float
    feh: float
    afe: float
    radius: float
    vsini: float
    amplitude: float = 0.0
    offset: float = 0.0

    @property
    def labels(self) -> tuple[float, float, float, float]:
        return self.teff, self.logg, self.feh, self.afe

    @property
    def luminosity(self) -> float:
        """In units of the Sun's."""
        return self.radius**2 * (self.teff / 5772) ** 4


@dataclass(frozen=True)
class System:
    """What one fibre sees: γ [km/s], S/N in blue; the orbit: period [d], e, ω [rad], `t0` [BJD] of periastron,
    inclination [rad], masses' ratio; `nebular`: peak of Hα emission over the continuum; `distance` [pc]."""

    stars: tuple[Star, ...]
    q: float
    gamma: float
    snr: float
    period: float = math.nan
    ecc: float = 0.0
    omega: float = 0.0
    t0: float = 0.0
    inclination: float = 0.0
    mass: float = math.nan  # total, M☉
    nebular: float = 0.0
    distance: float = 300.0
    colour: float = math.nan  # BP − RP [mag] where the library has no such star

    def velocities(self, bjd: float) -> tuple[float, ...]:
        """Radial velocities of the stars [km/s] at a date [d]."""
        swing = 0.0
        if math.isfinite(self.period):
            anomaly = np.array([2 * np.pi * (bjd - self.t0) / self.period])
            swing = float(radial_velocity(anomaly, np.array([self.ecc]), np.array([self.omega]))[0])
        return tuple(self.gamma + star.offset + star.amplitude * swing for star in self.stars)

    def light(self, bjd: float) -> np.ndarray:
        """Share of each star's light that is not eclipsed, (stars,): discs of even brightness."""
        seen = np.ones(len(self.stars))
        if not (math.isfinite(self.period) and len(self.stars) >= 2):
            return seen
        axis = float(separation(np.array(self.mass), np.array(self.period)))
        anomaly = 2 * np.pi * (bjd - self.t0) / self.period
        true = _true_anomaly(anomaly, self.ecc)
        distance = axis * (1 - self.ecc**2) / (1 + self.ecc * math.cos(true))
        angle = true + self.omega
        projected = distance * math.sqrt(1 - (math.sin(angle) * math.sin(self.inclination)) ** 2)
        hidden = 0 if math.sin(angle) > 0 else 1  # the primary is the farther one where it moves behind
        radius = [star.radius for star in self.stars[:2]]
        seen[hidden] -= _overlap(projected, *radius) / (math.pi * radius[hidden] ** 2)
        return np.maximum(seen, 1e-3)

    @property
    def eclipsing(self) -> bool:
        if not (math.isfinite(self.period) and len(self.stars) >= 2):
            return False
        axis = float(separation(np.array(self.mass), np.array(self.period)))
        return abs(math.cos(self.inclination)) * axis < 0.9 * (self.stars[0].radius + self.stars[1].radius)

    @property
    def bjd0(self) -> float:
        """BJD of a superior conjunction of the primary (its eclipse), near REFERENCE."""
        half = 0.5 * (np.pi / 2 - self.omega)
        anomaly = 2 * math.atan2(math.sqrt(1 - self.ecc) * math.sin(half), math.sqrt(1 + self.ecc) * math.cos(half))
        date = self.t0 + self.period * (anomaly - self.ecc * math.sin(anomaly)) / (2 * np.pi)
        return date + self.period * round((REFERENCE - date) / self.period)


def _true_anomaly(mean: float, ecc: float) -> float:
    anomaly = mean
    for _ in range(50):
        anomaly -= (anomaly - ecc * math.sin(anomaly) - mean) / (1 - ecc * math.cos(anomaly))
    return 2 * math.atan2(math.sqrt(1 + ecc) * math.sin(0.5 * anomaly), math.sqrt(1 - ecc) * math.cos(0.5 * anomaly))


def _overlap(d: float, a: float, b: float) -> float:
    """Area common to two circles of radii `a`, `b` at distance `d`."""
    if d >= a + b:
        return 0.0
    if d <= abs(a - b):
        return math.pi * min(a, b) ** 2
    one = math.acos((d * d + a * a - b * b) / (2 * d * a))
    two = math.acos((d * d + b * b - a * a) / (2 * d * b))
    return a * a * (one - 0.5 * math.sin(2 * one)) + b * b * (two - 0.5 * math.sin(2 * two))


# --- draws ------------------------------------------------------------------------------------------------


def draw_system(kind: str, rng: np.random.Generator, library: SpectralLibrary, snr: tuple[float, float]) -> System:
    """A binary, a single star or one of IMPOSTORS, all of whose spectra the library holds; at most 200 attempts.

    Dwarfs: R ∝ M^0.9, Teff = 5772 K · M^0.55, 0.8–1.4 M☉. Binaries: q ∈ (0.7, 1), 1.5 to 20 days, circular below 5
    days, a third of them seen nearly edge-on. Singles rotate at 2 to 40 km/s. γ ~ N(0, 30²) km/s.
    """
    for _ in range(CHANCES):
        system = DRAWS.get(kind, _single)(rng, library)
        gamma = float(np.clip(rng.normal(0, 30), -90, 90))
        level = snr[0] * (snr[1] / snr[0]) ** rng.uniform()
        distance = 100 * 6 ** rng.uniform()
        system = replace(system, gamma=gamma, snr=level, distance=distance)
        if library.covered(np.array([star.labels for star in system.stars])).all():
            return system
    needed = "dwarfs of 4200–7000 K with [Fe/H] from −0.4 to 0.2 and [α/Fe] = 0"
    raise ValueError(f"the simulated night needs {needed}; the library spans {library.limits}")


def _dwarf(mass: float, feh: float, vsini: float, **motion: float) -> Star:
    radius = mass**0.9
    return Star(5772 * mass**0.55, 4.438 + math.log10(mass / radius**2), feh, 0.0, radius, vsini, **motion)


def _alone(star: Star) -> System:
    return System((star,), math.nan, 0.0, 0.0)


def _single(rng: np.random.Generator, library: SpectralLibrary) -> System:
    return _alone(_dwarf(rng.uniform(0.8, 1.4), rng.uniform(-0.4, 0.2), rng.uniform(2, 40)))


def _binary(rng: np.random.Generator, library: SpectralLibrary, q: tuple[float, float] = (0.7, 1.0)) -> System:
    mass, ratio, feh = rng.uniform(0.8, 1.4), rng.uniform(*q), rng.uniform(-0.4, 0.2)
    period = 1.5 * (20 / 1.5) ** rng.uniform()
    cos_i = rng.uniform() if rng.uniform() > 1 / 3 else rng.uniform(0, 0.08)
    ecc = 0.0 if period < 5 else rng.uniform(0, 0.4)
    omega, phase, inclination = rng.uniform(0, 2 * np.pi), rng.uniform(), math.acos(cos_i)
    k1, k2 = semi_amplitudes(*np.array([mass, ratio * mass, period, ecc, inclination]))
    stars = tuple(
        _dwarf(m, feh, 50.6 * m**0.9 / period * math.sin(inclination), amplitude=float(k))
        for m, k in ((mass, k1), (ratio * mass, -k2))
    )
    t0 = REFERENCE + phase * period
    return System(stars, ratio, 0.0, 0.0, period, ecc, omega, t0, inclination, mass * (1 + ratio))


def _sb1(rng: np.random.Generator, library: SpectralLibrary) -> System:
    """The companion of 0.2–0.45 of the mass gives no light."""
    system = _binary(rng, library, (0.2, 0.45))
    return replace(system, stars=system.stars[:1])


def _triple(rng: np.random.Generator, library: SpectralLibrary) -> System:
    system = _binary(rng, library)
    third = _dwarf(rng.uniform(0.8, 1.0) * system.mass / (1 + system.q), system.stars[0].feh, rng.uniform(2, 20))
    return replace(system, stars=(*system.stars, third))


def _fast_rotator(rng: np.random.Generator, library: SpectralLibrary) -> System:
    return _alone(_dwarf(rng.uniform(1.1, 1.4), rng.uniform(-0.4, 0.2), rng.uniform(100, 250)))


def _cool_giant(rng: np.random.Generator, library: SpectralLibrary) -> System:
    """The coolest, largest star of the library with the colour of an M giant, which the library does not have."""
    low = {name: limits[0] for name, limits in library.limits.items()}
    star = Star(low["teff"] * 1.001, low["logg"] + 0.01, rng.uniform(-0.4, 0.2), 0.0, 60.0, rng.uniform(2, 8))
    return replace(_alone(star), colour=rng.uniform(2.3, 3.5))


def _moonlight(rng: np.random.Generator, library: SpectralLibrary) -> System:
    """3–30 % of the light is the Sun's, within 30 km/s of the observer's rest: γ is drawn later, so that the two are
    apart by some tens of km/s."""
    system = _single(rng, library)
    share = 0.03 * 10 ** rng.uniform()
    sun = Star(*SUN, math.sqrt(share * system.stars[0].luminosity), 2.0, offset=rng.normal(0, 40))
    return replace(system, stars=(system.stars[0], sun))


def _nebular(rng: np.random.Generator, library: SpectralLibrary) -> System:
    return replace(_single(rng, library), nebular=0.3 * 10 ** rng.uniform())


def _neighbour(rng: np.random.Generator, library: SpectralLibrary) -> System:
    """Another star within the fibre's 3 arcsec: two sets of lines that never move."""
    system = _single(rng, library)
    other = _dwarf(rng.uniform(0.75, 1.1), rng.uniform(-0.4, 0.2), rng.uniform(2, 40), offset=rng.normal(0, 60))
    return replace(system, stars=(system.stars[0], other))


DRAWS: dict[str, Callable[[np.random.Generator, SpectralLibrary], System]] = {
    "sb2": _binary,
    "single": _single,
    "cool_giant": _cool_giant,
    "fast_rotator": _fast_rotator,
    "sb1": _sb1,
    "triple": _triple,
    "moonlight": _moonlight,
    "nebular_halpha": _nebular,
    "neighbour": _neighbour,
}


# --- what a user's table knows of them --------------------------------------------------------------------


def photometry(system: System, rng: np.random.Generator) -> dict[str, float]:
    """Columns of a user's table: g, bp_rp [mag], parallax [mas] with its error, ruwe, ebv [mag].

    M_G = 4.67 − 2.5 log L without a bolometric correction, BP − RP = 0.82 + 2.3 (5040/Teff − 0.873) with the stars'
    colours weighted by their light: good to a tenth of a magnitude for dwarfs.
    """
    light = np.array([star.luminosity for star in system.stars])
    colours = np.array([0.82 + 2.3 * (5040 / star.teff - 0.8732) for star in system.stars])
    colour = system.colour if math.isfinite(system.colour) else float(light @ colours / light.sum())
    distance = system.distance * (20 if math.isfinite(system.colour) else 1)
    ebv = float(0.0002 * min(distance, 1000) * rng.uniform(0.2, 1.5))
    error = float(0.02 * math.exp(0.3 * rng.normal()))
    ruwe = float(1.0 + abs(0.08 * rng.normal()) + (0.6 if rng.uniform() < 0.05 else 0.0))
    return {
        "g": 4.67 - 2.5 * math.log10(light.sum()) + 5 * math.log10(distance / 10) + 2.74 * ebv,
        "bp_rp": colour + 1.339 * ebv,
        "parallax": 1000 / distance + error * float(rng.normal()),
        "parallax_error": error,
        "ruwe": ruwe,
        "ebv": ebv,
    }


def emission(wave: np.ndarray, height: float, velocity: float, resolution: float) -> np.ndarray:
    """Nebular emission (L,) over a continuum of one: Hα of `height`, [N II] and [S II], at the LSF's width."""
    total = np.zeros_like(wave)
    for centre, strength in NEBULAR_LINES:
        at = centre * (1 + velocity / 299_792.458)
        total += height * strength * np.exp(-0.5 * ((wave - at) / (at / resolution / 2.3548)) ** 2)
    return total


def weights(stars: Sequence[Star], light: np.ndarray) -> np.ndarray:
    """Weight of each star's surface flux: its visible disc."""
    return np.array([star.radius**2 for star in stars]) * light
