"""Populations of binaries on tracks, cut to a library: Table 1 of Zhang et al. 2022, or the field's."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dioscuri.stars import realistic
from dioscuri.stars.tracks import LOG_AGE, LOG_RADIUS, LOG_TEFF, LOGG, PairStatus, TrackGrid

log = logging.getLogger(__name__)

LABELS = (
    "pair_id", "m1", "q", "feh", "afe", "eep1", "eep2", "log_age", "teff1", "teff2", "logg1", "logg2",
    "radius1", "radius2", "vsini1", "vsini2", "v1", "dv", "snr",
)  # fmt: skip
LAWS = ("paper", "survey", "realistic")
# Survivors of each cut, in this order (`Population.counts`).
CUTS = (
    "candidates",
    "on_tracks",
    "age_reachable",
    "young_enough",
    "primary_in_library",
    "secondary_in_library",
)
# The realistic law knows the orbits, and adds a last cut: two stars that would overflow are no two spectra.
DETACHED = "detached"

# Candidates drawn together; part of the definition of a population: changing it changes the pairs.
BLOCK = 1 << 14
_STARS, _OBSERVED = 0, 1  # independent random streams of a block
_HOPELESS_AFTER, _HOPELESS_SHARE = 1 << 20, 1e-5


@dataclass(frozen=True)
class Population:
    """`columns`: `LABELS` → (N,) float64 (pair_id int64); `counts`: `CUTS` → survivors.

    Units: M☉, R☉, K, cgs, km/s, log10 yr; `snr` per pixel. The realistic law adds the columns
    `realistic.ORBIT_LABELS` and the cut `DETACHED`. The counts of consecutive shards add up to those
    of the whole.
    """

    columns: dict[str, np.ndarray]
    counts: dict[str, int]

    def __len__(self) -> int:
        return len(self.columns["pair_id"])


def draw_pairs(
    n: int,
    seed: int,
    tracks: TrackGrid,
    limits: Mapping[str, tuple[float, float]],
    *,
    start: int = 0,
    law: str = "paper",
    slow_rotator_fraction: float = 0.5,
    slow_rotator_scale: float = 15.0,
    close_dv_fraction: float = 0.0,
    close_dv_max: float = 250.0,
    max_age_gyr: float | None = None,
    imf: str = "kroupa",
    snr_median: float = 30.0,
) -> Population:
    """Draw the accepted pairs number `start` to `start + n` of the population of `seed`: exactly `n` of them.

    Candidates are numbered, and candidate k depends on `seed` and k alone; accepted pairs keep that number as
    `pair_id`. Any sharding therefore gives the same pairs.

    `limits`: (low, high) of "teff", "logg", "feh", "afe" that both stars must keep within; one left out
    does not bind. An abundance whose limits are one value (a library with one node of it) is not drawn: all stars
    have that value. `law`: "paper" is Table 1 of Zhang et al. 2022 to the letter; "survey" draws both v sin i
    of a share `slow_rotator_fraction` of the pairs from an exponential of scale `slow_rotator_scale`
    [km/s], and Δv of a share `close_dv_fraction` from U(−`close_dv_max`, `close_dv_max`) [km/s] (those four
    settings belong to it alone); "realistic" is the field's (`dioscuri.stars.realistic`), of primaries by
    `imf` ("kroupa" or "chabrier") and median S/N `snr_median`. `max_age_gyr`: None, as in the paper, admits
    stars older than the Universe (not in the realistic law).

    ValueError for an unknown law or limit, or where (nearly) no candidate survives: the counts say at which
    cut.
    """
    if law not in LAWS:
        raise ValueError(f"population.law: found '{law}'; accepted: {', '.join(LAWS)}")
    if imf not in realistic.IMFS:
        raise ValueError(f"population.imf: found '{imf}'; accepted: {', '.join(realistic.IMFS)}")
    unknown = set(limits) - {"teff", "logg", "feh", "afe"}
    if unknown:
        raise ValueError(f"population limits: unknown {sorted(unknown)}; accepted: teff, logg, feh, afe")
    if n < 1 or start < 0:
        raise ValueError(f"population: n = {n}, start = {start}; accepted: n ≥ 1, start ≥ 0")

    cuts = (*CUTS, DETACHED) if law == "realistic" else CUTS
    names = LABELS + realistic.ORBIT_LABELS if law == "realistic" else LABELS
    fixed = {name: limits[name][0] for name in ("feh", "afe") if name in limits and limits[name][0] == limits[name][1]}
    if fixed:
        log.info("population: the library has one node of %s, and all stars have it", fixed)
    batches: list[dict[str, np.ndarray]] = []
    counts = np.zeros(len(cuts), np.int64)
    accepted = 0  # in the blocks before
    block = 0
    while accepted < start + n:
        stars = candidates(seed, block, tracks, law, max_age_gyr, imf, fixed)
        passed = _passed_cuts(stars, limits)
        survives = passed == len(cuts)
        # A candidate belongs to the accepted pair that it is, or, if it falls to a cut, to the next one.
        belongs = accepted + np.cumsum(survives) - survives
        ours = (belongs >= start) & (belongs < start + n)
        if ours.any():
            counts += _survivors(passed[ours], len(cuts))
            rows = ours & survives
            if law == "realistic":
                observed = realistic.observed(_generator(seed, block, _OBSERVED), stars, snr_median)
            else:
                observed = _observed(
                    seed,
                    block,
                    law,
                    slow_rotator_fraction,
                    slow_rotator_scale,
                    close_dv_fraction,
                    close_dv_max,
                )
            batches.append({name: {**stars, **observed}[name][rows] for name in names})
        accepted += int(survives.sum())
        block += 1
        if block * BLOCK >= _HOPELESS_AFTER and accepted < _HOPELESS_SHARE * block * BLOCK:
            raise ValueError(
                f"population: only {accepted} of {block * BLOCK} candidates survive; in the last {BLOCK}: "
                f"{dict(zip(cuts, _survivors(passed, len(cuts)).tolist()))}. Limits: {dict(limits)}, "
                f"max_age_gyr = {max_age_gyr}; widen what leaves nothing"
            )
    columns = {name: np.concatenate([batch[name] for batch in batches]) for name in names}
    return Population(columns, dict(zip(cuts, counts.tolist())))


def primary_mass(quantile: np.ndarray) -> np.ndarray:
    """Primary masses [M☉] at quantiles in [0, 1): flat on 0.1–1, ∝ m^−2.35 on 1–2, continuous (Table 1)."""
    flat, slope = 0.9, 1.35
    steep = (1.0 - 2.0**-slope) / slope
    area = np.asarray(quantile, float) * (flat + steep)
    return np.where(area < flat, 0.1 + area, (1.0 - slope * np.maximum(area - flat, 0.0)) ** (-1.0 / slope))


def _generator(seed: int, block: int, stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(stream, block))))


def candidates(
    seed: int,
    block: int,
    tracks: TrackGrid,
    law: str = "paper",
    max_age_gyr: float | None = None,
    imf: str = "kroupa",
    fixed: Mapping[str, float] | None = None,
) -> dict[str, np.ndarray]:
    """The stars of one block of candidates before any cut, and the `status` of each pair; NaN off the tracks.

    `fixed`: feh or afe that all stars have, instead of drawing it. The realistic law adds orbits, `dv` and whether the
    pair is `detached`.
    """
    random = _generator(seed, block, _STARS)
    pair_id = np.arange(block * BLOCK, (block + 1) * BLOCK, dtype=np.int64)
    given = {name: np.full(BLOCK, float(value)) for name, value in (fixed or {}).items()}
    if law != "realistic":
        drawn = {**_table_1(random), **given}
        return {"pair_id": pair_id, **drawn, **_on_tracks(drawn, tracks, max_age_gyr)}
    drawn = realistic.systems(random, BLOCK, tracks, max_age_gyr, imf, given)
    stars = {"pair_id": pair_id, **drawn, **_on_tracks(drawn, tracks, max_age_gyr)}
    return {**stars, DETACHED: realistic.detached(stars)}


def _table_1(random: np.random.Generator) -> dict[str, np.ndarray]:
    """Masses, composition and EEPs of one block of candidates (Zhang et al. 2022, Table 1)."""
    return {
        "m1": primary_mass(random.random(BLOCK)),
        "q": random.uniform(0.01, 1.0, BLOCK),
        "feh": random.uniform(-2.0, 0.5, BLOCK),
        "afe": random.uniform(-0.5, 0.7, BLOCK),
        "eep1": random.uniform(202.0, 605.0, BLOCK),
    }


def _on_tracks(drawn: Mapping[str, np.ndarray], tracks: TrackGrid, max_age_gyr: float | None) -> dict[str, np.ndarray]:
    """Both stars of each pair, and its `PairStatus`."""
    m1, q, feh, eep1 = (drawn[name] for name in ("m1", "q", "feh", "eep1"))
    pairs = tracks.pairs(m1, q, feh, eep1, max_age_gyr)
    one, two = pairs.primary, pairs.secondary
    # A primary without an EEP was drawn at an age that it does not reach: no fault of the grid.
    on_axes = (feh >= tracks.feh[0]) & (feh <= tracks.feh[-1]) & (q * m1 >= tracks.mass[0])
    return {
        "eep2": two[:, -1],
        "log_age": one[:, LOG_AGE],
        "teff1": 10 ** one[:, LOG_TEFF],
        "teff2": 10 ** two[:, LOG_TEFF],
        "logg1": one[:, LOGG],
        "logg2": two[:, LOGG],
        "radius1": 10 ** one[:, LOG_RADIUS],
        "radius2": 10 ** two[:, LOG_RADIUS],
        "status": np.where(np.isnan(eep1) & on_axes, PairStatus.UNREACHABLE_AGE, pairs.status),
    }


def within(stars: Mapping[str, np.ndarray], limits: Mapping[str, tuple[float, float]], star: int) -> np.ndarray:
    """Whether the primary (1) or secondary (2) of each pair lies within a library's limits, (N,) bool."""
    inside = np.ones(len(stars["feh"]), bool)
    for axis, label in (("teff", f"teff{star}"), ("logg", f"logg{star}"), ("feh", "feh"), ("afe", "afe")):
        low, high = limits.get(axis, (-np.inf, np.inf))
        inside &= (stars[label] >= low) & (stars[label] <= high)
    return inside


