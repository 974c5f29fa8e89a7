"""One chip of an exposure from pixels to scored stars, and what several exposures say of a star together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from dioscuri.cluster.candidates import combine
from dioscuri.cluster.exposure_psf import chip_psf, frame_psf, given_psf
from dioscuri.cluster.frames import Frame
from dioscuri.cluster.matching import crossmatch
from dioscuri.cluster.photometry import measure
from dioscuri.cluster.scoring import eligible, score_stars
from dioscuri.flags import SourceFlag
from dioscuri.io import digest
from dioscuri.paths import models_folder
from dioscuri.predict.card import ANY_FILTER, objections
from dioscuri.predict.images import LIKELIHOOD, OK, PAIR_ABOVE, find_networks
from dioscuri.psf.effective import Psf
from dioscuri.psf.sources import read_any
from dioscuri.stamps import quality
from dioscuri.stamps.judge import QUALITY, Search
from dioscuri.stamps.mocks import Law

if TYPE_CHECKING:
    from dioscuri.learn.images.inference import Classifier

# Where no network says what it knows: §4.2 of Wu et al. (2023), with pairs of any flux ratio.
LAW = Law(flux_ratio="uniform", flux_min=5000.0, flux_max=25000.0)
# px and share of a star's flux: a neighbour so close and so bright leaves too much when it is subtracted.
NEAR = ((4.0, 0.05), (7.0, 0.5))
SAME = 1.0  # px between a listed star and the measured one
AGREE = 0.01  # probability that offsets of one pair differ as much, below which exposures contradict each other
HALF = 0.5  # of the exposures that must see a pair, or not deny it
DENIED = 0.3, -2.0  # p, and without networks ln of the Bayes factor, up to which an exposure denies a pair


@dataclass(frozen=True)
class Request:
    """What is asked of every chip: the options of `predict`; it goes to other processes as it is."""

    psf: Path | None = None
    psf_oversampling: int | None = None
    pixel_integrated: bool = True
    any_filter: bool = False
    needed: bool = True
    models: Path | None = None

    def search(self) -> Search:
        """Networks and law."""
        classifier = _networks(self.models, models_folder())
        return Search(law_of(classifier), classifier, PAIR_ABOVE, needed=self.needed)


@dataclass(frozen=True)
class Chip:
    """A chip's stars: `table` to print and write, `scores` (all of `score_stars`) and `stars` measured, row by row.

    `notes`: lines to print about the chip as a whole; `pixel_scale` [arcsec].
    """

    table: pd.DataFrame
    stars: pd.DataFrame
    scores: pd.DataFrame
    notes: list[str]
    pixel_scale: float


@cache
def _networks(models: Path | None, released: Path) -> "Classifier | None":
    """Networks for `models` (None: those below `released`, a folder that the environment may change)."""
    return find_networks("hst", models)


def law_of(classifier: "Classifier | None") -> Law:
    """The law of pairs that networks were trained on."""
    return Law(**classifier.context["law"]) if classifier else LAW


def score_chip(
    frame: Frame, request: Request, listed: pd.DataFrame | None = None, told: Callable[[str], Any] = lambda stage: None
) -> Chip:
    """Score all stars of one chip; `listed` (x, y [px], source) takes the place of detection.

    A frame that networks or PSF are not for is a ValueError, or flagged with `any_filter`. `told` hears each stage.
    """
    search = request.search()
    told("PSF")
    psf, given = _psf(frame, request)
    foreign = objections(frame, search.classifier.context if search.classifier else None, given)
    if foreign and not request.any_filter:
        raise ValueError(f"{'; '.join(foreign)}; {ANY_FILTER}")
    told("photometry")
    sources = None if listed is None else _sources(listed, frame)
    stars = measure(frame, psf, sources)
    if listed is None and not len(stars):
        raise ValueError("no star was found in it")
    flux = stars["flux"].to_numpy()
    useful = eligible(stars)
    in_range = (flux >= search.law.flux_min) & (flux <= search.law.flux_max)
    told("scores")
    scores = score_stars(frame, psf, stars, np.flatnonzero(useful & in_range), search).set_index("row")
    scores = scores.reindex(np.arange(len(stars)))
    table, notes = _judged(frame, stars, scores, useful, in_range, search, foreign)
    if listed is not None:
        table = _with_list(table, listed, frame)
        stars, scores = (one.reindex(table.index) for one in (stars, scores))
    return Chip(table, stars, scores, notes, frame.pixel_scale)


def _psf(frame: Frame, request: Request) -> tuple[Psf, Psf | None]:
    """The PSF of the chip, and the same again where it was given."""
    if request.psf is None:
        return chip_psf(frame_psf(frame, seed=int(digest(frame.name)[:6], 16)), frame.extension), None
    psf = read_any(
        request.psf, pixel_scale=frame.pixel_scale, oversampling=request.psf_oversampling,
        pixel_integrated=request.pixel_integrated,
    )  # fmt: skip
    given = given_psf(psf, frame)
    if abs(given.pixel_scale / frame.pixel_scale - 1) > 0.05:
        raise ValueError(
            f"the PSF is for pixels of {given.pixel_scale:.4f} arcsec, the frame has {frame.pixel_scale:.4f}"
        )
    return given, given


def _judged(
    frame: Frame,
    stars: pd.DataFrame,
    scores: pd.DataFrame,
    useful: np.ndarray,
    in_range: np.ndarray,
    search: Search,
    foreign: Sequence[str],
) -> tuple[pd.DataFrame, list[str]]:
    """The rows of a chip with their status, and lines about all of them."""
    scored = np.isfinite(scores["chi2"].to_numpy(float))
    flux = stars["flux"].to_numpy()
    found = quality.Quality(**{field: scores[column].to_numpy(float)[scored] for column, field in QUALITY.items()})
    reasons = np.full(len(stars), "", object)
    reasons[scored] = quality.doubts(found, flux[scored])
    crowded = scored & _crowded(stars) & (reasons == "")
    reasons[crowded] = "a bright neighbour within a few pixels"
    clean = reasons[scored] == ""
    called = _called(scores[scored])
    kept = quality.Quality(*(getattr(found, name)[clean] for name in quality.Quality.__dataclass_fields__))
    why, lines = quality.population(kept, flux[scored][clean], called[clean])
    for blanket in ("; ".join(foreign), why):
        reasons[scored & (reasons == "")] = blanket or ""
    faint = reasons[scored]
    quality.faint_rays(found, faint)
    reasons[scored] = faint
    status = np.select(
        [reasons != "", scored, useful & ~in_range, useful],
        [np.char.add("doubtful: ", reasons.astype(str)), OK if search.classifier else LIKELIHOOD,
         "not scored: flux", "not scored: bad pixels"],
        "not scored: flags",
    )  # fmt: skip
    table = stars[["x", "y", "ra", "dec", "flux", "flux_err"]].join(scores.drop(columns=["flags"], errors="ignore"))
    table = table.assign(
        file=str(frame.path), extension=frame.extension, status=status, chi2=scores["chi2_best"],
        chi2_single=scores["chi2"],
        position_angle=np.degrees(scores["position_angle"].to_numpy(float)) % 360.0,
        sep_err=0.5 * (scores["sep_high"] - scores["sep_low"]),
        flags=[SourceFlag.describe(int(value)) for value in stars["flags"]], source=-1,
    )  # fmt: skip
    where = f"{frame.path.name if frame.path else frame.name}[{frame.extension}]"
    error = scores["psf_error"].quantile([0.5, 1.0]).to_numpy()
    lines = [f"{line}; error of the PSF {error[0]:.1%}, at worst {error[1]:.1%}" for line in lines[:1]] + lines[1:]
    return table, [f"{where}: {line}" for line in (*lines, *quality.advice(why))]


def _called(scores: pd.DataFrame) -> np.ndarray:
    """Which stars the scores call pairs: by networks, else by the likelihood."""
    p, log_bf = scores["p"].to_numpy(float), scores["log_bf"].to_numpy(float)
    return np.where(np.isnan(p), log_bf > PAIR_ABOVE, p > 0.5)


def _crowded(stars: pd.DataFrame) -> np.ndarray:
    """Which stars have a neighbour too close and too bright, (S,) bool."""
    place, flux = stars[["x", "y"]].to_numpy(float), np.nan_to_num(stars["flux"].to_numpy(float))
    crowded = np.zeros(len(stars), bool)
    tree = cKDTree(place)
    for reach, part in NEAR:
        first, second = tree.query_pairs(reach, output_type="ndarray").T
        for one, other in ((first, second), (second, first)):
            crowded[one[flux[other] > part * flux[one]]] = True
    return crowded


def _sources(listed: pd.DataFrame, frame: Frame) -> pd.DataFrame:
    """Listed stars as photometry takes them; their fluxes, where unknown, are the light in the brightest pixels."""
    height, width = frame.shape
    x, y = listed["x"].to_numpy(float), listed["y"].to_numpy(float)
    inside = np.isfinite(x) & np.isfinite(y) & (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
    x, y = x[inside], y[inside]
    pixel = frame.science[np.rint(y).astype(int), np.rint(x).astype(int)] - np.nanmedian(frame.science)
    flux = np.maximum(np.nan_to_num(5.0 * pixel), 1.0)  # a star's pixel has about a fifth of its light
    return pd.DataFrame({"x": x, "y": y, "flux": flux, "flags": np.zeros(len(x), np.int64)})


def _with_list(table: pd.DataFrame, listed: pd.DataFrame, frame: Frame) -> pd.DataFrame:
    """The rows of listed stars, with their number in the list; those that were not found are rows that say so."""
    place = listed[["x", "y"]].to_numpy(float)
    known = np.isfinite(place).all(1)
    distance, row = np.full(len(listed), np.inf), np.zeros(len(listed), int)
    if len(table):
        distance[known], row[known] = cKDTree(table[["x", "y"]].to_numpy()).query(place[known])
    hit = distance <= SAME
    found = table.iloc[row[hit]].assign(source=listed["source"].to_numpy()[hit])
    why = np.where(known, "not scored: no star of its own found there", "refused: no finite position")
    lost = pd.DataFrame(
        {"x": place[~hit, 0], "y": place[~hit, 1], "source": listed["source"].to_numpy()[~hit], "status": why[~hit]}
    ).assign(file=str(frame.path), extension=frame.extension, flags="")
    lost.index = pd.RangeIndex(len(table), len(table) + len(lost))
    return pd.concat([found, lost]) if len(lost) else found


# --- several exposures -------------------------------------------------------------------------------------------


def together(chips: Sequence[Chip]) -> tuple[pd.DataFrame, list[str]]:
    """The rows of all chips with what the exposures say of each star together.

    Adds star (number, −1 where alone), n_seen (exposures that scored it), n_pair (those that call it a pair) and
    agreement (probability that separations and angles of one pair differ as much). A pair that half of the exposures
    deny, or on whose place they disagree, is doubtful: a cosmic ray, or a fault of one of them.
    """
    table = pd.concat([chip.table for chip in chips], ignore_index=True)
    table = table.assign(star=-1, n_seen=0, n_pair=0, agreement=np.nan)
    stars = pd.concat([chip.stars for chip in chips], ignore_index=True)
    scores = pd.concat([chip.scores for chip in chips], ignore_index=True)
    exposures = stars["exposure"].dropna().unique()
    if len(exposures) < 2:
        return table, []
    measured = stars.assign(row=np.arange(len(stars)))[stars["x"].notna()]
    scale = float(np.median([chip.pixel_scale for chip in chips]))
    try:
        matched = crossmatch([measured], pixel_scale=scale, n_min=1)
    except ValueError as error:
        return table, [f"the exposures are not matched, each stands alone: {error}"]
    number = matched.detections.set_index("row")["star_id"]
    table.loc[number.index, "star"] = number.to_numpy()
    scores = scores.assign(star_id=table["star"], exposure=stars["exposure"], flux=stars["flux"])
    scored = (table["star"] >= 0) & np.isfinite(scores["chi2"].to_numpy(float))
    called = scored & _called(scores) & (scores["log_bf"].to_numpy(float) > PAIR_ABOVE)
    table["n_seen"], table["n_pair"] = (
        rows.groupby(table["star"]).transform("sum").where(table["star"] >= 0, 0).astype(int)
        for rows in (scored, called)
    )
    pairs = combine(scores[called])
    table["agreement"] = table["star"].map(pairs.set_index("star_id")["agreement"])
    p, log_bf = scores["p"].to_numpy(float), scores["log_bf"].to_numpy(float)
    denied = scored & np.where(np.isnan(p), ~(log_bf > DENIED[1]), p <= DENIED[0])
    _contradicted(table, called, denied.groupby(table["star"]).transform("sum"))
    shared = table.loc[table["n_seen"] > 1, "star"].nunique()
    return table, [f"{len(exposures)} exposures: {len(matched.stars)} stars, {shared} of them scored in two or more"]


def _contradicted(table: pd.DataFrame, called: pd.Series, n_denied: pd.Series) -> None:
    """Change the status of pairs that other exposures deny, in place."""
    for row in np.flatnonzero(called & table["status"].str.startswith("ok") & (table["n_seen"] > 1)):
        seen, pair, agreement = (table.at[row, name] for name in ("n_seen", "n_pair", "agreement"))
        if n_denied[row] >= HALF * seen:
            why = f"a pair in {pair} of {seen} exposures: a cosmic ray?"
        elif agreement < AGREE:
            why = f"the exposures disagree on separation or angle (probability {agreement:.1g})"
        else:
            continue
        table.at[row, "status"] = f"doubtful: {why}"
