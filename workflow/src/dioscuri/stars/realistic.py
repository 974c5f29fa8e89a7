"""Binaries as the field has them, for purity estimates: initial mass function, orbits, ages, rotation.

The `realistic` law of `population.draw_pairs`. Not for training: a network trained on it would hardly see the
pairs that it is meant to find. Orbits follow the fits of Moe & Di Stefano 2017 (ApJS 230, 15; "MDS" below)
with these simplifications: each companion stands for itself (no triples), below 0.8 M☉ the law of 0.8 M☉
holds, eccentricities follow the power law up to their maximum without a turnover, masses are the initial
ones, and no pair has ever exchanged mass or evolved its orbit. Pairs closer than 1.6 d (log P = 0.2) and
those with dead primaries are not drawn. What a survey selects by brightness is left to `stars.census`.
"""

from collections.abc import Mapping
from functools import cache

import numpy as np

from dioscuri.stars.tracks import TrackGrid

# Columns beyond `population.LABELS`: d, –, three angles in degrees, semi-amplitudes in km/s.
ORBIT_LABELS = ("period", "ecc", "inclination", "periastron", "mean_anomaly", "k1", "k2")
HUBBLE_TIME = 13.8  # Gyr, oldest star where no `max_age_gyr` is given
LOG_PERIODS = (0.2, 8.0)  # log10 d, range of the fits
MASS_LAW_MAX = 3.5  # M☉, where the slopes for A and late-B primaries are anchored: no primary is heavier
KRAFT_BREAK = 6200.0  # K, cooler stars have braked (Kraft 1967)
LOCKING_PERIOD = 10.0  # d, stars in closer pairs turn with the orbit
_GM_SUN = 1.3271244e11  # km³/s² (IAU 2015 B3)
_RADIUS_SUN = 695700.0  # km (IAU 2015 B3)
_DAY = 86400.0  # s
_LIGHTEST = 0.8  # M☉, lightest primary of the fits
_ALPHA, _HALF_PLATEAU = (
    0.018,
    0.7,
)  # slope of the period law around log P = 2.7, and half its width (MDS, eq. 23)


