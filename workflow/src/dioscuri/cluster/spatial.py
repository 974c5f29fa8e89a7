"""Are the candidates distributed as the other stars? Fractions, their difference, and distances from the centre."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest, ecdf, fisher_exact, ks_2samp, norm

ARCSEC_PER_RADIAN = 206264.806


@dataclass(frozen=True)
class Proportion:
    """`count` of `total`: `value`, its binomial `error` √(p (1 − p)/n), and the 68 % Wilson interval `low`, `high`."""

    count: int
    total: int
    value: float
    error: float
    low: float
    high: float


def proportion(count: int, total: int) -> Proportion:
    """The fraction `count` / `total` with its uncertainty, as 8/102 = 7.84 ± 2.66 % (Wu et al. 2023, §4.3).

    The binomial error is 0 where nothing, or everything, is found: use the interval there.
    """
    if not 0 <= count <= total or total < 1:
        raise ValueError(f"proportion: {count} of {total}; accepted: a count between 0 and a total of 1 or more")
    value = count / total
    interval = binomtest(count, total).proportion_ci(norm.cdf(1) - norm.cdf(-1), method="wilson")
    return Proportion(count, total, value, np.sqrt(value * (1 - value) / total), interval.low, interval.high)


@dataclass(frozen=True)
class Comparison:
    """Two fractions, `z` of their difference (second − first), its two-sided `p`, and that of Fisher's exact test.

    The normal approximation behind z asks for about ten candidates on either side; the exact test for none.
    """

    first: Proportion
    second: Proportion
    z: float
    p: float
    exact_p: float


def compare_proportions(first: tuple[int, int], second: tuple[int, int]) -> Comparison:
    """Test whether two fractions, each (count, total), differ: the pooled Z-test of §4.4, and Fisher's exact test."""
    one, other = proportion(*first), proportion(*second)
    pooled = (one.count + other.count) / (one.total + other.total)
    scatter = np.sqrt(pooled * (1 - pooled) * (1 / one.total + 1 / other.total))
    z = (other.value - one.value) / scatter if scatter > 0 else 0.0
    table = [[part.count, part.total - part.count] for part in (one, other)]
    return Comparison(one, other, float(z), float(2 * norm.sf(abs(z))), float(fisher_exact(table).pvalue))


def core_and_outside(distance: np.ndarray, is_candidate: np.ndarray, core_radius: float) -> Comparison:
    """Fractions of candidates within and beyond `core_radius` [unit of `distance` (S,)], compared."""
    inside = np.asarray(distance) <= core_radius
    is_candidate = np.asarray(is_candidate, bool)
    core, outside = (((is_candidate & where).sum(), where.sum()) for where in (inside, ~inside))
    if not core[1] or not outside[1]:
        raise ValueError(
            f"spatial: {core[1]} sources within the core radius {core_radius:g} and {outside[1]} beyond it; "
            "a comparison needs both"
        )
    return compare_proportions((int(core[0]), int(core[1])), (int(outside[0]), int(outside[1])))


@dataclass(frozen=True)
class RadialTest:
    """Distances of candidates against those of all sources: Kolmogorov–Smirnov, and what Fig. 12 draws.

    `statistic` D and `p` of the two-sample test; `cdf_candidates` and `cdf_sources`: each (2, N), distance and
    cumulative fraction; `quantiles` (2, Q): distances of sources and of candidates at the same fractions.
    """

    statistic: float
    p: float
    cdf_candidates: np.ndarray
    cdf_sources: np.ndarray
    quantiles: np.ndarray


def radial_test(candidates: np.ndarray, sources: np.ndarray) -> RadialTest:
    """Compare the distances from the centre of `candidates` (N,) with those of `sources` (S,), in one unit.

    The quantiles are those of the sorted candidates, at the fractions (k − ½)/N.
    """
    candidates, sources = np.sort(np.asarray(candidates, float)), np.asarray(sources, float)
    if not len(candidates) or not len(sources):
        raise ValueError(f"spatial: {len(candidates)} candidates and {len(sources)} sources; a test needs both")
    test = ks_2samp(candidates, sources)
    fraction = (np.arange(len(candidates)) + 0.5) / len(candidates)
    return RadialTest(
        float(test.statistic),
        float(test.pvalue),
        _cumulative(candidates),
        _cumulative(sources),
        np.stack([np.quantile(sources, fraction, method="hazen"), candidates]),
    )


def _cumulative(values: np.ndarray) -> np.ndarray:
    """Distances and cumulative fractions (2, N), ascending."""
    cdf = ecdf(values).cdf
    return np.stack([cdf.quantiles, cdf.probabilities])


def angular_size(length_pc: float, distance_pc: float) -> float:
    """Angle [arcsec] of a length seen from a distance, both in pc: 0.53 pc at 1720 pc are 64″."""
    return length_pc / distance_pc * ARCSEC_PER_RADIAN


def projected_separation(sep, pixel_scale: float, distance_pc: float):
    """Projected separation [au] of `sep` [pixels of `pixel_scale` arcsec]: 1 au seen from 1 pc is 1″."""
    return np.asarray(sep, float) * pixel_scale * distance_pc
