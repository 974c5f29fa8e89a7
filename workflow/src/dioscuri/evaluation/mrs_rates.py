"""How good the models are on the test pairs: score tables, rates beside the paper's, and calibration."""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dioscuri.catalogs.published_mrs import table_3
from dioscuri.io import atomic, open_shard, write_json
from dioscuri.job import provenance, use_threads
from dioscuri.learn import calibration, metrics
from dioscuri.seals import verified
from dioscuri.shards import MOCK_SCHEMA

if TYPE_CHECKING:
    from astropy.table import Table

log = logging.getLogger(__name__)

EQUAL_FPR = np.geomspace(2e-3, 0.1, 12)  # where curves of trained and of shifted penalties are held side by side

SCHEMA = "dioscuri/test-scores/1"
# What detectability is drawn against; every score table carries it, so that a figure needs no shard.
LABELS = ("snr", "dv", "q", "teff1", "teff2", "logg1", "feh", "vsini1", "vsini2")
BLOCK = 320  # spectra per pass through the network: what fits the cache of a CPU


# --- scores of one model ----------------------------------------------------------------------------------


def evaluate_model(
    model_dir: str | os.PathLike,
    test_shards: Sequence[str | os.PathLike],
    out: str | os.PathLike,
    *,
    threads: int = 1,
    settings: Any = None,
) -> None:
    """Score every spectrum of the test shards with one model, as it is: the mocks are noisy already.

    `out` (Parquet) has two rows per pair: pair_id, y (0 single, 1 binary), logit, p, and labels of the pair.
    """
    from dioscuri.learn.spectra.models import load_model
    from dioscuri.learn.spectra.networks import folded

    use_threads(threads)
    net, described = load_model(model_dir)
    net = folded(net)
    parts = []
    for path in test_shards:
        with open_shard(path, MOCK_SCHEMA) as stream:
            labels = {name: stream[f"labels/{name}"][:] for name in ("pair_id", *LABELS)}
            for y, kind in enumerate(("single", "binary")):
                parts.append((labels, y, _logits(net, stream[f"{described['arm']}/{kind}"])))
    write_test_scores(out, parts, described, settings)
    log.info("%s: %d spectra scored", out, sum(len(logit) for _, _, logit in parts))


def _logits(net: Any, fluxes: Any) -> np.ndarray:
    """Logits (N,) of a dataset of normalised flux − 1, (N, L), read in blocks."""
    import torch

    with torch.inference_mode():
        blocks = [net(torch.from_numpy(fluxes[k : k + BLOCK]).float()).numpy() for k in range(0, len(fluxes), BLOCK)]
    return np.concatenate(blocks)


def write_test_scores(
    out: str | os.PathLike,
    parts: Sequence[tuple[Mapping[str, np.ndarray], int, np.ndarray]],
    model: Mapping[str, Any],
    settings: Any = None,
) -> None:
    """Write the score table of a model: `parts` are (labels name → (N,), y, logit (N,)), `model` its json."""
    logit = np.concatenate([part[2] for part in parts]).astype(np.float32)
    columns: dict[str, np.ndarray] = {
        "pair_id": np.concatenate([labels["pair_id"] for labels, _, _ in parts]),
        "y": np.concatenate([np.full(len(scores), y, np.int8) for _, y, scores in parts]),
        "logit": logit,
        "p": _sigmoid(logit),
    }
    for name in LABELS:
        columns[name] = np.concatenate([labels[name] for labels, _, _ in parts]).astype(np.float32)
    metadata = {
        "schema": SCHEMA,
        "model": json.dumps({key: model[key] for key in ("arm", "penalty", "seed")}),
        "provenance": json.dumps(provenance(settings), sort_keys=True, default=str),
    }
    with atomic(out) as temporary:
        pq.write_table(pa.table(columns).replace_schema_metadata(metadata), temporary, compression="zstd")


