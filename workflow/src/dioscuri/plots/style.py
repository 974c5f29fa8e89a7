"""One look for all figures: sizes, colours safe for colour-blind readers, and how a figure is saved."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from dioscuri.io import atomic
from dioscuri.job import provenance
from dioscuri.learn.metrics import binomial_interval

File: TypeAlias = str | os.PathLike  # where a figure goes, or what it is drawn from

COLUMN, PAGE = 5.0, 9.0  # inches: width of a one-panel and of a full-page figure
DPI = 150
# Okabe & Ito (2008): distinct for all common kinds of colour vision, and in grey.
ARM_COLOUR = {"blue": "#0072B2", "red": "#D55E00"}
ARM_MARKER = {"blue": "o", "red": "s"}
SINGLE, BINARY, CLASSICAL, ACCENT, FAINT = "#555555", "#009E73", "#CC79A7", "#E69F00", "#BBBBBB"
MAP = "cividis"
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.titlelocation": "left",
    "axes.labelsize": 9.0,
    "axes.linewidth": 0.7,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.5,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "legend.fontsize": 8.0,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "lines.markersize": 4.5,
    "errorbar.capsize": 2.0,
    "figure.constrained_layout.use": True,
    "savefig.facecolor": "white",
}


@contextmanager
def figure(
    path: str | os.PathLike, width: float = COLUMN, height: float = 3.6, settings: Any = None
) -> Iterator[Figure]:
    """Yield an empty figure of `width` × `height` inches in the house style; it is saved whole or not at all.

    No global state of pyplot is touched, and the provenance is written into the PNG.
    """
    with rc_context(STYLE):
        drawing = Figure(figsize=(width, height))
        FigureCanvasAgg(drawing)
        yield drawing
        described = {"Software": "dioscuri", "Description": json.dumps(provenance(settings), default=str)}
        metadata = described if Path(path).suffix.lower() == ".png" else None
        with atomic(path) as temporary:
            drawing.savefig(temporary, dpi=DPI, metadata=metadata)


def empty(axes: Axes, message: str) -> None:
    """Say in an otherwise empty panel why it is empty."""
    axes.text(0.5, 0.5, message, transform=axes.transAxes, ha="center", va="center", color=SINGLE, wrap=True)


def shades(values: Sequence[float]) -> dict[float, str]:
    """A colour for each of an ordered set of values, from dark to light along one map."""
    ordered = sorted({float(value) for value in values})
    return {v: to_hex(c) for v, c in zip(ordered, colormaps["viridis"](np.linspace(0, 0.85, len(ordered))))}


def fraction_axis(axes: Axes, label: str) -> None:
    """A vertical axis from 0 to 1 with room for markers at both ends."""
    axes.set_ylim(-0.04, 1.04)
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.set_ylabel(label)


def log_penalty_axis(axes: Axes, penalties: Iterable[float]) -> None:
    """A logarithmic axis of penalties Λ with the trained values as plain numbers."""
    ticks = sorted({float(value) for value in penalties})
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("penalty Λ on negatives (eq. 7)")


def recall_points(axes: Axes, edges: np.ndarray, found: np.ndarray, total: np.ndarray, arm: str) -> None:
    """Shares found/total (K,) in bins of `edges` (K+1,) with 68 % binomial errors; empty bins are left out.

    `found` need not be whole numbers: it may be a mean over models.
    """
    used = total > 0
    half = 0.5 * np.diff(edges)[used]
    centre = 0.5 * (edges[1:] + edges[:-1])[used]
    rate = found[used] / total[used]
    low, high = binomial_interval(found[used], total[used])
    vertical = np.maximum([rate - low, high - rate], 0)
    # The arms stand beside each other within the bin, so that both are seen.
    shift = {"blue": -0.12, "red": 0.12}.get(arm, 0.0) * half
    horizontal = [half + shift, half - shift]
    style: dict[str, Any] = {"marker": ARM_MARKER[arm], "color": ARM_COLOUR[arm], "lw": 1, "capsize": 0}
    axes.errorbar(centre + shift, rate, vertical, horizontal, ls="", **style)
