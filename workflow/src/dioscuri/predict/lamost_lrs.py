"""Binary probabilities of LAMOST low-resolution spectra by the released models: a table with one row per file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

import dioscuri
from dioscuri import door
from dioscuri.flags import LrsQuality
from dioscuri.paths import models_folder

SUFFIXES, WHAT = door.FITS, "spectra"
OPTIONS = ("catalogue", "models", "snrg_min", "calibration")
COLUMNS = (
    "file", "obsid", "snrg", "rv", "teff", "logg", "feh", "p", "q", "q_err", "dchi2", "chi2", "verdict", "status",
    "flags",
)  # fmt: skip
UNITS = {"rv": "km/s", "teff": "K"}
DIGITS = {"snrg": 1, "rv": 1, "teff": 0, "logg": 2, "feh": 2, "q": 2, "q_err": 2, "dchi2": 1, "chi2": 0}
# What the networks have not been trained on: their probabilities mean nothing there.
FOREIGN = (
    LrsQuality.OUT_OF_RANGE | LrsQuality.UNLIKE_ANY_MODEL | LrsQuality.FAST | LrsQuality.VELOCITY_EDGE
    | LrsQuality.VELOCITY_DISAGREES | LrsQuality.WEAK_CCF
)  # fmt: skip
THRESHOLD = 0.5


def predict(
    paths: Sequence[Path],
    *,
    catalogue: str | Path | Sequence[str] | None = None,
    models: Path | None = None,
    snrg_min: float = 20.0,
    calibration: str | Path | None = None,
) -> tuple[pd.DataFrame, dict]:
    """Binary probability, best fit with one and with two stars, and flags of LRS files; refused ones with the reason.

    `catalogue`: a table with obsid or file, and any of teff, logg, feh, rv: priors of the fits, checks and flags;
    `calibration`: a file of calibrations of your own (made by the workflow) in place of the released one.
    """
    from dioscuri.catalogs.lrs_table import match, read_catalogue
    from dioscuri.evaluation.lrs_scores import RV_TOLERANCE, load_scorer
    from dioscuri.lamost.lrs_reduction import reduce_files, velocity_meter
    from dioscuri.spectra.templates import load_templates

    snrg_min = door.at_least_zero(snrg_min, "--snrg-min")
    folder = (models or models_folder()) / "lamost_lrs"
    known = None
    if catalogue is not None:
        named = [catalogue] if isinstance(catalogue, str | Path) else list(catalogue)
        if len(named) != 1:
            raise ValueError(f"--catalogue: found {len(named)} files; accepted: one table")
        known = read_catalogue(door.one_file(named[0], "--catalogue", "a .fits, .csv or .parquet table"))
    scorer = load_scorer(folder, calibration)
    meter = velocity_meter(load_templates(folder / "templates.h5", ["velocity"])["velocity"][1])
    reduced = reduce_files(paths, meter, snrg_min=snrg_min, width=scorer.components.width)
    files = reduced.files
    obsid = np.array([file.obsid for file in files], np.int64)
    rows = None if known is None else match(known, obsid, [file.path.name for file in files])
    columns = scorer(
        reduced.flux,
        np.isfinite(reduced.sigma),
        np.array([file.snrg for file in files]),
        [file.release for file in files],
        reduced.teff,
        None if rows is None else {name: rows[name].to_numpy(float) for name in ("teff", "logg", "feh")},
    )
    flags = columns.pop("flags") | reduced.flags
    if rows is not None:
        with np.errstate(invalid="ignore"):
            disagrees = np.abs(rows["rv"].to_numpy(float) - reduced.rv) > RV_TOLERANCE
        flags |= np.where(disagrees, int(LrsQuality.VELOCITY_DISAGREES), 0)
    scored = pd.DataFrame(
        {
            "file": [str(file.path) for file in files],
            "obsid": obsid,
            "snrg": [file.snrg for file in files],
            "rv": np.where(flags & int(LrsQuality.VELOCITY_EDGE), np.nan, reduced.rv),
            **columns,
            "verdict": [verdict(p, f) for p, f in zip(columns["p"], flags)],
            "status": "ok",
            "flags": [LrsQuality.describe(int(value)) for value in flags],
        }
    )
    refused = pd.DataFrame(
        [
            {
                "file": str(path),
                "obsid": obsid,
                "verdict": "",
                "status": f"refused: {reason.value}: {detail}",
                "flags": "",
            }
            for path, reason, detail, obsid in reduced.rejected
        ]
    )
    records = [*scored.to_dict("records"), *refused.to_dict("records")]
    table = pd.DataFrame(records, columns=list(COLUMNS)).astype({"flags": object, "obsid": "Int64"})
    table["obsid"] = table["obsid"].mask(table["obsid"] < 0)  # a file without one, or that could not be read
    order = {str(path): i for i, path in enumerate(paths)}
    table = table.sort_values("file", key=lambda names: names.map(order), kind="stable", ignore_index=True)
    uncalibrated = int((flags & int(LrsQuality.UNCALIBRATED) > 0).sum())
    information = {
        "survey": "lamost_lrs",
        "extension": "BINARY_PROBABILITIES",
        "header": {"N_UNCAL": uncalibrated},
        "software": f"dioscuri {dioscuri.__version__}",
        "models": str(folder),
        "calibrations": {name: one.n_stars for name, one in scorer.calibrations.items()},
        "uncalibrated": uncalibrated,
    }
    return table, information


def verdict(p: float, flags: int) -> str:
    """What a row says in a word; a spectrum of what was not trained is never counted as a binary."""
    if flags & int(FOREIGN):
        return "not counted"
    return "binary" if p > THRESHOLD else "single"


def style(table: pd.DataFrame, information: dict) -> tuple[str, pd.Series]:
    """What stands below the printed table, and which rows stand out."""
    caption = "p: probability of a second star of 0.6 < q < 0.93, as many binaries as singles assumed"
    if information["uncalibrated"]:
        releases = ", ".join(information["calibrations"]) or "none"
        caption += (
            f"; {information['uncalibrated']} spectra are of releases without calibration on real stars (there are: "
            f"{releases}): most singles of those score as binaries"
        )
    return caption, table["verdict"] == "binary"


def plot(table: pd.DataFrame, path: Path, information: dict) -> None:
    """Draw probability and Δχ² against temperature."""
    from dioscuri.plots.lrs import prediction

    prediction(table, path)
