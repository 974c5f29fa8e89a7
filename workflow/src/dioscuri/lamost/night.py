"""Simulated nights of LAMOST MRS files: known stars as the telescope would deliver them, a truth, and wrecks.

Beside the files lie truth.csv, a row per exposure, and stars.csv, what a user may know of the stars (see
`catalogs.user_table`): photometry, parallaxes, and the periods of those that eclipse.
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
from dioscuri.lamost.exposures import COADD, Exposure
from dioscuri.lamost.files import ObservedFile
from dioscuri.lamost.mrs_writer import LAYOUTS, LETTERS, write_mrs_file
from dioscuri.lamost.simulated_stars import IMPOSTORS, System, draw_system, emission, photometry, weights
from dioscuri.lamost.telescope import DETECTORS, coadd, observe
from dioscuri.libraries.grid import SpectralLibrary, log_grid
from dioscuri.synthesis.kinematics import Kinematics

log = logging.getLogger(__name__)

TRUTH, STARS = "truth.csv", "stars.csv"
LMJD = 58820  # an evening already counts as the next day
FIRST_LMJM = (LMJD - 1) * 1440 + 20 * 60  # the night begins at 20 h local time
NIGHTFALL = FIRST_LMJM / 1440 - BEIJING_TIME  # the same, UTC MJD
MJD_TO_JD = 2_400_000.5  # the barycentre moves these dates by less than nine minutes, which is left out
CADENCE, EXPTIME = 1404.0, 1200.0  # s; 1200 s exposures follow each other after 23.4 minutes
HELIO_RV = -11.2  # km/s, applied to the wavelengths of every file
PLATE, PLANID, FIBERS = 9999, "SIMULATED01", 250
HIGHEST_SPEED = 400.0  # km/s; |rv| + vsini + line spread of the stars drawn here stay below
SEASONS = ((0, 30), (340, 400))  # days after the first night in which the others fall
DESIGNATION_OFFSET = 0.3 / 3600  # deg; input catalogues of different nights name one star differently


@dataclass(frozen=True)
class Truth:
    """One row of truth.csv: an exposure, or (exposure 0) a file that nothing can be read from."""

    file: str
    obsid: int
    exposure: int
    kind: str  # sb2, single, one of simulated_stars.IMPOSTORS, empty, nan, truncated, foreign
    object: str = ""  # the same for all nights of a star
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
    period: float = math.nan
    ecc: float = math.nan
    k1: float = math.nan
    k2: float = math.nan
    bjd0: float = math.nan
    eclipsing: bool = False


def simulate_night(
    folder: str | Path,
    library: SpectralLibrary,
    arms: Sequence[Arm],
    seed: int,
    *,
    n_sb2: int,
    n_single: int,
    n_exposures: int = 3,
    n_nights: int = 1,
    n_impostors: int = 0,
    snr: tuple[float, float] = (8.0, 100.0),
) -> Path:
    """Write nights with `n_sb2` binaries, `n_single` stars, `n_impostors` of each kind that is mistaken for binaries,
    an empty, a NaN-ridden, a truncated and a foreign file.

    A third of the stars are observed in all of `n_nights` nights of two seasons, a third in half of them, a third in
    one, `n_exposures` each, a file per night. Layouts and compression alternate from file to file; where there are
    several nights, every third star has another designation in its later ones, and the first file lies there twice,
    as two releases hold it. S/N of the blue arm is log-uniform in `snr`. Returns the truth table, `truth.csv` in
    `folder`. Object k of a seed is the same whatever
    the numbers asked for are.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    models = {arm.name: _ArmModel(library, arm) for arm in arms}
    nights = _nights(seed, n_nights)
    kinds = ["sb2"] * n_sb2 + ["single"] * n_single
    numbers = [*range(n_sb2), *(10_000 + k for k in range(n_single))]
    for first, kind in enumerate(IMPOSTORS, start=3):
        kinds += [kind] * n_impostors
        numbers += [10_000 * first + k for k in range(n_impostors)]
    kinds += ["empty", "nan", "truncated"]
    numbers += [20_000, 20_001, 20_002]
    rows: list[Truth] = []
    known: list[dict] = []
    for fiber, (kind, number) in enumerate(zip(kinds, numbers, strict=True)):
        rng = np.random.default_rng([seed, number])
        system = draw_system(kind, rng, library, snr)
        if kind == "empty":
            system = replace(system, snr=0.0)
        place = 290.0 + rng.uniform(-2, 2), 43.0 + rng.uniform(-2, 2)
        wreck = kind in ("empty", "nan", "truncated")
        share = (1, 3, 6)[number % 3]  # sixths of the nights, one at least: some stars are seen once, some always
        visits = nights[:1] if wreck else nights[: max(1, round(share / 6 * len(nights)))]
        for night in visits:
            rows += _write_object(folder, kind, fiber, night, place, system, rng, models, n_exposures)
        if not wreck:
            known.append(_known_of(kind, place, system, rng))
    rows.append(_write_foreign(folder))
    if n_nights > 1:
        rows += _write_again(folder, rows)
    _write_csv(folder / STARS, known)
    _write_csv(folder / TRUTH, [{f.name: getattr(row, f.name) for f in fields(Truth)} for row in rows])
    log.info("%s: %d stars in %d nights, %d rows of truth", folder, len(known), len(nights), len(rows))
    return folder / TRUTH


