"""Parameters of an observed system from those of its analogues: histograms, densities and intervals (Figs. 7–8)."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import gaussian_kde

from dioscuri.analogues.simulation.geometry import isotropic_weight

LEVELS = (0.68, 0.95)
GRID_POINTS = 256
# A density needs some width: analogues that all share a value are drawn this wide, in parts of the axis.
NARROWEST = 0.01


@dataclass(frozen=True)
class Parameter:
    """A quantity to estimate: its column in the metadata, how to write it, and the scale on which it is spread.

    On the log scale values at or below `floor` (no accretion, no disc) count as `floor`.
    """

    column: str
    label: str
    unit: str
    scale: str = "log"  # log or linear
    floor: float = 0.0

    def __post_init__(self) -> None:
        if self.scale not in ("log", "linear") or (self.scale == "log" and self.floor <= 0):
            raise ValueError(f"parameter '{self.column}': scale is log (with a floor above 0) or linear")

    def forward(self, values: np.ndarray) -> np.ndarray:
        """Values as they are spread: themselves, or their decimal logarithm."""
        values = np.asarray(values, dtype=float)
        return np.log10(np.maximum(values, self.floor)) if self.scale == "log" else values

    def backward(self, spread: np.ndarray) -> np.ndarray:
        """The inverse of `forward`; no quantity here is below 0, whatever an interval is long enough to say."""
        return 10.0 ** np.asarray(spread) if self.scale == "log" else np.maximum(spread, 0.0)


# Those of Figs. 7 and 8 (total mass is added by `with_total_mass`) and the rest of the scoring function's.
PARAMETERS = (
    Parameter("age1", "age of the primary", "kyr", "linear"),
    Parameter("m1", "mass of the primary", "Msun", "log", 1e-3),
    Parameter("m2", "mass of the secondary", "Msun", "log", 1e-3),
    Parameter("m_total", "total mass", "Msun", "log", 1e-3),
    Parameter("separation", "separation", "AU", "log", 1.0),
    Parameter("disc_size1", "disc size, primary", "AU", "linear"),
    Parameter("disc_size2", "disc size, secondary", "AU", "linear"),
    Parameter("l1", "luminosity of the primary", "Lsun", "log", 1e-3),
    Parameter("l2", "luminosity of the secondary", "Lsun", "log", 1e-3),
    Parameter("mdot1", "accretion rate, primary", "Msun/yr", "log", 1e-9),
    Parameter("mdot2", "accretion rate, secondary", "Msun/yr", "log", 1e-9),
    Parameter("gas_mass_100au", "gas within 100 AU", "Msun", "log", 1e-5),
)


def with_total_mass(metadata: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The metadata with `m_total` = m1 + m2 [M☉], where both masses are there."""
    columns = dict(metadata)
    if {"m1", "m2"} <= columns.keys():
        columns["m_total"] = np.asarray(columns["m1"]) + np.asarray(columns["m2"])
    return columns


def available(metadata: Mapping[str, np.ndarray], parameters: tuple[Parameter, ...] = PARAMETERS) -> list[Parameter]:
    """Those of `parameters` that the metadata have: a user's catalogue need not have all."""
    return [parameter for parameter in parameters if parameter.column in metadata]


def isotropic_weights(separation: np.ndarray, projected: float, tolerance: float = 0.0) -> np.ndarray:
    """Weight (N,) of binaries at true `separation` [AU] seen at `projected` [AU], for viewers in all directions.

    A catalogue in which every binary is viewed at the projected separation s (§2.2) shows wide binaries as often as
    close ones. Viewers spread evenly over the sphere would see a binary of true separation D at s with the
    probability density p(s | D) = s / (D √(D² − s²)): the weight that turns counts of analogues into a posterior.
    It diverges, integrably, at D = s; with `tolerance` [AU] it is the mean over s ± tolerance, e.g. half the beam.
    Zero where D cannot be seen at s.
    """
    separation = np.asarray(separation, dtype=float)
    if projected <= 0 or tolerance < 0 or tolerance >= projected:
        raise ValueError(
            f"isotropic weights need a projected separation above 0 and a tolerance below it, found {projected} AU "
            f"and {tolerance} AU"
        )
    if tolerance == 0:
        wide = separation > projected
        out = np.zeros(separation.shape)
        out[wide] = projected / (separation[wide] * np.sqrt(separation[wide] ** 2 - projected**2))
        return out
    return isotropic_weight(separation, projected, tolerance) / (2 * tolerance)


@dataclass(frozen=True)
class Estimate:
    """One parameter: weighted median, intervals level → (low, high), and how many analogues stand behind it.

    All in the parameter's own unit. `n_effective` = (Σw)² / Σw² over the weights of systems: of `n` analogues, many are
    views of the same one.
    """

    parameter: Parameter
    median: float
    intervals: dict[float, tuple[float, float]]
    n: int
    n_effective: float


def estimate(
    parameter: Parameter, values: np.ndarray, weights: np.ndarray | None = None, system: np.ndarray | None = None
) -> Estimate:
    """Estimate a parameter from its values (K,) in the analogues, with weights (K,).

    system (K,): whose views they are; None: each is a system of its own.
    """
    values, weights, use = _valid(parameter, values, weights)
    each = np.arange(len(values)) if system is None else np.unique(np.asarray(system)[use], return_inverse=True)[1]
    by_system = np.bincount(each, weights)
    levels = [0.5] + [0.5 + side * 0.5 * level for level in LEVELS for side in (-1, 1)]
    median, *bounds = parameter.backward(quantiles(parameter.forward(values), levels, weights)).tolist()
    return Estimate(
        parameter,
        median,
        {level: (bounds[2 * k], bounds[2 * k + 1]) for k, level in enumerate(LEVELS)},
        len(values),
        float(by_system.sum() ** 2 / np.sum(by_system**2)),
    )


