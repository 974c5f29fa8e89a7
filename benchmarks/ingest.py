"""LAMOST files to normalised spectra: ours beside astropy and a loop over spectra, on files written here."""

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table

from dioscuri.arms import C_KMS, Arm
from dioscuri.lamost.exposures import Exposure
from dioscuri.lamost.files import ObservedFile
from dioscuri.lamost.fits_units import read_content
from dioscuri.lamost.ingest import ingest_files
from dioscuri.lamost.mrs import MRS
from dioscuri.lamost.mrs_files import read_mrs
from dioscuri.lamost.mrs_writer import write_mrs_file
from dioscuri.spectra.continuum import normalise
from dioscuri.spectra.velocity import Templates, VelocityMeter
from inference import median_seconds, row

ARMS = (Arm("blue", 5000.0, 5300.0, 3347, 7500.0), Arm("red", 6350.0, 6750.0, 3509, 7500.0))
SPANS = {"blue": (4898, 5390), "red": (6272, 6844)}
N_FILES, N_EXPOSURES = 16, 4
LMJM = 84_700_560


def rows() -> list[dict]:
    """One mapping per comparison: name, ours, published, unit, ratio. One thread, both arms."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [_write(Path(folder), k) for k in range(N_FILES)]
        meters = {arm.name: VelocityMeter(_templates(arm), arm) for arm in ARMS}
        one = paths[:1]
        seconds = median_seconds(
            {
                "read": lambda: [read_mrs(path) for path in paths],
                "decompress": lambda: [read_content(path) for path in paths],
                "astropy read": lambda: [_read_astropy(path) for path in one],
                "ingest": lambda: ingest_files(paths, MRS, ARMS, meters),
                "loop": lambda: [_ingest_loop(path, meters) for path in one],
            },
            repeats=5,
            clock=time.process_time,
        )
    per_file = len(paths) / len(one)
    return [
        row(
            "reading .fits.gz, against astropy.table",
            N_FILES / seconds["read"],
            N_FILES / per_file / seconds["astropy read"],
            "files/s",
        ),
        row(
            "reading .fits.gz, against decompression alone, its limit",
            N_FILES / seconds["read"],
            N_FILES / seconds["decompress"],
            "files/s",
        ),
        row(
            "ingest, both arms and co-adds, against a loop over spectra",
            N_FILES * (N_EXPOSURES + 1) / seconds["ingest"],
            N_FILES / per_file * (N_EXPOSURES + 1) / seconds["loop"],
            "exposures/s",
        ),
    ]


def _read_astropy(path: Path) -> list[tuple[str, Table]]:
    """Each spectrum as a table sorted by wavelength, as the laspec package reads it."""
    spectra = []
    with fits.open(path) as units:
        for unit in units[1:]:
            table = Table(unit.data)
            table.sort("LOGLAM")
            spectra.append((unit.name, table))
    return spectra


def _ingest_loop(path: Path, meters: dict[str, VelocityMeter]) -> None:
    """The same steps one spectrum at a time, without repair; our kernels, so that only the way differs."""
    for name, table in _read_astropy(path):
        arm = ARMS[0] if "B" in name.replace("COADD_", "")[:1] else ARMS[1]
        wave = 10 ** np.asarray(table["LOGLAM"], float)
        flux, sigma = np.asarray(table["FLUX"], float), np.asarray(table["IVAR"], float)
        sigma = 1 / np.sqrt(np.maximum(sigma, 1e-12))
        first, _, _ = normalise(wave, flux[None])
        rv = meters[arm.name].measure(wave, first).rv[0]
        rest = wave / (1 + rv / C_KMS)
        normalise(arm.wave, np.interp(arm.wave, rest, flux)[None], np.interp(arm.wave, rest, sigma)[None])


def _line_spectrum(wave: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(0)
    centres, depths = rng.uniform(4800, 7000, (900, 1)), rng.uniform(0, 0.6, (900, 1))
    near = [np.abs(wave - centre) < 3 for centre in centres[:, 0]]
    flux = np.ones_like(wave)
    for centre, depth, part in zip(centres[:, 0], depths[:, 0], near, strict=True):
        flux[part] *= 1 - depth * np.exp(-0.5 * ((wave[part] - centre) / 0.3) ** 2)
    return flux


def _templates(arm: Arm, n_templates: int = 22) -> Templates:
    wave = np.exp(np.arange(np.log(arm.wave_min * 0.997), np.log(arm.wave_max * 1.003), 4 / C_KMS))
    absorption = 1 - _line_spectrum(wave)
    strengths = np.linspace(0.5, 1.0, n_templates)
    return Templates(
        wave, 1 - strengths[:, None] * absorption, np.linspace(4250, 7500, n_templates), np.full(n_templates, 5.0)
    )


def _write(folder: Path, k: int) -> Path:
    rng = np.random.default_rng(k)
    exposures = []
    for arm, span in SPANS.items():
        wave = np.linspace(*span, 4136)
        model = 1000 * _line_spectrum(wave / (1 + rng.normal(0, 30) / C_KMS))
        for lmjm in [LMJM + 23 * i for i in range(N_EXPOSURES)] + [-1]:
            name = f"COADD_{arm[0].upper()}" if lmjm < 0 else f"{arm[0].upper()}-{lmjm}"
            flux = model + rng.normal(0, 30, len(wave))
            ivar, mask = np.full(len(wave), 30.0**-2), np.zeros(len(wave), bool)
            exposures.append(Exposure(name, arm, lmjm, 58819.0, 1200.0, 33.0, wave, flux, ivar, mask))
    path = folder / f"med-{k}.fits.gz"
    facts = {"designation": "", "object_name": "", "gaia_id": 0, "ra": 290.0, "dec": 43.0, "planid": "P"}
    facts |= {"spid": 1, "fiberid": k, "lmjd": 58820, "fiber_type": "Obj", "object_type": "Star"}
    facts |= {"data_version": "DR7", "helio_rv": 0.0, "magnitudes": {}, "exposures": tuple(exposures)}
    write_mrs_file(path, ObservedFile(path=path, obsid=k, **facts))
    return path


if __name__ == "__main__":
    json.dump(rows(), sys.stdout, indent=2)
