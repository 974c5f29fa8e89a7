"""Fits of one and two stars to the spectra of an observed shard, and the frames in which the networks look at them."""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dioscuri.catalogs.columns import read_whole
from dioscuri.catalogs.evidence import Evidence, probability
from dioscuri.catalogs.fit_limits import BELIEVED
from dioscuri.flags import Quality
from dioscuri.io import atomic
from dioscuri.job import provenance, use_threads
from dioscuri.paths import format_number
from dioscuri.shards import read_exposures, read_spectra

if TYPE_CHECKING:
    from dioscuri.catalogs.fit_limits import FitLimits
    from dioscuri.spectra.double_lines import DoubleLineFitter

log = logging.getLogger(__name__)

SCHEMA = "dioscuri/pairs/2"
SUFFIX = {"blue": "B", "red": "R"}
# Columns per arm; velocities are heliocentric, km/s, as rv_obs (see catalogs.tables for their meaning).
FIT_COLUMNS = (
    "vs", "vs_err", "vsini", "v1", "v1_err", "v2", "v2_err", "vsini1", "vsini2", "teff1", "teff2", "light_ratio",
    "light_ratio_err", "dchi2", "dchi2_third", "residual", "unlike", "pair_logodds",
)  # fmt: skip
FRAMES = (
    "frame",
    "pair_frame",
)  # km/s, heliocentric: where networks look; 1: at the pair's primary, 0: at the one star
# Log-odds of the fit beyond which networks look from its primary instead of the best single star.
LOOK_LOGODDS = 2.0


def fit_exposures(
    fitters: Mapping[str, "DoubleLineFitter"],
    spectra: Mapping[str, tuple[np.ndarray, np.ndarray | None]],
    rv_obs: Mapping[str, np.ndarray],
    evidence: Evidence | None,
) -> dict[str, np.ndarray]:
    """FIT_COLUMNS with the suffix of each arm, and FRAMES, (S,) each, of S exposures.

    `spectra` arm → flux − 1 and σ (S, L) in the frame of the star as the meter saw it; `rv_obs` arm → (S,) [km/s] by
    which they were shifted. Both arms are looked at in the frame of the blue one, where it is there: the red one alone
    loses fast rotators. Without `evidence` log-odds are NaN, errors are those of the noise alone, and no frame is a
    pair's.
    """
    columns: dict[str, np.ndarray] = {}
    for arm, fitter in fitters.items():
        fits = dict(vars(fitter.fit(*spectra[arm])))
        unknown = np.full(len(fits["v1"]), np.nan)
        fits |= {"pair_logodds": unknown, "unlike": unknown}
        if evidence is not None:
            fits["pair_logodds"] = evidence.pair_logodds(arm, fits)
        if evidence is not None and arm in evidence.limits:
            limits = evidence.limits[arm]
            sigma = pixel_error(spectra[arm][1], len(unknown))
            fits["unlike"] = limits.unlike(fits["residual"], sigma)
            fits |= limits.errors(fits, sigma)
        for name in ("vs", "v1", "v2"):
            fits[name] = fits[name] + rv_obs[arm]
        columns |= {f"{name}_{SUFFIX[arm]}": np.asarray(fits[name], float) for name in FIT_COLUMNS}
    return columns | frames(columns, list(fitters))


def pixel_error(sigma: np.ndarray | None, n_spectra: int) -> np.ndarray:
    """Rms error of a pixel (S,) of `sigma` (S, L); NaN without."""
    if sigma is None:
        return np.full(n_spectra, np.nan)
    return np.sqrt(np.mean(np.square(sigma, dtype=np.float32), axis=1))


def frames(columns: Mapping[str, np.ndarray], arms: Sequence[str]) -> dict[str, np.ndarray]:
    """The FRAMES (S,) from the fits of the blue arm, or of the other where it has none."""
    frame = np.full(len(columns[f"vs_{SUFFIX[arms[0]]}"]), np.nan)
    of_pair = np.zeros(len(frame))
    for arm in sorted(arms):  # blue first
        end = SUFFIX[arm]
        free = np.isnan(frame)
        with np.errstate(invalid="ignore"):
            sure = columns[f"pair_logodds_{end}"] > LOOK_LOGODDS
        frame = np.where(free, np.where(sure, columns[f"v1_{end}"], columns[f"vs_{end}"]), frame)
        of_pair = np.where(free, sure, of_pair)
    return dict(zip(FRAMES, (frame, of_pair.astype(float))))


def of_arm(columns: Mapping[str, np.ndarray], arm: str) -> dict[str, np.ndarray]:
    """The columns of one arm without its suffix."""
    return {name: columns[f"{name}_{SUFFIX[arm]}"] for name in FIT_COLUMNS}


def fit_flags(fits: Mapping[str, np.ndarray], pair_frame: np.ndarray, limits: "FitLimits | None") -> np.ndarray:
    """Bits (S,) int that the fits of one arm (S,) add: THIRD_PEAK, UNLIKE_TEMPLATES, FIT_FRAME."""
    flags = np.where(pair_frame > 0, int(Quality.FIT_FRAME), 0)
    if limits is not None:
        with np.errstate(invalid="ignore"):
            third = (fits["dchi2_third"] > limits.third) & (fits["pair_logodds"] > BELIEVED)
            flags |= np.where(third, int(Quality.THIRD_PEAK), 0)
            flags |= np.where(fits["unlike"] > 1, int(Quality.UNLIKE_TEMPLATES), 0)
    return flags


def exposure_evidence(
    pairs: Mapping[str, np.ndarray],
    scores: Mapping[str, Mapping[str, np.ndarray]],
    penalties: Sequence[float],
    evidence: Evidence,
) -> dict[str, np.ndarray]:
    """`pairs` (columns of catalogs.pairs, (N,)) with what follows: logodds, p_joint, and bits to add to flags_B,
    flags_R.

    `scores`: arm → columns as `read_scores` gives them, rows alike. Of p without and the median p with noise draws the
    smaller one counts: on stars that no library describes (PHOENIX) the one may be led astray where the other is not.
    """
    penalty = min(penalties, key=lambda value: abs(np.log(value / evidence.penalty)))
    fits = {arm: of_arm(pairs, arm) for arm in scores}
    name = format_number(penalty)
    p = {arm: np.fmin(score[f"pb_{name}"], score[f"pb_pct_{name}"][:, 2]) for arm, score in scores.items()}
    known = dict(pairs)
    known["logodds"] = evidence.logodds(fits, {arm: evidence.logits(values, penalty) for arm, values in p.items()})
    known["p_joint"] = probability(known["logodds"])
    for arm, columns in fits.items():
        known[f"flags_{SUFFIX[arm]}"] = fit_flags(columns, pairs["pair_frame"], evidence.limits.get(arm))
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
    return read_whole(paths, SCHEMA, "fit the shard again")
