"""A simulated night of LAMOST MRS files: known SB2s and single stars as the telescope would deliver them, and
wrecks.
 The stars are simple (main-sequence scaling relations, circular orbits, synchronous rotation): what the night
tests is the way from files to probabilities, with a truth table beside it, not the priors of the mocks.
"""

import csv
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from astropy.io import fits

from dioscuri import io
from dioscuri.arms import C_KMS, Arm
from dioscuri.lamost.dates import BEIJING_TIME
from dioscuri.lamost.files import COADD, Exposure, ObservedFile
from dioscuri.lamost.mrs_writer import LAYOUTS, LETTERS, write_mrs_file
from dioscuri.lamost.telescope import DETECTORS, coadd, observe
from dioscuri.libraries.grid import SpectralLibrary, log_grid
from dioscuri.synthesis.kinematics import Kinematics

log = logging.getLogger(__name__)

TRUTH = "truth.csv"
LMJD = 58820  # an evening already counts as the next day
FIRST_LMJM = (LMJD - 1) * 1440 + 20 * 60  # the night begins at 20 h local time
NIGHTFALL = FIRST_LMJM / 1440 - BEIJING_TIME  # the same, UTC MJD
CADENCE, EXPTIME = 1404.0, 1200.0  # s; 1200 s exposures follow each other after 23.4 minutes
HELIO_RV = -11.2  # km/s, applied to the wavelengths of every file
PLATE, PLANID, FIBERS = 9999, "SIMULATED01", 250
HIGHEST_SPEED = 400.0  # km/s; |rv| + vsini + line spread of the stars drawn here stay below
CHANCES = 200  # draws of a star before the library is called too small


@dataclass(frozen=True)
class Star:
    """A main-sequence star: labels [K, dex], radius [R☉], vsini [km/s]."""

    teff: float
    logg: float
    feh: float
    afe: float
    radius: float
    vsini: float

    @property
    def labels(self) -> tuple[float, float, float, float]:
        return self.teff, self.logg, self.feh, self.afe


@dataclass(frozen=True)
class System:
    """One or two stars: γ [km/s], S/N in blue; semi-amplitudes [km/s], period [d] and phase of the orbit."""

    stars: tuple[Star, ...]
    q: float
    gamma: float
    snr: float
    amplitudes: tuple[float, float] = (0.0, 0.0)
    period: float = 1.0
    phase: float = 0.0

    def velocities(self, mjd: float) -> tuple[float, ...]:
        """Radial velocities [km/s] of the stars at a date [MJD]; `phase` is that at the night's beginning."""
        swing = math.sin(2 * math.pi * ((mjd - NIGHTFALL) / self.period + self.phase))
        signed = (self.gamma + self.amplitudes[0] * swing, self.gamma - self.amplitudes[1] * swing)
        return signed[: len(self.stars)]


@dataclass(frozen=True)
class Truth:
    """One row of truth.csv: an exposure, or (exposure 0) a file that nothing can be read from."""

    file: str
    obsid: int
    exposure: int
    kind: str  # sb2, single, empty, nan, truncated, foreign
    layout: str = ""
    teff1: float = math.nan
    teff2: float = math.nan
    logg1: float = math.nan
    logg2: float = math.nan
    feh: float = math.nan
    q: float = math.nan
    vsini1: float = math.nan
    vsini2: float = math.nan
    gamma: float = math.nan
    v1: float = math.nan
    v2: float = math.nan
    dv: float = math.nan
    snr_blue: float = math.nan
    snr_red: float = math.nan


