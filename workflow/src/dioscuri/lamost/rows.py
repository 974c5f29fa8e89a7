"""Observations on their way to rows, and the columns of the exposure table and of the rejected table."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dioscuri import io, shards
from dioscuri.arms import Arm
from dioscuri.flags import Quality, Refusal
from dioscuri.lamost.dates import barycentric_date
from dioscuri.lamost.exposures import Exposure
from dioscuri.lamost.files import ObservedFile
from dioscuri.lamost.reduction import RefusedSpectrum
from dioscuri.lamost.survey import Survey

# What every row has, beside the columns of its survey and those of each arm; text is "O".
EXPOSURE_COLUMNS: dict[str, Any] = {
    "file": "O",  # name without folder
    "folder": "O",  # where it lay: two releases may hold files of one name
    "source_id": "O",  # LAMOST designation, 'LAMOST J…'
    "exposure": np.int64,  # LMJM, local modified Julian minute of the start; −1: co-add
    "key": np.int64,  # counter of the noise draws, see io.observation_key
    "bjdmid": np.float64,  # day, barycentric TDB of mid-exposure
    "exptime": np.float32,  # s
    "bprp0": np.float32,  # mag; the files do not know it: NaN
}
ARM_COLUMNS: dict[str, Any] = {
    "snr": np.float32,
    "rv_obs": np.float32,  # km/s, heliocentric, as is rv_obs_err
    "rv_obs_err": np.float32,
    "rv_teff": np.float32,  # K, of the best template
    "ccfmax": np.float32,
    "npixbad": np.int32,
    "specflag": np.bool_,  # True: the arm can be scored
    "flags": np.int32,  # flags.Quality
}
WHOLE_FILE = 0  # the `exposure` of a row of the rejected table that speaks of a whole file
REJECTED_COLUMNS = ("folder", "file", "exposure", "arm", "reason", "detail")


@dataclass
class ArmResult:
    """What is known of one arm of one exposure; masked until `specflag`. Names are those of ARM_COLUMNS."""

    snr: float = np.nan
    rv_obs: float = np.nan
    rv_obs_err: float = np.nan
    rv_teff: float = np.nan
    ccfmax: float = np.nan
    npixbad: int = 0
    specflag: bool = False
    flags: Quality = Quality.MISSING_ARM
    flux: np.ndarray | None = None
    sigma: np.ndarray | None = None
    refusal: RefusedSpectrum | None = None


@dataclass
class Observation:
    """The arms of one exposure of one file on the way to a row; `spectra` are let go when done."""

    file: ObservedFile
    exposure: int
    spectra: dict[str, Exposure]
    results: dict[str, ArmResult] = field(default_factory=dict)
    mjd_mid: float = field(init=False)
    exptime: float = field(init=False)

    def __post_init__(self) -> None:
        first = next(iter(self.spectra.values()))
        self.mjd_mid, self.exptime = first.mjd_mid, first.exptime


def rejection(path: Path, exposure: int, arm: str, reason: Refusal, detail: str) -> dict:
    row = (str(path.parent), path.name, exposure, arm, reason.value, detail)
    return dict(zip(REJECTED_COLUMNS, row, strict=True))


def refused_exposure(observation: Observation) -> dict:
    """One row for an exposure without a usable arm: the gravest reason, and the details of every arm."""
    refusals = {name: r.refusal for name, r in observation.results.items() if r.refusal is not None}
    reasons = [refusal.reason for refusal in refusals.values()]
    faint = {Refusal.EMPTY, Refusal.LOW_SNR}
    if set(reasons) <= faint:
        reason = Refusal.LOW_SNR if Refusal.LOW_SNR in reasons else Refusal.EMPTY
    else:
        reason = next(reason for reason in reasons if reason not in faint)
    detail = "; ".join(f"{name}: {refusal.detail}" for name, refusal in refusals.items())
    path = observation.file.path
    return rejection(path, observation.exposure, ",".join(refusals), reason, detail)


def stack(observations: Sequence[Observation], arm: Arm) -> tuple[np.ndarray, np.ndarray]:
    flux, sigma = np.full((2, len(observations), arm.n_pixels), np.nan, shards.FLUX_DTYPE)
    for i, observation in enumerate(observations):
        result = observation.results[arm.name]
        if result.specflag:
            flux[i], sigma[i] = result.flux, result.sigma
    return flux, sigma


def exposure_table(observations: Sequence[Observation], survey: Survey, arms: Sequence[Arm]) -> dict[str, np.ndarray]:
    """The exposure table, column → (N,)."""
    where_and_when = [(o.mjd_mid, o.file.ra, o.file.dec) for o in observations]
    dates = barycentric_date(*np.reshape(where_and_when, (-1, 3)).T)
    rows = [_row(observation, survey, arms, date) for observation, date in zip(observations, dates, strict=True)]
    types = EXPOSURE_COLUMNS | dict(survey.columns)
    for arm in arms:
        types |= {name + survey.suffixes[arm.name]: dtype for name, dtype in ARM_COLUMNS.items()}
    return {name: np.array([row[name] for row in rows], dtype) for name, dtype in types.items()}


def _row(observation: Observation, survey: Survey, arms: Sequence[Arm], bjdmid: float) -> dict:
    file = observation.file
    row = {
        "file": file.path.name,
        "folder": str(file.path.parent),
        "source_id": file.designation,
        "exposure": observation.exposure,
        "key": io.observation_key(file.obsid, observation.exposure),
        "bjdmid": bjdmid,
        "exptime": observation.exptime,
        "bprp0": np.nan,
    }
    row |= {name: getattr(file, name) for name in survey.columns}
    for arm in arms:
        result = observation.results[arm.name]
        row |= {name + survey.suffixes[arm.name]: getattr(result, name) for name in ARM_COLUMNS}
    return row
