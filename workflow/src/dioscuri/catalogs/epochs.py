"""The epochs of each source out of the catalogue: both arms as one, the two stars named alike."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dioscuri.catalogs.orbits import Epochs
from dioscuri.flags import Quality

FITTED = ("v1", "v1_err", "v2", "v2_err", "light_ratio", "vs", "vs_err")  # of each arm
ARM_ERROR = 1.5  # km/s by which velocities of the two arms differ beyond their errors
NIGHT_ERROR = 2.0  # km/s by which the zero points of nights differ: exposures of one share it
LEAST_SEPARATION = 30.0  # km/s; closer pairs of velocities are one blend at R = 7500
GUESSED = Quality.WEAK_CCF | Quality.VELOCITY_EDGE


@dataclass(frozen=True)
class Source:
    """One star: `rows` of the catalogue (N,), its epochs, and the log-odds of two stars at each (N,)."""

    source_id: str
    rows: np.ndarray
    epochs: Epochs
    single: np.ndarray  # velocity of the one-star fit at every epoch, (N,) [km/s]
    single_err: np.ndarray
    logodds: np.ndarray


def sources(catalog: Mapping[str, np.ndarray]) -> Iterator[Source]:
    """Every source with a scored single exposure, by name; co-adds, which repeat their exposures, are left out.

    `catalog`: columns (S,) of the catalogue with those of the pair fit (v1_B … vs_err_R, logodds). Both stars are taken
    as resolved where the log-odds are above zero and the velocities at least LEAST_SEPARATION apart.
    """
    pair = combined(catalog)
    flags = [np.asarray(catalog[f"flags_{end}"], int) for end in "BR"]
    usable = np.isfinite(pair["vs"]) & ((flags[0] | flags[1]) & Quality.COADD == 0)
    counted, bjd = np.flatnonzero(usable), np.asarray(catalog["bjdmid"], float)
    table = pd.DataFrame({"source_id": np.asarray(catalog["source_id"])[counted].astype(str)})
    for name, rows in table.groupby("source_id").indices.items():
        at = counted[rows]
        at = at[np.argsort(bjd[at])]
        one = {key: values[at] for key, values in pair.items()}
        resolved = (one["logodds"] > 0) & (np.abs(one["v1"] - one["v2"]) > LEAST_SEPARATION)
        light = float(np.median(one["light"][resolved])) if resolved.any() else 0.0
        night = bjd[at].round()
        shared = NIGHT_ERROR * np.sqrt((night[:, None] == night).sum(axis=1))  # so that their mean keeps it
        for error in ("v1_err", "v2_err", "vs_err"):
            one[error] = np.hypot(one[error], shared)
        epochs = Epochs(
            bjd=bjd[at],
            v1=np.where(resolved, one["v1"], np.nan),
            err1=one["v1_err"],
            v2=np.where(resolved, one["v2"], np.nan),
            err2=one["v2_err"],
            vs=np.where(resolved, np.nan, one["vs"]),
            errs=one["vs_err"],
            light=light,
        )
        yield Source(str(name), at, epochs, one["vs"], one["vs_err"], one["logodds"])


def combined(catalog: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Velocities of both arms as one, (S,): v1, v2, vs with errors [km/s], light ratio, logodds.

    Weighted means, errors with ARM_ERROR; where the arms name the stars the other way round, the arm whose lights
    differ more decides. Velocities of a weak or cut correlation (GUESSED) do not count.
    """
    arms = {}
    for end in "BR":
        arms[end] = {name: np.array(catalog[f"{name}_{end}"], float) for name in FITTED}
        guessed = (np.asarray(catalog[f"flags_{end}"], int) & GUESSED) > 0
        for name in FITTED:
            arms[end][name][guessed] = np.nan
    blue, red = arms["B"], arms["R"]
    straight = np.abs(blue["v1"] - red["v1"]) + np.abs(blue["v2"] - red["v2"])
    crossed = np.abs(blue["v1"] - red["v2"]) + np.abs(blue["v2"] - red["v1"])
    turn = crossed < straight
    for arm, loses in (
        (blue, blue["light_ratio"] > red["light_ratio"]),
        (red, blue["light_ratio"] <= red["light_ratio"]),
    ):
        swap = turn & loses
        for first, second in (("v1", "v2"), ("v1_err", "v2_err")):
            arm[first], arm[second] = np.where(swap, arm[second], arm[first]), np.where(swap, arm[first], arm[second])
    found = {}
    for name in ("v1", "v2", "vs"):
        found[name], found[f"{name}_err"] = _mean([(a[name], a[f"{name}_err"]) for a in (blue, red)])
    light = np.stack([blue["light_ratio"], red["light_ratio"]])
    known = np.isfinite(light)
    found["light"] = np.where(known, light, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    found["logodds"] = np.array(catalog["logodds"], float)
    return found


def _mean(values: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Weighted mean and error of two arms, of either alone where the other is missing."""
    weight, total = 0.0, 0.0
    for value, error in values:
        w = np.where(
            np.isfinite(value) & np.isfinite(error), 1 / (np.nan_to_num(error, nan=1.0) ** 2 + ARM_ERROR**2), 0
        )
        weight, total = weight + w, total + w * np.nan_to_num(value)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(weight > 0, total / weight, np.nan), np.where(weight > 0, weight**-0.5, np.nan)
