"""Training samples of real spectra: labelled by the HR diagram, as in the paper, or pairs made of their singles."""

import logging
import os
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from dioscuri.catalogs import hrd_labels
from dioscuri.catalogs.lrs_table import match, read_catalogue
from dioscuri.evaluation.lrs_models import true_classes
from dioscuri.libraries.photometry import EXTINCTION
from dioscuri.shards import read_exposures, read_field_mocks, read_spectra
from dioscuri.spectra import lrs_frame

log = logging.getLogger(__name__)

# Cuts of Jing et al. (2025, §2.1); the last two for the training sample only.
TEFF, LOGG_MIN, COLOUR, SNRG_MIN = (3800.0, 6500.0), 4.0, (1.5, 2.6), 20.0
PARALLAX_MIN, M_G_MIN = 3.0, 4.0  # mas, mag
# ΔM of mass ratios by the embedded tracks and atmospheres (tests/unit/test_lrs_labels.py says how it is found).
EXCESS = {0.71: 0.55, 0.93: 0.735}
NEEDED = ("teff", "logg", "feh", "g", "ks", "parallax", "ebv")


def add_labels(table: pd.DataFrame, training: bool = True) -> pd.DataFrame:
    """Rows with colour (G − Ks)0, M_G, ΔM and class (`hrd_labels`); −1 where a cut or a gap leaves none.

    `table` as `read_catalogue` gives it. What is not labelled is counted by its reason in the log.
    """
    plx = table["parallax"].where(table["parallax"] > 0)
    colour = table["g"] - table["ks"] - (EXTINCTION["G"] - EXTINCTION["Ks"]) * table["ebv"]
    absolute = table["g"] + 5 * np.log10(plx / 100.0) - EXTINCTION["G"] * table["ebv"]
    kept = table["teff"].between(*TEFF) & (table["logg"] > LOGG_MIN) & colour.between(*COLOUR)
    kept &= table["snrg"].isna() | (table["snrg"] > SNRG_MIN)
    if training:
        kept &= (plx > PARALLAX_MIN) & (absolute > M_G_MIN)
    x, y = colour.where(kept).to_numpy(float), absolute.where(kept).to_numpy(float)
    found = hrd_labels.label(x, y, table["feh"].to_numpy(float))
    classes = found.classes(hrd_labels.Thresholds.of(EXCESS, found.width))
    log.info(
        "HR diagram: %d rows, %d beyond the cuts; %s; ridge %.3f mag wide; %d single, %d intermediate, %d high",
        len(table), int((~kept).sum()), found.n_without, found.width,
        *(int((classes == value).sum()) for value in (hrd_labels.SINGLE, hrd_labels.INTERMEDIATE, hrd_labels.HIGH)),
    )  # fmt: skip
    return table.assign(colour=colour, m_g=absolute, excess=found.excess, hrd=classes)


