"""How well known parameters of held-out images are recovered, and how often the true snapshot is found.

A split decides what "held out" means. By projection (the paper's) the same snapshot stands on both sides, seen from
45° beside; only unseen systems tell what an estimate of a real object is worth. Every table carries two bounds:
`random` analogues (what the catalogue says without looking), and the `oracle`, which picks analogues by their true
parameters: what a perfect choice among the members would do, which bounds retrieval. Regression chooses no members and
is not bound by it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import gammaln
from scipy.stats import rankdata

from dioscuri.analogues.distances import pairwise
from dioscuri.analogues.estimate import LEVELS, Parameter, quantiles
from dioscuri.analogues.regression import Blocks, regressed
from dioscuri.analogues.retrieval import select
from dioscuri.learn.metrics import binomial_interval

SPLITS = ("projection", "time_block", "system", "leave_one_system_out")
BOUNDS = ("random", "oracle")
# Blocks of features (N, F), values (N, P) and systems (N,) of images, blocks (Q, F) asked for → median and bounds
# (1 + 2L, Q, P)
Estimator = Callable[[Blocks, np.ndarray, np.ndarray, Blocks], np.ndarray]
FEWEST_BLOCKS = 4  # one asked for, its two neighbours left out, one that stays


@dataclass(frozen=True)
class Split:
    """One fold of a split: rows of the images that stay in the catalogue, and of those that are asked for."""

    kind: str
    fold: int
    train: np.ndarray
    test: np.ndarray


def splits(
    kind: str, metadata: Mapping[str, np.ndarray], *, n_folds: int = 4, block_kyr: float = 5.0, seed: int = 0
) -> list[Split]:
    """The folds of a split of a catalogue with columns system, projection and time_kyr, (N,) each.

    projection: odd lines of sight are held out (§2.4.2: φ = π/4, 3π/4, …), one fold. time_block: of each system's
    time, in blocks of `block_kyr`, every `n_folds`-th (4th at least) is held out, and its two neighbours are left out
    of the catalogue: consecutive snapshots are near copies. system: whole systems in `n_folds` groups, drawn by `seed`.
    leave_one_system_out: as many folds as systems.
    """
    system, rows = np.asarray(metadata["system"]), np.arange(len(metadata["system"]))
    if kind == "projection":
        odd = np.asarray(metadata["projection"]).astype(int) % 2 == 1
        return [_split(kind, 0, rows[~odd], rows[odd])]
    if kind == "time_block":
        n = max(n_folds, FEWEST_BLOCKS)
        block = np.floor(np.asarray(metadata["time_kyr"]) / block_kyr).astype(int) % n
        away = [~np.isin(block, [(fold - 1) % n, fold, (fold + 1) % n]) for fold in range(n)]
        return [_split(kind, fold, rows[away[fold]], rows[block == fold]) for fold in range(n)]
    if kind not in SPLITS:
        raise ValueError(f"unknown split '{kind}': use one of {', '.join(SPLITS)}")
    names = np.unique(system)
    if len(names) < 2:
        raise ValueError(f"holding out whole systems needs at least two, found {len(names)}")
    if kind == "system":
        names = np.random.Generator(np.random.Philox(key=[seed, 0])).permutation(names)
    n = len(names) if kind == "leave_one_system_out" else min(n_folds, len(names))
    held_out = [np.isin(system, names[fold::n]) for fold in range(n)]
    return [_split(kind, fold, rows[~held_out[fold]], rows[held_out[fold]]) for fold in range(n)]


def _split(kind: str, fold: int, train: np.ndarray, test: np.ndarray) -> Split:
    if not len(train) or not len(test):
        raise ValueError(f"split by {kind}, fold {fold}: {len(train)} images stay, {len(test)} are held out")
    return Split(kind, fold, train, test)


def draw_queries(split: Split, n: int, seed: int = 0) -> np.ndarray:
    """At most `n` rows of the held-out images, the same for every method."""
    rng = np.random.Generator(np.random.Philox(key=[seed, split.fold]))
    return np.sort(rng.permutation(split.test)[:n])


# --- recovery ------------------------------------------------------------------------------------------------


def recover(
    split: Split,
    queries: np.ndarray,
    metadata: Mapping[str, np.ndarray],
    parameters: Sequence[Parameter],
    embeddings: Mapping[str, np.ndarray],
    *,
    asked: Mapping[str, np.ndarray] | None = None,
    metric: str = "euclidean",
    literal: bool = False,
    scale: bool = False,
    cut: str = "quantile",
    cut_settings: Mapping[str, float] | None = None,
    weights: np.ndarray | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Estimates of every parameter of the `queries` (rows of the held-out images) by several methods and both bounds.

    embeddings: method → features (N, F) of all images; asked: the same of the queries' side where they were observed
    in another way than the catalogue. metric, literal, scale: see `pairwise`. weights (N,): of the
    members, see `isotropic_weights`. One row per method, query and parameter; `truth`, `estimate` and the intervals
    `low68` … `high95` are on the parameter's own axis (decimal logarithms, if that is its scale) in units of its
    scatter in the catalogue, so that differences are normalised errors.
    """
    values, names = _spread(metadata, parameters, split.train)
    tables = []
    for method in (*embeddings, *BOUNDS):
        if method == "random":
            rng = np.random.Generator(np.random.Philox(key=[seed, 1 + split.fold]))
            distance = rng.random((len(queries), len(split.train)))
        elif method == "oracle":
            known = np.nan_to_num(values)
            distance = pairwise(known[queries], known[split.train], "euclidean")
        else:
            features = embeddings[method]
            own = (asked or {}).get(method, features)
            distance = pairwise(own[queries], features[split.train], metric, literal=literal, scale=scale)
        members = [split.train[select(one, cut, **(cut_settings or {}))] for one in distance]
        tables.append(_estimates(split, method, queries, members, metadata, names, values, weights))
    return pd.concat(tables, ignore_index=True)