def quantiles(values: np.ndarray, levels: np.ndarray | list[float], weights: np.ndarray | None = None) -> np.ndarray:
    """Weighted quantiles over K of values (K,) or (K, P): the smallest with that share of the weight at or below it.

    Like numpy's method "inverted_cdf"; a median of 2 values is the lower one, and no value is made up.
    """
    return np.quantile(values, levels, axis=0, weights=weights, method="inverted_cdf")


@dataclass(frozen=True)
class Distributions:
    """A parameter's distribution per network and over all of them, as Figs. 7 and 8 stack them.

    edges (B + 1,) and grid (G,) in the parameter's unit (evenly spaced in its logarithm, if that is its scale);
    histograms: network → (B,) weight of its analogues per bin, each network summing to 1 / (number of networks);
    densities: network → (G,), and `stacked` (G,): probability density per unit of the *spread* axis.
    """

    parameter: Parameter
    edges: np.ndarray
    grid: np.ndarray
    histograms: dict[str, np.ndarray]
    densities: dict[str, np.ndarray]
    stacked: np.ndarray


def distributions(
    parameter: Parameter,
    values: Mapping[str, np.ndarray],
    weights: Mapping[str, np.ndarray] | None = None,
    *,
    bins: int = 24,
    limits: tuple[float, float] | None = None,
) -> Distributions:
    """Histograms and kernel densities of a parameter from the analogues of several networks, network → (K,).

    Each network counts alike, however many analogues its cut left. limits: of the axis, in the parameter's unit;
    the span of all values otherwise, widened by a kernel at either end.
    """
    given = {
        name: _valid(parameter, one, None if weights is None else weights[name])[:2] for name, one in values.items()
    }
    if not given:
        raise ValueError(f"no analogues given for '{parameter.column}'")
    spread = {name: (parameter.forward(one), weight / weight.sum()) for name, (one, weight) in given.items()}
    low, high = _axis(parameter, spread, limits)
    edges, grid = np.linspace(low, high, bins + 1), np.linspace(low, high, GRID_POINTS)
    narrowest = NARROWEST * (high - low)
    histograms = {
        name: np.histogram(np.clip(one, low, high), edges, weights=weight)[0] / len(spread)
        for name, (one, weight) in spread.items()
    }
    densities = {name: density(grid, one, weight, narrowest) for name, (one, weight) in spread.items()}
    everything = np.concatenate([one for one, _ in spread.values()])
    share = np.concatenate([weight / len(spread) for _, weight in spread.values()])
    stacked = density(grid, everything, share, narrowest)
    return Distributions(parameter, parameter.backward(edges), parameter.backward(grid), histograms, densities, stacked)


def density(grid: np.ndarray, values: np.ndarray, weights: np.ndarray, narrowest: float) -> np.ndarray:
    """Gaussian kernel density (G,) of weighted values (K,) by Scott's rule, no kernel narrower than `narrowest`."""
    scatter = np.sqrt(np.cov(values, aweights=weights)) if len(values) > 1 else 0.0
    # `gaussian_kde` measures kernels in units of the scatter, and fails where there is none.
    n_effective = 1.0 / np.sum((weights / weights.sum()) ** 2)
    if not scatter * n_effective**-0.2 > narrowest:
        kernels = np.exp(-0.5 * ((grid[:, None] - values) / narrowest) ** 2) / (np.sqrt(2 * np.pi) * narrowest)
        return kernels @ (weights / weights.sum())
    return gaussian_kde(values, "scott", weights)(grid)


def _axis(
    parameter: Parameter, spread: Mapping[str, tuple[np.ndarray, np.ndarray]], limits: tuple[float, float] | None
) -> tuple[float, float]:
    if limits is not None:
        low, high = parameter.forward(np.array(limits)).tolist()
        return low, high
    everything = np.concatenate([values for values, _ in spread.values()])
    low, high = float(everything.min()), float(everything.max())
    margin = 0.1 * (high - low) or 0.5 * max(abs(low), 1.0)
    low = low - margin
    if parameter.scale == "linear" and everything.min() >= 0:
        low = max(low, 0.0)  # ages and sizes are not negative
    return low, high + margin


def _valid(
    parameter: Parameter, values: np.ndarray, weights: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values and weights without those that are unknown (NaN) or weigh nothing, and which are left (K,)."""
    values = np.asarray(values, dtype=float)
    weights = np.ones(values.shape) if weights is None else np.asarray(weights, dtype=float)
    if values.shape != weights.shape or values.ndim != 1 or np.any(weights < 0) or not np.isfinite(weights).all():
        raise ValueError(
            f"'{parameter.column}': values {values.shape} and weights {weights.shape} must be two vectors of one "
            f"length, the weights finite and not negative"
        )
    use = np.isfinite(values) & (weights > 0)
    if not use.any():
        raise ValueError(
            f"'{parameter.column}': none of {len(values)} analogues has a known value and a weight above 0; with "
            f"isotropic weights this means that no analogue is wider than the projected separation"
        )
    return values[use], weights[use], use
