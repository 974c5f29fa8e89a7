"""Fits of one and two stars to the spectra of an observed shard, and the frames in which the networks look at them."""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dioscuri.catalogs.evidence import Evidence, probability
from dioscuri.flags import Quality
from dioscuri.io import atomic
from dioscuri.job import provenance, use_threads
from dioscuri.paths import format_number
from dioscuri.seals import verified
from dioscuri.shards import read_exposures, read_spectra

if TYPE_CHECKING:
    from dioscuri.spectra.double_lines import DoubleLineFitter

log = logging.getLogger(__name__)

SCHEMA = "dioscuri/pairs/1"
SUFFIX = {"blue": "B", "red": "R"}
# Columns per arm; velocities are heliocentric, km/s, as rv_obs (see catalogs.tables for their meaning).
FIT_COLUMNS = (
    "vs", "vs_err", "vsini", "v1", "v1_err", "v2", "v2_err", "vsini1", "vsini2", "teff1", "teff2", "light_ratio",
    "light_ratio_err", "dchi2", "dchi2_third", "residual", "pair_logodds",
)  # fmt: skip
FRAMES = ("frame_one", "frame_two")  # km/s, heliocentric: of the best single star; of the primary, NaN: no look there
# Log-odds of the fit beyond which its primary's frame is looked at too. Fits of one star's noise lead networks astray:
# at 2.0 that look costs no false positive in 1,500 mock singles with false line strengths, at 1.5 three, at 1.0
# fourteen.
LOOK_LOGODDS = 2.0
# χ² (as `dchi2`) that a third star must take off: 1 in 200 of the pairs of S/N 5–100 does by chance.
THIRD_DCHI2 = 40.0


def fit_exposures(
    fitters: Mapping[str, "DoubleLineFitter"],
    spectra: Mapping[str, tuple[np.ndarray, np.ndarray | None]],
    rv_obs: Mapping[str, np.ndarray],
    evidence: Evidence | None,
) -> dict[str, np.ndarray]:
    """FIT_COLUMNS with the suffix of each arm, and FRAMES, (S,) each, of S exposures.

    `spectra` arm → flux − 1 and σ (S, L) in the frame of the star as the meter saw it; `rv_obs` arm → (S,) [km/s] by
    which they were shifted. Both arms are looked at in the frames of the blue one, where it is there: the red one alone
    loses fast rotators. Without `evidence` log-odds are NaN, and there is no second frame.
    """
    columns: dict[str, np.ndarray] = {}
    for arm, fitter in fitters.items():
        fits = dict(vars(fitter.fit(*spectra[arm])))
        fits["pair_logodds"] = (
            np.full(len(fits["v1"]), np.nan) if evidence is None else evidence.pair_logodds(arm, fits)
        )
        for name in ("vs", "v1", "v2"):
            fits[name] = fits[name] + rv_obs[arm]
        columns |= {f"{name}_{SUFFIX[arm]}": np.asarray(fits[name], float) for name in FIT_COLUMNS}
    return columns | frames(columns, list(fitters))


def frames(columns: Mapping[str, np.ndarray], arms: Sequence[str]) -> dict[str, np.ndarray]:
    """The two FRAMES (S,) [km/s] from the fits of the blue arm, or of the other where it has none."""
    one, two = np.full((2, len(columns[f"vs_{SUFFIX[arms[0]]}"])), np.nan)
    for arm in sorted(arms):  # blue first
        end = SUFFIX[arm]
        free = np.isnan(one)
        with np.errstate(invalid="ignore"):
            sure = columns[f"pair_logodds_{end}"] > LOOK_LOGODDS
        two = np.where(free & sure, columns[f"v1_{end}"], two)
        one = np.where(free, columns[f"vs_{end}"], one)
    return dict(zip(FRAMES, (one, two)))


def of_arm(columns: Mapping[str, np.ndarray], arm: str) -> dict[str, np.ndarray]:
    """The columns of one arm without its suffix."""
    return {name: columns[f"{name}_{SUFFIX[arm]}"] for name in FIT_COLUMNS}


def third_peaks(dchi2_third: np.ndarray, pair_logodds: np.ndarray) -> np.ndarray:
    """Quality.THIRD_PEAK where a third star serves beside a pair that is believed, else 0: (S,) int."""
    with np.errstate(invalid="ignore"):
        return np.where((dchi2_third > THIRD_DCHI2) & (pair_logodds > 0), int(Quality.THIRD_PEAK), 0)


def exposure_evidence(
    pairs: Mapping[str, np.ndarray],
    scores: Mapping[str, Mapping[str, np.ndarray]],
    penalties: Sequence[float],
    evidence: Evidence,
) -> dict[str, np.ndarray]:
    """`pairs` (columns of catalogs.pairs, (N,)) with what follows: logodds, p_joint, and bits to add to flags_B,
    flags_R.

    `scores`: arm → columns as `read_scores` gives them, rows alike.
    """
    penalty = min(penalties, key=lambda value: abs(np.log(value / evidence.penalty)))
    fits = {arm: of_arm(pairs, arm) for arm in scores}
    medians = {arm: score[f"pb_pct_{format_number(penalty)}"][:, 2] for arm, score in scores.items()}
    known = dict(pairs)
    known["logodds"] = evidence.logodds(fits, {arm: evidence.logits(p, penalty) for arm, p in medians.items()})
    known["p_joint"] = probability(known["logodds"])
    for arm, score in scores.items():
        third = third_peaks(fits[arm]["dchi2_third"], fits[arm]["pair_logodds"])
        known[f"flags_{SUFFIX[arm]}"] = third | np.where(score["fit_frame"], int(Quality.FIT_FRAME), 0)
    return known


# --- files --------------------------------------------------------------------------------------------------


def fit_shard(
    shard: str | os.PathLike,
    fitters: Mapping[str, "DoubleLineFitter"],
    evidence: str | os.PathLike,
    out: str | os.PathLike,
    *,
    threads: int = 1,
    settings: Any = None,
) -> None:
    """Fit all spectra of an ingested shard and write FIT_COLUMNS per arm and FRAMES beside the keys (Parquet)."""
    use_threads(threads)
    exposures = read_exposures(shard)
    spectra = {arm: read_spectra(shard, arm) for arm in fitters}
    rv_obs = {arm: exposures[f"rv_obs_{SUFFIX[arm]}"].astype(float) for arm in fitters}
    columns = fit_exposures(fitters, spectra, rv_obs, Evidence.load(evidence))
    table = pa.table({"key": exposures["key"], **{name: values.astype(np.float32) for name, values in columns.items()}})
    metadata = {"schema": SCHEMA, "provenance": json.dumps(provenance(settings), sort_keys=True, default=str)}
    with atomic(out) as temporary:
        pq.write_table(table.replace_schema_metadata(metadata), temporary, compression="zstd")
    log.info("%s: %d exposures fitted in %s", out, len(table), ", ".join(fitters))


def read_pairs(paths: Sequence[str | os.PathLike]) -> dict[str, np.ndarray]:
    """Columns of such tables, one after the other, (N,) each."""
    tables = []
    for path in paths:
        table = pq.read_table(verified(path))
        found = (table.schema.metadata or {}).get(b"schema", b"none").decode()
        if found != SCHEMA:
            raise ValueError(f"{path}: expected schema '{SCHEMA}', found '{found}'; fit the shard again")
        tables.append(table)
    return {name: np.concatenate([table[name].to_numpy() for table in tables]) for name in tables[0].column_names}
