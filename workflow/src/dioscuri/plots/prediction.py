"""The figure of `dioscuri predict`: probability and velocity of every scored exposure."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dioscuri.plots.style import ARM_COLOUR, ARM_MARKER, PAGE, empty, figure, fraction_axis

if TYPE_CHECKING:
    import pandas as pd

LABELLED = 40  # exposures up to which each gets its own label


def prediction(table: "pd.DataFrame", out: str | os.PathLike, penalty: float) -> None:
    """Draw p50 with the range p0–p100 (thin) and p16–p84 (thick), and the velocity, exposure by exposure.

    `table` has the columns of `dioscuri.predict`; refused rows are left out and counted in the title.
    """
    scored = table[table["status"] == "ok"]
    exposures = scored[["file", "exposure"]].drop_duplicates().reset_index(drop=True)
    place = {(row.file, row.exposure): index for index, row in exposures.iterrows()}
    with figure(out, PAGE, 5.0, settings={"penalty": penalty}) as drawing:
        upper, lower = drawing.subplots(2, 1, sharex=True, height_ratios=(2, 1))
        for shift, (arm, rows) in zip((-0.12, 0.12), scored.groupby("arm")):
            x = np.array([place[key] for key in zip(rows["file"], rows["exposure"])]) + shift
            colour = ARM_COLOUR[str(arm)]
            upper.vlines(x, rows["p0"], rows["p100"], color=colour, lw=0.7)
            upper.vlines(x, rows["p16"], rows["p84"], color=colour, lw=2.5)
            upper.plot(x, rows["p50"], ARM_MARKER[str(arm)], color=colour, label=f"{arm} arm")
            lower.plot(x, rows["rv"], ARM_MARKER[str(arm)], color=colour)
        refused = len(table) - len(scored)
        upper.set_title(f"{len(scored)} spectra scored, {refused} refused (Λ = {penalty:g})")
        upper.axhline(0.5, color="0.4", lw=0.7, ls="--")
        fraction_axis(upper, "probability of an SB2")
        lower.set_ylabel("RV / km s$^{-1}$")
        if len(scored):
            upper.legend(loc="best")
        else:
            empty(upper, "no exposure could be scored")
        if len(exposures) <= LABELLED:
            names = [f"{Path(r.file).name.split('.')[0]} {r.exposure}" for r in exposures.itertuples()]
            lower.set_xticks(range(len(names)), names, rotation=90, fontsize=5)
        else:
            lower.set_xlabel("exposure, in the order of the table")
