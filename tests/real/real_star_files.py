"""Writes stars and pairs made of real and foreign spectra (HARPS, PHOENIX, ATLAS9) as genuine LAMOST MRS files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from scipy.special import j1

from dioscuri.arms import C_KMS, air_to_vacuum
from dioscuri.lamost.exposures import Exposure
from dioscuri.lamost.files import ObservedFile
from dioscuri.lamost.mrs_writer import LETTERS, write_mrs_file
from dioscuri.lamost.night import LMJD, exposure_times
from dioscuri.lamost.telescope import DETECTORS
from dioscuri.spectra.continuum import fit_continuum
from dioscuri.spectra.velocity import VelocityMeter
from dioscuri.synthesis.synthesizer import read_linelist, synthesize

STEP_KMS = 1.5
SPAN = {"blue": (4905.0, 5395.0), "red": (6225.0, 6870.0)}  # vacuum Å
RESOLUTION, LIMB_DARKENING = 7500.0, 0.6
PER_FILE = 20  # exposures
PHOENIX = {"5000": "lte05000", "5800": "lte05800", "6400": "lte06400"}
ATLAS9 = "FERRE_FEH+0.00_AFE+0.00_VMIC+0.00_TEFF+5750_LOGG+4.50.fits"


@dataclass(frozen=True)
class Star:
    """One star of an exposure: name of its spectrum, share of light, velocity and v sin i [km/s]."""

    name: str
    light: float
    rv: float
    vsini: float


def harps_spectrum(path):
    """Wavelength [vacuum Å] and flux of a HARPS spectrum whose FITS file may end early."""
    raw = path.read_bytes()
    header = fits.Header.fromstring(raw[: raw.find(b"END" + b" " * 77) + 80].decode("latin1"))
    first = -(-len(header.tostring()) // 2880) * 2880
    n = min(header["NAXIS1"], (len(raw) - first) // 4)
    flux = np.frombuffer(raw[first : first + 4 * n], ">f4").astype(float)
    return air_to_vacuum(header["CRVAL1"] + header["CDELT1"] * np.arange(n)), flux, 1.15e5


def phoenix_spectrum(path):
    """The same of a PHOENIX spectrum of R = 10,000; vacuum whatever its CTYPE says."""
    with fits.open(path) as units:
        flux = units[0].data.astype(float)
        wave = np.exp(units[0].header["CRVAL1"] + units[0].header["CDELT1"] * np.arange(len(flux)))
    return wave, flux, 1e4


def atlas9_spectrum(path):
    """The same of a node of the ATLAS9 library for FERRE, in air."""
    with fits.open(path) as units:
        table = units[1].data
        return air_to_vacuum(table["wave"].astype(float)), table["flux"].astype(float), 1e4


class StarFactory:
    """Spectra at rest on fine grids.

    `meters` arm → VelocityMeter, by which real stars' own velocities are taken out.
    """

    def __init__(self, folder: Path, meters: dict[str, VelocityMeter]) -> None:
        self.meters = meters
        self._stars = {}
        self._linelist = None
        for name in ("Sun", "Procyon", "ATLAS9", *PHOENIX):
            if name in PHOENIX:
                (path,) = folder.glob(f"{PHOENIX[name]}*")
                wave, flux, power = phoenix_spectrum(path)
            elif name == "ATLAS9":
                wave, flux, power = atlas9_spectrum(folder / ATLAS9)
            else:
                wave, flux, power = harps_spectrum(folder / f"HARPS_{name}.fits")
            for arm, (low, high) in SPAN.items():
                grid = np.exp(np.arange(np.log(low), np.log(high), STEP_KMS / C_KMS))
                values = np.interp(grid, wave, flux)
                values /= np.median(values)
                if name in ("Sun", "Procyon"):
                    values = np.interp(grid * (1 + self._velocity(arm, grid, values, power) / C_KMS), grid, values)
                self._stars[name, arm] = (grid, values, power)

    def _velocity(self, arm, grid, values, power):
        meter = self.meters[arm]
        flux = np.interp(meter.arm.wave, grid, _broadened(values, power, 0.0))
        return meter.measure(meter.arm.wave, (flux / fit_continuum(meter.arm.wave, flux))[None]).rv[0]

    def synthesize(self, name: str, linelist: Path, labels: tuple[float, float, float, float]) -> None:
        """Add the spectrum of our synthesizer for (Teff, log g, [Fe/H], [α/Fe]) with another list of lines."""
        self._linelist = self._linelist or read_linelist(linelist)
        for arm, (low, high) in SPAN.items():
            star = synthesize(*labels, low, high, linelist=self._linelist, step_kms=STEP_KMS, resolution=2e4)
            self._stars[name, arm] = (star.wave, star.flux / np.median(star.flux), 2e4)

    def light(self, stars: list[Star], arm: str, wave: np.ndarray) -> np.ndarray:
        """The light of these stars on native pixels (P,), of median 1."""
        total = np.zeros(len(wave))
        for star in stars:
            grid, values, power = self._stars[star.name, arm]
            moved = np.log(wave) - np.log1p(star.rv / C_KMS)
            total += star.light * np.interp(moved, np.log(grid), _broadened(values, power, star.vsini))
        return total / np.median(total)


def _broadened(values, power, vsini):
    """Rotation and the line spread of R = 7500, on a grid of STEP_KMS."""
    frequency = np.fft.rfftfreq(len(values), STEP_KMS)
    sigma = C_KMS * np.sqrt(RESOLUTION**-2 - power**-2) / 2.3548
    transfer = np.exp(-2 * (np.pi * frequency * sigma) ** 2)
    if vsini > 0:
        u, e = 2 * np.pi * frequency * vsini, LIMB_DARKENING
        u[0] = 1e-6
        transfer *= (2 * (1 - e) * j1(u) / u + 2 * e * (np.sin(u) - u * np.cos(u)) / u**3) / (1 - e / 3)
    return np.fft.irfft(np.fft.rfft(values) * transfer, len(values))


def write_files(
    folder: Path, factory: StarFactory, systems: list[list[Star]], snr: np.ndarray, seed: int
) -> dict[tuple[str, int], int]:
    """One exposure for each of `systems` (N,), at S/N `snr` (N, 2) of blue and red, PER_FILE to a file.

    A file has one kind of star and rotation: what is shaped otherwise beside it the reader refuses.
    Returns (file name, LMJM) → number of the system. Noise is photon noise on native pixels, the arms' velocities
    differ by N(0, 3) km/s; no cosmic rays.
    """
    random, index = np.random.default_rng(seed), {}
    native = {arm: (detector.pixels(0.0), detector.throughput()) for arm, detector in DETECTORS.items()}
    kinds = [tuple((star.name, star.vsini) for star in system) for system in systems]
    starts = [0]
    for k in range(1, len(systems)):
        if kinds[k] != kinds[k - 1] or k - starts[-1] == PER_FILE:
            starts.append(k)
    for number, (first, last) in enumerate(zip(starts, [*starts[1:], len(systems)])):
        path = folder / f"med-{LMJD}-REALSTARS_sp{1 + number // 250:02d}-{1 + number % 250:03d}.fits.gz"
        exposures = []
        for k, system in enumerate(systems[first:last]):
            lmjm, mjd_mid = exposure_times(k)
            index[path.name, lmjm] = first + k
            for a, (arm, (wave, blaze)) in enumerate(native.items()):
                push = random.normal(0, 3)
                moved = [Star(star.name, star.light, star.rv + push, star.vsini) for star in system]
                flux = np.clip(factory.light(moved, arm, wave) * blaze / np.median(blaze), 1e-3, None)
                sigma = np.sqrt(flux) / snr[first + k, a]
                noisy = 1000 * (flux + sigma * random.standard_normal(len(flux)))
                ivar, mask = 1 / (1000 * sigma) ** 2, np.zeros(len(flux), bool)
                level = float(np.median(noisy * np.sqrt(ivar)))
                name = f"{LETTERS[arm]}-{lmjm}"
                exposures.append(Exposure(name, arm, lmjm, mjd_mid, 1200.0, level, wave, noisy, ivar, mask))
        place = 290.0 + 0.01 * number
        designation = f"DIOSCURI J{place:.6f}+40.000000"
        facts = {"designation": designation, "object_name": "pair", "gaia_id": 0, "ra": place, "dec": 40.0}
        facts |= {"planid": "REALSTARS", "spid": 1 + number // 250, "fiberid": 1 + number % 250, "lmjd": LMJD}
        facts |= {"fiber_type": "Obj", "object_type": "Star", "data_version": "made of real stars", "helio_rv": 0.0}
        file = ObservedFile(path, 900_000_000 + number, **facts, magnitudes={}, exposures=tuple(exposures))
        write_mrs_file(path, file, "loglam", compress=True)
    return index