def read_test_scores(
    path: str | os.PathLike, columns: Sequence[str] | None = None
) -> tuple[dict, dict[str, np.ndarray]]:
    """A score table: its model {"arm", "penalty", "seed"} and its columns, name → (2N,)."""
    table = pq.read_table(verified(path), columns=list(columns) if columns else None)
    metadata = {key.decode(): text.decode() for key, text in (table.schema.metadata or {}).items()}
    if metadata.get("schema") != SCHEMA:
        raise ValueError(
            f"{path}: expected schema '{SCHEMA}', found '{metadata.get('schema')}'; evaluate the model again"
        )
    return json.loads(metadata["model"]), {name: table[name].to_numpy() for name in table.column_names}


def _sigmoid(logit: np.ndarray) -> np.ndarray:
    return (0.5 * (1.0 + np.tanh(0.5 * logit.astype(float)))).astype(np.float32)


# --- all models together ----------------------------------------------------------------------------------


def summarise(
    score_files: Sequence[str | os.PathLike],
    rates_csv: str | os.PathLike,
    calibration_json: str | os.PathLike,
    *,
    baseline_files: Mapping[str, str | os.PathLike] | None = None,
    settings: Any = None,
) -> None:
    """Summarise score tables of many models: rates per arm and Λ (CSV), reliability and Λ shifts (JSON).

    `baseline_files`: arm → table of the classical statistic (spectra.baseline) on the same pairs.
    The CSV is ECSV: commented header with units, meaning and provenance, then plain comma-separated columns.
    """
    models = by_arm_and_penalty(score_files)
    statistics = {arm: _read_baseline(path) for arm, path in (baseline_files or {}).items()}
    rows, calibrations = [], {}
    for arm, penalties in models.items():
        logits: dict[float, np.ndarray] = {}
        y = np.empty(0)
        for penalty, paths in penalties.items():
            members = [read_test_scores(path, ("pair_id", "y", "logit"))[1] for path in paths]
            y = _same_pairs(members, paths)
            stacked = np.stack([member["logit"] for member in members]).astype(float)
            rows.append(_rates_row(arm, penalty, stacked, y, statistics.get(arm)))
            logits[penalty] = stacked
        calibrations[arm] = _calibration(logits, y)
    _write_rates(rows, rates_csv, settings)
    write_json(calibration_json, {"arms": calibrations, "provenance": provenance(settings)}, sealed=True)


def read_rates(path: str | os.PathLike) -> "Table":
    """The rates table of `summarise`, one row per arm and Λ."""
    from astropy.table import Table  # half a second, which the jobs that only score are spared

    return Table.read(path, format="ascii.ecsv")


def by_arm_and_penalty(score_files: Sequence[str | os.PathLike]) -> dict[str, dict[float, list]]:
    """arm → Λ → score files, arms and penalties in order, files by seed."""
    described = []
    for path in score_files:
        metadata = pq.read_schema(verified(path)).metadata or {}
        if metadata.get(b"schema", b"").decode() != SCHEMA:
            raise ValueError(f"{path}: not a score table of test pairs; evaluate the model again")
        model = json.loads(metadata[b"model"])
        described.append((model["arm"], float(model["penalty"]), model["seed"], path))
    if not described:
        raise ValueError("no score table was given: evaluate at least one model")
    models: dict[str, dict[float, list]] = {}
    for arm, penalty, _, path in sorted(described, key=lambda item: item[:3]):
        models.setdefault(arm, {}).setdefault(penalty, []).append(path)
    return models


def _same_pairs(members: Sequence[Mapping[str, np.ndarray]], paths: Sequence) -> np.ndarray:
    """The classes of the rows, which must be the same pairs in every table."""
    first = members[0]
    for member, path in zip(members, paths):
        if not (np.array_equal(member["pair_id"], first["pair_id"]) and np.array_equal(member["y"], first["y"])):
            raise ValueError(f"{path} was made from other test pairs than {paths[0]}: evaluate both on the same shards")
    return first["y"]