def regress(
    split: Split,
    queries: np.ndarray,
    metadata: Mapping[str, np.ndarray],
    parameters: Sequence[Parameter],
    blocks: Blocks,
    method: str,
    asked: Blocks | None = None,
    estimator: Estimator = regressed,
) -> pd.DataFrame:
    """Estimates of the `queries` by regression on blocks of features (N, F) of what the split left, as `recover`.

    asked: blocks (N, F) of the queries, where they were observed in another way. `n_members` counts systems.
    """
    values, names = _spread(metadata, parameters, split.train)
    system = np.asarray(metadata["system"])[split.train]
    known, wanted = ([one[rows] for one in side] for side, rows in ((blocks, split.train), (asked or blocks, queries)))
    found = estimator(known, values[split.train], system, wanted)
    return _table(split, method, queries, [len(np.unique(system))] * len(queries), metadata, names, values, found)


def _spread(
    metadata: Mapping[str, np.ndarray], parameters: Sequence[Parameter], rows: np.ndarray
) -> tuple[np.ndarray, list[str]]:
    """Values (N, P) of parameters on their own axes, in units of their scatter over `rows`, and their names."""
    values = np.stack([parameter.forward(metadata[parameter.column]) for parameter in parameters], axis=1)
    scatter = np.nanstd(values[rows], axis=0)
    return values / np.where(scatter > 0, scatter, 1.0), [parameter.column for parameter in parameters]


def _estimates(
    split: Split,
    method: str,
    queries: np.ndarray,
    members: list[np.ndarray],
    metadata: Mapping[str, np.ndarray],
    names: list[str],
    values: np.ndarray,
    weights: np.ndarray | None,
) -> pd.DataFrame:
    levels = [0.5] + [0.5 + side * 0.5 * level for level in LEVELS for side in (-1, 1)]
    found = np.full((len(levels), len(queries), len(names)), np.nan)
    for q, rows in enumerate(members):
        weight = None if weights is None or not weights[rows].any() else weights[rows]
        if len(rows):
            found[:, q] = _columnwise(values[rows], levels, weight)
    return _table(split, method, queries, [len(rows) for rows in members], metadata, names, values, found)


def _table(
    split: Split,
    method: str,
    queries: np.ndarray,
    n_members: Sequence[int],
    metadata: Mapping[str, np.ndarray],
    names: list[str],
    values: np.ndarray,
    found: np.ndarray,
) -> pd.DataFrame:
    """Rows of estimates and bounds (1 + 2L, Q, P) beside the truth."""
    median, *bounds = (one.ravel() for one in found)
    table = pd.DataFrame(
        {
            "split": split.kind,
            "fold": split.fold,
            "method": method,
            "system": np.repeat(np.asarray(metadata["system"])[queries].astype(str), len(names)),
            "image_id": np.repeat(np.asarray(metadata["image_id"])[queries].astype(str), len(names)),
            "parameter": np.tile(names, len(queries)),
            "n_members": np.repeat(list(n_members), len(names)),
            "truth": values[queries].ravel(),
            "estimate": median,
        }
    )
    for k, level in enumerate(LEVELS):
        table[f"low{level:.0%}".rstrip("%")] = bounds[2 * k]
        table[f"high{level:.0%}".rstrip("%")] = bounds[2 * k + 1]
    return table


