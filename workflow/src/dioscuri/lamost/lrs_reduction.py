"""LAMOST LRS files to normalised rest-frame spectra: refusals, repair, velocity by our own templates, common grid."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import median_filter

from dioscuri import io
from dioscuri.arms import C_KMS, Arm
from dioscuri.flags import LrsQuality, Refusal
from dioscuri.lamost.fits_units import RefusedFile
from dioscuri.lamost.lrs_files import NO_OBSID, LRSFile, read_lrs
from dioscuri.shards import write_spectra_shard
from dioscuri.spectra import lrs_frame
from dioscuri.spectra.velocity import Templates, VelocityMeter

if TYPE_CHECKING:
    from dioscuri.libraries.grid import SpectralLibrary

log = logging.getLogger(__name__)

SNRG_MIN = 20.0  # Jing et al. (2025), §2.1
FEWEST_GOOD, FEW_GOOD = 0.5, 0.9  # shares of the grid's pixels below which spectra are refused, flagged
CCF_MIN = 0.35  # below: flagged; found above S/N_g 20: 0.51 and more, B stars among them
SPIKE_SIGMA, SPIKE_EXCESS = 6.0, 0.10  # a cosmic ray is both: many σ and this share above the median of five pixels
# Velocities are measured where lines are many and the air is clear. 20 km/s: a tenth of the line spread.
VELOCITY_ARM = Arm("velocity", 4000.0, 6250.0, 2251, lrs_frame.RESOLUTION)
VELOCITY_STEP, VELOCITY_MAX = 20.0, 600.0
TEMPLATE_LABELS = tuple((t, 4.6 if t < 5600 else 4.3, f, max(0.0, -0.25 * f))
                        for t in (4000.0, 4500.0, 5000.0, 5500.0, 6000.0, 6500.0) for f in (-1.0, 0.0))  # fmt: skip
FILES_AT_ONCE = 64


@dataclass(frozen=True)
class Reduced:
    """Spectra S of files that were not refused, and the refusals.

    `files` their facts without pixels; `flux` (S, L) normalised − 1 on `lrs_frame.WAVE` and `sigma` (S, L) its error,
    infinite where nothing was measured; `rv`, `rv_err` [km/s], `teff` [K] of the best velocity template, `ccf_max`, all
    (S,); `flags` (S,) LrsQuality; `rejected` (path, reason, detail, obsid; −1 unknown).
    """

    files: list[LRSFile]
    flux: np.ndarray
    sigma: np.ndarray
    rv: np.ndarray
    rv_err: np.ndarray
    teff: np.ndarray
    ccf_max: np.ndarray
    flags: np.ndarray
    rejected: list[tuple[Path, Refusal, str, int]]


def velocity_templates(library: "SpectralLibrary", width: float = lrs_frame.WIDTH) -> Templates:
    """Templates of the mocks' own library at LRS's resolution, normalised as observations are."""
    from dioscuri.spectra.smoothing import smoothed
    from dioscuri.synthesis.kinematics import Kinematics

    low, high = np.transpose(list(library.limits.values()))
    labels = np.unique(np.clip(TEMPLATE_LABELS, low, high), axis=0)
    labels = labels[library.covered(labels)]
    wave = np.arange(VELOCITY_ARM.wave_min - 30.0, VELOCITY_ARM.wave_max + 30.0)
    move = Kinematics(library.grid("full"), wave, library.resolution)
    flux = move(library.flux("full", labels), 5.0, 0.0, lrs_frame.RESOLUTION).double().numpy()
    return Templates(wave, flux / smoothed(wave, flux, width=width), labels[:, 0], np.full(len(labels), 5.0))


def velocity_meter(templates: Templates) -> VelocityMeter:
    """What measures the velocities of LRS spectra with these templates."""
    return VelocityMeter(templates, VELOCITY_ARM, velocity_max=VELOCITY_MAX, step_kms=VELOCITY_STEP)


def reduce_files(
    paths: Iterable[str | Path],
    meter: VelocityMeter,
    *,
    snrg_min: float = SNRG_MIN,
    width: float = lrs_frame.WIDTH,
) -> Reduced:
    """Read, check, repair, take to rest and normalise LRS files; what cannot serve is refused with its reason.

    `width` [Å] of the Gaussian smoothing. The order is that of `paths`; results do not depend on their company.
    """
    files: list[LRSFile] = []
    native: list[tuple[np.ndarray, ...]] = []
    rejected: list[tuple[Path, Refusal, str, int]] = []
    for path in map(Path, paths):
        obsid = NO_OBSID
        try:
            file = read_lrs(path)
            obsid = file.obsid
            native.append(cleaned(file, snrg_min))
        except RefusedFile as refusal:
            rejected.append((path, refusal.reason, refusal.detail, obsid))
        else:
            files.append(file)
    return _at_rest(files, native, rejected, meter, width)


def cleaned(file: LRSFile, snrg_min: float = SNRG_MIN) -> tuple[np.ndarray, ...]:
    """Wavelength, flux, 1σ and usability of the native pixels, bad ones bridged; raises RefusedFile."""
    if file.star_class.upper() != "STAR":
        raise RefusedFile(Refusal.NOT_STELLAR, f"CLASS = '{file.star_class or 'missing'}', accepted is STAR")
    if not file.snrg > snrg_min:
        found = "is missing" if np.isnan(file.snrg) else f"= {file.snrg:g}"
        raise RefusedFile(Refusal.LOW_SNRG, f"S/N in g {found}, accepted is above {snrg_min:g}")
    finite = np.isfinite(file.flux)
    if finite.any() and not file.flux[finite].any():
        raise RefusedFile(Refusal.EMPTY, "all fluxes are zero")
    good = finite & np.isfinite(file.ivar) & (file.ivar > 0) & ~file.mask
    share = _share(file.wave, good)
    if share < FEWEST_GOOD:
        raise RefusedFile(Refusal.FEW_GOOD, f"{share:.0%} of the pixels are good, accepted is at least half")
    flux, sigma = file.flux[good], file.ivar[good] ** -0.5
    if np.median(flux) <= 0:
        raise RefusedFile(Refusal.EMPTY, f"median flux {np.median(flux):.3g}")
    middle = median_filter(flux, 5, mode="nearest")
    spike = (flux - middle > SPIKE_SIGMA * sigma) & (flux > (1 + SPIKE_EXCESS) * middle)
    good[np.flatnonzero(good)[spike]] = False
    scale = float(np.median(flux))
    bridged = np.interp(file.wave, file.wave[good], file.flux[good]) / scale
    error = np.interp(file.wave, file.wave[good], file.ivar[good] ** -0.5) / scale
    return file.wave, bridged, error, good


def _share(wave: np.ndarray, good: np.ndarray) -> float:
    """Which share of the grid's pixels is good."""
    inside = (wave > lrs_frame.FINE[0]) & (wave < lrs_frame.FINE[-1])
    return float(good[inside].sum() / (np.log(lrs_frame.FINE[-1] / lrs_frame.FINE[0]) / lrs_frame.NATIVE_STEP))


