"""LAMOST LRS from files to probabilities, piece by piece: ours beside astropy, loops and templates one by one."""

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from astropy.table import Table

from dioscuri.evaluation.lrs_scores import load_scorer
from dioscuri.lamost.lrs_files import LRSFile, read_lrs
from dioscuri.lamost.lrs_reduction import cleaned, reduce_files, velocity_meter
from dioscuri.lamost.lrs_writer import WAVE, write_lrs_file
from dioscuri.paths import models_folder
from dioscuri.spectra import lrs_frame
from dioscuri.spectra.lrs_calibration import fit_calibrated
from dioscuri.spectra.pair_fit import dwarf_prior
from dioscuri.spectra.templates import load_templates
from inference import median_seconds, row

N_FILES, N_SPECTRA = 32, 512
RELEASE = "LAMOST DR10"
SURVEY = 1_258_912  # spectra of Jing et al. (2025)
LABELS = ((4500.0, 4.6, -0.2), (5000.0, 4.6, -0.2), (5500.0, 4.5, -0.2))


def rows() -> list[dict]:
    """One mapping per comparison: name, ours, published, unit, ratio. One thread, CPU time."""
    torch.set_num_threads(1)
    folder = models_folder() / "lamost_lrs"
    scorer = load_scorer(folder)
    meter = velocity_meter(load_templates(folder / "templates.h5", ["velocity"])["velocity"][1])
    flux, snrg, teff = _spectra(scorer)
    good, names = np.ones(flux.shape, bool), np.full(len(flux), RELEASE, object)
    level = 1.0 + flux
    x = scorer.components.project(flux)
    own = (scorer.components, scorer.fitter, scorer.calibrations)
    with tempfile.TemporaryDirectory() as place:
        paths = [_write(Path(place), k, level[k], snrg[k]) for k in range(N_FILES)]
        seconds = median_seconds(
            {
                "read": lambda: [cleaned(read_lrs(path)) for path in paths],
                "astropy": lambda: [Table.read(path, hdu=1) for path in paths],
                "reduce": lambda: reduce_files(paths, meter),
                "normalise": lambda: lrs_frame.normalised(level),
                "loop": lambda: _normalised_by_pixel(level[0]),
                "infer": lambda: scorer.probability(x, lambda: flux),
                "one by one": lambda: [scorer.probability(x[k : k + 1], lambda: flux) for k in range(32)],
                "fit": lambda: fit_calibrated(*own, x, snrg, names, *dwarf_prior(teff)),
                "fits one by one": lambda: [
                    fit_calibrated(*own, x[k : k + 1], snrg[k : k + 1], names[:1], *dwarf_prior(teff[k : k + 1]))
                    for k in range(4)
                ],
                "score": lambda: scorer(flux, good, snrg, names, teff),
            },
            repeats=3,
            clock=time.process_time,
        )
    n = len(flux)
    whole = seconds["reduce"] / N_FILES + seconds["score"] / n
    return [
        row(
            "LRS: read and repair, against astropy.table",
            N_FILES / seconds["read"],
            N_FILES / seconds["astropy"],
            "files/s",
        ),
        row("LRS: normalise, against a loop over pixels", n / seconds["normalise"], 1 / seconds["loop"], "spectra/s"),
        row("LRS: networks, against one by one", n / seconds["infer"], 32 / seconds["one by one"], "spectra/s"),
        row(
            "LRS: fits of one and two stars, calibrated, against one by one",
            n / seconds["fit"],
            4 / seconds["fits one by one"],
            "spectra/s",
        ),
        alone_row("LRS: files to probabilities", 1 / whole, "spectra/s"),
        alone_row("LRS: the paper's 1.26 million spectra, one core", SURVEY * whole / 3600, "h"),
    ]


def alone_row(name: str, ours: float, unit: str) -> dict:
    """A number that has none beside it."""
    return {"name": name, "ours": ours, "published": None, "unit": unit, "ratio": None}


def _spectra(scorer) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Normalised spectra of the fits' own single stars with noise: pixels of as many stars as there are components."""
    random = np.random.default_rng(0)
    labels = np.array(LABELS)[random.integers(0, len(LABELS), N_SPECTRA)]
    x = scorer.fitter.model(np.append(labels, np.zeros((N_SPECTRA, 1)), axis=1))
    snrg = random.uniform(25, 120, N_SPECTRA)
    x = x + random.standard_normal(x.shape) / snrg[:, None]
    weight = np.where(scorer.components.weight > 0, scorer.components.weight, np.inf)
    flux = (x @ scorer.components.vectors.T + scorer.components.mean) / weight
    return flux.astype(np.float32), snrg, labels[:, 0]


def _normalised_by_pixel(flux: np.ndarray, width: float = lrs_frame.WIDTH) -> np.ndarray:
    """Eqs. 1 and 2 of the paper as they are printed: a weighted mean for every pixel."""
    wave = lrs_frame.WAVE
    level = np.array([np.average(flux, weights=np.exp(-(((w - wave) / width) ** 2))) for w in wave])
    return flux / level - 1


def _write(folder: Path, k: int, level: np.ndarray, snrg: float) -> Path:
    sigma, random = 1000 / snrg, np.random.default_rng(k)
    flux = 1000 * np.interp(WAVE, lrs_frame.WAVE, level) + sigma * random.standard_normal(len(WAVE))
    ivar = np.full(len(WAVE), sigma**-2)
    path, bad = folder / f"spec-{k}.fits", np.zeros(len(WAVE), bool)
    facts = (path, k + 1, "", RELEASE, 10.0, 20.0, 59000, "STAR", "K1", 0.0, float(snrg))
    write_lrs_file(path, LRSFile(*facts, WAVE, flux, ivar, bad), "table")
    return path


if __name__ == "__main__":
    json.dump(rows(), sys.stdout, indent=2)