def _columnwise(values: np.ndarray, levels: list[float], weights: np.ndarray | None) -> np.ndarray:
    """Weighted quantiles (levels, P) of values (K, P), unknown ones left out."""
    if np.isfinite(values).all():
        return quantiles(values, levels, weights)
    out = np.full((len(levels), values.shape[1]), np.nan)
    for p, column in enumerate(values.T):
        known = np.isfinite(column)
        if known.any():
            out[:, p] = quantiles(column[known], levels, None if weights is None else weights[known])
    return out


# --- tables --------------------------------------------------------------------------------------------------


def summarise(rows: pd.DataFrame, *, n_resamples: int = 200, seed: int = 0) -> pd.DataFrame:
    """Scores per split, method and parameter, and their mean over the parameters (`all`), with standard errors.

    error: median |estimate − truth| in units of the catalogue's scatter; rho: Spearman's rank correlation of estimate
    and truth; coverage68, coverage95: share of truths inside the intervals. The errors (`*_se`) come from drawing
    whole *systems* again with replacement: images of one system are not independent.
    """
    out = []
    for (split, method), part in rows.groupby(["split", "method"], sort=False):
        cube, names, system = _cube(part)
        score = _scores(cube)
        resampled = np.stack([_scores(cube[:, chosen]) for chosen in _resampled(system, n_resamples, seed)])
        spread = np.nanstd(resampled, axis=0)
        spread_of_mean = np.nanstd(np.nanmean(resampled, axis=2), axis=0)
        counts = {"n_queries": cube.shape[1], "n_systems": len(np.unique(system))}
        for p, name in enumerate(names):
            out.append({"split": split, "method": method, "parameter": name} | _row(score[:, p], spread[:, p]) | counts)
        mean = {"split": split, "method": method, "parameter": "all"}
        out.append(mean | _row(np.nanmean(score, axis=1), spread_of_mean) | counts)
    return pd.DataFrame(out)


def compare(
    rows: pd.DataFrame, name: str, methods: Sequence[str], baseline: str, *, n_resamples: int = 200, seed: int = 0
) -> pd.DataFrame:
    """Differences to a baseline of the scores over the same queries, per split, with errors over systems.

    methods: those that `name` stands for, e.g. one recipe trained with several seeds; the mean of their scores counts,
    and `error_over_seeds` is the scatter of `error` among them. Paired, so that what makes a system hard for both
    drops out. `systems_better`: share of systems in which the error, averaged over the parameters, is smaller.
    """
    out = []
    for split, part in rows.groupby("split", sort=False):
        cubes = [_cube(part[part.method == method]) for method in methods]
        other, names, system = _cube(part[part.method == baseline])

        def differences(chosen: np.ndarray, cubes: list = cubes, other: np.ndarray = other) -> np.ndarray:
            return np.stack([_scores(one[:, chosen]) for one, _, _ in cubes]) - _scores(other[:, chosen])

        each = differences(np.arange(len(system)))  # (methods, scores, P)
        score, of_means = each.mean(axis=0), np.nanmean(each, axis=2)
        resampled = np.stack([differences(some).mean(axis=0) for some in _resampled(system, n_resamples, seed)])
        of_systems = [
            np.nanmean(differences(np.flatnonzero(system == one)).mean(axis=0)[0]) for one in np.unique(system)
        ]
        title = {"split": split, "method": name, "baseline": baseline, "n_seeds": len(methods)}
        for p, parameter in enumerate(names):
            row = _row(score[:, p], np.nanstd(resampled[:, :, p], axis=0))
            out.append(title | {"parameter": parameter} | row | {"error_over_seeds": float(each[:, 0, p].std())})
        row = _row(np.nanmean(score, axis=1), np.nanstd(np.nanmean(resampled, axis=2), axis=0))
        row |= {
            "error_over_seeds": float(of_means[:, 0].std()),
            "systems_better": float(np.mean(np.array(of_systems) < 0)),
        }
        out.append(title | {"parameter": "all"} | row)
    return pd.DataFrame(out)


SCORES = ("error", "rho", "coverage68", "coverage95")


def _cube(part: pd.DataFrame) -> tuple[np.ndarray, list[str], np.ndarray]:
    """truth, estimate, low68, high68, low95, high95 of Q queries and P parameters, (6, Q, P); names; systems (Q,)."""
    names = list(part.parameter.unique())
    columns = ["truth", "estimate", "low68", "high68", "low95", "high95"]
    cube = part[columns].to_numpy(dtype=float).T.reshape(len(columns), -1, len(names))
    return cube, names, part.system.to_numpy().reshape(-1, len(names))[:, 0]


def _scores(cube: np.ndarray) -> np.ndarray:
    """The scores (4, P) of a cube (6, Q, P); NaN where a parameter does not vary."""
    truth, estimate, low68, high68, low95, high95 = cube
    coverage = [np.mean((truth >= low) & (truth <= high), axis=0) for low, high in ((low68, high68), (low95, high95))]
    return np.stack([_nan_median(np.abs(estimate - truth)), _spearman(estimate, truth), *coverage])


