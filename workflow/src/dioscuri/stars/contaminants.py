"""Pairs turned into what is mistaken for binaries: cool giants, SB1s, triples, moonlight, nebulae."""

import logging
from collections.abc import Mapping

import numpy as np

from dioscuri.stars.population import Population, primary_mass
from dioscuri.stars.tracks import LOG_AGE, LOG_RADIUS, LOG_TEFF, LOGG, PairStatus, TrackGrid

log = logging.getLogger(__name__)

# The order is the code in the column `kind`; 0 is a pair of the population as it was drawn.
KINDS = ("ordinary", "cool_giant", "sb1", "triple", "moonlight", "nebular_halpha")
# Columns beyond those of the population. `light2_single`: share of the secondary's light that the single star's
# spectrum holds; `moon_share`: moonlight in units of the primary's mean flux; velocities in km/s.
COLUMNS = (
    "kind", "light2_single", "teff3", "logg3", "radius3", "vsini3", "dv3", "moon_share", "moon_rv", "nebular",
)  # fmt: skip

GIANT_TEFF_MAX, GIANT_LOGG_MAX = 5000.0, 3.0  # K, cgs
GIANT_EEPS = (454.0, 605.0)  # from the foot of the giant branch to its tip
GIANT_VSINI = 5.0  # km/s, mean of an exponential: giants have braked
SB1_LIGHT = (0.002, 0.03)  # light ratio at 5500 Å of a companion that nobody sees, log-uniform
THIRD_MASS_MIN = 0.3  # of the primary's mass
THIRD_VSINI = 15.0  # km/s, mean of an exponential
MOON_SHARE = (0.01, 0.3)  # log-uniform
# The star's own velocity, and that by which the correction to the Sun moves moonlight off zero, km/s (1 σ).
DISC_SPREAD, MOON_SPREAD = 40.0, 10.0
TRIES = 512  # draws in search of a giant or a third star that the library has
_STREAM = 7  # beside those of `spectra.augment.Draws`, from which these must differ


def contaminate(
    population: Population,
    shares: Mapping[str, float],
    seed: int,
    tracks: TrackGrid,
    limits: Mapping[str, tuple[float, float]],
) -> Population:
    """The same pairs, of which `shares` (kind → fraction, the rest stays ordinary) are turned into each kind.

    What becomes of a pair depends on `seed` and its `pair_id` alone. All kinds keep a pair of spectra, the single
    star's (y = 0) and the binary's (y = 1); in the column `kind` is its number in `KINDS`.

    cool_giant: both stars are redrawn on one age and [Fe/H], the primary on the giant branch below 5000 K and
    log g 3. sb1: the single star's spectrum holds 0.2–3 % of the secondary's light. triple: the binary's spectrum
    has the lines of a third star of their age. moonlight: both hold 1–30 % of the Sun's spectrum, near zero
    heliocentric velocity, hence at minus the star's velocity (N(0, 40²)) in its rest frame. nebular_halpha: both
    have the narrow emission lines that the recipe `survey` gives to a tenth of all.

    `limits` as in `draw_pairs`. A pair for which no giant or third star is found within them stays ordinary (the
    log says how many). All shares zero gives `population` back as it is. ValueError for shares that are unknown,
    negative, or of sum above one.
    """
    unknown = set(shares) - set(KINDS[1:])
    if unknown or any(share < 0 for share in shares.values()) or sum(shares.values()) > 1 + 1e-9:
        raise ValueError(
            f"mocks.contaminants: found {dict(shares)}; accepted: shares ≥ 0 of {', '.join(KINDS[1:])}, of sum ≤ 1"
        )
    if not any(shares.values()):
        return population
    bounds = np.cumsum([shares.get(kind, 0.0) for kind in KINDS[1:]])
    pairs = {name: np.array(values) for name, values in population.columns.items()}
    for name in COLUMNS:
        pairs[name] = np.zeros(len(population))
    # Harmless labels of the third star that most pairs do not have.
    pairs["teff3"], pairs["logg3"] = pairs["teff1"].copy(), pairs["logg1"].copy()
    missed = 0
    for row, pair_id in enumerate(pairs["pair_id"]):
        random = np.random.Generator(np.random.Philox(key=[seed, _STREAM], counter=[0, 0, int(pair_id), 0]))
        number = int(np.searchsorted(bounds, random.random(), side="right")) + 1
        if number == len(KINDS):
            continue
        changes = _MAKERS[KINDS[number]]({name: values[row] for name, values in pairs.items()}, random, tracks, limits)
        missed += changes is None
        if changes is not None:
            for name, value in {"kind": number, **changes}.items():
                pairs[name][row] = value
    if missed:
        log.warning(
            "contaminants: no giant or third star for %d of %d pairs, which stay ordinary", missed, len(population)
        )
    return Population(pairs, population.counts)


