"""Score tables: the binary probabilities of one observed shard in one arm (Parquet)."""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dioscuri.arms import Arm
from dioscuri.catalogs.pairs import SUFFIX, read_pairs
from dioscuri.io import atomic
from dioscuri.job import provenance, use_threads
from dioscuri.paths import format_number
from dioscuri.seals import verified
from dioscuri.shards import read_exposures, read_spectra
from dioscuri.spectra.frames import shifted

if TYPE_CHECKING:
    from dioscuri.learn.spectra.inference import Ensemble

log = logging.getLogger(__name__)

SCHEMA = "dioscuri/scores/4"
PERCENTILES = (0, 16, 50, 84, 100)  # over models and noise draws (Zhang et al. 2022, §4.1)
ARM_INDEX = {"blue": 0, "red": 1}  # separates the noise of the two arms of one exposure
IDENTITY = ("key", "source_id", "obsid", "exposure", "file")  # carried over from the shard, row by row


def score_column(penalty: float, percentile: int) -> str:
    """Name of a percentile column: (16, 50) → 'pb_pct_16_p50'."""
    return f"pb_pct_{format_number(penalty)}_p{percentile}"


def probability_column(penalty: float) -> str:
    """Name of the column of p of eq. 8: 16 → 'pb_16'."""
    return f"pb_{format_number(penalty)}"


def scored(
    ensemble: "Ensemble",
    arm: Arm,
    flux: np.ndarray,
    sigma: np.ndarray,
    keys: np.ndarray,
    rv_obs: np.ndarray,
    frame: np.ndarray,
    *,
    penalties: Sequence[float],
    shift_from: float | None = None,
    **options: Any,
) -> dict[str, np.ndarray]:
    """Columns of a score table: for each penalty `pb_pct_<Λ>` (S, 5), percentiles of p over models and noise draws
    (eq. 9), and `pb_<Λ>` (S,), the models' mean p of the spectrum as it is (eq. 8).

    `flux`, `sigma` (S, L) are in the frame that moves with `rv_obs` (S,) [km/s]; they are looked at in `frame` (S,).
    `options` go to `Ensemble.percentiles`.
    """
    moved, error = shifted(arm, flux, sigma, frame - rv_obs)
    assert error is not None
    percentiles = ensemble.percentiles(
        moved, error, keys, ARM_INDEX[arm.name], penalties=penalties, shift_from=shift_from, **options
    )
    plain = ensemble.mean_probability(moved, penalties, shift_from)
    named = {f"pb_pct_{format_number(penalty)}": values for penalty, values in percentiles.items()}
    return named | {probability_column(penalty): plain[penalty] for penalty in percentiles}


def score_shard(
    shard: str | os.PathLike,
    arm: Arm,
    pairs: str | os.PathLike,
    models: Sequence[str | os.PathLike],
    out: str | os.PathLike,
    *,
    penalties: Sequence[float],
    draws: int = 20,
    seed: int = 0,
    precision: str = "fp32",
    threads: int = 1,
    settings: Any = None,
) -> None:
    """Score one arm of an observed shard with all models of each penalty (eq. 9) and write its score table.

    `pairs`: the fits of that shard (`catalogs.pairs`), which say in which frame to look. `models`: model.ckpt files,
    or a released .safetensors file, whose logits are shifted to the penalties it lacks. Rows in the order of the
    shard: key, source_id, obsid, exposure, file, arm, for each Λ five float32 columns pb_pct_<Λ>_p0 … p100 and
    pb_<Λ>. A masked arm has NaN. `draws` noise realisations per spectrum, keyed by
    observation; `precision` of the networks' arithmetic (`Ensemble`).
    """
    from dioscuri.learn.calibration import nearest_penalty
    from dioscuri.learn.spectra.inference import Ensemble
    from dioscuri.learn.spectra.models import load_models

    use_threads(threads)
    ensemble = Ensemble(load_models(models, arm.name), precision=precision)
    released = [path for path in models if Path(path).suffix == ".safetensors"]
    shift_from = nearest_penalty(ensemble.penalties, np.median(penalties)) if released else None
    for path in released:
        log.info("released models %s: trained at Λ = %s, others by a shift of the logit", path, ensemble.penalties)
    exposures = read_exposures(shard)
    flux, sigma = read_spectra(shard, arm.name)
    fits = read_pairs([pairs])
    if not np.array_equal(fits["key"], exposures["key"]):
        raise ValueError(f"{pairs}: not the fits of {shard}; fit that shard again")
    found = scored(
        ensemble,
        arm,
        flux,
        sigma,
        exposures["key"],
        exposures[f"rv_obs_{SUFFIX[arm.name]}"].astype(float),
        fits["frame"],
        n_draws=draws,
        seed=seed,
        penalties=penalties,
        shift_from=shift_from,
    )
    write_scores(out, exposures, arm.name, found, settings)
    log.info("%s: %d exposures scored in the %s arm", out, len(flux), arm.name)


def write_scores(
    out: str | os.PathLike,
    exposures: Mapping[str, np.ndarray],
    arm: str,
    found: Mapping[str, np.ndarray],
    settings: Any = None,
) -> None:
    """Write a score table; `exposures`: columns of the shard (N,); `found`: columns as `scored` gives them."""
    columns: dict[str, Any] = {name: _arrow(exposures[name]) for name in IDENTITY}
    columns["arm"] = pa.array([arm] * len(exposures["key"]), pa.string())
    for name, values in found.items():
        parts = values.T if values.ndim == 2 else [values]
        ends = [f"_p{percentile}" for percentile in PERCENTILES] if values.ndim == 2 else [""]
        columns |= {f"{name}{end}": np.asarray(part, np.float32) for end, part in zip(ends, parts)}
    metadata = {
        "schema": SCHEMA,
        "arm": arm,
        "provenance": json.dumps(provenance(settings), sort_keys=True, default=str),
    }
    with atomic(out) as temporary:
        pq.write_table(pa.table(columns).replace_schema_metadata(metadata), temporary, compression="zstd")


def read_scores(paths: Sequence[str | os.PathLike], penalties: Sequence[float]) -> dict[str, np.ndarray]:
    """Score tables of one arm, one after the other: "key", "file" (N,), and for each Λ the columns of `scored`."""
    if not paths:
        raise ValueError("no score table was given: score the ingested shards first")
    parts: list[dict[str, np.ndarray]] = []
    for path in paths:
        table = pq.read_table(verified(path))
        found = (table.schema.metadata or {}).get(b"schema", b"none").decode()
        if found != SCHEMA:
            raise ValueError(f"{path}: expected schema '{SCHEMA}', found '{found}'; score the shard again")
        part = {"key": table["key"].to_numpy(), "file": np.asarray(table["file"].to_pylist(), object)}
        for penalty in penalties:
            columns = [score_column(penalty, percentile) for percentile in PERCENTILES]
            plain = probability_column(penalty)
            absent = [column for column in (*columns, plain) if column not in table.column_names]
            if absent:
                raise ValueError(
                    f"{path}: no column {absent[0]}: it was not scored at penalty {penalty:g}; score it again"
                )
            part[f"pb_pct_{format_number(penalty)}"] = np.stack([table[name].to_numpy() for name in columns], axis=1)
            part[plain] = table[plain].to_numpy()
        parts.append(part)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _arrow(values: np.ndarray) -> pa.Array:
    return pa.array(values.tolist(), pa.string()) if values.dtype.kind in "OU" else pa.array(values)
