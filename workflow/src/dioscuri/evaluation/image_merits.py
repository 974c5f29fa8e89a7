"""How good the image models are on test stamps: score tables, and figures of merit beside paper, GLRT and optimum."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from dioscuri.catalogs import published_images
from dioscuri.io import atomic
from dioscuri.job import provenance
from dioscuri.learn import metrics
from dioscuri.seals import verified

SCHEMA = "dioscuri/image-scores/1"
# What every score table knows of its stamps; `cell` is the value of the axis (NaN in the test sample).
LABELS = ("star_id", "is_binary", "flux", "sep", "position_angle", "flux_ratio", "snr", "member")
OPTIMUM, GLRT, ASSUMED, UNKNOWN = "optimum", "glrt", "optimum_assumed_psf", "optimum_unknown_psf"
# Method → column of its statistic.
CLASSICAL = {OPTIMUM: "log_bf", GLRT: "glr", ASSUMED: "log_bf_assumed", UNKNOWN: "log_bf_unknown"}
# What photometry programs cut on; method and column have one name (`stamps.shapes`).
SHAPES = ("dao_sharpness", "dao_roundness", "qfit", "moments", "dolphot_sharpness", "dolphot_chi")
CLASSICAL |= {name: name for name in SHAPES}
FITTED_THRESHOLD = (GLRT, *SHAPES)
TEST = "test"


# --- score tables -----------------------------------------------------------------------------------------


def write_scores(
    out: str | os.PathLike,
    parts: Sequence[tuple[float | None, Mapping[str, np.ndarray]]],
    about: Mapping[str, Any],
    settings: Any = None,
) -> None:
    """Write scores of stamps (Parquet), whole or not at all.

    `parts`: (cell, columns) of each cell, columns being `LABELS` and the scores, name → (S,); the test sample has
    the cell None. `about`: survey, case and sample (`test`, or the axis of a grid), and for networks network and
    seed.
    """
    tables = [pd.DataFrame({"cell": np.nan if cell is None else cell, **columns}) for cell, columns in parts]
    table = pa.Table.from_pandas(pd.concat(tables, ignore_index=True), preserve_index=False)
    metadata = {
        "schema": SCHEMA,
        "about": json.dumps(dict(about)),
        "provenance": json.dumps(provenance(settings), sort_keys=True, default=str),
    }
    with atomic(out) as temporary:
        pq.write_table(table.replace_schema_metadata(metadata), temporary, compression="zstd")


def read_scores(path: str | os.PathLike) -> tuple[dict[str, Any], pd.DataFrame]:
    """What a score table is about, and its rows."""
    about = describe(path)
    return about, pd.read_parquet(verified(path))


def describe(path: str | os.PathLike) -> dict[str, Any]:
    """What a score table is about; a file of another kind is a ValueError."""
    metadata = pq.read_schema(verified(path)).metadata or {}
    found = metadata.get(b"schema", b"none").decode()
    if found != SCHEMA:
        raise ValueError(f"{path}: expected schema '{SCHEMA}', found '{found}'; score the stamps again")
    return json.loads(metadata[b"about"])


@dataclass(frozen=True)
class Sample:
    """One cell's stamps of one case and what every method says of them.

    truth (S,): LABELS. members: network → (M, S), probabilities of its seeds. statistics: method of `CLASSICAL`
    → (S,).
    """

    survey: str
    case: str
    axis: str
    cell: float
    truth: pd.DataFrame
    members: dict[str, np.ndarray]
    statistics: dict[str, np.ndarray]

    @property
    def is_binary(self) -> np.ndarray:
        return self.truth["is_binary"].to_numpy(bool)

    def score(self, method: str) -> np.ndarray:
        """What a method ranks the stamps by, (S,): mean probability of the seeds, or the statistic."""
        return self.members[method].mean(axis=0) if method in self.members else self.statistics[method]

    @property
    def methods(self) -> list[str]:
        """Networks first, then the classical methods."""
        return [*self.members, *self.statistics]


def samples_of(score_files: Iterable[str | os.PathLike], optimum_files: Iterable[str | os.PathLike]) -> list[Sample]:
    """All scores of the same stamps side by side: cases in the order of their files, sorted by axis and cell.

    Tables of one case and cell that were made from other stamps than the first are a ValueError.
    """
    found: dict[tuple, dict[str, Any]] = {}
    for path in [*score_files, *optimum_files]:
        about, table = read_scores(path)
        for cell, rows in table.groupby("cell", dropna=False, sort=True):
            key = (about["survey"], about["case"], about["sample"], float(cell))
            # NaN differs from itself, and would start a new entry each time.
            entry = found.setdefault((*key[:3], None if np.isnan(key[3]) else key[3]), {"first": path, "members": {}})
            rows = rows.reset_index(drop=True)
            truth = entry.setdefault("truth", rows[list(LABELS)])
            if not np.array_equal(truth["star_id"], rows["star_id"]) or not np.allclose(truth["flux"], rows["flux"]):
                raise ValueError(f"{path} was made from other stamps than {entry['first']}: score both again")
            if "network" in about:
                entry["members"].setdefault(about["network"], {})[about["seed"]] = rows["p"].to_numpy(float)
            else:
                columns = {method: name for method, name in CLASSICAL.items() if name in rows}
                entry["statistics"] = {method: rows[name].to_numpy(float) for method, name in columns.items()}
    samples = []
    for (survey, case, axis, cell), entry in found.items():
        members = {name: np.stack([seeds[s] for s in sorted(seeds)]) for name, seeds in entry["members"].items()}
        place = (survey, case, axis, np.nan if cell is None else cell)
        samples.append(Sample(*place, entry["truth"], members, entry.get("statistics", {})))
    order = list(dict.fromkeys(sample.case for sample in samples))
    return sorted(samples, key=lambda sample: (order.index(sample.case), sample.axis, sample.cell))


# --- figures of merit -------------------------------------------------------------------------------------

COLUMNS = {
    "survey": "survey",
    "case": "what was drawn: placement, separations, flux ratios and PSFs of the training",
    "axis": "test, or what the cells of the grid differ in",
    "cell": "S/N, separation [pixel], change of the jitter [share], or wavefront error [nm rms]",
    "method": "network, or optimum (marginal likelihood ratio), glrt, optimum_assumed_psf, optimum_unknown_psf, or a "
    "statistic of photometry programs: " + ", ".join(SHAPES),
    "n_seeds": "networks whose probabilities were averaged; 0 for the classical methods",
    "n_binaries": "stamps of pairs",
    "n_singles": "stamps of single stars",
    "threshold": "of the score; above it a stamp counts as a pair",
    "accuracy": "share of the stamps called right",
    "accuracy_low": "lower end of its 68 % binomial interval (Wilson)",
    "accuracy_high": "upper end",
    "accuracy_seeds": "mean accuracy of the single networks",
    "accuracy_seed_scatter": "their standard deviation",
    "auc": "area under the ROC curve",
    "tpr": "share of the pairs found, eq. 4",
    "tpr_low": "lower end of its 68 % binomial interval (Wilson)",
    "tpr_high": "upper end",
    "fpr": "share of the single stars called pairs, eq. 5",
    "fpr_low": "lower end of its 68 % binomial interval (Wilson)",
    "fpr_high": "upper end",
    "accuracy_paper": "accuracy in Wu et al. 2023, of the network of that name or of EfficientNet-B3",
    "auc_paper": "AUC there",
}
RECALL_COLUMNS = {
    "survey": "survey",
    "case": "what was drawn: placement, separations, flux ratios and PSFs of the training",
    "method": "network, or optimum (marginal likelihood ratio)",
    "sep_low": "pixel, separations from",
    "sep_high": "pixel, up to and without",
    "ratio_low": "flux ratios F2/F1 from",
    "ratio_high": "up to and without",
    "n_binaries": "pairs of the test sample in this bin",
    "tpr": "share of them found, eq. 4",
    "tpr_low": "lower end of its 68 % binomial interval (Wilson)",
    "tpr_high": "upper end",
}
# Separations of the printed grid (0.1, 0.2, …) lie inside the bins.
SEP_EDGES, RATIO_EDGES = 0.05 + np.linspace(0, 2, 11), np.linspace(0, 1, 9)
EMPTY = (np.nan, np.nan, np.nan)


def summarise(
    score_files: Sequence[str | os.PathLike],
    optimum_files: Sequence[str | os.PathLike],
    out: str | os.PathLike,
    settings: Any = None,
) -> None:
    """Write the figures of merit of every method on every sample as ECSV: a row per case, cell and method."""
    write_merits(out, merits(samples_of(score_files, optimum_files)), settings)


def merits(samples: Sequence[Sample]) -> pd.DataFrame:
    """A row of `COLUMNS` for each sample and method.

    Networks count above p = 1/2, the optimum above a likelihood ratio of one. The GLRT and the statistics of photometry
    programs have no such natural threshold: they take the one that serves best on the case's test sample, in all cells.
    """
    thresholds = {
        (sample.case, method): best_threshold(rankable(sample.score(method)), sample.is_binary)
        for sample in samples
        for method in FITTED_THRESHOLD
        if sample.axis == TEST and method in sample.statistics
    }
    rows = []
    for sample in samples:
        for method in sample.methods:
            threshold = 0.5 if method in sample.members else 0.0
            if method in FITTED_THRESHOLD:
                threshold = thresholds.get((sample.case, method), np.nan)
            rows.append(_row(sample, method, threshold))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def summarise_recall(
    score_files: Sequence[str | os.PathLike],
    optimum_files: Sequence[str | os.PathLike],
    out: str | os.PathLike,
    settings: Any = None,
) -> None:
    """Write how many of the test pairs the networks and the optimum find, over separation and flux ratio, as ECSV."""
    write_table(out, recall(samples_of(score_files, optimum_files)), RECALL_COLUMNS, settings)


def recall(samples: Sequence[Sample]) -> pd.DataFrame:
    """A row of `RECALL_COLUMNS` for each bin with pairs, of the test samples whose pairs have unequal fluxes."""
    rows = []
    for sample in samples:
        pairs = sample.truth[sample.is_binary]
        if sample.axis != TEST or pairs["flux_ratio"].min() == 1:
            continue
        sep_bin = np.digitize(pairs["sep"], SEP_EDGES) - 1
        ratio_bin = np.minimum(np.digitize(pairs["flux_ratio"], RATIO_EDGES), len(RATIO_EDGES) - 1) - 1
        for method in [*sample.members, *(name for name in (OPTIMUM,) if name in sample.statistics)]:
            found = sample.score(method)[sample.is_binary] > (0.5 if method in sample.members else 0.0)
            for i, j in sorted(set(zip(sep_bin, ratio_bin))):
                here = found[(sep_bin == i) & (ratio_bin == j)]
                edges = (SEP_EDGES[i], SEP_EDGES[i + 1], RATIO_EDGES[j], RATIO_EDGES[j + 1])
                rows.append((sample.survey, sample.case, method, *edges, len(here), *share(here)))
    return pd.DataFrame(rows, columns=list(RECALL_COLUMNS))


def write_merits(out: str | os.PathLike, table: pd.DataFrame, settings: Any = None) -> None:
    """Write the table of `merits` with the meaning of its columns and its provenance."""
    write_table(out, table, COLUMNS, settings)


def write_table(out: str | os.PathLike, table: pd.DataFrame, columns: Mapping[str, str], settings: Any = None) -> None:
    """Write a table as ECSV with the meaning of its `columns` and its provenance."""
    from astropy.table import Table  # half a second, which the jobs that only score are spared

    described = Table({name: table[name].to_numpy() for name in columns})
    for name, meaning in columns.items():
        if described[name].dtype.kind == "O":
            described[name] = described[name].astype(str)
        described[name].description = meaning
    formats = {name: "%.6g" for name in columns if described[name].dtype.kind == "f"}
    described.meta["provenance"] = json.dumps(provenance(settings), sort_keys=True, default=str)
    with atomic(out) as temporary:
        described.write(temporary, format="ascii.ecsv", delimiter=",", formats=formats, overwrite=True)


def read_merits(path: str | os.PathLike) -> pd.DataFrame:
    """The table that `summarise` wrote."""
    from astropy.table import Table

    return Table.read(path, format="ascii.ecsv").to_pandas()


def best_threshold(score: np.ndarray, is_binary: np.ndarray) -> float:
    """The threshold (score > threshold: a pair) with which most stamps are called right."""
    order = np.argsort(score)
    ranked, binary = score[order], is_binary[order]
    # With the threshold at the k-th score, those up to it are called single and the rest pairs.
    right = np.cumsum(~binary) + binary.sum() - np.cumsum(binary)
    last_of_ties = np.append(ranked[1:] > ranked[:-1], True)
    return float(ranked[last_of_ties][np.argmax(right[last_of_ties])])


def _row(sample: Sample, method: str, threshold: float) -> dict[str, Any]:
    score, binary = sample.score(method), sample.is_binary
    if method == UNKNOWN:  # computed for the first stamps only
        score, binary = score[~np.isnan(score)], binary[~np.isnan(score)]
    # A score that is not finite could not be had: such a stamp is called single.
    score = np.where(np.isfinite(score), score, -np.inf)
    called = score > threshold
    members = sample.members.get(method, np.empty((0, len(score))))
    each = ((members > 0.5) == binary).mean(axis=1) if len(members) else np.empty(0)
    paper = _paper(sample, method)
    row: dict[str, Any] = {
        "survey": sample.survey,
        "case": sample.case,
        "axis": sample.axis,
        "cell": sample.cell,
        "method": method,
        "n_seeds": len(members),
        "n_binaries": int(binary.sum()),
        "n_singles": int((~binary).sum()),
        "threshold": threshold,
        "accuracy_seeds": each.mean() if len(each) else np.nan,
        "accuracy_seed_scatter": each.std(ddof=1) if len(each) > 1 else np.nan,
        "auc": metrics.auc(rankable(score), binary) if 0 < binary.sum() < len(binary) else np.nan,
        "accuracy_paper": paper[0],
        "auc_paper": paper[1],
    }
    for name, right in (("accuracy", called == binary), ("tpr", called[binary]), ("fpr", called[~binary])):
        row |= dict(zip((name, f"{name}_low", f"{name}_high"), share(right)))
    return row


def rankable(score: np.ndarray) -> np.ndarray:
    """The score with −∞ and NaN (could not be had) replaced by a finite number below all others."""
    finite = score[np.isfinite(score)]
    least = finite.min() - 1.0 if len(finite) else 0.0
    return np.nan_to_num(score, nan=least, neginf=least)


def share(hits: np.ndarray) -> tuple[float, float, float]:
    """A share and its 68 % binomial interval; NaN where there is nothing."""
    if not len(hits):
        return EMPTY
    low, high = metrics.binomial_interval(int(hits.sum()), len(hits))
    return float(hits.mean()), float(low), float(high)


def _paper(sample: Sample, method: str) -> tuple[float, float]:
    if method not in sample.members:
        return np.nan, np.nan
    if sample.axis == TEST:
        scores = published_images.validation(sample.survey, method)
        return (scores.accuracy, scores.auc) if scores else (np.nan, np.nan)
    return published_images.accuracy(sample.survey, sample.axis).get(sample.cell, np.nan), np.nan