def _rates_row(
    arm: str,
    penalty: float,
    logits: np.ndarray,
    y: np.ndarray,
    statistic: tuple[np.ndarray, np.ndarray] | None,
) -> dict[str, Any]:
    """Rates of the models of one arm and Λ; `logits` (M, N), `y` (N,).

    All seeds see the same pairs, so the binomial interval is that of one test set, not of M of them.
    """
    scores = [metrics.rates(_sigmoid(logit), y) for logit in logits]
    ensemble = _sigmoid(logits).mean(axis=0)  # eq. 8
    combined = metrics.rates(ensemble, y)
    paper = table_3(arm, penalty)
    row: dict[str, Any] = {
        "arm": arm,
        "penalty": penalty,
        "n_seeds": len(logits),
        "n_pairs": scores[0].n_positive,
    }
    for name, size in (("tpr", scores[0].n_positive), ("fpr", scores[0].n_negative)):
        values = np.array([getattr(score, name) for score in scores])
        low, high = metrics.binomial_interval(values.mean() * size, size)
        row |= {name: values.mean(), f"{name}_low": float(low), f"{name}_high": float(high)}
        row[f"{name}_seed_scatter"] = values.std(ddof=1) if len(values) > 1 else np.nan
    areas = np.array([metrics.auc(logit, y) for logit in logits])
    row |= {"auc": areas.mean(), "auc_seed_scatter": areas.std(ddof=1) if len(areas) > 1 else np.nan}
    row |= {
        "tpr_ensemble": combined.tpr,
        "fpr_ensemble": combined.fpr,
        "auc_ensemble": metrics.auc(ensemble, y),
    }
    row |= {"tpr_paper": paper.tpr if paper else np.nan, "fpr_paper": paper.fpr if paper else np.nan}
    row["tpr_at_paper_fpr"] = (
        np.mean([metrics.tpr_at_fpr(logit, y, paper.fpr) for logit in logits]) if paper else np.nan
    )
    row |= {"tpr_classical": np.nan, "auc_classical": np.nan}
    if statistic is not None:
        value, truth = statistic
        row["tpr_classical"] = metrics.tpr_at_fpr(value, truth, row["fpr"])
        row["auc_classical"] = metrics.auc(value, truth)
    return row


RATE_COLUMNS = {
    "arm": "spectrograph arm",
    "penalty": "penalty on negatives, Lambda of eq. 7",
    "n_seeds": "models averaged",
    "n_pairs": "test pairs: as many singles as binaries",
    "tpr": "mean true positive rate of the models at p > 0.5, eq. 11",
    "tpr_low": "lower end of its 68 % binomial interval (Wilson)",
    "tpr_high": "upper end",
    "tpr_seed_scatter": "standard deviation between seeds",
    "fpr": "mean false positive rate of the models at p > 0.5, eq. 10",
    "fpr_low": "lower end of its 68 % binomial interval (Wilson)",
    "fpr_high": "upper end",
    "fpr_seed_scatter": "standard deviation between seeds",
    "auc": "mean area under the ROC curve",
    "auc_seed_scatter": "standard deviation between seeds",
    "tpr_ensemble": "of the mean probability over seeds, eq. 8",
    "fpr_ensemble": "of the mean probability over seeds, eq. 8",
    "auc_ensemble": "of the mean probability over seeds, eq. 8",
    "tpr_paper": "mean TPR in Table 3 of Zhang et al. 2022",
    "fpr_paper": "mean FPR in Table 3 of Zhang et al. 2022",
    "tpr_at_paper_fpr": "mean TPR of the models with the threshold set for the paper's FPR",
    "tpr_classical": "TPR of the double-peaked CCF at the models' own mean FPR",
    "auc_classical": "area under the ROC curve of the double-peaked CCF",
}


def _write_rates(rows: Sequence[Mapping[str, Any]], path: str | os.PathLike, settings: Any) -> None:
    from astropy.table import Table

    table = Table({name: [row[name] for row in rows] for name in RATE_COLUMNS})
    for name, meaning in RATE_COLUMNS.items():
        table[name].description = meaning
    formats = {name: "%.6g" for name in RATE_COLUMNS if table[name].dtype.kind == "f"}
    table.meta["provenance"] = json.dumps(provenance(settings), sort_keys=True, default=str)
    with atomic(path) as temporary:
        table.write(temporary, format="ascii.ecsv", delimiter=",", formats=formats, overwrite=True)


