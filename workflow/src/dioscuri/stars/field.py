"""The field as LAMOST LRS sees it: singles, pairs of all mass ratios and periods, EA, EW, planet hosts, and visits.

One law for training, simulated survey and tests: what differs between them are distances, extinction and the selection
that `catalogs` make. Orbits, rotation and Roche lobes are those of `realistic`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dioscuri.stars import realistic
from dioscuri.stars.tracks import LOG_RADIUS, LOG_TEFF, LOGG, TrackGrid

BLOCK = 20000
KINDS = ("single", "pair", "EA", "EW")
AU = 215.032  # R☉


@dataclass(frozen=True)
class FieldLaw:
    """Shares of all systems, and laws.

    `binary_fraction` with a companion, of them `ea_share` are eclipsing detached ones of 0.4 to 10 d and `ew_share`
    contact binaries; mass ratios are flat from 0.1 with `twin_share` between 0.95 and 1; log P ~ N(4.8, 2.3) [d]
    (Raghavan et al. 2010: 5.0, 2.3). `planet_share` of singles and of pairs wider than 50 au host known planets.
    Masses ∝ m^−2.3; [Fe/H] ~ N(−0.2, 0.28); ages uniform up to `max_age_gyr`. `visits_mean` visits per star.
    """

    binary_fraction: float = 0.5
    ea_share: float = 0.05
    ew_share: float = 0.05
    twin_share: float = 0.05
    planet_share: float = 0.03
    mass: tuple[float, float] = (0.55, 1.25)
    max_age_gyr: float = 12.0
    visits_mean: float = 1.3
    snrg_median: float = 45.0


def draw_systems(n: int, seed: int, tracks: TrackGrid, law: FieldLaw = FieldLaw()) -> dict[str, np.ndarray]:
    """Draw `n` systems whose stars live: columns (n,).

    system_id; kind (index in KINDS); planet; m1 [M☉], q (0: single), feh, afe, age [Gyr]; teff, logg, radius [K, cgs,
    R☉] of stars 1 and 2 (radius2 0: single); period [d], ecc, inclination, periastron [deg], k1, k2 [km/s] (0: single);
    vsini1, vsini2 [km/s].
    """
    parts: list[dict[str, np.ndarray]] = []
    found = block = 0
    while found < n:
        random = np.random.default_rng([seed, block, 0xF1E1D])
        stars = _candidates(random, tracks, law)
        alive = np.isfinite(stars["teff1"]) & np.isfinite(stars["teff2"])
        parts.append({name: values[alive] for name, values in stars.items()})
        found += int(alive.sum())
        block += 1
        if block > 20 + 50 * n // BLOCK:
            raise ValueError(f"field: {found} of {n} systems found in {block} blocks; widen the masses and ages")
    systems = {name: np.concatenate([part[name] for part in parts])[:n] for name in parts[0]}
    return {"system_id": np.arange(n, dtype=np.int64), **systems}


def _candidates(random: np.random.Generator, tracks: TrackGrid, law: FieldLaw) -> dict[str, np.ndarray]:
    n = BLOCK
    low, high = (mass**-1.3 for mass in law.mass)
    m1 = (low + random.random(n) * (high - low)) ** (-1 / 1.3)
    feh = np.clip(random.normal(-0.2, 0.28, n), max(-1.2, tracks.feh[0]), min(0.45, tracks.feh[-1]))
    afe = np.clip(np.clip(-0.25 * feh, 0.0, 0.3) + random.normal(0.0, 0.05, n), 0.0, 0.4)
    age = random.uniform(0.3, law.max_age_gyr, n)
    paired = random.random(n) < law.binary_fraction
    which = random.random(n)
    ew = paired & (which < law.ew_share)
    ea = paired & ~ew & (which < law.ew_share + law.ea_share)
    q = np.where(random.random(n) < law.twin_share, random.uniform(0.95, 1.0, n), random.uniform(0.1, 1.0, n))
    q = np.where(ea | ew, np.maximum(q, 0.3 + 0.7 * random.random(n)), q)  # fainter ones hardly eclipse
    log_period = np.clip(random.normal(4.8, 2.3, n), 0.0, 9.0)
    log_period = np.where(ea, random.uniform(np.log10(0.4), 1.0, n), log_period)
    one, two = (_star(tracks, mass, age, feh) for mass in (m1, np.maximum(q * m1, tracks.mass[0])))
    stars = {
        "kind": np.select([ew, ea, paired], [3, 2, 1], 0),
        "planet": np.zeros(n, bool),
        "m1": m1,
        "q": np.where(paired, q, 0.0),
        "feh": feh,
        "afe": afe,
        "age": age,
        **{f"{name}1": values for name, values in one.items()},
        **{f"{name}2": np.where(paired, values, one[name]) for name, values in two.items()},
    }
    stars["radius2"] = np.where(paired, stars["radius2"], 0.0)
    _make_contact(stars, ew, q)
    period = np.where(ew, _contact_period(stars, q), 10**log_period)
    period = np.where(paired, np.maximum(period, _contact_period(stars, q)), np.inf)
    return stars | _orbits(random, stars, period, q, ea | ew) | _planets(random, stars, period, law)


def _star(tracks: TrackGrid, mass: np.ndarray, age: np.ndarray, feh: np.ndarray) -> dict[str, np.ndarray]:
    values = tracks.evaluate(mass, tracks.eep_at_age(mass, 9.0 + np.log10(age), feh), feh)
    return {"teff": 10 ** values[:, LOG_TEFF], "logg": values[:, LOGG], "radius": 10 ** values[:, LOG_RADIUS]}


def _make_contact(stars: dict[str, np.ndarray], ew: np.ndarray, q: np.ndarray) -> None:
    """Contact binaries: both stars fill their lobes and share one temperature, that of their common light."""
    light = sum(stars[f"radius{k}"] ** 2 * stars[f"teff{k}"] ** 4 for k in (1, 2))
    radius2 = stars["radius1"] * realistic.roche_lobe(q) / realistic.roche_lobe(1 / q)
    teff = (light / (stars["radius1"] ** 2 + radius2**2)) ** 0.25
    logg2 = 4.438 + np.log10(q * stars["m1"]) - 2 * np.log10(radius2)
    for name, values in (("teff1", teff), ("teff2", teff), ("radius2", radius2), ("logg2", logg2)):
        stars[name] = np.where(ew, values, stars[name])


def _contact_period(stars: Mapping[str, np.ndarray], q: np.ndarray) -> np.ndarray:
    """The period [d] at which the larger of the two stars, measured by its lobe, fills it."""
    lobes = (realistic.roche_lobe(1 / q), realistic.roche_lobe(q))
    axis = np.maximum(stars["radius1"] / lobes[0], stars["radius2"] / lobes[1])
    unit = realistic.separation(stars["m1"] * (1 + q), np.ones(len(q)))  # a ∝ P^(2/3)
    return (axis / unit) ** 1.5


def _orbits(
    random: np.random.Generator,
    stars: Mapping[str, np.ndarray],
    period: np.ndarray,
    q: np.ndarray,
    eclipsing: np.ndarray,
) -> dict[str, np.ndarray]:
    n, paired = len(q), np.isfinite(period)
    p = np.where(paired, period, 1.0)
    axis = realistic.separation(stars["m1"] * (1 + q), p)
    reach = np.clip((stars["radius1"] + stars["radius2"]) / axis, 0.0, 1.0)
    cosine = random.random(n) * np.where(eclipsing, 0.9 * reach, 1.0)
    inclination = np.arccos(cosine)
    ecc = np.where(paired & ~eclipsing, realistic.eccentricity(random.random(n), np.log10(p)), 0.0)
    k1, k2 = realistic.semi_amplitudes(stars["m1"], q * stars["m1"], p, ecc, inclination)
    columns = {
        "period": np.where(paired, p, np.nan),
        "ecc": ecc,
        "inclination": np.degrees(inclination),
        "periastron": random.uniform(0.0, 360.0, n),
        "k1": np.where(paired, k1, 0.0),
        "k2": np.where(paired, k2, 0.0),
    }
    maxwell, exponential = np.sqrt((random.standard_normal((3, 2, n)) ** 2).sum(0)), random.exponential(1.0, (2, n))
    for k in (1, 2):
        turning = (stars[f"teff{k}"], stars[f"radius{k}"], period, inclination, maxwell[k - 1], exponential[k - 1])
        columns[f"vsini{k}"] = np.minimum(realistic.rotation(*turning), 300.0)
    return columns


def _planets(
    random: np.random.Generator, stars: Mapping[str, np.ndarray], period: np.ndarray, law: FieldLaw
) -> dict[str, np.ndarray]:
    wide = ~np.isfinite(period)
    axis = realistic.separation(stars["m1"] * (1 + stars["q"]), np.where(wide, 1.0, period))
    return {"planet": (wide | (axis > 50 * AU)) & (random.random(len(period)) < law.planet_share)}


def draw_visits(systems: Mapping[str, np.ndarray], seed: int, law: FieldLaw = FieldLaw()) -> dict[str, np.ndarray]:
    """Visits V of the systems within ten years: columns (V,), those of one system one after the other.

    row (of the system), visit (0, 1, …), mjd, v1 and v2 (heliocentric velocities, km/s), dv = v2 − v1, snrg.
    """
    random = np.random.default_rng([seed, 0x7151])
    n = len(systems["m1"])
    count = 1 + random.poisson(max(law.visits_mean - 1.0, 0.0) * random.exponential(1.0, n))
    count = np.minimum(count, 12)
    row = np.repeat(np.arange(n), count)
    gamma = random.normal(0.0, 30.0, n)[row]
    mjd = 55900.0 + 3650.0 * random.random(len(row))
    period = np.nan_to_num(systems["period"][row], nan=1.0)
    anomaly = 2 * np.pi * ((mjd / period + random.random(n)[row]) % 1.0)
    phase = realistic.radial_velocity(anomaly, systems["ecc"][row], np.radians(systems["periastron"][row]))
    v1, v2 = gamma + systems["k1"][row] * phase, gamma - systems["k2"][row] * phase
    median = np.log(law.snrg_median) + 0.45 * random.standard_normal(n)[row]
    snrg = np.clip(np.exp(median + 0.3 * random.standard_normal(len(row))), 8.0, 300.0)
    visit = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    return {"row": row, "visit": visit, "mjd": mjd, "v1": v1, "v2": v2, "dv": v2 - v1, "snrg": snrg}
