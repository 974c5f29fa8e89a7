"""Colour-magnitude diagrams of the observed stars: neighbours of the Sun (Fig. 10), candidates with CCFs (Fig. 12)."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from dioscuri.arms import arms_of
from dioscuri.catalogs.columns import read_columns
from dioscuri.catalogs.files import read_catalog
from dioscuri.catalogs.stars import nearby
from dioscuri.catalogs.tables import SUFFIX, probability_column
from dioscuri.plots.mrs_candidates import best_candidates
from dioscuri.plots.style import ACCENT, ARM_COLOUR, FAINT, PAGE, SINGLE, empty, figure

File: TypeAlias = str | os.PathLike
COLOURS, MAGNITUDES = (-0.2, 3.4), (13.0, -4.0)
LEAST_SNR = 10.0  # criterion 4 of §4.3
MANY = 400  # stars, from which on they are drawn as contours too


def neighbours(
    out: File,
    catalog: File,
    stars: File,
    *,
    arms: Mapping[str, Mapping[str, Any]],
    penalty: float = 16,
    settings: Any = None,
) -> None:
    """Fig. 10: stars of ϖ > 3 mas, ϖ/σ > 5, RUWE < 1.4, S/N > 10; coloured: spectra of p0 > 0.5, by arm and both."""
    names = [f"snr_{SUFFIX[arm]}" for arm in arms], [(probability_column(arm, penalty), 0) for arm in arms]
    table, known = read_columns(catalog, ["source_id", *names[0], *names[1]]), read_catalog(stars).to_pandas()
    near = known[nearby(known) & np.isfinite(known["g0"]) & np.isfinite(known["bprp0"])].set_index("source_id")
    close = np.isin(table["source_id"].codes, table["source_id"].index(near.index))
    good, high = {}, {}
    for arm, snr, p0 in zip(arms, *names):
        good[arm] = close & (table[snr] > LEAST_SNR)
        high[arm] = good[arm] & (table[p0] > 0.5)
    panels = [(f"{arm} arm", ARM_COLOUR[arm], good[arm], high[arm]) for arm in arms]
    if len(panels) > 1:
        panels.append(("both arms", ACCENT, np.any([*good.values()], axis=0), np.all([*high.values()], axis=0)))
    with figure(out, PAGE, 4.2, settings) as drawing:
        for axes, (title, colour, seen, called) in zip(
            drawing.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels
        ):
            if not seen.any():
                empty(axes, "no star with ϖ > 3 mas, ϖ/σ > 5, RUWE < 1.4\nand photometry in the user's table")
                continue
            _background(axes, near.loc[pd.unique(table["source_id"][seen])])
            rows = near.loc[table["source_id"][called]]
            axes.plot(rows["bprp0"], rows["g0"], "o", ms=4, color=colour, mew=0, alpha=0.7)
            axes.set_title(f"{title}: {int(called.sum())} of {int(seen.sum())} spectra\n({rows.index.nunique()} stars)")
            axes.set(xlabel="$(G_{BP} - G_{RP})_0$ [mag]", **_frame(near))
        drawing.axes[0].set_ylabel("$G_0$ [mag] (eq. 12)")


def _frame(rows: Any) -> dict[str, tuple[float, float]]:
    """Limits of a diagram that holds all stars with some room, bright ones at the top."""
    if not len(rows):
        return {"xlim": COLOURS, "ylim": MAGNITUDES}
    colour, magnitude = rows["bprp0"], rows["g0"]
    return {
        "xlim": (float(colour.min()) - 0.3, float(colour.max()) + 0.3),
        "ylim": (float(magnitude.max()) + 1.0, float(magnitude.min()) - 1.0),
    }


def _background(axes: Axes, rows: Any) -> None:
    """All stars: dots, and contours of their density where there are many."""
    axes.plot(rows["bprp0"], rows["g0"], ".", ms=3, color=FAINT, zorder=1)
    if len(rows) >= MANY:
        edges = np.linspace(*COLOURS, 41), np.linspace(MAGNITUDES[1], MAGNITUDES[0], 41)
        counts, _, _ = np.histogram2d(rows["bprp0"], rows["g0"], edges)
        middle = [0.5 * (e[1:] + e[:-1]) for e in edges]
        levels = counts.max() * np.array([0.05, 0.2, 0.5, 0.8])
        axes.contour(*middle, counts.T, levels, colors=SINGLE, linewidths=0.7)


def candidate_diagram(
    out: File,
    catalog: File,
    candidates: File,
    stars: File,
    shards: Sequence[File],
    templates: File,
    arms: Mapping[str, Mapping[str, Any]],
    *,
    bprp0_max: float | None = 2.5,
    penalty: float = 16,
    n_shown: int = 8,
    settings: Any = None,
) -> None:
    """Fig. 12: all stars, those with a candidate (cyan), those cut by colour (black), and CCFs of some in insets."""
    known = read_catalog(stars).to_pandas().set_index("source_id")
    known = known[np.isfinite(known["g0"]) & np.isfinite(known["bprp0"])]
    chosen = read_catalog(candidates, "CANDIDATES")
    cut = _cut_by_colour(catalog, list(arms), penalty, bprp0_max)
    shown = best_candidates(chosen, shards, templates, arms_of(arms), n_shown, penalty)
    with figure(out, PAGE, 6.4, settings) as drawing:
        rows = drawing.subplots(3, 4, gridspec_kw={"width_ratios": (1, 1, 1, 1)})
        grid = rows[0, 0].get_gridspec()
        for axes in rows[:, 1:3].flat:
            axes.remove()
        middle = drawing.add_subplot(grid[:, 1:3])
        frames = [*rows[:, 0], *rows[:, 3]]
        if known.empty:
            empty(middle, "no photometry and parallaxes\nin the user's table")
        else:
            _background(middle, known)
        names = np.unique(np.asarray(chosen["source_id"]).astype(str))
        found = known[known.index.isin(names)]
        middle.plot(found["bprp0"], found["g0"], "o", ms=5, color="#00AFC1", mew=0, label=f"{len(names)} candidates")
        gone = known[known.index.isin(cut)]
        middle.plot(gone["bprp0"], gone["g0"], "o", ms=5, color="black", mew=0, label=f"{len(cut)} cut by colour")
        middle.set(xlabel="$(G_{BP} - G_{RP})_0$ [mag]", ylabel="$G_0$ [mag]", **_frame(known))
        middle.legend(loc="lower left")
        for number, (axes, candidate) in enumerate(zip(frames, shown), start=1):
            for arm, ccf in candidate.ccf.items():
                axes.plot(candidate.velocity, ccf, color=ARM_COLOUR[arm], lw=1)
            axes.set(xlim=(-600, 600))
            axes.set_title(f"{number}", fontsize=8)
            axes.tick_params(labelsize=7)
            if candidate.source_id in known.index:
                star = known.loc[candidate.source_id]
                middle.annotate(
                    f"{number}", (star["bprp0"], star["g0"]), (3, 3), textcoords="offset points", fontsize=8
                )
        for axes in frames[len(shown) :]:
            axes.set_axis_off()
        for axes in (rows[-1, 0], rows[-1, 3]):
            axes.set_xlabel("velocity [km s$^{-1}$]", fontsize=8)


def _cut_by_colour(catalog: File, arms: Sequence[str], penalty: float, bprp0_max: float | None) -> list[str]:
    """Sources that would be candidates but for their colour."""
    if bprp0_max is None:
        return []
    p0 = [(probability_column(arm, penalty), 0) for arm in arms]
    table = read_columns(catalog, ["source_id", "bprp0", *p0])
    high = np.all([table[name] > 0.5 for name in p0], axis=0)
    return sorted(set(table["source_id"][high & (table["bprp0"] >= bprp0_max)]))
