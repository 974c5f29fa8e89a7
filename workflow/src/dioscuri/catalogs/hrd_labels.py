"""Labels from the Hertzsprung–Russell diagram as in Liu (2019): how far a star lies above the ridge of the singles.

Per bin of [Fe/H] the ridge is the mode of M_G along (G − Ks)0. What a class holds follows from the tracks: ΔM of mass
ratio 0.71 is 0.55 mag, of 0.93 0.735, of 1 0.75: near twins cannot be told from equals by any threshold.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

SINGLE, INTERMEDIATE, HIGH, NEITHER = 0, 1, 2, -1
BIN = 0.2  # dex of [Fe/H], as in Fig. 1
FEWEST = 50  # stars in a bin
RATIOS = np.array([0.0, 0.4, 0.6, 0.71, 0.93, 1.001])  # edges of the table of what a class holds
ROUNDS = 25
KEEP = (-0.18, 0.10)  # mag about the mode that the ridge is fitted to: pairs lie on one side


@dataclass(frozen=True)
class Thresholds:
    """ΔM [mag] of the classes: single |ΔM| < `single`; intermediate between `low` and `high`; high ratio above
    `twin`."""

    single: float
    low: float
    high: float
    twin: float

    @classmethod
    def of(cls, excess: Mapping[float, float], width: float) -> "Thresholds":
        """From the ΔM of mass ratios 0.71 and 0.93 and the measured 1σ `width` of the ridge [mag].

        Far enough from the ridge that true singles are rare, and from the twins' sequence by one width. Within two
        widths lie nine singles in ten: the width is that of the faint half, old stars above 5300 K lie higher.
        """
        low = max(excess[0.71] - 1.5 * width, 4.5 * width)
        return cls(single=2.0 * width, low=low, high=excess[0.93] - width, twin=excess[0.93] - 0.4 * width)


@dataclass(frozen=True)
class Labels:
    """`excess` ΔM (N,) [mag, positive is brighter], NaN where there is no ridge; `width` of the ridge; `n_without`
    reason → rows that have no label."""

    excess: np.ndarray
    width: float
    n_without: dict[str, int]

    def classes(self, thresholds: Thresholds) -> np.ndarray:
        """SINGLE, INTERMEDIATE, HIGH or NEITHER of every star, (N,)."""
        x = np.nan_to_num(self.excess, nan=-99.0)
        chosen = [np.abs(x) < thresholds.single, (x > thresholds.low) & (x < thresholds.high), x > thresholds.twin]
        return np.select(chosen, [SINGLE, INTERMEDIATE, HIGH], NEITHER)


def label(colour: np.ndarray, magnitude: np.ndarray, feh: np.ndarray) -> Labels:
    """ΔM of stars (N,) of intrinsic `colour` G − Ks, absolute `magnitude` M_G and [Fe/H].

    Rows that are not finite and those in bins of fewer than 50 stars have no label and are counted.
    """
    known = np.isfinite(colour) & np.isfinite(magnitude) & np.isfinite(feh)
    excess = np.full(len(colour), np.nan)
    small = 0
    cores = []
    bins = np.floor(np.where(known, feh, 0.0) / BIN + 0.25).astype(int)  # −0.05 to 0.15 is a bin, as in Fig. 1
    for number in np.unique(bins[known]):
        rows = np.flatnonzero(known & (bins == number))
        if len(rows) < FEWEST:
            small += len(rows)
            continue
        excess[rows], core = _above_ridge(colour[rows], magnitude[rows], feh[rows])
        cores.append(core)
    if not cores:
        raise ValueError(
            f"HR diagram: no bin of [Fe/H] holds {FEWEST} stars with colour, magnitude and [Fe/H] "
            f"({int(known.sum())} of {len(known)} rows have all three)"
        )
    width = float(1.4826 * np.median(np.concatenate(cores)))
    return Labels(excess, width, {"photometry or parallax unknown": int((~known).sum()), "bin too small": small})


def _above_ridge(colour: np.ndarray, magnitude: np.ndarray, feh: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """ΔM (n,) above the mode along colour, and |ΔM| of the faint half of the ridge, which pairs do not reach."""
    x, f = (colour - np.median(colour)) / 0.5, feh - np.median(feh)
    terms = np.stack([np.ones_like(x), x, x**2, x**3, f, f * x], axis=1)
    used = np.ones(len(x), bool)
    peak = 0.0
    residual = np.zeros(len(x))
    for _ in range(ROUNDS):
        solution, *_ = np.linalg.lstsq(terms[used], magnitude[used], rcond=None)
        residual = terms @ solution - magnitude
        peak = _mode(residual)
        used = (residual > peak + KEEP[0]) & (residual < peak + KEEP[1])
        if used.sum() < 20:
            break
    excess = residual - peak
    return excess, -excess[(excess < 0) & (excess > -0.5)]


def _mode(values: np.ndarray, step: float = 0.02) -> float:
    counts, edges = np.histogram(values, np.arange(-1.0, 1.3, step))
    smooth = np.convolve(counts, np.ones(5) / 5, "same")
    return float(edges[smooth.argmax()] + 0.5 * step)


def excess_of_ratio(
    absolute: Callable[[np.ndarray], Mapping[str, np.ndarray]], mass: np.ndarray, ratios: Sequence[float]
) -> dict[float, float]:
    """Mass ratio → ΔM [mag] above the ridge at the pair's own colour, the median over primaries of `mass` (n,).

    `absolute` gives the magnitudes G and Ks of single stars of given masses, as the tracks and atmospheres have them.
    """
    fine = np.linspace(0.1 * mass.min(), mass.max(), 600)
    singles = absolute(fine)
    ok = np.isfinite(singles["G"]) & np.isfinite(singles["Ks"])
    colour, magnitude = (singles["G"] - singles["Ks"])[ok], singles["G"][ok]
    order = np.argsort(colour)
    found = {}
    for q in ratios:
        light = {}
        for band in ("G", "Ks"):
            one, two = absolute(mass)[band], np.interp(q * mass, fine[ok], singles[band][ok])
            light[band] = -2.5 * np.log10(10 ** (-0.4 * one) + 10 ** (-0.4 * two))
        ridge = np.interp(light["G"] - light["Ks"], colour[order], magnitude[order])
        found[float(q)] = float(np.nanmedian(ridge - light["G"]))
    return found


def table_of_ratios(classes: np.ndarray, q: np.ndarray) -> dict[str, list[float]]:
    """What true mass ratios (N,; 0: single) each class holds: class → shares in the bins of RATIOS, singles first."""
    bins = np.where(q == 0, 0, np.digitize(q, RATIOS[1:-1]) + 1)
    table = {}
    for name, value in (("single", SINGLE), ("intermediate", INTERMEDIATE), ("high", HIGH)):
        rows = bins[classes == value]
        table[name] = (np.bincount(rows, minlength=len(RATIOS)) / max(len(rows), 1)).tolist()
    return table