def _passed_cuts(stars: Mapping[str, np.ndarray], limits: Mapping[str, tuple[float, float]]) -> np.ndarray:
    """How many of the `CUTS` each candidate has passed, in order, (BLOCK,): all of them if it survives.

    Pairs that know whether they are `detached` face that cut last.
    """
    status = stars["status"]
    passes = (
        np.ones(status.size, bool),
        status != PairStatus.OFF_GRID,
        status != PairStatus.UNREACHABLE_AGE,
        status != PairStatus.TOO_OLD,
        within(stars, limits, 1),
        within(stars, limits, 2),
        *([stars[DETACHED]] if DETACHED in stars else []),
    )
    return np.cumprod(passes, axis=0).sum(axis=0)


def _survivors(passed: np.ndarray, n_cuts: int) -> np.ndarray:
    """Candidates that survive each cut, (n_cuts,)."""
    return np.array([(passed >= cut).sum() for cut in range(1, n_cuts + 1)])


def _observed(
    seed: int,
    block: int,
    law: str,
    slow_rotator_fraction: float,
    slow_rotator_scale: float,
    close_dv_fraction: float,
    close_dv_max: float,
) -> dict[str, np.ndarray]:
    """Rotation, velocities and S/N of one block of candidates: independent of the stars, drawn if wanted."""
    random = _generator(seed, block, _OBSERVED)
    vsini = random.uniform(0.0, 500.0, (2, BLOCK))
    v1 = random.normal(0.0, 5.0, BLOCK)
    dv = random.uniform(-500.0, 500.0, BLOCK)
    snr = random.uniform(5.0, 100.0, BLOCK)
    if law == "survey":
        slow = random.random(BLOCK) < slow_rotator_fraction
        vsini = np.where(slow, random.exponential(slow_rotator_scale, (2, BLOCK)), vsini)
        close = random.random(BLOCK) < close_dv_fraction
        dv = np.where(close, dv * (close_dv_max / 500.0), dv)
    return {"vsini1": vsini[0], "vsini2": vsini[1], "v1": v1, "dv": dv, "snr": snr}