def labelled_spectra(
    shards: Sequence[str | os.PathLike], catalogue: str | os.PathLike, columns: Mapping[str, str]
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Stars, spectra (S, L) float16 and classes (S,) of reduced shards with the labels of their catalogue.

    Stars: system_id (source_id, or obsid), snrg, teff, feh. A pixel that was not measured is 0, as the mean star's.
    """
    table = add_labels(read_catalogue(catalogue, columns, needed=NEEDED))
    parts: list[tuple[pd.DataFrame, np.ndarray]] = []
    for shard in shards:
        facts = read_exposures(shard)
        rows = match(table, facts["obsid"], list(facts["file"]))
        used = (rows["matched"] & rows["hrd"].isin([hrd_labels.SINGLE, hrd_labels.INTERMEDIATE])).to_numpy()
        flux, _ = read_spectra(shard, "full")
        parts.append((rows.assign(snrg=facts["snrg"], obsid=facts["obsid"])[used], flux[used]))
    rows = pd.concat([part for part, _ in parts], ignore_index=True)
    source = rows["source_id"] if "source_id" in rows else rows["obsid"]
    stars = {"system_id": source.where(source > 0, rows["obsid"]).to_numpy(np.int64)}
    stars |= {name: rows[name].to_numpy(float) for name in ("snrg", "teff", "feh")}
    return stars, np.concatenate([flux for _, flux in parts]), rows["hrd"].to_numpy(np.int64)


def training_sample(
    training: str,
    mocks: str | os.PathLike,
    shards: Sequence[str | os.PathLike],
    catalogue: str | os.PathLike | None,
    columns: Mapping[str, str],
    seed: int,
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Stars, spectra and classes of a way to train: mocks (by truth), hrd or composites (reduced shards, catalogue)."""
    if training == "mocks":
        stars, flux = read_field_mocks(mocks)
        return stars, flux, true_classes(stars["q"])
    if catalogue is None:
        raise ValueError(f"training: {training} needs lamost_lrs.catalogue, with photometry and parallaxes")
    stars, flux, classes = labelled_spectra(shards, catalogue, columns)
    if training == "hrd":
        return stars, flux, classes
    single = classes == hrd_labels.SINGLE
    return composites({name: v[single] for name, v in stars.items()}, flux[single], 2 * int(single.sum()), seed)


def composites(
    stars: Mapping[str, np.ndarray], flux: np.ndarray, n: int, seed: int, dfeh: float = 0.3
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Pairs made of two single stars' spectra, and twins of two like stars: `n` of each, as `labelled_spectra`.

    The share of the light is that of black bodies of the main sequence, R ∝ T^1.1 at 4300 to 5700 K; q ∝ T^1.4. Pairs
    of 0.6 < q < 0.93 are class 1; twins, of the same shares, are class 0: as smooth, as quiet, and single.
    """
    random = np.random.default_rng(seed)
    teff, feh = stars["teff"], stars["feh"]
    made: list[tuple[int, int, int, np.ndarray]] = []
    for one in random.choice(len(teff), 6 * n):
        ratio = (teff / teff[one]) ** 1.4
        near = np.abs(feh - feh[one]) < dfeh
        lesser = np.flatnonzero(near & (ratio > 0.6) & (ratio < 0.93))
        like = np.flatnonzero(near & (np.abs(teff - teff[one]) < 60) & (np.arange(len(teff)) != one))
        if not (len(lesser) and len(like)):
            continue
        two, twin = random.choice(lesser), random.choice(like)
        share = light_of_ratio(teff[one], teff[two])
        made += [(1, one, int(two), share), (0, one, int(twin), share)]
        if len(made) >= 2 * n:
            break
    if not made:
        raise ValueError(
            "composites: no two single stars of the sample make a pair of 0.6 < q < 0.93; add cooler stars"
        )
    classes = np.array([c for c, *_ in made])
    first, second = np.array([i for _, i, *_ in made]), np.array([j for *_, j, _ in made])
    share = np.stack([s for *_, s in made]).astype(np.float32)
    blend = (1 - share) * flux[first].astype(np.float32) + share * flux[second].astype(np.float32)
    noise = np.hypot((1 - share.mean(1)) / stars["snrg"][first], share.mean(1) / stars["snrg"][second])
    # Whoever shares a star with a training spectrum must not be in validation: groups go by the first star.
    out = {"system_id": stars["system_id"][first], "snrg": 1.0 / noise, "teff": teff[first], "feh": feh[first]}
    return out, blend.astype(np.float16), classes


def light_of_ratio(teff1: float, teff2: float) -> np.ndarray:
    """The second star's share of the light (L,) of a main-sequence pair of these temperatures [K]."""
    planck = [1.0 / np.expm1(1.4388e8 / lrs_frame.WAVE / teff) for teff in (teff1, teff2)]
    two = planck[1] * (teff2 / teff1) ** 2.2
    return two / (planck[0] + two)
