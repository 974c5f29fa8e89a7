"""Labels of the catalogue's stars by the HR diagram, with thresholds from tracks and our own atmospheres."""

import logging
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from dioscuri.catalogs import hrd_labels
from dioscuri.catalogs.lrs_table import read_catalogue
from dioscuri.io import atomic, write_json
from dioscuri.libraries.photometry import EXTINCTION, Photometry
from dioscuri.seals import verified
from dioscuri.stars.tracks import LOG_RADIUS, LOG_TEFF, LOGG, TrackGrid

log = logging.getLogger(__name__)

# Cuts of Jing et al. (2025, §2.1); the last two for the training sample only.
TEFF, LOGG_MIN, COLOUR, SNRG_MIN = (3800.0, 6500.0), 4.0, (1.5, 2.6), 20.0
PARALLAX_MIN, M_G_MIN = 3.0, 4.0  # mas, mag
SURE = 20.0  # parallax over its error of stars that are labelled for figures where none are trained on
NEEDED = ("teff", "logg", "feh", "g", "ks", "parallax", "ebv")
RATIOS = (0.5, 0.6, 0.71, 0.8, 0.93, 1.0)
PRIMARIES, LOG_AGE, FEH = (0.65, 0.9), 9.7, -0.1  # M☉, yr, dex at which a mass ratio's place in the diagram is taken


def excess_by_tracks(tracks: TrackGrid, photometry: Photometry) -> dict[float, float]:
    """Mass ratio → ΔM_G [mag] above the ridge at the pair's colour, of dwarfs of the sample."""

    def absolute(mass: np.ndarray) -> dict[str, np.ndarray]:
        feh = np.full(len(mass), FEH)
        values = tracks.evaluate(mass, tracks.eep_at_age(mass, np.full(len(mass), LOG_AGE), feh), feh)
        teff, radius = 10 ** values[:, LOG_TEFF], 10 ** values[:, LOG_RADIUS]
        return photometry.absolute(teff, values[:, LOGG], feh, radius)

    return hrd_labels.excess_of_ratio(absolute, np.linspace(*PRIMARIES, 11), RATIOS)


def add_labels(table: pd.DataFrame, excess: Mapping[float, float], training: bool = True) -> pd.DataFrame:
    """Rows with colour (G − Ks)0, M_G, ΔM and class (`hrd_labels`); −1 where a cut or a gap leaves none.

    `table` as `read_catalogue` gives it; `excess` ΔM of mass ratios. What is not labelled is counted in the log.
    """
    plx = table["parallax"].where(table["parallax"] > 0)
    colour = table["g"] - table["ks"] - (EXTINCTION["G"] - EXTINCTION["Ks"]) * table["ebv"]
    absolute = table["g"] + 5 * np.log10(plx / 100.0) - EXTINCTION["G"] * table["ebv"]
    kept = table["teff"].between(*TEFF) & (table["logg"] > LOGG_MIN) & colour.between(*COLOUR)
    kept &= table["snrg"].isna() | (table["snrg"] > SNRG_MIN)
    kept &= (plx > PARALLAX_MIN) & (absolute > M_G_MIN) if training else plx > SURE * table["parallax_error"]
    x, y = colour.where(kept).to_numpy(float), absolute.where(kept).to_numpy(float)
    found = hrd_labels.label(x, y, table["feh"].to_numpy(float))
    classes = found.classes(hrd_labels.Thresholds.of(excess, found.width))
    log.info(
        "HR diagram: %d rows, %d beyond the cuts; %s; ridge %.3f mag wide; %d single, %d intermediate, %d high",
        len(table), int((~kept).sum()), found.n_without, found.width,
        *(int((classes == value).sum()) for value in (hrd_labels.SINGLE, hrd_labels.INTERMEDIATE, hrd_labels.HIGH)),
    )  # fmt: skip
    return table.assign(colour=colour, m_g=absolute, excess=found.excess, hrd=classes)


def write_labels(
    out: str | os.PathLike,
    facts: str | os.PathLike,
    catalogue: str | os.PathLike,
    columns: Mapping[str, str],
    tracks: TrackGrid,
    photometry: Photometry,
    *,
    training: bool,
    truth: str | os.PathLike | None = None,
) -> None:
    """Write the catalogue with its labels (Parquet), and thresholds, counts and true mass ratios per class (JSON).

    `training`: labels are trained on, so photometry and parallaxes must be there; else a catalogue without them has
    rows of class −1. `truth` of the simulated survey says what each class holds.
    """
    table = read_catalogue(catalogue, columns, needed=NEEDED if training else ())
    excess = excess_by_tracks(tracks, photometry)
    about: dict[str, Any] = {"excess": {f"{q:g}": value for q, value in excess.items()}}
    try:
        table = add_labels(table, excess, training)
    except ValueError as error:
        if training:
            raise
        log.warning("no labels: %s", error)
        table = table.assign(colour=np.nan, m_g=np.nan, excess=np.nan, hrd=hrd_labels.NEITHER)
    about["n"] = {str(value): int(n) for value, n in table["hrd"].value_counts().items()}
    if truth is not None:
        both = table.merge(pd.read_parquet(verified(truth))[["obsid", "q"]], on="obsid")
        labelled = both[np.isfinite(both["excess"])]
        about["edges_of_q"] = hrd_labels.RATIOS.tolist()
        about["q_of_class"] = hrd_labels.table_of_ratios(labelled["hrd"].to_numpy(), labelled["q"].to_numpy())
        single = labelled["q"] == 0
        about["singles_labelled_single"] = float((labelled["hrd"][single] == hrd_labels.SINGLE).mean())
    with atomic(out) as temporary:
        table.to_parquet(temporary, index=False)
    write_json(facts, about)


def star_keys(table: pd.DataFrame) -> np.ndarray:
    """A key of the star (S,): source_id, or minus the obsid where it is unknown."""
    if "source_id" not in table:
        return -table["obsid"].to_numpy(np.int64)
    return table["source_id"].where(table["source_id"] > 0, -table["obsid"]).to_numpy(np.int64)


def trained_stars(labels: str | os.PathLike, training: str) -> np.ndarray:
    """Keys of the stars that take part in a training by hrd or composites."""
    table = pd.read_parquet(verified(labels))
    used = [hrd_labels.SINGLE] if training == "composites" else [hrd_labels.SINGLE, hrd_labels.INTERMEDIATE]
    return np.unique(star_keys(table[table["hrd"].isin(used)]))