def _nights(seed: int, n: int) -> list[int]:
    """Days after the first night, ascending; the first is 0."""
    rng = np.random.default_rng([seed, 20_003])
    spans = [SEASONS[k % len(SEASONS)] for k in range(1, n)]
    days = sorted({int(rng.integers(*span)) for span in spans} - {0})
    return [0, *days]


def _known_of(kind: str, place: tuple[float, float], system: System, rng: np.random.Generator) -> dict:
    """A row of stars.csv; periods where the star eclipses, and of every binary in `orbital_period`, as a list of
    spectroscopic binaries has them."""
    eclipses = system.eclipsing
    return {
        "ra": round(place[0], 6),
        "dec": round(place[1], 6),
        **photometry(system, rng),
        "period": system.period if eclipses else math.nan,
        "bjd0": system.bjd0 if eclipses else math.nan,
        "sb2_period": system.period if kind == "sb2" else math.nan,
    }


def _write_again(folder: Path, rows: Sequence[Truth]) -> list[Truth]:
    """The first file once more under another name, as another release holds it."""
    first = rows[0].file
    again = first.replace(".fits", "-again.fits")
    with io.atomic(folder / again) as temporary:
        temporary.write_bytes((folder / first).read_bytes())
    return [replace(row, file=again) for row in rows if row.file == first]