def _at_rest(
    files: Sequence[LRSFile],
    native: Sequence[tuple[np.ndarray, ...]],
    rejected: list,
    meter: VelocityMeter,
    width: float,
) -> Reduced:
    n, shape = len(files), (len(files), len(lrs_frame.WAVE))
    flux, sigma = np.zeros(shape, np.float32), np.full(shape, np.inf, np.float32)
    flags = np.array([int(file.flags) for file in files], np.int64)
    few = np.array([_share(wave, good) < FEW_GOOD for wave, _, _, good in native], bool)
    flags |= np.where(few, int(LrsQuality.MANY_BAD_PIXELS), 0)
    found = {name: np.full(n, np.nan) for name in ("rv", "rv_err", "teff", "ccf_max")}
    for start in range(0, n, FILES_AT_ONCE):
        part = slice(start, min(start + FILES_AT_ONCE, n))
        velocities = meter.measure(*_for_velocity(native[part], width))
        for name in found:
            found[name][part] = getattr(velocities, name)
        flags[part] |= np.where(velocities.at_edge, int(LrsQuality.VELOCITY_EDGE), 0)
        flags[part] |= np.where(velocities.ccf_max < CCF_MIN, int(LrsQuality.WEAK_CCF), 0)
        flags[part] |= np.where(np.abs(velocities.rv) > 500.0, int(LrsQuality.FAST), 0)
        flux[part], sigma[part] = to_frame(native[part], velocities.rv, width)
    return Reduced(list(files), flux, sigma, flags=flags, rejected=rejected, **found)


