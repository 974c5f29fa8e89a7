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

SCHEMA = "dioscuri/scores/3"
PERCENTILES = (0, 16, 50, 84, 100)  # over models and noise draws (Zhang et al. 2022, §4.1)
ARM_INDEX = {"blue": 0, "red": 1}  # separates the noise of the two arms of one exposure
IDENTITY = ("key", "source_id", "obsid", "exposure", "file")  # carried over from the shard, row by row


def score_column(penalty: float, percentile: int) -> str:
    """Name of a percentile column: (16, 50) → 'pb_pct_16_p50'."""
    return f"pb_pct_{format_number(penalty)}_p{percentile}"


def percentiles_in_frames(
    ensemble: "Ensemble",
    arm: Arm,
    flux: np.ndarray,
    sigma: np.ndarray,
    keys: np.ndarray,
    rv_obs: np.ndarray,
    frames: Mapping[str, np.ndarray],
    *,
    penalties: Sequence[float],
    **options: Any,
) -> tuple[dict[float, np.ndarray], np.ndarray]:
    """Percentiles of p (`Ensemble.percentiles`) from the better of two frames, and where that is the second, (S,) bool.

    `flux`, `sigma` (S, L) are in the frame that moves with `rv_obs` (S,) [km/s]. All are looked at in
    `frames["frame_one"]`, the best single star's; where `frames["frame_two"]`, the pair fit's primary, is a number,
    there as well, and the frame of the larger median p at the first penalty is taken for all penalties.
    """
    index = ARM_INDEX[arm.name]

    def look(rows: np.ndarray, velocity: np.ndarray) -> dict[float, np.ndarray]:
        moved, error = shifted(arm, flux[rows], sigma[rows], velocity[rows] - rv_obs[rows])
        assert error is not None
        return ensemble.percentiles(moved, error, keys[rows], index, penalties=penalties, **options)

    found = look(np.arange(len(flux)), frames["frame_one"])
    rows = np.flatnonzero(np.isfinite(frames["frame_two"]))
    second = np.zeros(len(flux), bool)
    if len(rows):
        again = look(rows, frames["frame_two"])
        better = again[penalties[0]][:, 2] > found[penalties[0]][rows, 2]
        second[rows[better]] = True
        for penalty in penalties:
            found[penalty][rows[better]] = again[penalty][better]
    return found, second


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

    `pairs`: the fits of that shard (`catalogs.pairs`), which say in which frames to look. `models`: model.ckpt files,
    or a released .safetensors file, whose logits are shifted to the penalties it lacks. Rows in the order of the
    shard: key, source_id, obsid, exposure, file, arm, for each Λ five float32 columns pb_pct_<Λ>_p0 … p100, and
    fit_frame, true where they come from the frame of the fit's primary. A masked arm has NaN. `draws` noise
    realisations per spectrum, keyed by observation; `precision` of the networks' arithmetic (`Ensemble`).
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
    percentiles, second = percentiles_in_frames(
        ensemble,
        arm,
        flux,
        sigma,
        exposures["key"],
        exposures[f"rv_obs_{SUFFIX[arm.name]}"].astype(float),
        fits,
        n_draws=draws,
        seed=seed,
        penalties=penalties,
        shift_from=shift_from,
    )
    write_scores(out, exposures, arm.name, percentiles, second, settings)
    log.info("%s: %d exposures scored in the %s arm, %d in the fit's frame", out, len(flux), arm.name, second.sum())


def write_scores(
    out: str | os.PathLike,
    exposures: Mapping[str, np.ndarray],
    arm: str,
    percentiles: Mapping[float, np.ndarray],
    fit_frame: np.ndarray | None = None,
    settings: Any = None,
) -> None:
    """Write a score table; `exposures`: columns of the shard (N,); `percentiles`: Λ → (N, 5); `fit_frame` (N,) bool."""
    columns: dict[str, Any] = {name: _arrow(exposures[name]) for name in IDENTITY}
    columns["arm"] = pa.array([arm] * len(exposures["key"]), pa.string())
    for penalty, values in percentiles.items():
        for position, percentile in enumerate(PERCENTILES):
            columns[score_column(penalty, percentile)] = np.asarray(values[:, position], np.float32)
    columns["fit_frame"] = np.zeros(len(exposures["key"]), bool) if fit_frame is None else np.asarray(fit_frame, bool)
    metadata = {
        "schema": SCHEMA,
        "arm": arm,
        "provenance": json.dumps(provenance(settings), sort_keys=True, default=str),
    }
    with atomic(out) as temporary:
        pq.write_table(pa.table(columns).replace_schema_metadata(metadata), temporary, compression="zstd")


def read_scores(paths: Sequence[str | os.PathLike], penalties: Sequence[float]) -> dict[str, np.ndarray]:
    """Score tables of one arm, one after the other.

    "key", "file", "fit_frame" (N,) and for each Λ "pb_pct_<Λ>" (N, 5).
    """
    wanted = {f"pb_pct_{format_number(penalty)}": penalty for penalty in penalties}
    parts: dict[str, list[np.ndarray]] = {"key": [], "file": [], "fit_frame": [], **{name: [] for name in wanted}}
    for path in paths:
        table = pq.read_table(verified(path))
        found = (table.schema.metadata or {}).get(b"schema", b"none").decode()
        if found != SCHEMA:
            raise ValueError(f"{path}: expected schema '{SCHEMA}', found '{found}'; score the shard again")
        parts["key"].append(table["key"].to_numpy())
        parts["fit_frame"].append(table["fit_frame"].to_numpy())
        parts["file"].append(np.asarray(table["file"].to_pylist(), object))
        for name, penalty in wanted.items():
            columns = [score_column(penalty, percentile) for percentile in PERCENTILES]
            absent = [column for column in columns if column not in table.column_names]
            if absent:
                raise ValueError(
                    f"{path}: no column {absent[0]}: it was not scored at penalty {penalty:g}; score it again"
                )
            parts[name].append(np.stack([table[column].to_numpy() for column in columns], axis=1))
    if not paths:
        raise ValueError("no score table was given: score the ingested shards first")
    return {name: np.concatenate(values) for name, values in parts.items()}


def _arrow(values: np.ndarray) -> pa.Array:
    return pa.array(values.tolist(), pa.string()) if values.dtype.kind in "OU" else pa.array(values)