def _write_csv(path: Path, rows: Sequence[Mapping]) -> None:
    with io.atomic(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(rows[0])
        for row in rows:
            # Dates need their decimals: 1e-6 d.
            writer.writerow([f"{v:.13g}" if isinstance(v, float) and v > 1e6 else _short(v) for v in row.values()])


def _short(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value


# --- spectra -----------------------------------------------------------------------------------------


class _ArmModel:
    """Noise-free counts of one arm on its native pixels."""

    def __init__(self, library: SpectralLibrary, arm: Arm):
        self.library, self.arm, self.detector = library, arm, DETECTORS[arm.name]
        grid = library.grid(arm.name)
        reach = HIGHEST_SPEED / C_KMS
        self.wave = log_grid(grid[0] * (1 + reach), grid[-1] * (1 - reach), 2.0)[:-1]
        self.kinematics = Kinematics(grid, self.wave, library.resolution)

    def spectrum(self, system: System, bjd: float, wave: np.ndarray) -> np.ndarray:
        """Flux of all stars on native pixels (4136,) at a date, in units of its median, seen through the blaze."""
        flux = self.library.flux(self.arm.name, np.array([star.labels for star in system.stars]))
        vsini = np.array([star.vsini for star in system.stars])
        moved = self.kinematics(flux, vsini, np.array(system.velocities(bjd)), self.arm.resolution).double().numpy()
        total = weights(system.stars, system.light(bjd)) @ moved
        # Beyond the library's window, which no grid reaches, the star is continuum.
        left, right = np.percentile(total[:200], 90), np.percentile(total[-200:], 90)
        counts = np.interp(wave, self.wave, total, left=left, right=right)
        if system.nebular:
            counts += np.median(counts) * emission(wave, system.nebular, 0.5 * system.gamma, self.arm.resolution)
        counts *= self.detector.throughput()
        return counts / np.median(counts)


# --- files --------------------------------------------------------------------------------------------------


def _write_object(
    folder: Path,
    kind: str,
    fiber: int,
    night: int,
    place: tuple[float, float],
    system: System,
    rng: np.random.Generator,
    models: Mapping[str, _ArmModel],
    n_exposures: int,
) -> list[Truth]:
    """Observe one object in one night, write its file, and return what is true of its exposures."""
    layout = LAYOUTS[(fiber + night) % 2]
    exposures = _expose(system, night, rng, models, n_exposures)
    if kind == "nan":
        exposures = [_riddled(exposure, rng) for exposure in exposures]
    spid, fiberid = 1 + fiber // FIBERS, 1 + fiber % FIBERS
    obsid = (PLATE + night) * 100_000 + spid * 1000 + fiberid
    ra, dec = place[0], place[1] + (DESIGNATION_OFFSET if night and fiber % 3 == 0 else 0.0)
    packed = layout == "loglam" or kind == "truncated"
    path = folder / f"med-{LMJD + night}-{PLANID}_sp{spid:02d}-{fiberid:03d}.fits{'.gz' if packed else ''}"
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
        lmjd=LMJD + night,
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
        return [Truth(path.name, obsid, 0, kind, object=f"{kind}{fiber}", layout=layout)]
    dates = {exposure.lmjm: exposure.mjd_mid for exposure in exposures}
    return [
        replace(
            _truth(system, lmjm, dates[lmjm], n_exposures),
            file=path.name,
            obsid=obsid,
            kind=kind,
            object=f"{kind}{fiber}",
            layout=layout,
        )
        for lmjm in sorted(dates)
    ]


def _expose(
    system: System, night: int, rng: np.random.Generator, models: Mapping[str, _ArmModel], n_exposures: int
) -> list[Exposure]:
    """All single exposures of both arms, and the co-adds."""
    exposures = []
    for name, model in models.items():
        wave = model.detector.pixels(HELIO_RV)
        singles, unhit = [], []
        for k in range(n_exposures):
            lmjm, mjd_mid = exposure_times(k, night)
            counts = model.spectrum(system, MJD_TO_JD + mjd_mid, wave)
            flux, ivar, mask, without_rays = observe(counts, model.detector, system.snr * model.detector.snr, rng)
            # LAMOST's own S/N: the median over all pixels, 0 where it is negative
            level = max(0.0, float(np.median(flux * np.sqrt(ivar))))
            label = f"{LETTERS[name]}-{lmjm}"
            singles.append(Exposure(label, name, lmjm, mjd_mid, EXPTIME, level, wave, flux, ivar, mask))
            unhit.append(without_rays)
        exposures += [*singles, coadd(singles, unhit)]
    return exposures


def exposure_times(k: int, night: int = 0) -> tuple[int, float]:
    """LMJM of exposure `k` of a night and UTC MJD of its middle."""
    begin = NIGHTFALL + night + k * CADENCE / 86400
    return int((begin + BEIJING_TIME) * 1440 + 1e-6), begin + 0.5 * EXPTIME / 86400


def _riddled(exposure: Exposure, rng: np.random.Generator) -> Exposure:
    """The exposure with four of five pixels NaN."""
    flux = exposure.flux.copy()
    flux[rng.uniform(size=len(flux)) < 0.8] = np.nan
    return replace(exposure, flux=flux)


def _truth(system: System, lmjm: int, mjd: float, n_exposures: int) -> Truth:
    """What is true of an exposure, but for the names of its file."""
    velocities = system.velocities(MJD_TO_JD + mjd)
    snr = system.snr * (math.sqrt(n_exposures) if lmjm == COADD else 1.0)
    first, second = system.stars[0], system.stars[1] if len(system.stars) > 1 else None
    orbit = math.isfinite(system.period)
    return Truth(
        file="",
        obsid=0,
        exposure=lmjm,
        kind="",
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
        period=system.period,
        ecc=system.ecc if orbit else math.nan,
        k1=first.amplitude if orbit else math.nan,
        k2=-second.amplitude if orbit and second else math.nan,
        bjd0=system.bjd0 if orbit else math.nan,
        eclipsing=system.eclipsing,
    )


def _write_foreign(folder: Path) -> Truth:
    """A FITS image of another telescope that strayed into the folder."""
    unit = fits.PrimaryHDU(np.zeros((16, 16), np.float32))
    unit.header["TELESCOP"], unit.header["OBJECT"] = "HST", "stray image"
    path = folder / f"med-{LMJD}-{PLANID}_stray.fits"
    with io.atomic(path) as temporary:
        fits.HDUList([unit]).writeto(temporary, overwrite=True)
    return Truth(path.name, 0, 0, "foreign")
