"""LAMOST MRS files to normalised rest-frame spectra: repair, radial velocity, common grid, continuum, flags.

What happens to the pixels is in `reduction`; here files become observations, observations rows with flags,
and whatever cannot serve a row of the rejected table.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from dioscuri import io
from dioscuri.arms import C_KMS, Arm
from dioscuri.flags import Quality, Refusal
from dioscuri.lamost.mrs_files import COADD, Exposure, MRSFile, RefusedFile, barycentric_date, read_mrs
from dioscuri.lamost.reduction import Cleaned, Meter, RefusedSpectrum, clean, measure_velocities, rest_frame

log = logging.getLogger(__name__)

# The exposure table; text is "O". Per arm, names end in B or R as in Table 4 of Zhang et al. (2022).
EXPOSURE_COLUMNS: dict[str, Any] = {
    "file": "O",  # name without folder
    "source_id": "O",  # LAMOST designation, 'LAMOST J…'
    "object_name": "O",  # of the input catalogue
    "gaia_id": np.int64,  # 0: unknown
    "obsid": np.int64,
    "exposure": np.int64,  # LMJM, local modified Julian minute of the start; −1: co-add
    "key": np.int64,  # counter of the noise draws, see io.observation_key
    "lmjd": np.int64,
    "planid": "O",
    "spid": np.int16,
    "fiberid": np.int16,
    "ra": np.float64,  # deg
    "dec": np.float64,  # deg
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
NOT_STARS = {"sky", "unused", "poserr", "dead", "galaxy", "qso"}  # fibre and object types that are refused
FILES_AT_ONCE = 64  # files read together: velocities and continua are solved for all their spectra at once


@dataclass(frozen=True)
class Limits:
    """Where flags begin.

    `snr_min`: an arm at or below is masked; `ccf_min`: CCF maximum below which the velocity is a guess (FGK
    stars reach 0.5 at S/N 8, real Be stars 0.16); `npixbad_max`: bad pixels; `teff` [K]: flagged are
    templates at these ends or outside (None: the coolest and the hottest template).
    """

    snr_min: float = 5.0
    ccf_min: float = 0.2
    npixbad_max: int = 100
    teff: tuple[float, float] | None = None


@dataclass(frozen=True)
class Ingested:
    """Exposures N and what was refused.

    `exposures` column → (N,), sorted by (obsid, exposure); `arms` name → (flux − 1, sigma), each (N, L)
    float16, NaN rows where the arm is masked; `rejected` one mapping of REJECTED_COLUMNS per refused exposure
    or file.
    """

    exposures: dict[str, np.ndarray]
    arms: dict[str, tuple[np.ndarray, np.ndarray]]
    rejected: list[dict]


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

    file: MRSFile
    exposure: int
    spectra: dict[str, Exposure]
    results: dict[str, ArmResult] = field(default_factory=dict)
    mjd_mid: float = field(init=False)
    exptime: float = field(init=False)

    def __post_init__(self) -> None:
        first = next(iter(self.spectra.values()))
        self.mjd_mid, self.exptime = first.mjd_mid, first.exptime


def ingest_files(
    paths: Iterable[str | Path],
    arms: Sequence[Arm],
    meters: Mapping[str, Meter],
    *,
    limits: Limits = Limits(),
    coadds: bool = True,
) -> Ingested:
    """Read, repair, shift and normalise all exposures of LAMOST MRS files; bad ones are refused, never fatal.

    `meters` arm name → VelocityMeter with templates in the mocks' own frame. `coadds` takes co-added spectra
    as rows of their own (exposure −1, Quality.COADD). The answer does not depend on the order of `paths`.
    """
    files = sorted({Path(path) for path in paths})
    kept: list[Observation] = []
    rejected: list[dict] = []
    for start in range(0, len(files), FILES_AT_ONCE):
        observations = _read(files[start : start + FILES_AT_ONCE], arms, coadds, rejected)
        for arm in arms:
            _process_arm(observations, arm, meters[arm.name], limits)
        for observation in observations:
            observation.spectra.clear()
            if any(result.specflag for result in observation.results.values()):
                kept.append(observation)
            else:
                rejected.append(_refused_exposure(observation))
    kept.sort(key=lambda o: (o.file.obsid, o.exposure, str(o.file.path)))
    rejected.sort(key=lambda row: tuple(str(row[name]) for name in REJECTED_COLUMNS))
    log.info("%d files: %d exposures kept, %d refusals", len(files), len(kept), len(rejected))
    spectra = {arm.name: _stack(kept, arm) for arm in arms}
    return Ingested(_columns(kept, arms), spectra, rejected)


def write(ingested: Ingested, shard: str | Path, rejected: str | Path, provenance: dict) -> None:
    """Write the shard (HDF5, see dioscuri.io) and the table of refusals (Parquet), whole or not at all."""
    import pandas as pd

    io.write_spectra_shard(shard, ingested.exposures, ingested.arms, provenance)
    table = pd.DataFrame(ingested.rejected, columns=list(REJECTED_COLUMNS))
    table = table.astype({name: "int64" if name == "exposure" else "str" for name in REJECTED_COLUMNS})
    with io.atomic(rejected) as temporary:
        table.to_parquet(temporary, index=False)


# --- from files to observations -----------------------------------------------------------------------------


def _read(paths: Sequence[Path], arms: Sequence[Arm], coadds: bool, rejected: list[dict]) -> list[Observation]:
    """The observations of `paths`; files that cannot serve go to `rejected`."""
    observations = []
    for path in paths:
        try:
            file = read_mrs(path)
            observations += _observations(file, arms, coadds)
        except RefusedFile as refusal:
            log.warning("%s refused: %s", path, refusal)
            rejected.append(_rejection(path, WHOLE_FILE, "", refusal.reason, refusal.detail))
    return observations


def _observations(file: MRSFile, arms: Sequence[Arm], coadds: bool) -> list[Observation]:
    """Exposures of a file with the wanted arms of one LMJM together."""
    for kind in (file.fiber_type, file.object_type):
        if kind.lower() in NOT_STARS:
            raise RefusedFile(Refusal.NOT_STELLAR, f"the fibre or object is of type '{kind}'")
    names = {arm.name for arm in arms}
    together: dict[int, dict[str, Exposure]] = {}
    for exposure in file.exposures:
        if exposure.arm in names and (coadds or not exposure.is_coadd):
            together.setdefault(exposure.lmjm, {})[exposure.arm] = exposure
    if not together:
        found = ", ".join(exposure.name for exposure in file.exposures)
        wanted = f"{'single and co-added' if coadds else 'single'} spectra of {', '.join(sorted(names))}"
        raise RefusedFile(Refusal.NO_EXPOSURE, f"wanted {wanted}; found {found}")
    facts = replace(file, exposures=())  # a row outlives the pixels of its file
    return [Observation(facts, lmjm, spectra) for lmjm, spectra in together.items()]


def _rejection(path: Path, exposure: int, arm: str, reason: Refusal, detail: str) -> dict:
    row = (str(path.parent), path.name, exposure, arm, reason.value, detail)
    return dict(zip(REJECTED_COLUMNS, row, strict=True))


def _refused_exposure(observation: Observation) -> dict:
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
    return _rejection(path, observation.exposure, ",".join(refusals), reason, detail)


# --- arms --------------------------------------------------------------------------


def _process_arm(observations: Sequence[Observation], arm: Arm, meter: Meter, limits: Limits) -> None:
    """Fill `results[arm]` of all observations, the spectra of the batch together."""
    pending: list[tuple[ArmResult, Cleaned]] = []
    for observation in observations:
        result = observation.results.setdefault(arm.name, ArmResult())
        if observation.exposure == COADD:
            result.flags |= Quality.COADD
        exposure = observation.spectra.get(arm.name)
        if exposure is None:
            continue
        result.snr = exposure.snr
        result.flags &= ~Quality.MISSING_ARM
        try:
            pending.append((result, clean(exposure, arm, limits.snr_min)))
        except RefusedSpectrum as refusal:
            result.refusal = refusal.with_traceback(None)  # its frames hold the pixels
            result.flags |= refusal.flag
    if not pending:
        return
    velocities = measure_velocities([cleaned for _, cleaned in pending], arm, meter)
    validity = limits.teff or (float(np.min(meter.teff)), float(np.max(meter.teff)))
    flux, sigma, covered = rest_frame([cleaned for _, cleaned in pending], velocities.rv, arm)
    for i, (result, cleaned) in enumerate(pending):
        result.rv_obs, result.rv_obs_err = float(velocities.rv[i]), float(velocities.rv_err[i])
        result.rv_teff, result.ccfmax = float(velocities.teff[i]), float(velocities.ccf_max[i])
        rest_wave = cleaned.wave / (1 + result.rv_obs / C_KMS)
        result.npixbad = int(np.sum(cleaned.bad & (rest_wave >= arm.wave_min) & (rest_wave <= arm.wave_max)))
        result.flags |= _quality(result, bool(velocities.at_edge[i]), bool(covered[i]), limits, validity)
        if np.all(np.isfinite(flux[i])) and np.all(np.isfinite(sigma[i])):
            result.specflag, result.flux, result.sigma = True, flux[i], sigma[i]
        else:
            detail = "the continuum is not positive everywhere"
            result.refusal = RefusedSpectrum(Refusal.NOT_FINITE, Quality.MANY_BAD_PIXELS, detail)
            result.flags |= Quality.MANY_BAD_PIXELS


def _quality(result: ArmResult, at_edge: bool, covered: bool, limits: Limits, validity: tuple) -> Quality:
    flags = Quality(0)
    if not result.ccfmax >= limits.ccf_min:
        flags |= Quality.WEAK_CCF
    if not validity[0] < result.rv_teff < validity[1]:
        flags |= Quality.TEFF_EDGE
    if result.npixbad > limits.npixbad_max:
        flags |= Quality.MANY_BAD_PIXELS
    if at_edge:
        flags |= Quality.VELOCITY_EDGE
    if not covered:
        flags |= Quality.SHORT_COVERAGE
    return flags


# --- columns ------------------------------------------------------------------------------------------------


def _stack(observations: Sequence[Observation], arm: Arm) -> tuple[np.ndarray, np.ndarray]:
    flux, sigma = np.full((2, len(observations), arm.n_pixels), np.nan, io.FLUX_DTYPE)
    for i, observation in enumerate(observations):
        result = observation.results[arm.name]
        if result.specflag:
            flux[i], sigma[i] = result.flux, result.sigma
    return flux, sigma


def _columns(observations: Sequence[Observation], arms: Sequence[Arm]) -> dict[str, np.ndarray]:
    """The exposure table, column → (N,)."""
    where_and_when = [(o.mjd_mid, o.file.ra, o.file.dec) for o in observations]
    dates = barycentric_date(*np.reshape(where_and_when, (-1, 3)).T)
    rows = [_row(observation, arms, date) for observation, date in zip(observations, dates, strict=True)]
    types = dict(EXPOSURE_COLUMNS)
    for arm in arms:
        types |= {f"{name}_{_suffix(arm)}": dtype for name, dtype in ARM_COLUMNS.items()}
    return {name: np.array([row[name] for row in rows], dtype) for name, dtype in types.items()}


def _row(observation: Observation, arms: Sequence[Arm], bjdmid: float) -> dict:
    file = observation.file
    row = {
        "file": file.path.name,
        "source_id": file.designation,
        "exposure": observation.exposure,
        "key": io.observation_key(file.obsid, observation.exposure),
        "bjdmid": bjdmid,
        "exptime": observation.exptime,
        "bprp0": np.nan,
    }
    row |= {name: getattr(file, name) for name in EXPOSURE_COLUMNS if name not in row}
    for arm in arms:
        result = observation.results[arm.name]
        row |= {f"{name}_{_suffix(arm)}": getattr(result, name) for name in ARM_COLUMNS}
    return row


def _suffix(arm: Arm) -> str:
    return arm.name[0].upper()
