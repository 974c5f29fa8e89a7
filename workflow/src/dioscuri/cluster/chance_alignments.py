"""Chance alignments: unrelated stars so close on the sky that they pass for one pair (Wu et al. 2023, §2.1, §4.3)."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.integrate import quad
from scipy.spatial import cKDTree
from scipy.stats import gaussian_kde, poisson

from dioscuri.io import atomic

ARCSEC_PER_DEGREE = 3600.0
_CHORDS = 200  # across a circle whose area inside the frame is wanted
_RATIOS = 200  # flux ratios in the integral over blends
_FLUXES = 500  # at which the distribution of fluxes is tabulated


# --- the share of pairs among randomly placed stars ------------------------------------------------------------


def isolated_pairs(positions: np.ndarray, radius: float, box: float | None = None) -> np.ndarray:
    """Groups of exactly two of `positions` (S, 2): indices (P, 2) of stars closer than `radius` and alone in that.

    `box`: side of a periodic square in which the positions lie.
    """
    tree = cKDTree(positions, boxsize=box)
    pairs = tree.query_pairs(radius, output_type="ndarray").reshape(-1, 2)
    n_neighbours = np.bincount(pairs.ravel(), minlength=len(positions))
    return pairs[(n_neighbours[pairs] == 1).all(axis=1)]


def simulated_share(density: float, radius: float, *, runs: int = 10, n_stars: int = 100_000, seed: int) -> np.ndarray:
    """Isolated pairs per star in `runs` fields of `n_stars` randomly placed stars, (runs,).

    `density` [stars per square degree], `radius` [arcsec]. The fields are as large as the density makes them, and
    periodic, so that there are no edges.
    """
    box = np.sqrt(n_stars / density) * ARCSEC_PER_DEGREE
    shares = np.empty(runs)
    for run in range(runs):
        rng = np.random.Generator(np.random.Philox(key=[seed, run]))
        shares[run] = len(isolated_pairs(rng.uniform(0, box, (n_stars, 2)), radius, box)) / n_stars
    return shares


def expected_share(density: float, radius: float) -> float:
    """Isolated pairs per star at `density` [stars per square degree] within `radius` [arcsec], in closed form.

    n/2 ∫ 2πr exp(−n A(r)) dr over r < θ: a neighbour at r and no third star in the area A that the two circles of
    radius θ around both cover. To first order it is πnθ²/2.
    """
    n = density / ARCSEC_PER_DEGREE**2

    def covered(r: float) -> float:
        overlap = 2 * radius**2 * np.arccos(r / (2 * radius)) - 0.5 * r * np.sqrt(4 * radius**2 - r**2)
        return 2 * np.pi * radius**2 - overlap

    return 0.5 * n * quad(lambda r: 2 * np.pi * r * np.exp(-n * covered(r)), 0, radius)[0]


def write_chance_alignments(
    path: str | os.PathLike,
    *,
    radius: float,
    densities: Sequence[float],
    runs: int = 10,
    seed: int,
    n_stars: int = 100_000,
) -> None:
    """Write the share of chance alignments against density (Fig. 1) as CSV.

    Columns: density [stars per square degree], radius [arcsec], share (mean of the runs), error (their standard
    deviation, as in the figure), expected (closed form), first_order (πnθ²/2).
    """
    rows = []
    for k, density in enumerate(densities):
        shares = simulated_share(density, radius, runs=runs, n_stars=n_stars, seed=seed + 1000 * k)
        rows.append(
            {
                "density": density,
                "radius": radius,
                "share": shares.mean(),
                "error": shares.std(ddof=1) if runs > 1 else np.nan,
                "expected": expected_share(density, radius),
                "first_order": 0.5 * np.pi * density / ARCSEC_PER_DEGREE**2 * radius**2,
            }
        )
    with atomic(path) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False)


# --- chance alignments of a star, given its surroundings --------------------------------------------------------


def local_density(
    x: np.ndarray,
    y: np.ndarray,
    bounds: Sequence[float] | None = None,
    *,
    neighbours: int = 20,
    radius: float | None = None,
) -> np.ndarray:
    """Density of stars around each of the stars at `x`, `y`, (S,), in stars per unit of area of the coordinates.

    From the distance to the k-th neighbour, (k − 1) / area, which is unbiased (rms 1/√(k − 2)), or, given a
    `radius`, from the number of other stars within it. `bounds` (x_min, x_max, y_min, y_max): the frame; only the
    part of each circle inside it counts. Without bounds the field has no edges.
    """
    positions = np.c_[x, y]
    tree = cKDTree(positions)
    if radius is None:
        if not 2 <= neighbours < len(positions):
            raise ValueError(
                f"local density: {neighbours} neighbours of {len(positions)} stars; accepted: 2 or more, and fewer "
                "than the stars"
            )
        radii = tree.query(positions, k=[neighbours + 1])[0][:, 0]
        counts = np.full(len(positions), neighbours - 1.0)
    else:
        radii = np.full(len(positions), float(radius))
        counts = tree.query_ball_point(positions, radius, return_length=True) - 1.0
    return counts / _area_inside(positions, radii, bounds)


def _area_inside(positions: np.ndarray, radii: np.ndarray, bounds: Sequence[float] | None) -> np.ndarray:
    """Area (S,) of circles inside the rectangle `bounds`, summed over vertical chords."""
    if bounds is None:
        return np.pi * radii**2
    x_min, x_max, y_min, y_max = bounds
    angle = np.pi * (np.arange(_CHORDS) + 0.5) / _CHORDS
    x = positions[:, :1] - radii[:, None] * np.cos(angle)
    half = radii[:, None] * np.sin(angle)
    y = positions[:, 1:]
    chord = np.clip(y + half, y_min, y_max) - np.clip(y - half, y_min, y_max)
    return (np.where((x >= x_min) & (x <= x_max), chord, 0.0) * half).sum(axis=1) * np.pi / _CHORDS


def chance_probability(density, sep_max: float, sep_min: float = 0.0) -> np.ndarray:
    """Probability that an unrelated star lies between `sep_min` and `sep_max` of a star, whatever its brightness.

    `density`: stars per area, in the square of the unit of the separations.
    """
    return -np.expm1(-np.pi * np.asarray(density) * (sep_max**2 - sep_min**2))


def blend_probability(
    flux: np.ndarray,
    density: np.ndarray,
    fluxes: np.ndarray,
    sep_max: float,
    sep_min: float = 0.0,
    flux_ratio_min: float = 0.0,
) -> np.ndarray:
    """Probability (S,) that a source of `flux` is a blend of two unrelated stars with a flux ratio above the limit.

    `density` (S,) of stars around each source, `fluxes` those of all stars of the field: bright sources are
    seldom blends of two bright stars, because those are rare. With ψ the density of stars in ln flux and q the ratio,

        P(F) = π n (s_max² − s_min²) ∫ ψ(F/(1+q)) ψ(qF/(1+q)) / (q ψ(F)) dq.

    ψ is that of the stars given: those too faint to be in the list make no blends here.
    """
    log_flux, log_all = np.log(np.asarray(flux, float)), np.log(np.asarray(fluxes, float))
    # The kernel density costs a sum over all stars at every point: a table of it serves all sources.
    nodes = np.linspace(log_all.min() - 1, max(log_all.max(), log_flux.max()) + 1, _FLUXES)
    table = gaussian_kde(log_all)(nodes)
    lowest = max(flux_ratio_min, np.exp(nodes[0] - log_flux.max()))
    edges = np.linspace(np.log(lowest), 0, _RATIOS + 1)  # dq/q: steps of ln q are even
    log_ratio = 0.5 * (edges[1:] + edges[:-1])
    brighter = log_flux[:, None] - np.log1p(np.exp(log_ratio))
    pairs = np.interp(brighter, nodes, table) * np.interp(brighter + log_ratio, nodes, table, left=0.0)
    integral = pairs.sum(axis=1) * (edges[1] - edges[0])
    rate = np.pi * np.asarray(density) * (sep_max**2 - sep_min**2) * integral / np.interp(log_flux, nodes, table)
    return -np.expm1(-rate)


# --- chance pairs expected among the sources of a field ----------------------------------------------------------


@dataclass(frozen=True)
class Expectation:
    """Chance pairs in one region: `expected` ± `error`, `observed` candidates, and how likely chance makes as many."""

    region: str
    n_sources: int
    expected: float
    error: float
    observed: int
    probability: float


def expected_pairs(
    probability: np.ndarray, region: np.ndarray, is_candidate: np.ndarray | None = None
) -> list[Expectation]:
    """Chance pairs expected in every region of the colour–magnitude diagram, from the sources' probabilities.

    `probability` (S,) of each source to be a chance pair (times the completeness of the search, if it is known),
    `region` (S,) of str, `is_candidate` (S,). The error is that of a Poisson number.
    """
    candidates = np.zeros(len(region), bool) if is_candidate is None else np.asarray(is_candidate, bool)
    rows = []
    for name in np.unique(region):
        here = region == name
        expected = float(np.sum(np.broadcast_to(probability, here.shape)[here]))
        observed = int(candidates[here].sum())
        chance = float(poisson.sf(observed - 1, expected))
        rows.append(Expectation(str(name), int(here.sum()), expected, float(np.sqrt(expected)), observed, chance))
    return rows


def scattered_pairs(
    x: np.ndarray,
    y: np.ndarray,
    flux: np.ndarray,
    region_of: Callable[[np.ndarray], np.ndarray],
    *,
    sep_max: float,
    sep_min: float = 0.0,
    flux_ratio_min: float = 0.0,
    spread: float,
    bounds: Sequence[float],
    runs: int = 200,
    seed: int,
) -> Mapping[str, np.ndarray]:
    """Chance pairs that the field's own stars make in every region: region → number in each run, (runs,).

    Every star (positions `x`, `y`, `flux` (S, F) in F filters) is moved at random by up to `spread`: far enough to
    break true pairs, and less than the scale on which the density changes. Isolated pairs between `sep_min` and
    `sep_max` whose flux ratio in the first filter is above the limit are blended, and `region_of` is asked where in
    the diagram the blends (P, F) fall: two stars of the main sequence land on the binary sequence (eq. 6). The
    mean over the runs is what to expect, their scatter its error. Stars that leave `bounds` (x_min, x_max, y_min,
    y_max) are mirrored back.
    """
    flux = np.asarray(flux, float).reshape(len(x), -1)
    corner, size = np.array([bounds[0], bounds[2]]), np.array([bounds[1] - bounds[0], bounds[3] - bounds[2]])
    home = np.c_[x, y] - corner
    names: list[np.ndarray] = []
    for run in range(runs):
        rng = np.random.Generator(np.random.Philox(key=[seed, run]))
        distance, angle = spread * np.sqrt(rng.uniform(size=len(home))), rng.uniform(0, 2 * np.pi, len(home))
        moved = np.abs(home + distance[:, None] * np.c_[np.cos(angle), np.sin(angle)])
        moved = size - np.abs(size - moved)
        first, second = isolated_pairs(moved, sep_max).T
        ratio = flux[first, 0] / flux[second, 0]
        sep = np.hypot(*(moved[first] - moved[second]).T)
        seen = (sep >= sep_min) & (np.minimum(ratio, 1 / ratio) >= flux_ratio_min)
        names.append(np.asarray(region_of(flux[first[seen]] + flux[second[seen]]), str))
    regions: Iterable[str] = np.unique(np.concatenate(names)) if names else []
    return {str(region): np.array([(one == region).sum() for one in names]) for region in regions}
