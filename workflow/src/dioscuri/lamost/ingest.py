"""LAMOST files to normalised rest-frame spectra: repair, radial velocity, common grid, continuum, flags.

What a survey's files are is in `survey`, what happens to the pixels in `reduction`, what rows look like in `rows`;
here files become observations, observations rows with flags, and whatever cannot serve a row of the rejected table.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dioscuri import io, shards
from dioscuri.arms import C_KMS, Arm
from dioscuri.flags import Quality, Refusal
from dioscuri.lamost.exposures import COADD, Exposure
from dioscuri.lamost.files import ObservedFile
from dioscuri.lamost.fits_units import RefusedFile
from dioscuri.lamost.reduction import Cleaned, Meter, RefusedSpectrum, clean, measure_velocities, rest_frame
from dioscuri.lamost.rows import (
    REJECTED_COLUMNS,
    WHOLE_FILE,
    ArmResult,
    Observation,
    exposure_table,
    refused_exposure,
    rejection,
    stack,
)
from dioscuri.lamost.survey import Survey

log = logging.getLogger(__name__)

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


def ingest_files(
    paths: Iterable[str | Path],
    survey: Survey,
    arms: Sequence[Arm],
    meters: Mapping[str, Meter],
    *,
    limits: Limits = Limits(),
    coadds: bool = True,
    progress: bool = False,
) -> Ingested:
    """Read, repair, shift and normalise all exposures of a survey's files; bad ones are refused, never fatal.

    `meters` arm name → VelocityMeter with templates in the mocks' own frame. `coadds` takes co-added spectra
    as rows of their own (exposure −1, Quality.COADD). `progress` shows a bar on a terminal. The answer does not
    depend on the order of `paths`.
    """
    files = sorted({Path(path) for path in paths})
    kept: list[Observation] = []
    rejected: list[dict] = []
    batches = range(0, len(files), FILES_AT_ONCE)
    for start in tqdm(batches, desc="reading", unit=f"{FILES_AT_ONCE} files", disable=None if progress else True):
        observations = _read(files[start : start + FILES_AT_ONCE], survey, arms, coadds, rejected)
        for arm in arms:
            _process_arm(observations, survey, arm, meters[arm.name], limits)
        for observation in observations:
            observation.spectra.clear()
            if any(result.specflag for result in observation.results.values()):
                kept.append(observation)
            else:
                rejected.append(refused_exposure(observation))
    kept.sort(key=lambda o: (o.file.obsid, o.exposure, str(o.file.path)))
    rejected.sort(key=lambda row: tuple(str(row[name]) for name in REJECTED_COLUMNS))
    log.info("%d files: %d exposures kept, %d refusals", len(files), len(kept), len(rejected))
    spectra = {arm.name: stack(kept, arm) for arm in arms}
    return Ingested(exposure_table(kept, survey, arms), spectra, rejected)


def write(ingested: Ingested, shard: str | Path, rejected: str | Path, provenance: dict) -> None:
    """Write the shard (HDF5, see dioscuri.io) and the table of refusals (Parquet), whole or not at all."""
    import pandas as pd

    shards.write_spectra_shard(shard, ingested.exposures, ingested.arms, provenance)
    table = pd.DataFrame(ingested.rejected, columns=list(REJECTED_COLUMNS))
    table = table.astype({name: "int64" if name == "exposure" else "str" for name in REJECTED_COLUMNS})
    with io.atomic(rejected) as temporary:
        table.to_parquet(temporary, index=False)


# --- from files to observations -----------------------------------------------------------------------------


def _read(
    paths: Sequence[Path], survey: Survey, arms: Sequence[Arm], coadds: bool, rejected: list[dict]
) -> list[Observation]:
    """The observations of `paths`; files that cannot serve go to `rejected`."""
    observations = []
    for path in paths:
        try:
            file = survey.read(path)
            observations += _observations(file, arms, coadds)
            rejected += [rejection(path, lost.lmjm, lost.arm, lost.reason, lost.detail) for lost in file.lost]
        except RefusedFile as refusal:
            log.warning("%s refused: %s", path, refusal)
            rejected.append(rejection(path, WHOLE_FILE, "", refusal.reason, refusal.detail))
        except Exception as error:  # one file that no reader foresaw must not take its shard with it
            log.exception("%s refused", path)
            rejected.append(rejection(path, WHOLE_FILE, "", Refusal.UNREADABLE, f"unforeseen: {error!r}"))
    return observations


def _observations(file: ObservedFile, arms: Sequence[Arm], coadds: bool) -> list[Observation]:
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
        hint = "" if coadds else "; --coadds (in settings lamost_mrs.ingest.coadds) takes co-added spectra, too"
        raise RefusedFile(Refusal.NO_EXPOSURE, f"wanted {wanted}; found {found}{hint}")
    facts = replace(file, exposures=())  # a row outlives the pixels of its file
    return [Observation(facts, lmjm, spectra) for lmjm, spectra in together.items()]


# --- arms --------------------------------------------------------------------------


def _process_arm(observations: Sequence[Observation], survey: Survey, arm: Arm, meter: Meter, limits: Limits) -> None:
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
        result.flags = (result.flags & ~Quality.MISSING_ARM) | exposure.flags
        try:
            pending.append((result, clean(exposure, arm, limits.snr_min, survey.spikes)))
        except RefusedSpectrum as refusal:
            result.refusal = refusal.with_traceback(None)  # its frames hold the pixels
            result.flags |= refusal.flag
    if pending:
        _measure(pending, survey, arm, meter, limits)


def _measure(
    pending: Sequence[tuple[ArmResult, Cleaned]], survey: Survey, arm: Arm, meter: Meter, limits: Limits
) -> None:
    """Velocities, rest-frame spectra and flags of cleaned spectra; one that breaks the batch costs itself alone."""
    try:
        velocities = measure_velocities([cleaned for _, cleaned in pending], arm, meter)
        flux, sigma, covered = rest_frame([cleaned for _, cleaned in pending], velocities.rv, arm, survey.continuum)
    except Exception as error:
        if len(pending) > 1:
            for one in pending:
                _measure([one], survey, arm, meter, limits)
            return
        log.exception("a spectrum of the %s arm cannot be measured", arm.name)
        refusal = RefusedSpectrum(Refusal.NOT_FINITE, Quality.MANY_BAD_PIXELS, f"unforeseen: {error!r}")
        pending[0][0].refusal = refusal
        pending[0][0].flags |= refusal.flag
        return
    validity = limits.teff or (float(np.min(meter.teff)), float(np.max(meter.teff)))
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
