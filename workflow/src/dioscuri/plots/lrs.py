"""Figures of the LAMOST LRS line."""

from os import PathLike

import numpy as np
import pandas as pd

from dioscuri.plots import style


def prediction(table: pd.DataFrame, path: str | PathLike) -> None:
    """Probability of a binary and Δχ² of `dioscuri predict` against Teff; what is not counted is grey."""
    with style.figure(path, width=style.PAGE) as drawing:
        left, right = drawing.subplots(1, 2)
        for verdict, colour in (("single", style.SINGLE), ("binary", style.BINARY), ("not counted", style.FAINT)):
            rows = table[table["verdict"] == verdict]
            for axes, name in ((left, "p"), (right, "dchi2")):
                axes.plot(rows["teff"], np.maximum(rows[name], -50), "o", ms=3, color=colour, label=verdict)
        style.fraction_axis(left, "probability of a second star")
        left.set_xlabel("Teff of the fit [K]")
        right.set(xlabel="Teff of the fit [K]", ylabel="Δχ², one star less two")
        right.set_yscale("symlog", linthresh=10)
        left.legend()
