"""What a list of candidates is worth: chance pairs, fractions, completeness, purity, and places in the cluster."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dioscuri.cluster.chance_alignments import blend_probability, expected_pairs, local_density, scattered_pairs
from dioscuri.cluster.cmd import BINARY, MS, regions
from dioscuri.cluster.photometry_checks import match
from dioscuri.cluster.spatial import core_and_outside, proportion, radial_test

WIDE, CHANCE, TIGHT, SINGLE = "wide", "chance", "tight", "single"
CHANCE_RATIO = 0.03  # flux ratio from which an unrelated star makes a pair that can be seen
SPREAD = 100.0  # px that stars are moved by when chance pairs are counted
RUNS = 50
SEP_EDGES = (0.1, 0.5, 1.0, 1.5, 2.0)  # px
RATIO_EDGES = (0.0, 0.3, 0.6, 1.0)


# --- chance pairs ------------------------------------------------------------------------------------------------


def add_chance_probability(sources: pd.DataFrame, band: str, sep_max: float, sep_min: float = 0.0) -> pd.DataFrame:
    """`sources` with density [stars per px²] around each and chance_probability, that it is a blend of two others.

    From positions x, y [px] and magnitudes of all sources; separations in px, flux ratios above `CHANCE_RATIO`.
    """
    x, y = (sources[name].to_numpy(float) for name in ("x", "y"))
    flux = 10 ** (-0.4 * sources[f"mag_{band}"].to_numpy(float))
    known = np.isfinite(flux)
    density, chance = np.full(len(x), np.nan), np.full(len(x), np.nan)
    neighbours = min(20, int(known.sum()) - 1)
    density[known] = local_density(x[known], y[known], _bounds(x, y), neighbours=neighbours)
    chance[known] = blend_probability(flux[known], density[known], flux[known], sep_max, sep_min, CHANCE_RATIO)
    return sources.assign(density=density, chance_probability=chance)


def region_table(
    sources: pd.DataFrame, cmd: Mapping[str, Any], sep_max: float, sep_min: float, completeness: float, seed: int
) -> pd.DataFrame:
    """Per CMD region: sources scored, candidates, their fraction with its error, and the chance pairs expected.

    expected_local ± its error: from each source's own surroundings; expected_scattered ±: blends of the field's own
    stars, moved at random, that fall into the region. Both times `completeness`, the share of pairs that the
    search finds; probability: that chance alone makes as many candidates or more (from expected_scattered).
    """
    from scipy.stats import poisson

    bands = [cmd["red"], cmd["blue"]]
    known = sources[np.isfinite(sources[[f"mag_{band}" for band in bands]]).all(axis=1)].reset_index(drop=True)
    flux = np.stack([10 ** (-0.4 * known[f"mag_{band}"].to_numpy()) for band in bands], 1)
    x, y = known["x"].to_numpy(), known["y"].to_numpy()
    scattered = scattered_pairs(
        x, y, flux, _regions_of_blends(known, cmd), sep_max=sep_max, sep_min=sep_min, flux_ratio_min=CHANCE_RATIO,
        spread=SPREAD, bounds=_bounds(x, y), runs=RUNS, seed=seed,
    )  # fmt: skip
    scored = sources[sources["n_scored"] > 0]
    chance = np.nan_to_num(scored["chance_probability"].to_numpy()) * completeness
    rows = []
    for one in expected_pairs(chance, scored["region"].to_numpy(str), scored["is_candidate"].to_numpy()):
        numbers = scattered.get(one.region, np.zeros(RUNS)) * completeness
        share = proportion(one.observed, one.n_sources)
        expected = float(numbers.mean())
        rows.append(
            {
                "region": one.region, "n_sources": one.n_sources, "n_candidates": one.observed,
                "fraction": share.value, "fraction_err": share.error, "fraction_low": share.low,
                "fraction_high": share.high, "expected_local": one.expected, "expected_local_err": one.error,
                "expected_scattered": expected, "expected_scattered_err": float(numbers.std()),
                "probability": float(poisson.sf(one.observed - 1, max(expected, one.expected))),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def _regions_of_blends(stars: pd.DataFrame, cmd: Mapping[str, Any]) -> Callable[[np.ndarray], np.ndarray]:
    """Where blends with fluxes (P, 2: red, blue) fall in the diagram; the ridge line is that of the `stars`."""
    names = [f"mag_{cmd['red']}", f"mag_{cmd['blue']}"]

    def region_of(flux: np.ndarray) -> np.ndarray:
        blends = pd.DataFrame(-2.5 * np.log10(flux), columns=names)
        return regions(pd.concat([blends, stars[names]], ignore_index=True), cmd)[: len(blends)]

    return region_of


def _bounds(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float, float]:
    return float(x.min()), float(x.max()), float(y.min()), float(y.max())


# --- where they are ----------------------------------------------------------------------------------------------


def distances(sources: pd.DataFrame, centre: tuple[float, float]) -> np.ndarray:
    """Distance (S,) [arcsec] of sources (ra, dec) from the `centre` [deg]."""
    east = (sources["ra"] - centre[0] + 180.0) % 360.0 - 180.0
    east = east * np.cos(np.radians(centre[1]))
    return np.hypot(east, sources["dec"] - centre[1]).to_numpy() * 3600.0


def spatial_summary(sources: pd.DataFrame, core_radius: float, completeness: float = 0.0) -> dict[str, Any]:
    """Fractions of candidates inside and outside the core, Z-test and Fisher's, Kolmogorov–Smirnov (§4.4).

    `sources`: with distance [arcsec], is_candidate, n_scored and chance_probability. Chance pairs crowd the core, so
    beside the paper's fractions stands the `bound` one: candidates less the chance pairs expected there (`expected`,
    times the `completeness` of the search; 0 leaves them in), per source, with its Poisson error, and z_bound, the
    difference of the two in units of its error. Tests that lack stars are left out.
    """
    scored = sources[sources["n_scored"] > 0]
    found = scored["is_candidate"].to_numpy(bool)
    distance = scored["distance"].to_numpy()
    summary: dict[str, Any] = {"n_sources": len(scored), "n_candidates": int(found.sum()), "core_radius": core_radius}
    if 0 < (distance <= core_radius).sum() < len(scored):
        test = core_and_outside(distance, found, core_radius)
        chance = completeness * np.nan_to_num(scored["chance_probability"].to_numpy(float)) if completeness else 0.0
        for name, part, here in (
            ("core", test.first, distance <= core_radius),
            ("outside", test.second, distance > core_radius),
        ):
            expected = float(np.sum(chance * here))
            summary[name] = {
                "candidates": part.count, "sources": part.total, "fraction": part.value, "error": part.error,
                "low": part.low, "high": part.high, "expected": expected,
                "bound": (part.count - expected) / part.total, "bound_error": max(part.count, 1) ** 0.5 / part.total,
            }  # fmt: skip
        summary |= {"z": test.z, "p": test.p, "exact_p": test.exact_p}
        core, outside = summary["core"], summary["outside"]
        difference = outside["bound"] - core["bound"]
        summary["z_bound"] = difference / np.hypot(core["bound_error"], outside["bound_error"])
    if found.any():
        radial = radial_test(distance[found], distance)
        summary |= {"ks_d": radial.statistic, "ks_p": radial.p}
    return summary


# --- against what is known ---------------------------------------------------------------------------------------


def artificial_table(injected: pd.DataFrame) -> pd.DataFrame:
    """Completeness of artificial pairs by separation and flux ratio, and the false positives among single ones.

    Rows: kind "pair" with sep_low … sep_high [px], ratio_low … ratio_high, or "single"; n, n_found (candidates),
    rate with its 68 % interval low, high. Stars that no exposure shows are not counted; those not detected are.
    """
    rows = []
    pair = injected["true_is_binary"].to_numpy(bool)
    found = injected["is_candidate"].to_numpy(bool)
    for low, high, least, most, here in _cells(injected["true_sep"], injected["true_flux_ratio"]):
        rows.append({"kind": "pair", "sep_low": low, "sep_high": high, "ratio_low": least, "ratio_high": most}
                    | _rate(found[pair & here]))  # fmt: skip
    rows.append({"kind": "pair"} | _rate(found[pair]))
    rows.append({"kind": "single"} | _rate(found[~pair]))
    return pd.DataFrame(rows)


def identify(
    detections: pd.DataFrame, truth_exposures: pd.DataFrame, truth: pd.DataFrame, band: str, pixel_scale: float
) -> pd.DataFrame:
    """What each source (star_id) of a simulated field truly is: `truth_id`, `kind`, sep [px], flux_ratio, neighbours.

    kind: "wide", a pair within the range searched; "chance", an unrelated star within 2 px and brighter than
    `CHANCE_RATIO`; "tight" or "single". `detections` are those of one filter.
    """
    votes = []
    for (exposure, extension), seen in detections.groupby(["exposure", "extension"]):
        known = truth_exposures[
            (truth_exposures["exposure"] == exposure) & (truth_exposures["extension"] == extension)
        ].reset_index(drop=True)
        seen = seen.reset_index(drop=True)
        rows = match(seen[["x", "y", "flux"]], known)
        votes.append(
            pd.DataFrame({"star_id": seen["star_id"].to_numpy()[rows], "truth_id": known["star_id"]})[rows >= 0]
        )
    chosen = pd.concat(votes).groupby("star_id")["truth_id"].agg(lambda ids: ids.mode().iloc[0]).reset_index()
    systems = truth.rename(columns={"star_id": "truth_id"})
    table = chosen.merge(systems, on="truth_id", how="left")
    sep = table["sep"] / pixel_scale
    wide = (table["kind"] == WIDE) & (sep >= SEP_EDGES[0]) & (sep <= SEP_EDGES[-1])
    chance = (table["n_neighbours"] > 0) & (table["neighbour_flux_ratio"] > CHANCE_RATIO)
    kind = np.select([wide, chance, table["kind"] == SINGLE], [WIDE, CHANCE, SINGLE], TIGHT)
    return pd.DataFrame(
        {
            "star_id": table["star_id"], "truth_id": table["truth_id"], "true_kind": kind, "true_sep": sep,
            "true_sky_angle": table["sky_angle"], "true_flux_ratio": table[f"flux_ratio_{band}"],
            "true_in_core": table["in_core"],
        }
    )  # fmt: skip


def truth_table(sources: pd.DataFrame) -> pd.DataFrame:
    """Completeness and purity of the candidates among known stars (`identify`), with 68 % intervals.

    Rows: completeness overall and by separation and flux ratio; purity; purity_with_chance, which takes chance
    pairs for found (no image can tell them from bound ones); false_positives among all that are neither; random,
    the share of wide pairs among all sources scored: the purity of a blind choice. Where the sources have
    log_bf_true, the optimum's score with the true PSF, `optimum` counts the wide pairs that it finds.
    """
    scored = sources[sources["n_scored"] > 0]
    wide, chance = ((scored["true_kind"] == kind).to_numpy() for kind in (WIDE, CHANCE))
    found = scored["is_candidate"].to_numpy(bool)
    rows: list[dict[str, Any]] = [{"quantity": "completeness"} | _rate(found[wide])]
    optimum = None
    if "log_bf_true" in scored:
        optimum = scored["log_bf_true"].to_numpy() > 0
        rows.append({"quantity": "optimum_completeness"} | _rate(optimum[wide]))
        rows.append({"quantity": "optimum_false_positives"} | _rate(optimum[~wide & ~chance]))
    for low, high, least, most, here in _cells(scored["true_sep"], scored["true_flux_ratio"]):
        cell = {"sep_low": low, "sep_high": high, "ratio_low": least, "ratio_high": most}
        rows.append({"quantity": "completeness"} | cell | _rate(found[wide & here]))
        if optimum is not None:
            rows.append({"quantity": "optimum_completeness"} | cell | _rate(optimum[wide & here]))
    rows.append({"quantity": "purity"} | _rate(wide[found]))
    rows.append({"quantity": "purity_with_chance"} | _rate((wide | chance)[found]))
    rows.append({"quantity": "false_positives"} | _rate(found[~wide & ~chance]))
    rows.append({"quantity": "random"} | _rate(wide))
    rows.append({"quantity": "chance_pairs_found"} | _rate(found[chance]))
    return pd.DataFrame(rows)


def _cells(sep: Sequence[float], ratio: Sequence[float]):
    """Bins of separation [px] and flux ratio with the rows (S,) that lie in each."""
    sep, ratio = np.asarray(sep, float), np.asarray(ratio, float)
    for low, high in itertools.pairwise(SEP_EDGES):
        for least, most in itertools.pairwise(RATIO_EDGES):
            inside = (sep >= low) & (sep < high) & (ratio >= least) & (ratio <= most if most == 1 else ratio < most)
            yield low, high, least, most, inside


def _rate(found: np.ndarray) -> dict[str, float]:
    """n, n_found, rate and its 68 % Wilson interval of (N,) bool; NaN where there are none."""
    if not len(found):
        return {"n": 0, "n_found": 0, "rate": np.nan, "low": np.nan, "high": np.nan}
    share = proportion(int(np.sum(found)), len(found))
    return {"n": share.total, "n_found": share.count, "rate": share.value, "low": share.low, "high": share.high}


def in_sequence(region: np.ndarray) -> np.ndarray:
    """Whether stars (S,) lie on the main or the binary sequence: those that are searched."""
    return np.isin(np.asarray(region, str), [MS, BINARY])