def simulate_night(
    folder: str | Path,
    library: SpectralLibrary,
    arms: Sequence[Arm],
    seed: int,
    *,
    n_sb2: int,
    n_single: int,
    n_exposures: int = 3,
    snr: tuple[float, float] = (8.0, 100.0),
) -> Path:
    """Write a night of `n_sb2` binaries and `n_single` stars, an empty, a NaN-ridden, a truncated and a
    foreign file.

    Layouts and compression alternate from file to file. S/N of the blue arm is log-uniform in `snr`. Returns
    the truth table, `truth.csv` in `folder`. Object k of a seed is the same whatever the numbers asked for
    are.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    models = {arm.name: _ArmModel(library, arm) for arm in arms}
    rows: list[Truth] = []
    kinds = ["sb2"] * n_sb2 + ["single"] * n_single + ["empty", "nan", "truncated"]
    numbers = [*range(n_sb2), *(10_000 + k for k in range(n_single)), 20_000, 20_001, 20_002]
    for fiber, (kind, number) in enumerate(zip(kinds, numbers, strict=True)):
        rng = np.random.default_rng([seed, number])
        rows += _write_object(folder, kind, fiber, rng, models, n_exposures, snr)
    rows.append(_write_foreign(folder))
    truth = folder / TRUTH
    with io.atomic(truth) as temporary, open(temporary, "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(names := [f.name for f in fields(Truth)])
        for row in rows:
            values = (getattr(row, name) for name in names)
            writer.writerow([f"{value:.6g}" if isinstance(value, float) else value for value in values])
    log.info("%s: %d files, %d rows of truth", folder, len(kinds) + 1, len(rows))
    return truth


# --- stars and orbits ---------------------------------------------------------------------------------------


def draw_system(kind: str, rng: np.random.Generator, library: SpectralLibrary, snr: tuple[float, float]) -> System:
    """A binary or single star whose spectra the library holds; at most 200 attempts.

    Dwarfs: R ∝ M^0.9, Teff = 5772 K · M^0.55. Binaries: 0.8–1.4 M☉ primary, q ∈ (0.7, 1), circular orbit of
    1.5 to 20 days seen at a random inclination, rotation synchronous. Singles rotate at 2 to 40 km/s. γ ~
    N(0, 30²) km/s.
    """
    for _ in range(CHANCES):
        mass, q, feh = rng.uniform(0.8, 1.4), rng.uniform(0.7, 1.0), rng.uniform(-0.4, 0.2)
        period = 1.5 * (20 / 1.5) ** rng.uniform()
        sin_i = math.sqrt(1 - rng.uniform() ** 2)
        gamma, phase = float(np.clip(rng.normal(0, 30), -90, 90)), rng.uniform()
        level = snr[0] * (snr[1] / snr[0]) ** rng.uniform()
        vsini = rng.uniform(2, 40)
        if kind == "sb2":
            stars = tuple(_dwarf(m, feh, 50.6 * m**0.9 / period * sin_i) for m in (mass, q * mass))
            total = 212.9 * (mass * (1 + q) / period) ** (1 / 3) * sin_i
            amplitudes = total * q / (1 + q), total / (1 + q)
            system = System(stars, q, gamma, level, amplitudes, period, phase)
        else:
            system = System((_dwarf(mass, feh, vsini),), math.nan, gamma, level)
        if library.covered(np.array([star.labels for star in system.stars])).all():
            return system
    needed = "dwarfs of 4200–7000 K with [Fe/H] from −0.4 to 0.2 and [α/Fe] = 0"
    raise ValueError(f"the simulated night needs {needed}; the library spans {library.limits}")


def _dwarf(mass: float, feh: float, vsini: float) -> Star:
    radius = mass**0.9
    return Star(5772 * mass**0.55, 4.438 + math.log10(mass / radius**2), feh, 0.0, radius, vsini)


# --- spectra -----------------------------------------------------------------------------------------


class _ArmModel:
    """Noise-free counts of one arm on its native pixels."""

    def __init__(self, library: SpectralLibrary, arm: Arm):
        self.library, self.arm, self.detector = library, arm, DETECTORS[arm.name]
        grid = library.grid(arm.name)
        reach = HIGHEST_SPEED / C_KMS
        self.wave = log_grid(grid[0] * (1 + reach), grid[-1] * (1 - reach), 2.0)[:-1]
        self.kinematics = Kinematics(grid, self.wave, library.resolution)

    def spectrum(self, system: System, velocities: Sequence[float], wave: np.ndarray) -> np.ndarray:
        """Flux of all stars on native pixels (4136,), in units of its median, seen through the blaze."""
        flux = self.library.flux(self.arm.name, np.array([star.labels for star in system.stars]))
        vsini = np.array([star.vsini for star in system.stars])
        moved = self.kinematics(flux, vsini, np.array(velocities), self.arm.resolution).double().numpy()
        total = np.array([star.radius**2 for star in system.stars]) @ moved
        # Beyond the library's window, which no grid reaches, the star is continuum.
        left, right = np.percentile(total[:200], 90), np.percentile(total[-200:], 90)
        counts = np.interp(wave, self.wave, total, left=left, right=right) * self.detector.throughput()
        return counts / np.median(counts)


# --- files --------------------------------------------------------------------------------------------------


def _write_object(
    folder: Path,
    kind: str,
    fiber: int,
    rng: np.random.Generator,
    models: Mapping[str, _ArmModel],
    n_exposures: int,
    snr: tuple[float, float],
) -> list[Truth]:
    """Observe one object, write its file, and return what is true of its exposures."""
    library = next(iter(models.values())).library
    system = draw_system(kind, rng, library, snr)
    if kind == "empty":
        system = replace(system, snr=0.0)
    layout = LAYOUTS[fiber % 2]
    exposures = _expose(system, rng, models, n_exposures)
    if kind == "nan":
        exposures = [_riddled(exposure, rng) for exposure in exposures]
    spid, fiberid = 1 + fiber // FIBERS, 1 + fiber % FIBERS
    obsid = PLATE * 100_000 + spid * 1000 + fiberid
    ra, dec = 290.0 + rng.uniform(-2, 2), 43.0 + rng.uniform(-2, 2)
    packed = layout == "loglam" or kind == "truncated"
    path = folder / f"med-{LMJD}-{PLANID}_sp{spid:02d}-{fiberid:03d}.fits{'.gz' if packed else ''}"
    file = ObservedFile(
        path=path,
        obsid=obsid,
        designation=f"DIOSCURI J{ra:.6f}+{dec:.6f}",
        object_name=f"{kind}{fiber}",
        gaia_id=0,
        ra=round(ra, 6),
        dec=round(dec, 6),
        planid=PLANID,
        spid=spid,
        fiberid=fiberid,
        lmjd=LMJD,
        fiber_type="Obj",
        object_type="Star",
        data_version="simulated DR7" if layout == "loglam" else "simulated DR9",
        helio_rv=HELIO_RV,
        magnitudes={},
        exposures=tuple(exposures),
    )
    # Every third file of the newer layout is gzip data under a plain name, as some of the archive's are.
    write_mrs_file(path, file, layout, compress=packed or fiber % 3 == 0)
    if kind == "truncated":
        content = path.read_bytes()
        with io.atomic(path) as temporary:
            temporary.write_bytes(content[: int(0.6 * len(content))])
        return [Truth(path.name, obsid, 0, kind, layout)]
    dates = {exposure.lmjm: exposure.mjd_mid for exposure in exposures}
    return [_truth(path, obsid, lmjm, kind, layout, system, dates[lmjm], n_exposures) for lmjm in sorted(dates)]


def _expose(
    system: System, rng: np.random.Generator, models: Mapping[str, _ArmModel], n_exposures: int
) -> list[Exposure]:
    """All single exposures of both arms, and the co-adds."""
    exposures = []
    for name, model in models.items():
        wave = model.detector.pixels(HELIO_RV)
        singles, unhit = [], []
        for k in range(n_exposures):
            lmjm, mjd_mid = exposure_times(k)
            counts = model.spectrum(system, system.velocities(mjd_mid), wave)
            flux, ivar, mask, without_rays = observe(counts, model.detector, system.snr * model.detector.snr, rng)
            # LAMOST's own S/N: the median over all pixels, 0 where it is negative
            level = max(0.0, float(np.median(flux * np.sqrt(ivar))))
            label = f"{LETTERS[name]}-{lmjm}"
            singles.append(Exposure(label, name, lmjm, mjd_mid, EXPTIME, level, wave, flux, ivar, mask))
            unhit.append(without_rays)
        exposures += [*singles, coadd(singles, unhit)]
    return exposures


def exposure_times(k: int) -> tuple[int, float]:
    """LMJM of exposure `k` of the night and UTC MJD of its middle."""
    begin = NIGHTFALL + k * CADENCE / 86400
    return int((begin + BEIJING_TIME) * 1440 + 1e-6), begin + 0.5 * EXPTIME / 86400


def _riddled(exposure: Exposure, rng: np.random.Generator) -> Exposure:
    """The exposure with four of five pixels NaN."""
    flux = exposure.flux.copy()
    flux[rng.uniform(size=len(flux)) < 0.8] = np.nan
    return replace(exposure, flux=flux)


def _truth(
    path: Path, obsid: int, lmjm: int, kind: str, layout: str, system: System, mjd: float, n_exposures: int
) -> Truth:
    velocities = system.velocities(mjd)
    snr = system.snr * (math.sqrt(n_exposures) if lmjm == COADD else 1.0)
    first, second = system.stars[0], system.stars[1] if len(system.stars) > 1 else None
    return Truth(
        file=path.name,
        obsid=obsid,
        exposure=lmjm,
        kind=kind,
        layout=layout,
        teff1=first.teff,
        teff2=second.teff if second else math.nan,
        logg1=first.logg,
        logg2=second.logg if second else math.nan,
        feh=first.feh,
        q=system.q,
        vsini1=first.vsini,
        vsini2=second.vsini if second else math.nan,
        gamma=system.gamma,
        v1=velocities[0],
        v2=velocities[1] if second else math.nan,
        dv=abs(velocities[0] - velocities[1]) if second else 0.0,
        snr_blue=snr,
        snr_red=snr * DETECTORS["red"].snr,
    )


def _write_foreign(folder: Path) -> Truth:
    """A FITS image of another telescope that strayed into the folder."""
    unit = fits.PrimaryHDU(np.zeros((16, 16), np.float32))
    unit.header["TELESCOP"], unit.header["OBJECT"] = "HST", "stray image"
    path = folder / f"med-{LMJD}-{PLANID}_stray.fits"
    with io.atomic(path) as temporary:
        fits.HDUList([unit]).writeto(temporary, overwrite=True)
    return Truth(path.name, 0, 0, "foreign")
