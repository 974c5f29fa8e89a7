"""Detectability over every pair of labels (Fig. 6): a corner of recall maps, with each label alone on the diagonal."""

import os
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from dioscuri.evaluation.mrs_rates import found_by_seeds
from dioscuri.plots.style import ARM_COLOUR, MAP, PAGE, empty, figure, recall_points

File: TypeAlias = str | os.PathLike
# Label → axis title, edges of the bins.
LABELS: dict[str, tuple[str, np.ndarray]] = {
    "teff1": ("$T_1$ [kK]", np.linspace(4.0, 8.0, 7)),
    "logg1": ("$\\log g_1$", np.linspace(1.0, 5.0, 7)),
    "feh": ("[Fe/H]", np.linspace(-2.0, 0.5, 6)),
    "q": ("q", np.linspace(0.0, 1.0, 7)),
    "dv": ("|Δv| [km/s]", np.array([0, 30, 60, 100, 200, 300, 500.0])),
    "vsini1": ("$(v\\sin i)_1$", np.array([0, 20, 60, 150, 300, 500.0])),
    "snr": ("S/N", np.array([5, 15, 30, 50, 75, 100.0])),
}
FEWEST = 8  # binaries; a cell with less says nothing


def corner(out: File, scores: Sequence[File], *, penalty: float = 16, settings: Any = None) -> None:
    """TPR of the test binaries, mean over seeds: maps of the blue arm below, both arms along the diagonal."""
    recall, labels = found_by_seeds(scores, penalty, list(LABELS))
    with figure(out, PAGE, PAGE, settings) as drawing:
        if not recall:
            empty(drawing.subplots(), f"no model with Λ = {penalty:g}")
            return
        labels |= {"dv": np.abs(labels["dv"]), "teff1": labels["teff1"] / 1000}
        mapped = "blue" if "blue" in recall else next(iter(recall))
        names = list(LABELS)
        panels = drawing.subplots(len(names), len(names), gridspec_kw={"hspace": 0.05, "wspace": 0.05})
        image = None
        for (row, column), axes in np.ndenumerate(panels):
            if column > row:
                axes.set_axis_off()
                continue
            x, (title, edges) = labels[names[column]], LABELS[names[column]]
            if row == column:
                total, _ = np.histogram(x, edges)
                density = total / np.diff(edges)
                axes.stairs(0.5 * density / density.max(), edges, fill=True, color="#E4E4E4", zorder=0)
                for arm, seen in recall.items():
                    recall_points(axes, edges, np.histogram(x, edges, weights=seen)[0], total, arm)
                axes.set(ylim=(0, 1.05), xlim=edges[[0, -1]])
                axes.yaxis.tick_right()
                axes.tick_params(labelright=True, labelleft=False)
            else:
                other = LABELS[names[row]][1]
                image = axes.pcolormesh(
                    edges,
                    other,
                    _share(x, labels[names[row]], recall[mapped], edges, other).T,
                    cmap=MAP,
                    vmin=0,
                    vmax=1,
                )
                axes.grid(False)
            axes.tick_params(labelsize=6, labelbottom=row == len(names) - 1)
            if row != column:
                axes.tick_params(labelleft=column == 0)
            if row == len(names) - 1:
                axes.set_xlabel(title, fontsize=8)
            if column == 0 and row > 0:
                axes.set_ylabel(LABELS[names[row]][0], fontsize=8)
        if image is not None:
            bar = drawing.colorbar(image, ax=panels[:3, 4:], location="top", shrink=0.9, label=f"TPR, {mapped} arm")
            bar.ax.tick_params(labelsize=7)
        handles = [drawing.axes[0].plot([], [], color=ARM_COLOUR[arm], label=f"{arm} arm")[0] for arm in recall]
        drawing.legend(handles=handles, loc="upper center")


def _share(x: np.ndarray, y: np.ndarray, seen: np.ndarray, x_edges: np.ndarray, y_edges: np.ndarray) -> np.ndarray:
    """Mean of `seen` in cells (X, Y), NaN in cells of fewer than FEWEST."""
    total, _, _ = np.histogram2d(x, y, (x_edges, y_edges))
    weighted, _, _ = np.histogram2d(x, y, (x_edges, y_edges), weights=seen)
    return np.where(total >= FEWEST, weighted / np.maximum(total, 1), np.nan)
