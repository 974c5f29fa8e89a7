"""Unresolved pairs in HST exposures: detection, PSF of the frame's own stars, photometry, and a score for each star."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

import dioscuri
from dioscuri import door
from dioscuri.cluster.frames import Frame, FrameError, read_flt
from dioscuri.predict.exposures import Chip, Request, law_of, score_chip, together
from dioscuri.predict.images import check_likelihood, find_networks, likely, network_caption
from dioscuri.predict.star_lists import StarList, lists_of

COLUMNS = (
    "file", "extension", "x", "y", "ra", "dec", "flux", "flux_err", "chi2", "chi2_single", "p", "log_bf", "sep",
    "sep_err", "position_angle", "flux_ratio", "status", "flags", "star", "n_seen", "n_pair", "agreement", "source",
)  # fmt: skip
COUNTS = ("extension", "star", "n_seen", "n_pair", "source")
# What is printed: the rest is in the table that is written.
SHOWN = ("file", "extension", "x", "y", "flux", "chi2", "p", "log_bf", "sep", "position_angle", "flux_ratio", "status")
# FITS knows no electrons: they are counts there.
UNITS = {"x": "pix", "y": "pix", "ra": "deg", "dec": "deg", "flux": "ct", "flux_err": "ct",
         "sep": "pix", "sep_err": "pix", "position_angle": "deg"}  # fmt: skip
DIGITS = {"x": 2, "y": 2, "ra": 6, "dec": 6, "flux": 0, "flux_err": 0, "chi2": 2, "chi2_single": 2, "log_bf": 1,
          "sep": 2, "sep_err": 2, "position_angle": 0, "flux_ratio": 2}  # fmt: skip
SUFFIXES, WHAT = door.FITS, "exposures"
OPTIONS = (
    "psf", "psf_oversampling", "pixel_integrated", "any_filter", "photometry", "likelihood", "processes", "models",
)  # fmt: skip


def predict(
    paths: Sequence[Path],
    *,
    psf: Path | None = None,
    psf_oversampling: int | None = None,
    pixel_integrated: bool = True,
    any_filter: bool = False,
    photometry: Sequence[Path] = (),
    likelihood: str = "needed",
    processes: int = 1,
    models: Path | None = None,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Every star of calibrated exposures ('flt', 'flc') with p and log_bf of being two; separations of likely pairs.

    `psf`: a file (.npz, STDPSF or STPSF grid, or a FITS image with `psf_oversampling` samples a pixel,
    `pixel_integrated` or not); without one the PSF is fitted to the stars of each chip. `photometry`: star lists
    instead of our detection (`predict.star_lists`). `likelihood` `needed` computes log_bf only where it can change the
    verdict. chi2, per degree of freedom, is that of the better of one star and two, chi2_single that of one.
    `processes`: chips that are worked on at the same time. Exposures of one field are matched: a pair that
    others do not see is doubtful. Position angles are from +x towards +y. Files that cannot be read say why in a row.
    """
    check_likelihood(likelihood)
    door.counted(processes, "--processes")
    classifier = find_networks("hst", models)
    request = Request(psf, psf_oversampling, pixel_integrated, any_filter, likelihood == "needed", models)
    lists = lists_of(photometry, paths)
    chips, refused = [], []
    for path, extension, result in _all_chips(paths, request, lists, processes):
        if isinstance(result, Chip):
            chips.append(result)
        else:
            refused.append(_refused(path, extension, result))
    scored, notes = together(chips) if chips else (pd.DataFrame(), [])
    rows = [*scored.reindex(columns=list(COLUMNS)).to_dict("records"), *refused]
    order = {str(path): k for k, path in enumerate(paths)}
    table = pd.DataFrame(sorted(rows, key=lambda row: (order[row["file"]], row["extension"])), columns=list(COLUMNS))
    law = law_of(classifier)
    information = {
        "survey": "hst",
        "extension": "UNRESOLVED_PAIRS",
        "header": {"FLUXMIN": law.flux_min, "FLUXMAX": law.flux_max},
        "software": f"dioscuri {dioscuri.__version__}",
        "networks": network_caption(classifier),
        "notes": [*(note for chip in chips for note in chip.notes), *notes],
        "law": law,
    }
    return table.astype(dict.fromkeys(COUNTS, np.int64)), information


def _refused(path: Path, extension: int, reason: str) -> dict[str, Any]:
    """The row of a file or chip that cannot be used."""
    row = dict.fromkeys(COLUMNS, np.nan) | dict.fromkeys(COUNTS, -1) | {"n_seen": 0, "n_pair": 0, "flags": ""}
    reason = reason.removeprefix(f"{path}: ")
    return row | {"file": str(path), "extension": extension, "status": f"refused: {reason}"}


def _all_chips(
    paths: Sequence[Path], request: Request, lists: Mapping[Path, StarList], processes: int
) -> Iterator[tuple[Path, int, Chip | str]]:
    """Each chip of each file, in order: what was found there, or why it was refused (extension 0: the file)."""
    with tqdm(desc="chips", unit="chip", disable=None, leave=False) as bar:
        if processes == 1:
            for path, extension, frame in _frames(paths):
                told = lambda stage, name=f"{path.name}[{extension}]": bar.set_postfix_str(f"{name} {stage}")  # noqa: E731
                yield path, extension, _chip(frame, request, lists.get(path), told)
                bar.update()
            return
        waiting: deque[tuple[Path, int, Future[Chip | str]]] = deque()
        # Fresh processes: those that are forked inherit locks of torch's threads.
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            for path, extension, frame in _frames(paths):
                waiting.append((path, extension, pool.submit(_chip, frame, request, lists.get(path))))
                while len(waiting) > 2 * processes:  # frames that wait are in memory
                    path, extension, job = waiting.popleft()
                    yield path, extension, job.result()
                    bar.update()
            for path, extension, job in waiting:
                yield path, extension, job.result()
                bar.update()


def _frames(paths: Sequence[Path]) -> Iterator[tuple[Path, int, Frame | str]]:
    """The frames of all files, one file in memory at a time, or why one cannot be read."""
    for path in paths:
        try:
            frames: list[Frame | str] = [*read_flt(path)]
        except FrameError as error:
            frames = [str(error)]
        for frame in frames:
            yield path, 0 if isinstance(frame, str) else frame.extension, frame


def _chip(
    frame: Frame | str, request: Request, star_list: StarList | None = None, told: Any = lambda stage: None
) -> Chip | str:
    """One chip scored, or the reason why it was not; a reason stays what it is."""
    if isinstance(frame, str):
        return frame
    try:
        return score_chip(frame, request, None if star_list is None else star_list.on(frame), told)
    except ValueError as error:
        return str(error)


def style(table: pd.DataFrame, information: dict[str, Any]) -> tuple[str, pd.Series]:
    """What stands below the printed table, and which rows stand out."""
    law = information["law"]
    caption = f"{information['networks']}; scored are {law.flux_min:g} to {law.flux_max:g} electrons"
    found = likely(table["p"], table["log_bf"]) & table["status"].str.startswith("ok").to_numpy()
    return "\n".join([caption, *information["notes"]]), pd.Series(found, index=table.index)


def plot(table: pd.DataFrame, path: Path, information: dict[str, Any]) -> None:
    """Draw scores against flux, and where on the chips the likely pairs are."""
    from dioscuri.plots.images_prediction import sources

    sources(table, path)