def to_frame(
    native: Sequence[tuple[np.ndarray, ...]], rv: np.ndarray, width: float = lrs_frame.WIDTH
) -> tuple[np.ndarray, np.ndarray]:
    """Normalised flux − 1 and its error (S, L) of native spectra at velocities `rv` (S,) [km/s], at rest."""
    fine, fine_sigma = np.empty((2, len(native), len(lrs_frame.FINE)))
    good = np.empty(fine.shape, bool)
    for row, ((wave, values, error, usable), v) in enumerate(zip(native, rv)):
        rest = wave / (1 + v / C_KMS)
        fine[row] = np.interp(lrs_frame.FINE, rest, values)
        fine_sigma[row] = np.interp(lrs_frame.FINE, rest, error)
        usable = usable & ~_telluric(wave)
        good[row] = np.interp(lrs_frame.FINE, rest, usable.astype(float), 0.0, 0.0) > 1 - 1e-9
    both: np.ndarray = np.logical_and(good[:, ::2], good[:, 1::2])
    flux = lrs_frame.binned(fine)
    level = lrs_frame.smoothed(lrs_frame.WAVE, flux, width=width, good=both)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(both & (level > 0), lrs_frame.binned(fine_sigma) / level, np.inf)
    return lrs_frame.normalised(flux, width, both), relative.astype(np.float32)


def _telluric(wave: np.ndarray) -> np.ndarray:
    """Native pixels within the bands of the atmosphere, which stand still whatever the star does; 100 km/s narrower."""
    inside = np.zeros(len(wave), bool)
    for low, high in lrs_frame.TELLURIC:
        inside |= (wave > low * (1 + 2e-4)) & (wave < high * (1 - 2e-4))
    return inside


def _for_velocity(native: Sequence[tuple[np.ndarray, ...]], width: float) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Normalised native spectra about the velocity window, as the meter takes them."""
    waves, fluxes = [], []
    grid = np.arange(VELOCITY_ARM.wave_min - 20.0, VELOCITY_ARM.wave_max + 20.0)
    resampled = np.stack([np.interp(grid, wave, flux) for wave, flux, _, _ in native])
    level = lrs_frame.smoothed(grid, resampled, width=width)
    for (wave, flux, _, _), smooth in zip(native, level):
        part = slice(*np.searchsorted(wave, (grid[0], grid[-1])))
        here = np.interp(wave[part], grid, smooth)
        waves.append(wave[part])
        fluxes.append(np.clip(np.divide(flux[part], here, out=np.ones(len(here)), where=here > 0), 0.0, 1.5))
    return waves, fluxes


SHARD_ARM = "full"  # the name of the spectra in a shard


def write_shard(reduced: Reduced, shard: str | Path, rejected: str | Path, provenance: dict) -> None:
    """Write spectra with their facts (HDF5, see dioscuri.io) and the refusals (Parquet), whole or not at all."""
    import pandas as pd

    columns: dict[str, np.ndarray] = {
        "file": np.array([file.path.name for file in reduced.files], object),
        "release": np.array([file.release for file in reduced.files], object),
        "obsid": np.array([file.obsid for file in reduced.files], np.int64),
    }
    for name in ("ra", "dec", "snrg", "z"):
        columns[name] = np.array([getattr(file, name) for file in reduced.files], float)
    columns |= {name: getattr(reduced, name) for name in ("rv", "rv_err", "ccf_max", "flags")}
    columns["template_teff"] = reduced.teff
    write_spectra_shard(shard, columns, {SHARD_ARM: (reduced.flux, reduced.sigma)}, provenance)
    rows = [(str(path.parent), path.name, 0, SHARD_ARM, r.value, detail) for path, r, detail, _ in reduced.rejected]
    table = pd.DataFrame(rows, columns=["folder", "file", "exposure", "arm", "reason", "detail"])
    with io.atomic(rejected) as temporary:
        table.astype({"exposure": "int64"}).to_parquet(temporary, index=False)
