"""Unresolved pairs in HST exposures: detection, PSF of the frame's own stars, photometry, and a score for each star."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

import dioscuri
from dioscuri import door
from dioscuri.cluster.exposure_psf import chip_psf, frame_psf
from dioscuri.cluster.frames import Frame, FrameError, read_flt
from dioscuri.cluster.photometry import measure
from dioscuri.cluster.scoring import Search, eligible, score_stars
from dioscuri.flags import SourceFlag
from dioscuri.io import digest
from dioscuri.predict.images import LIKELIHOOD, OK, PAIR_ABOVE, find_networks, likely, network_caption, read_any_psf
from dioscuri.stamps.mocks import Law

COLUMNS = (
    "file", "extension", "x", "y", "ra", "dec", "flux", "flux_err", "p", "log_bf", "sep", "sep_err",
    "position_angle", "flux_ratio", "status", "flags",
)  # fmt: skip
# What is printed: the rest is in the table that is written.
SHOWN = (
    "file",
    "extension",
    "x",
    "y",
    "flux",
    "p",
    "log_bf",
    "sep",
    "sep_err",
    "position_angle",
    "flux_ratio",
    "status",
)
# FITS knows no electrons: they are counts there.
UNITS = {"x": "pix", "y": "pix", "ra": "deg", "dec": "deg", "flux": "ct", "flux_err": "ct",
         "sep": "pix", "sep_err": "pix", "position_angle": "deg"}  # fmt: skip
DIGITS = {"x": 2, "y": 2, "ra": 6, "dec": 6, "flux": 0, "flux_err": 0, "log_bf": 1, "sep": 2, "sep_err": 2,
          "position_angle": 0, "flux_ratio": 2}  # fmt: skip
SUFFIXES, WHAT = door.FITS, "exposures"
OPTIONS = ("psf", "psf_oversampling", "models")
# Where no network says what it knows: §4.2 of Wu et al. (2023), with pairs of any flux ratio.
LAW = Law(flux_ratio="uniform", flux_min=5000.0, flux_max=25000.0)


def predict(
    paths: Sequence[Path],
    *,
    psf: Path | None = None,
    psf_oversampling: int | None = None,
    models: Path | None = None,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Every star of calibrated exposures ('flt') with p and log_bf of being two; separations of those that may be.

    `psf`: a file (.npz, STDPSF or a FITS image with `psf_oversampling` samples a pixel); without one the PSF is
    fitted to the stars of each chip. Position angles are from +x towards +y. Files that cannot be read are rows
    that say why. One exposure cannot tell a cosmic ray from a pair: look whether dithered ones agree.
    """
    classifier = find_networks("hst", models)
    law = Law(**classifier.context["law"]) if classifier else LAW
    search = Search(law, classifier, PAIR_ABOVE)
    tables = []
    for path in tqdm(paths, desc="exposures", unit="file", disable=None, leave=False):
        try:
            frames = read_flt(path)
        except FrameError as error:
            tables.append(_refused(path, 0, str(error).removeprefix(f"{path}: ")))
            continue
        for frame in frames:
            try:
                tables.append(_scored(frame, path, psf, psf_oversampling, search))
            except ValueError as error:
                tables.append(_refused(path, frame.extension, str(error).removeprefix(f"{path}: ")))
    rows = [row for one in tables for row in one.to_dict("records")]
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"extension": np.int64})
    information = {
        "survey": "hst",
        "extension": "UNRESOLVED_PAIRS",
        "header": {"FLUXMIN": law.flux_min, "FLUXMAX": law.flux_max},
        "software": f"dioscuri {dioscuri.__version__}",
        "networks": network_caption(classifier),
        "law": law,
    }
    return table, information


def _scored(frame: Frame, path: Path, psf_path: Path | None, oversampling: int | None, search: Search) -> pd.DataFrame:
    """All stars of one chip."""
    if psf_path is None:
        psf = frame_psf(frame, seed=int(digest(frame.name)[:6], 16))
    else:
        psf = read_any_psf(psf_path, pixel_scale=frame.pixel_scale, oversampling=oversampling)
    best = chip_psf(psf, frame.extension)
    stars = measure(frame, best)
    flux = stars["flux"].to_numpy()
    useful = eligible(stars)
    in_range = (flux >= search.law.flux_min) & (flux <= search.law.flux_max)
    rows = np.flatnonzero(useful & in_range)
    scores = score_stars(frame, best, stars, rows, search).set_index("row")
    table = stars[["x", "y", "ra", "dec", "flux", "flux_err"]].join(scores)
    scored = np.isfinite(table["log_bf"].to_numpy())
    status = np.select(
        [scored, useful & ~in_range, useful],
        [OK if search.classifier else LIKELIHOOD, "not scored: flux", "not scored: bad pixels"],
        "not scored: flags",
    )
    angle = np.degrees(table["position_angle"].to_numpy(float)) % 360.0
    table = table.assign(
        file=str(path), extension=frame.extension, status=status, position_angle=angle,
        sep_err=0.5 * (table["sep_high"] - table["sep_low"]),
        flags=[SourceFlag.describe(int(value)) for value in stars["flags"]],
    )  # fmt: skip
    return table[list(COLUMNS)]


def _refused(path: Path, extension: int, reason: str) -> pd.DataFrame:
    """One row for a file or chip that cannot be used."""
    row = dict.fromkeys(COLUMNS, np.nan) | {"file": str(path), "extension": extension}
    return pd.DataFrame([row | {"status": f"refused: {reason}", "flags": ""}])


def style(table: pd.DataFrame, information: dict[str, Any]) -> tuple[str, pd.Series]:
    """What stands below the printed table, and which rows stand out."""
    law = information["law"]
    caption = f"{information['networks']}; scored are {law.flux_min:g} to {law.flux_max:g} electrons"
    return caption, pd.Series(likely(table["p"], table["log_bf"]), index=table.index)


def plot(table: pd.DataFrame, path: Path, information: dict[str, Any]) -> None:
    """Draw scores against flux, and where on the chips the likely pairs are."""
    from dioscuri.plots.images_prediction import sources

    sources(table, path)
