"""The embedded evolutionary tracks: analytic formulae laid on equivalent evolutionary points (EEPs)."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from dioscuri.stars.hurley import MASS_MAX, MASS_MIN, Z_MAX, Z_MIN, Formulae

Z_SUN = 0.0142857  # initial solar metal mass fraction of MIST (Choi et al. 2016): Z = Z_SUN · 10^[Fe/H]
TEFF_SUN = 5772.0  # K, nominal (IAU 2015 B3)
LOGG_SUN = 4.438  # cgs, nominal

# Primary EEPs (Dotter 2016). At IAMS central hydrogen falls to 0.3: after 45 % of the main sequence at 1 M☉.
ZAMS, IAMS, TAMS, RGB_TIP = 202, 353, 454, 605
_IAMS_FRACTION = 0.45
# Below this mass the giant branch lies at hundreds of Gyr and MIST's tracks end at TAMS: ours do too.
_MASS_GIANT = 0.6

DEFAULT_FEH = tuple(np.round(np.arange(-2.0, 0.51, 0.25), 2))
_DEFAULT_MASS = np.unique(
    np.round(
        np.r_[
            0.10, 0.13, 0.16, np.arange(0.20, 0.58, 0.05), _MASS_GIANT - 1e-6, _MASS_GIANT,
            np.arange(0.65, 0.90, 0.05), np.arange(0.90, MASS_MAX + 1e-9, 0.02),
        ],
        6,
    )
)  # fmt: skip
_SAMPLES = 1500  # per phase: ten and more to each EEP


def build(
    feh: Sequence[float] | None = None, mass_max: float = 2.2
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
    """Lay the analytic tracks on EEPs 202 (ZAMS) to 605 (tip of the red giant branch).

    `feh`: nodes of [Fe/H] (None: −2 to +0.5 by 0.25); `mass_max` [M☉] ≤ 2.5. Returns (feh (F,), mass (M,),
    eep (E,), values (F, M, E, 6) in the order of `tracks.COLUMNS`, provenance). Values are NaN past TAMS
    below 0.6 M☉. Above [Fe/H] = +0.32 the stars are those of Z = 0.03, the end of the published fits; the
    provenance says so.
    """
    nodes = np.asarray(DEFAULT_FEH if feh is None else sorted(feh), float)
    metals = Z_SUN * 10**nodes
    if metals.min() < Z_MIN:
        raise ValueError(
            f"embedded tracks: [Fe/H] = {nodes.min():g} is below the published fits; "
            f"accepted: {np.log10(Z_MIN / Z_SUN):.2f} or more (use tracks.source: mist for less)"
        )
    if not MASS_MIN < mass_max <= MASS_MAX:
        raise ValueError(f"embedded tracks: mass_max = {mass_max:g} M☉; accepted: {MASS_MIN} to {MASS_MAX}")
    mass = _DEFAULT_MASS[mass_max + 1e-9 >= _DEFAULT_MASS]
    eep = np.arange(ZAMS, RGB_TIP + 1)
    values = np.stack([_tracks(Formulae(min(z, Z_MAX)), mass) for z in metals])
    provenance = {
        "source": "embedded",
        "physics": "Hurley, Pols & Tout 2000 (MNRAS 315, 543); Tout et al. 1996 (MNRAS 281, 257)",
        "z_sun": Z_SUN,
        "feh_evaluated_at_z_max": [float(f) for f, z in zip(nodes, metals) if z > Z_MAX],
    }
    return nodes, mass, eep.astype(float), values, provenance


def contraction_age(mass: np.ndarray) -> np.ndarray:
    """Age [Myr] at the zero-age main sequence, which the formulae count as zero.

    42 Myr at 1 M☉ as in MIST v1.2 (EEP 202), shortening as M⁻², at most 1.6 Gyr.
    """
    return np.minimum(42.0 * np.asarray(mass, float) ** -2.0, 1600.0)


def _tracks(formulae: Formulae, mass: np.ndarray) -> np.ndarray:
    """The tracks of one metallicity, (M, E, 6): sampled densely, then spaced evenly along the HRD."""
    m = mass[:, None]
    end, base = formulae.main_sequence_age(m), formulae.giant_base_age(m)
    step = np.linspace(0.0, 1.0, _SAMPLES)
    # The first half of the main sequence runs evenly in log age, from the contraction age on.
    youth = contraction_age(m)
    early = youth * (1.0 + end * _IAMS_FRACTION / youth) ** step - youth
    late = end * (_IAMS_FRACTION + (1 - _IAMS_FRACTION) * step)
    # On the giant branch stars race: sample evenly in log luminosity and ask for the age.
    low, high = formulae.giant_base_luminosity(m), formulae.tip_luminosity(m)
    rising = low * (high / low) ** step
    giant_radius = formulae.giant_radius(m, rising)
    giant_age = formulae.giant_age(m, rising)
    gap = end + (base - end) * step[:-1]
    gap_luminosity, gap_radius = formulae.subgiant(m, gap)
    phases = (
        (ZAMS, IAMS, early, *formulae.main_sequence(m, early)),
        (IAMS, TAMS, late, *formulae.main_sequence(m, late)),
        (
            TAMS,
            RGB_TIP,
            np.concatenate([gap, giant_age], axis=1),
            np.concatenate([gap_luminosity, rising], axis=1),
            np.concatenate([gap_radius, giant_radius], axis=1),
        ),
    )
    values = np.full((mass.size, RGB_TIP - ZAMS + 1, 6), np.nan)
    for first, last, age, luminosity, radius in phases:
        log_age = 6.0 + np.log10(age + youth)
        log_l, log_r = np.log10(luminosity), np.log10(radius)
        log_t = np.log10(TEFF_SUN) + 0.25 * log_l - 0.5 * log_r
        logg = LOGG_SUN + np.log10(m) - 2.0 * log_r
        distance = _distance(log_age, log_t, log_l)
        rows = slice(first - ZAMS, last - ZAMS + 1)
        for i in range(mass.size):
            if last == RGB_TIP and mass[i] < _MASS_GIANT:
                continue
            at = np.linspace(0.0, distance[i, -1], last - first + 1)
            for column, samples in enumerate((log_age, log_t, logg, log_r, log_l)):
                values[i, rows, column] = np.interp(at, distance[i], samples[i])
            values[i, rows, 5] = mass[i]
    return values


def _distance(log_age: np.ndarray, log_t: np.ndarray, log_l: np.ndarray) -> np.ndarray:
    """Length along each track, (M, N), in the metric that spaces secondary EEPs evenly (Dotter 2016, eq. 1).

    Weights 2 for log Teff and 1/8 for log L; that of log age is fitted to the 1 M☉ track of MIST v1.2, which
    runs evenly in log age from ZAMS to IAMS and turns to the HRD after it.
    """
    squares = 2.0 * np.diff(log_t) ** 2 + 0.125 * np.diff(log_l) ** 2 + 0.35 * np.diff(log_age) ** 2
    return np.concatenate([np.zeros((len(squares), 1)), np.cumsum(np.sqrt(squares), axis=1)], axis=1)
