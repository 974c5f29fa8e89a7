"""What the catalogue makes of stars whose nature is known: the simulated night against its truth."""

import csv
import os
from dataclasses import dataclass

import numpy as np

from dioscuri.catalogs.columns import read_columns
from dioscuri.catalogs.tables import SUFFIX, probability_column
from dioscuri.flags import Quality

# km/s; one resolution element is 40 km/s at R = 7500: below it nothing can be seen, above 100 nearly all.
DV_EDGES = (0.0, 30.0, 60.0, 100.0, 200.0, 500.0)
SNR_EDGES = (5.0, 10.0, 20.0, 40.0, 200.0)
# Recall by S/N is that of well separated pairs [km/s], recall by Δv that of usable S/N.
WIDE, BRIGHT = 100.0, 10.0
MEDIAN = 2  # position of p50 among the percentiles


@dataclass(frozen=True)
class KnownScores:
    """Scored single exposures of one arm whose nature is known, all (N,).

    `p` median probability; `snr` of the arm; `binary` truth; `dv` |Δv| [km/s], 0 for single stars.
    """

    arm: str
    p: np.ndarray
    snr: np.ndarray
    binary: np.ndarray
    dv: np.ndarray


def known_scores(
    catalog_path: str | os.PathLike, truth_csv: str | os.PathLike, arm: str, penalty: float = 16
) -> KnownScores:
    """Join an arm's p50 of a catalogue (Parquet) with the night's truth by file name and exposure; no co-adds."""
    truth = read_truth(truth_csv)
    end = SUFFIX[arm]
    median = probability_column(arm, penalty), MEDIAN
    catalog = read_columns(catalog_path, ["file", "lmjm", f"specflag_{end}", f"flags_{end}", f"snr_{end}", median])
    files, lmjm = catalog["file"], catalog["lmjm"]
    usable = catalog[f"specflag_{end}"] & ((catalog[f"flags_{end}"] & Quality.COADD) == 0)
    usable &= np.isin(files.codes, files.index({file for file, _ in truth}))
    rows = np.flatnonzero(usable)
    pairs = list(zip(files[rows], lmjm[rows].tolist()))
    rows = rows[[pair in truth for pair in pairs]]
    known = [truth[pair] for pair in pairs if pair in truth]
    return KnownScores(
        arm=arm,
        p=catalog[median][rows].astype(float),
        snr=catalog[f"snr_{end}"][rows].astype(float),
        binary=np.array([binary for binary, _ in known], bool),
        dv=np.abs(np.array([dv for _, dv in known], float)),
    )


def read_truth(path: str | os.PathLike) -> dict[tuple[str, int], tuple[bool, float]]:
    """The truth of a night: (file name, exposure) → (whether an SB2, Δv [km/s], 0 for single stars).

    Columns file, exposure (LMJM), kind (sb2, single; the rest are wrecks) and dv, as in spectra.night.
    """
    with open(path, encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(line for line in stream if not line.startswith("#")))
    try:
        return {
            (row["file"], int(row["exposure"])): (row["kind"] == "sb2", _separation(row))
            for row in rows
            if row["kind"] in ("sb2", "single")
        }
    except KeyError as error:
        raise ValueError(f"{path}: no column {error}; a truth table has file, exposure, kind and dv") from None


def _separation(row: dict[str, str]) -> float:
    return float(row["dv"]) if row["kind"] == "sb2" else 0.0