# --- calibration ------------------------------------------------------------------------------------------


def _calibration(logits: Mapping[float, np.ndarray], y: np.ndarray) -> dict[str, Any]:
    """Reliability of each Λ, and the lowest Λ shifted to each other one beside the models trained there.

    Eq. 7 has its minimum at logit_Λ = logit_1 − ln Λ, so one calibrated model holds the whole grid.
    """
    curves = []
    for penalty, members in logits.items():
        curve = calibration.reliability(_sigmoid(members).mean(axis=0), y, penalty)
        curves.append(
            {
                "penalty": penalty,
                "predicted": _nullable(curve.predicted),
                "observed": _nullable(curve.observed),
                "weight": curve.weight.tolist(),
                "expected_error": curve.expected_error,
            }
        )
    lowest = min(logits)
    start = logits[lowest].mean(axis=0)
    shifts = []
    for penalty in sorted(set(logits) - {lowest}):
        difference = logits[penalty].mean(axis=0) - start
        shifted = metrics.rates(_sigmoid(calibration.shift_logit(start, lowest, penalty)), y)
        trained = metrics.rates(_sigmoid(logits[penalty].mean(axis=0)), y)
        shifts.append(
            {
                "penalty": penalty,
                "expected": -float(np.log(penalty / lowest)),
                "median": float(np.median(difference)),
                "scatter": _robust_scatter(difference),
                "tpr_trained": trained.tpr,
                "fpr_trained": trained.fpr,
                "tpr_shifted": shifted.tpr,
                "fpr_shifted": shifted.fpr,
                "tpr_difference": float(
                    np.mean([_roc_distance(a, b, y) for a, b in zip(logits[penalty], logits[lowest])])
                ),
            }
        )
    members = logits[lowest]
    between_seeds = _robust_scatter(members[1] - members[0]) if len(members) > 1 else None
    return {
        "reliability": curves,
        "shift": {
            "from_penalty": lowest,
            "to": shifts,
            "seed_scatter": between_seeds,
            "seed_tpr_difference": _roc_distance(members[0], members[1], y) if len(members) > 1 else None,
        },
        "units": {
            "tpr_difference": "largest |difference| at equal FPR of 0.002-0.1, trained and shifted, mean of seeds",
            "seed_tpr_difference": "the same between two seeds of one penalty",
            "expected": "logit",
            "median": "logit",
            "scatter": "logit (1.48 MAD)",
            "seed_scatter": "logit (1.48 MAD)",
        },
    }


def _roc_distance(one: np.ndarray, other: np.ndarray, y: np.ndarray) -> float:
    """Largest difference of TPR (0–1) between two statistics (S,) at equal false positive rates of EQUAL_FPR."""
    first, second = (np.array([metrics.tpr_at_fpr(values, y, fpr) for fpr in EQUAL_FPR]) for values in (one, other))
    return float(np.abs(first - second).max())


def _robust_scatter(values: np.ndarray) -> float:
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def _nullable(values: np.ndarray) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]


def _read_baseline(path: str | os.PathLike) -> tuple[np.ndarray, np.ndarray]:
    """The classical statistic and the class of each test spectrum, (2N,)."""
    table = pq.read_table(verified(path), columns=["y", "statistic"])
    return table["statistic"].to_numpy(), table["y"].to_numpy()


def found_by_seeds(
    score_files: Sequence[str | os.PathLike], penalty: float, labels: Sequence[str]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """arm → share of its seeds that find each test binary (p > 0.5), (N,), and the binaries' labels, each (N,) float.

    Both are empty where no model has this penalty.
    """
    found: dict[str, list[np.ndarray]] = {}
    values: dict[str, np.ndarray] = {}
    for arm, penalties in by_arm_and_penalty(score_files).items():
        for path in penalties.get(float(penalty), []):
            _, table = read_test_scores(path)
            binary = table["y"] == 1
            found.setdefault(arm, []).append(table["p"][binary] > 0.5)
            values = {name: np.asarray(table[name][binary], float) for name in labels}
    return {arm: np.mean(members, axis=0) for arm, members in found.items()}, values