def _nan_median(values: np.ndarray) -> np.ndarray:
    if np.isfinite(values).all():
        return np.median(values, axis=0)
    known = np.isfinite(values)
    return np.array([np.median(one[use]) if use.any() else np.nan for one, use in zip(values.T, known.T)])


def _spearman(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Rank correlation (P,) of the columns of (Q, P) and (Q, P), unknown values left out.

    0 where one side does not vary (an estimate that is always the same tells nothing), NaN where nothing is known.
    """
    known = np.isfinite(a) & np.isfinite(b)
    complete = known.all(axis=0)
    out = np.full(a.shape[1], np.nan)
    out[complete] = _of_ranks(a[:, complete], b[:, complete])  # all at once: bootstraps ask for this very often
    for p in np.flatnonzero(~complete & (known.sum(axis=0) > 2)):
        use = known[:, p]
        out[p] = _of_ranks(a[use, p, None], b[use, p, None])[0]
    return out


def _of_ranks(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Correlation (P,) of the ranks of (Q, P) and (Q, P); 0 where one side does not vary."""
    x, y = (rankdata(one, axis=0) for one in (a, b))
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    scatter = np.sqrt((x**2).sum(axis=0) * (y**2).sum(axis=0))
    return np.divide((x * y).sum(axis=0), scatter, out=np.zeros_like(scatter), where=scatter > 0)


def _resampled(system: np.ndarray, n: int, seed: int) -> list[np.ndarray]:
    """`n` bootstrap samples of queries, made of whole systems."""
    rng = np.random.Generator(np.random.Philox(key=[seed, 2]))
    queries = [np.flatnonzero(system == name) for name in np.unique(system)]
    return [np.concatenate([queries[k] for k in rng.integers(len(queries), size=len(queries))]) for _ in range(n)]


def _row(score: np.ndarray, spread: np.ndarray) -> dict[str, float]:
    return {
        key: float(value) for name, s, e in zip(SCORES, score, spread) for key, value in ((name, s), (f"{name}_se", e))
    }


# --- the true snapshot ---------------------------------------------------------------------------------------


def true_snapshot(
    distance: np.ndarray,
    queries: Mapping[str, np.ndarray],
    catalogue: Mapping[str, np.ndarray],
    *,
    tolerance_kyr: float = 2.0,
    top: Sequence[int] = (1, 10),
    same_view: bool = True,
) -> tuple[np.ndarray, pd.DataFrame]:
    """Where the true snapshot ranks, for noisy, re-beamed images of members: ranks (Q,) and a table of rates.

    distance (Q, N); queries and catalogue: columns system, time_kyr and projection of both. A member is right if it
    is of the query's system and within `tolerance_kyr`; with `same_view` False the line of sight of the query (and
    with it the image that the query was made from) is taken out of the catalogue first. The rank is that of the best
    right member, 1 is first. Table: k, rate and its 68 % (Wilson) interval, and the rate that a random order has.
    """
    right = np.asarray(queries["system"])[:, None] == np.asarray(catalogue["system"])[None]
    apart = np.abs(np.subtract.outer(np.asarray(queries["time_kyr"], float), np.asarray(catalogue["time_kyr"], float)))
    allowed = np.ones(right.shape, bool)
    if not same_view:
        view = np.asarray(queries["projection"])[:, None] == np.asarray(catalogue["projection"])[None]
        allowed = ~(right & view)
    right &= (apart <= tolerance_kyr) & allowed
    if not right.any(axis=1).all():
        lost = int((~right.any(axis=1)).sum())
        raise ValueError(f"{lost} of {len(right)} queries have no member of their system within {tolerance_kyr} kyr")
    nearest = np.where(right, distance, np.inf).min(axis=1, keepdims=True)
    ranks = 1 + np.sum((distance < nearest) & allowed, axis=1)
    n, m = allowed.sum(axis=1), right.sum(axis=1)
    rows = []
    for k in top:
        hits = int(np.sum(ranks <= k))
        low, high = binomial_interval(hits, len(ranks))
        chance = 1 - np.where(n - m >= k, np.exp(_log_choose(n - m, k) - _log_choose(n, k)), 0.0)
        rows.append(
            {
                "k": k,
                "rate": hits / len(ranks),
                "low": float(low),
                "high": float(high),
                "random": float(chance.mean()),
                "n_queries": len(ranks),
                "median_rank": float(np.median(ranks)),
            }
        )
    return ranks, pd.DataFrame(rows)


def _log_choose(n: np.ndarray, k: int) -> np.ndarray:
    """ln C(n, k); where n < k the result is of no use and is not used."""
    n = np.maximum(n, k)
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