def _cool_giant(pair, random, tracks, limits) -> dict[str, float] | None:
    m1, q = primary_mass(random.random(TRIES)), random.uniform(0.01, 1.0, TRIES)
    made = tracks.pairs(m1, q, pair["feh"], random.uniform(*GIANT_EEPS, TRIES))
    one, two = made.primary, made.secondary
    cool = (10 ** one[:, LOG_TEFF] <= GIANT_TEFF_MAX) & (one[:, LOGG] <= GIANT_LOGG_MAX)
    found = np.flatnonzero((made.status == PairStatus.OK) & cool & _within(one, limits) & _within(two, limits))
    if found.size == 0:
        return None
    k = found[0]
    stars = {"m1": m1[k], "q": q[k], "log_age": one[k, LOG_AGE], "vsini1": random.exponential(GIANT_VSINI)}
    for number, star in (("1", one[k]), ("2", two[k])):
        stars |= {f"eep{number}": star[-1], **_labels(star, number)}
    return stars


def _sb1(pair, random, tracks, limits) -> dict[str, float]:
    light = [pair[f"radius{star}"] ** 2 * _planck_5500(pair[f"teff{star}"]) for star in (1, 2)]
    wanted = np.exp(random.uniform(*np.log(SB1_LIGHT)))
    return {"light2_single": min(1.0, wanted * light[0] / light[1])}


def _triple(pair, random, tracks, limits) -> dict[str, float] | None:
    mass = pair["m1"] * random.uniform(THIRD_MASS_MIN, 1.0, TRIES)
    eep = tracks.eep_at_age(mass, pair["log_age"], pair["feh"])
    stars = tracks.evaluate(mass, eep, pair["feh"])
    found = np.flatnonzero(np.isfinite(stars).all(1) & _within(stars, limits))
    if found.size == 0:
        return None
    motion = {"vsini3": random.exponential(THIRD_VSINI), "dv3": random.uniform(-500.0, 500.0)}
    return {**_labels(stars[found[0]], "3"), **motion}


def _moonlight(pair, random, tracks, limits) -> dict[str, float]:
    return {
        "moon_share": np.exp(random.uniform(*np.log(MOON_SHARE))),
        "moon_rv": pair["v1"] - random.normal(0.0, DISC_SPREAD) + random.normal(0.0, MOON_SPREAD),
    }


def _nebular(pair, random, tracks, limits) -> dict[str, float]:
    return {"nebular": 1.0}


_MAKERS = dict(zip(KINDS[1:], (_cool_giant, _sb1, _triple, _moonlight, _nebular)))


def _labels(star: np.ndarray, number: str) -> dict[str, float]:
    """Library labels and radius [R☉] of one star of the tracks."""
    values = {"teff": 10 ** star[LOG_TEFF], "logg": star[LOGG], "radius": 10 ** star[LOG_RADIUS]}
    return {f"{name}{number}": value for name, value in values.items()}


def _within(stars: np.ndarray, limits: Mapping[str, tuple[float, float]]) -> np.ndarray:
    """Whether stars (N, …) of the tracks lie within the limits in Teff and log g; the abundances are the pair's."""
    inside = np.ones(len(stars), bool)
    for values, name in ((10 ** stars[:, LOG_TEFF], "teff"), (stars[:, LOGG], "logg")):
        low, high = limits.get(name, (-np.inf, np.inf))
        inside &= (values >= low) & (values <= high)
    return inside


def _planck_5500(teff: float) -> float:
    """Surface brightness of a black body at 5500 Å, of any unit."""
    return 1.0 / np.expm1(1.4387769e8 / 5500.0 / teff)
