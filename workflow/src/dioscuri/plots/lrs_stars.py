"""Figures of the LAMOST LRS stars in the Galaxy and in the HR diagram (Figs. 1, 8 and 9 of Jing et al. 2025)."""

from os import PathLike
from typing import Any

import numpy as np
import pandas as pd

from dioscuri.catalogs.hrd_labels import HIGH, INTERMEDIATE, SINGLE
from dioscuri.flags import LrsQuality
from dioscuri.plots import style
from dioscuri.seals import verified

METALS = (-0.05, 0.15)  # [Fe/H] of Fig. 1
CLASSES = {SINGLE: "single", INTERMEDIATE: "intermediate mass ratio", HIGH: "high mass ratio"}
FAR = 10_000.0  # pc, §3.4


def hr_diagram(out: str | PathLike, labels: str, *, settings: Any = None) -> None:
    """Labelled stars of -0.05 < [Fe/H] < 0.15 in the HR diagram by their class (Fig. 1)."""
    table = pd.read_parquet(verified(labels), columns=["feh", "colour", "m_g", "excess", "hrd"])
    rows = table[table["feh"].between(*METALS) & np.isfinite(table["excess"])]
    with style.figure(out, settings=settings) as drawing:
        axes = drawing.subplots()
        if not len(rows):
            style.empty(axes, "no star is labelled")
            return
        colours = {SINGLE: "black", INTERMEDIATE: style.ARM_COLOUR["blue"], HIGH: style.ARM_COLOUR["red"]}
        axes.plot(rows["colour"], rows["m_g"], ".", ms=2, color=style.FAINT, label=f"no class: {_n(rows, -1)}")
        for value, name in CLASSES.items():
            chosen = rows[rows["hrd"] == value]
            axes.plot(chosen["colour"], chosen["m_g"], ".", ms=3, color=colours[value], label=f"{name}: {len(chosen)}")
        axes.set(xlabel="(G − Ks)₀", ylabel="M_G")
        axes.invert_yaxis()
        axes.legend()


def _n(rows: pd.DataFrame, value: int) -> int:
    return int((rows["hrd"] == value).sum())


def distances(out: str | PathLike, catalog: str, labels: str, *, settings: Any = None) -> None:
    """Distances of stars that are called binaries and of all (Fig. 8); what cannot be there is shown apart."""
    rows = _stars(catalog, labels)
    rows = rows[np.isfinite(rows["distance"]) & (rows["distance"] > 0)]
    impossible = (rows["flags"] & int(LrsQuality.DISTANCE)) > 0
    with style.figure(out, settings=settings) as drawing:
        axes = drawing.subplots()
        if not len(rows):
            style.empty(axes, "no distance is known")
            return
        bins = list(np.geomspace(20, max(20_000.0, 1.01 * rows["distance"].max()), 50))
        binary = rows["p_max"] > 0.5
        for name, chosen, colour in (
            ("all", np.ones(len(rows), bool), style.FAINT),
            ("p > 0.5", binary, style.BINARY),
            ("M_G and G cannot both be true", impossible, style.ACCENT),
        ):
            axes.hist(rows["distance"][chosen], bins, histtype="step", color=colour, label=f"{name}: {chosen.sum()}")
        far = binary & (rows["distance"] > FAR)
        words = f"10 kpc; beyond it {far.sum()} (possible ones: {(far & ~impossible).sum()})"
        axes.axvline(FAR, ls="--", color="black", lw=0.7, label=words)
        axes.set(xscale="log", yscale="log", xlabel="distance [pc]", ylabel="number of stars")
        axes.legend(loc="upper right", fontsize="small")


def colour_magnitude(out: str | PathLike, catalog: str, labels: str, *, settings: Any = None) -> None:
    """Contours of stars below and above p = 0.5 in the HR diagram (Fig. 9)."""
    rows = _stars(catalog, labels)
    rows = rows[np.isfinite(rows["colour"]) & np.isfinite(rows["m_g"]) & (rows["parallax"] > 0)]
    with style.figure(out, settings=settings) as drawing:
        axes = drawing.subplots()
        for name, chosen, colour in (
            ("p < 0.5", rows["p_max"] < 0.5, style.SINGLE),
            ("p > 0.5", rows["p_max"] > 0.5, style.BINARY),
        ):
            x, y = rows["colour"][chosen], rows["m_g"][chosen]
            axes.plot([], [], color=colour, label=f"{name}: {len(x)}")
            if len(x) < 20:
                axes.plot(x, y, ".", ms=3, color=colour)
                continue
            side = int(np.clip(np.sqrt(len(x)) / 1.5, 8, 60))
            counts, xs, ys = np.histogram2d(x, y, side, [(1.3, 2.8), (3.0, 8.5)])
            smooth = sum(np.roll(counts, (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1)) / 9.0
            levels = smooth.max() * np.array([0.1, 0.3, 0.6, 0.9])
            axes.contour((xs[1:] + xs[:-1]) / 2, (ys[1:] + ys[:-1]) / 2, smooth.T, levels, colors=[colour])
        axes.set(xlabel="(G − Ks)₀", ylabel="M_G", xlim=(1.3, 2.8), ylim=(8.5, 3.0))
        axes.legend()


def _stars(catalog: str, labels: str) -> pd.DataFrame:
    """A row per star of the catalogue, with what its table says of it."""
    scores = pd.read_parquet(verified(catalog), columns=["obsid", "source_id", "p_max", "flags"])
    table = pd.read_parquet(verified(labels), columns=["obsid", "colour", "m_g", "parallax", "distance"])
    return scores.drop_duplicates("source_id").merge(table, on="obsid")
