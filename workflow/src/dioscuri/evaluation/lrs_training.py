"""Training samples of real spectra: labelled by the HR diagram, as in the paper, or pairs made of their singles."""

import os
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from dioscuri.catalogs import hrd_labels
from dioscuri.catalogs.lrs_table import match
from dioscuri.evaluation.lrs_labels import star_keys
from dioscuri.evaluation.lrs_models import true_classes
from dioscuri.seals import verified
from dioscuri.shards import read_exposures, read_field_mocks, read_spectra
from dioscuri.spectra import lrs_frame


def labelled_spectra(
    shards: Sequence[str | os.PathLike], labels: str | os.PathLike
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Stars, spectra (S, L) float16 and classes (S,) of reduced shards with their `labels` (`lrs_labels`, Parquet).

    Stars: system_id (source_id, or −obsid), snrg, teff, feh. A pixel that was not measured is 0, as the mean star's.
    """
    table = pd.read_parquet(verified(labels))
    parts: list[tuple[pd.DataFrame, np.ndarray]] = []
    for shard in shards:
        facts = read_exposures(shard)
        rows = match(table, facts["obsid"], list(facts["file"]))
        used = (rows["matched"] & rows["hrd"].isin([hrd_labels.SINGLE, hrd_labels.INTERMEDIATE])).to_numpy()
        flux, _ = read_spectra(shard, "full")
        parts.append((rows.assign(snrg=facts["snrg"], obsid=facts["obsid"])[used], flux[used]))
    rows = pd.concat([part for part, _ in parts], ignore_index=True)
    stars = {"system_id": star_keys(rows)}
    stars |= {name: rows[name].to_numpy(float) for name in ("snrg", "teff", "feh")}
    return stars, np.concatenate([flux for _, flux in parts]), rows["hrd"].to_numpy(np.int64)


def training_sample(
    training: str,
    mocks: str | os.PathLike,
    shards: Sequence[str | os.PathLike],
    labels: str | os.PathLike | None,
    seed: int,
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Stars, spectra and classes of a way to train: mocks (by truth), hrd or composites (reduced shards, labels)."""
    if training == "mocks":
        stars, flux = read_field_mocks(mocks)
        return stars, flux, true_classes(stars["q"])
    if labels is None:
        raise ValueError(f"training: {training} needs lamost_lrs.catalogue, with photometry and parallaxes")
    stars, flux, classes = labelled_spectra(shards, labels)
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