def systems(
    random: np.random.Generator,
    n: int,
    tracks: TrackGrid,
    max_age_gyr: float | None = None,
    imf: str = "kroupa",
    given: Mapping[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Draw `n` candidate binaries: masses, composition, EEP of the primary, orbit and Δv, each (n,).

    m1 [M☉] by the `imf` (one of `IMFS`) within the tracks (at most 3.5); age uniform up to `max_age_gyr`
    (None: 13.8), so that `eep1` is NaN where the primary has died or not yet begun; [Fe/H] ~ N(−0.15, 0.25),
    which limits cut and do not squeeze; [α/Fe] falling with [Fe/H]; orbits oriented at random, seen at a random
    time. `dv` is the velocity of the secondary less that of the primary. `given`: feh or afe that are not drawn.
    """
    given = given or {}
    uniform = random.random((9, n))
    m1 = IMFS[imf](uniform[0], tracks.mass[0], min(tracks.mass[-1], MASS_LAW_MAX))
    log_period = period_quantile(uniform[1], m1)
    q = mass_ratio(uniform[2], m1, log_period)
    ecc = eccentricity(uniform[3], log_period)
    inclination = np.arccos(uniform[4])
    periastron, mean_anomaly = 2 * np.pi * uniform[5:7]
    period = 10**log_period
    k1, k2 = semi_amplitudes(m1, q * m1, period, ecc, inclination)
    oldest = HUBBLE_TIME if max_age_gyr is None else max_age_gyr
    log_age = 9.0 + np.log10(oldest * (1.0 - uniform[7]))
    feh, scatter = random.normal(-0.15, 0.25, n), random.normal(0.0, 0.05, n)
    feh = given.get("feh", feh)
    return {
        "m1": m1,
        "q": q,
        "feh": feh,
        # From the discs' plateau at [Fe/H] ≲ −1.2 down to the Sun's: roughly as LAMOST and GALAH find dwarfs.
        "afe": given.get("afe", np.clip(-0.25 * feh, 0.0, 0.3) + scatter),
        "eep1": tracks.eep_at_age(m1, log_age, feh),
        "period": period,
        "ecc": ecc,
        "inclination": np.degrees(inclination),
        "periastron": np.degrees(periastron),
        "mean_anomaly": np.degrees(mean_anomaly),
        "k1": k1,
        "k2": k2,
        "dv": -(k1 + k2) * radial_velocity(mean_anomaly, ecc, periastron),
    }


def observed(
    random: np.random.Generator, stars: Mapping[str, np.ndarray], snr_median: float = 30.0
) -> dict[str, np.ndarray]:
    """v sin i of both stars [km/s], residual velocity `v1` of the rest frame [km/s] and S/N per pixel: (N,).

    `v1` ~ N(0, 5) as in Table 1 of Zhang et al. 2022: spectra are shifted to the primary's rest frame before
    they are scored. S/N is log-normal of median `snr_median` and 0.6 in ln.
    """
    n = stars["m1"].size
    standard = random.standard_normal((3, 2, n))
    exponential = random.exponential(1.0, (2, n))
    columns = {
        f"vsini{star}": rotation(
            stars[f"teff{star}"],
            stars[f"radius{star}"],
            stars["period"],
            np.radians(stars["inclination"]),
            np.sqrt((standard[:, star - 1] ** 2).sum(axis=0)),
            exponential[star - 1],
        )
        for star in (1, 2)
    }
    columns["v1"] = random.normal(0.0, 5.0, n)
    columns["snr"] = snr_median * np.exp(0.6 * random.standard_normal(n))
    return columns


def detached(stars: Mapping[str, np.ndarray]) -> np.ndarray:
    """Whether both stars stay within their Roche lobes at periastron (Eggleton 1983, eq. 2), (N,) bool."""
    axis = separation(stars["m1"] * (1 + stars["q"]), stars["period"]) * (1 - stars["ecc"])
    return (stars["radius1"] < axis * roche_lobe(1 / stars["q"])) & (stars["radius2"] < axis * roche_lobe(stars["q"]))


# --- masses and orbits ------------------------------------------------------------------------------------


def kroupa_mass(quantile: np.ndarray, low: float, high: float) -> np.ndarray:
    """Masses [M☉] between `low` and `high` at quantiles in [0, 1): ∝ m^−1.3 below 0.5 M☉, m^−2.3 above
    (Kroupa 2001, MNRAS 322, 231)."""
    knee = 0.5

    def area(mass: float) -> float:  # from the knee: negative below it
        if mass < knee:
            return (knee**-0.3 - mass**-0.3) / 0.3
        return knee * (knee**-1.3 - mass**-1.3) / 1.3

    at = area(low) + np.asarray(quantile, float) * (area(high) - area(low))
    below = (knee**-0.3 - 0.3 * np.minimum(at, 0)) ** (-1 / 0.3)
    above = (knee**-1.3 - 1.3 * np.maximum(at, 0) / knee) ** (-1 / 1.3)
    return np.where(at < 0, below, above)


def chabrier_mass(quantile: np.ndarray, low: float, high: float) -> np.ndarray:
    """Masses [M☉] between `low` and `high` at quantiles in [0, 1): log-normal in m up to 1 M☉, ∝ m^−2.3 above
    (Chabrier 2003, PASP 115, 763: single stars of the disc)."""
    peak, width, knee = np.log10(0.079), 0.69, 0.0
    log_m = np.linspace(np.log10(low), np.log10(high), 4001)
    below = np.exp(-0.5 * ((np.minimum(log_m, knee) - peak) / width) ** 2)  # stars per dex
    density = below * 10 ** (-1.3 * np.maximum(log_m - knee, 0))
    area = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]))])
    return 10 ** np.interp(np.asarray(quantile, float) * area[-1], area, log_m)


IMFS = {"kroupa": kroupa_mass, "chabrier": chabrier_mass}


def companion_rate(m1: np.ndarray, log_period: np.ndarray) -> np.ndarray:
    """Companions of q > 0.1 per primary of `m1` [M☉] and per dex of period [d] (MDS, eqs. 20–23)."""
    m1, x = np.broadcast_arrays(np.maximum(m1, _LIGHTEST), log_period)
    log_m = np.log10(m1)
    first = 0.020 + 0.04 * log_m + 0.07 * log_m**2  # log P < 1
    middle = 0.039 + 0.07 * log_m + 0.01 * log_m**2  # log P = 2.7
    peak = 0.078 - 0.05 * log_m + 0.04 * log_m**2  # log P = 5.5
    rise = _ALPHA * _HALF_PLATEAU
    rate = np.select(
        [x < 1.0, x < 2.7 - _HALF_PLATEAU, x < 2.7 + _HALF_PLATEAU, x < 5.5],
        [
            first,
            first + (x - 1.0) / (1.7 - _HALF_PLATEAU) * (middle - first - rise),
            middle + _ALPHA * (x - 2.7),
            middle + rise + (x - 2.7 - _HALF_PLATEAU) / (2.8 - _HALF_PLATEAU) * (peak - middle - rise),
        ],
        peak * np.exp(-0.3 * (x - 5.5)),
    )
    # The fits count q > 0.3; the slopes of the mass ratio say how many lie below.
    small, large, twins = _mass_ratio_parts(m1, x)
    return rate * (small + large + twins)


def companion_frequency(m1: np.ndarray) -> np.ndarray:
    """Mean number of companions (q > 0.1, 0.2 < log P < 8) of primaries of `m1` [M☉], (N,)."""
    mass, _, _, frequency = _period_table()
    return np.interp(m1, mass, frequency)


def period_quantile(quantile: np.ndarray, m1: np.ndarray) -> np.ndarray:
    """log10 period [d] of companions (q > 0.1) of primaries of `m1` [M☉] at quantiles in [0, 1), (N,)."""
    mass, levels, table, _ = _period_table()
    row, y = _cell(mass, np.clip(m1, mass[0], mass[-1]))
    column, x = _cell(levels, quantile)
    low = (1 - x) * table[row, column] + x * table[row, column + 1]
    high = (1 - x) * table[row + 1, column] + x * table[row + 1, column + 1]
    return (1 - y) * low + y * high


@cache
def _period_table() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Masses (M,), quantiles (Q,), log P at them (M, Q) and companions per primary (M,)."""
    mass, levels = np.linspace(_LIGHTEST, MASS_LAW_MAX, 109), np.linspace(0.0, 1.0, 1025)
    x = np.linspace(*LOG_PERIODS, 781)
    rate = companion_rate(mass[:, None], x)
    area = np.zeros_like(rate)
    area[:, 1:] = np.cumsum(0.5 * (rate[:, 1:] + rate[:, :-1]) * np.diff(x), axis=1)
    table = np.stack([np.interp(levels, row / row[-1], x) for row in area])
    return mass, levels, table, area[:, -1]


def _cell(axis: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of the node below each value on an equidistant axis, and the fraction of a step above it."""
    place = (np.asarray(values, float) - axis[0]) / (axis[1] - axis[0])
    index = np.minimum(place.astype(int), axis.size - 2)
    return index, place - index


def mass_ratio(quantile: np.ndarray, m1: np.ndarray, log_period: np.ndarray) -> np.ndarray:
    """Mass ratios 0.1–1 of companions of primaries of `m1` [M☉] at log10 period [d], at quantiles in [0, 1).

    A power law below q = 0.3, another above, and an excess of twins, uniform on 0.95–1 (MDS, eqs. 5–14).
    """
    slope_small, slope_large, _ = _mass_ratio_law(m1, log_period)
    small, large, twins = _mass_ratio_parts(m1, log_period)
    at = np.asarray(quantile, float) * (small + large + twins)
    return np.select(
        [at < small, at < small + large],
        [
            _power_law(np.clip(at / small, 0, 1), 0.1, 0.3, slope_small),
            _power_law(np.clip((at - small) / large, 0, 1), 0.3, 1.0, slope_large),
        ],
        0.95 + 0.05 * (at - small - large) / np.where(twins > 0, twins, 1.0),
    )


def _mass_ratio_law(m1: np.ndarray, log_period: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slopes of the mass ratio below and above 0.3, and the share of twins among companions of q > 0.3."""
    m1, x = np.broadcast_arrays(np.maximum(m1, _LIGHTEST), np.asarray(log_period, float))
    # From primaries of 1.2 M☉ to those of 3.5, linearly in log mass.
    weight = np.clip(np.log10(m1 / 1.2) / np.log10(MASS_LAW_MAX / 1.2), 0.0, 1.0)
    small = (1 - weight) * 0.3 + weight * np.interp(x, [2.5, 5.5, 8.0], [0.2, -0.7, -1.2])
    large = (1 - weight) * np.interp(x, [5.0, 8.0], [-0.5, -1.4]) + weight * np.interp(
        x, [1.0, 4.5, 6.5], [-0.5, -1.2, -2.0]
    )
    last = 8.0 - m1  # log P beyond which there is no excess of twins
    twins = (0.30 - 0.15 * np.log10(m1)) * np.clip((last - x) / (last - 1.0), 0.0, 1.0)
    return small, large, twins


def _mass_ratio_parts(m1: np.ndarray, log_period: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Companions of q < 0.3, of the power law above, and excess twins, per companion of q > 0.3."""
    slope_small, slope_large, twins = _mass_ratio_law(m1, log_period)
    at_knee = (1 - twins) / _power_integral(0.3, 1.0, slope_large) * 0.3**slope_large
    small = at_knee / 0.3**slope_small * _power_integral(0.1, 0.3, slope_small)
    return small, 1 - twins, twins


def _power_integral(low: float, high: float, slope: np.ndarray) -> np.ndarray:
    """Integral of x^slope from `low` to `high`; through slope = −1 without a jump."""
    power = _not_zero(slope + 1)
    return low**power * np.expm1(power * np.log(high / low)) / power


def _power_law(quantile: np.ndarray, low: float, high: float, slope: np.ndarray) -> np.ndarray:
    """Values ∝ x^slope between `low` and `high` at quantiles in [0, 1]."""
    power = _not_zero(slope + 1)
    return low * np.exp(np.log1p(quantile * np.expm1(power * np.log(high / low))) / power)


def _not_zero(power: np.ndarray) -> np.ndarray:
    return np.where(np.abs(power) < 1e-9, 1e-9, power)


def eccentricity(quantile: np.ndarray, log_period: np.ndarray) -> np.ndarray:
    """Eccentricities ∝ e^η up to that which brings the stars together, at quantiles in [0, 1).

    η = 0.6 − 0.7 / (log P − 0.5), held at its value of log P = 1 in closer pairs; circular below two days
    (MDS, eqs. 3 and 17).
    """
    x = np.asarray(log_period, float)
    slope = 0.6 - 0.7 / (np.maximum(x, 1.0) - 0.5)
    largest = 1.0 - (np.maximum(10**x, 2.0) / 2.0) ** (-2.0 / 3.0)
    return largest * np.asarray(quantile, float) ** (1.0 / (1.0 + slope))


def semi_amplitudes(
    m1: np.ndarray, m2: np.ndarray, period: np.ndarray, ecc: np.ndarray, inclination: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Semi-amplitudes K1, K2 [km/s] of masses [M☉], period [d], eccentricity and inclination [rad]."""
    total = m1 + m2
    orbital = (2 * np.pi * _GM_SUN * total / (period * _DAY)) ** (1 / 3)  # of the relative orbit, if circular
    projected = orbital * np.sin(inclination) / np.sqrt(1 - ecc**2)
    return projected * m2 / total, projected * m1 / total


def radial_velocity(mean_anomaly: np.ndarray, ecc: np.ndarray, periastron: np.ndarray) -> np.ndarray:
    """Velocity of the primary in units of K1: cos(ν + ω) + e cos ω (angles in rad); that of the secondary is
    −K2 times it."""
    half = 0.5 * eccentric_anomaly(mean_anomaly, ecc)
    true_anomaly = 2 * np.arctan2(np.sqrt(1 + ecc) * np.sin(half), np.sqrt(1 - ecc) * np.cos(half))
    return np.cos(true_anomaly + periastron) + ecc * np.cos(periastron)


def eccentric_anomaly(mean_anomaly: np.ndarray, ecc: np.ndarray) -> np.ndarray:
    """Solve Kepler's equation E − e sin E = M for E [rad], of 0 ≤ e < 1; E lies in the turn of M.

    Newton's method on 0 ≤ M ≤ π, where the equation is convex, from above the root: it descends to it and
    cannot overshoot. The start is the least of four upper bounds, the third from E − sin E ≥ E³/π².
    """
    mean_anomaly, ecc = np.broadcast_arrays(np.asarray(mean_anomaly, float), np.asarray(ecc, float))
    turns = np.round(mean_anomaly / (2 * np.pi))
    signed = mean_anomaly - 2 * np.pi * turns
    m = np.abs(signed)
    bounds = (m + ecc, m / (1 - ecc), np.cbrt(np.pi**2 * m / np.maximum(ecc, 1e-3)))
    e_anomaly = np.minimum(np.pi, np.minimum.reduce(bounds))
    for _ in range(50):
        step = (e_anomaly - ecc * np.sin(e_anomaly) - m) / (1 - ecc * np.cos(e_anomaly))
        e_anomaly = e_anomaly - step
        if np.abs(step).max(initial=0.0) < 1e-14:
            break
    return np.copysign(e_anomaly, signed) + 2 * np.pi * turns


def separation(total_mass: np.ndarray, period: np.ndarray) -> np.ndarray:
    """Semi-major axis [R☉] of the relative orbit: Kepler's third law, of total mass [M☉] and period [d]."""
    return np.cbrt(_GM_SUN * total_mass * (period * _DAY / (2 * np.pi)) ** 2) / _RADIUS_SUN


def roche_lobe(ratio: np.ndarray) -> np.ndarray:
    """Radius of a star's Roche lobe over the separation; `ratio`: its mass over the other's."""
    third = np.cbrt(ratio)
    return 0.49 * third**2 / (0.6 * third**2 + np.log1p(third))


# --- rotation ---------------------------------------------------------------------------------------------


def rotation(
    teff: np.ndarray,
    radius: np.ndarray,
    period: np.ndarray,
    inclination: np.ndarray,
    maxwell: np.ndarray,
    exponential: np.ndarray,
) -> np.ndarray:
    """v sin i [km/s] of stars of `teff` [K] and `radius` [R☉] in orbits of `period` [d], `inclination` [rad].

    Closer than ten days they turn with the orbit, 2πR sin i / P (hot stars do so only in somewhat closer
    pairs: a simplification). Else below the Kraft break exponential of mean 5 km/s; above, Maxwellian, of a
    mean that climbs from 10 km/s at the break to 100 km/s at 7200 K, roughly as from F8 to F0 dwarfs.
    `maxwell` and `exponential` are draws from the standard laws.
    """
    mean = 10.0 + 90.0 * np.clip((teff - KRAFT_BREAK) / 1000.0, 0.0, 1.0)
    free = np.where(teff < KRAFT_BREAK, 5.0 * exponential, mean * maxwell / np.sqrt(8 / np.pi))
    locked = 2 * np.pi * radius * _RADIUS_SUN * np.sin(inclination) / (period * _DAY)
    return np.where(period < LOCKING_PERIOD, locked, free)
