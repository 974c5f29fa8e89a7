"""Figures of how far a search for analogues can be trusted: coverage, observing conditions, and the domain."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from dioscuri.analogues.catalogue import read_metadata
from dioscuri.analogues.features import read_features
from dioscuri.analogues.search import domain_of
from dioscuri.plots.analogues import colours
from dioscuri.plots.style import ACCENT, FAINT, File, figure

UNSEEN = ("leave_one_system_out", "system")  # splits that hold out whole systems, in order of preference
LEVELS = {"coverage68": (0.68, 0.63, 0.73), "coverage95": (0.95, 0.90, 0.98)}  # wanted, and between which bounds


def coverage(out: File, recovery: File, settings: Any = None) -> None:
    """On unseen systems: how often intervals hold the truth, and errors by how the images were observed."""
    table = pd.read_csv(recovery)
    split = next((name for name in UNSEEN if name in set(table["split"])), table["split"].iloc[0])
    table = table[(table["split"] == split) & (table["parameter"] == "all")]
    seeds = table["method"].str.count("/") == 2
    table = table[~seeds].assign(label=table["method"].str.replace("_", " "))
    seen = list(dict.fromkeys(table["observation"]))
    labels = list(dict.fromkeys(table["label"]))
    palette = dict(zip(seen, colours(len(seen))))
    with figure(out, 10.5, 1.4 + 0.3 * len(labels), settings) as drawing:
        panels = dict(zip(("error", *LEVELS), drawing.subplots(1, 3, sharey=True)))
        for score, axes in panels.items():
            if score in LEVELS:
                wanted, low, high = LEVELS[score]
                axes.axvspan(low, high, color="#EEEEEE")
                axes.axvline(wanted, color="black", lw=0.8)
            for number, name in enumerate(seen):
                part = table[table["observation"] == name]
                y = part["label"].map(labels.index) + 0.6 * (number - (len(seen) - 1) / 2) / max(len(seen), 1)
                style = {"fmt": "o", "ms": 3.5, "lw": 0.8, "color": palette[name], "label": name.replace("_", " ")}
                axes.errorbar(part[score], y, xerr=part[f"{score}_se"], **style)
            words = {"error": "median error [scatter of the catalogue]"}
            axes.set_xlabel(words.get(score, f"share of truths in the {score[-2:]} % interval"), fontsize=8)
            axes.grid(axis="x", lw=0.3)
        panels["error"].set_yticks(range(len(labels)), labels, fontsize=8)
        panels["error"].invert_yaxis()
        drawing.legend(*panels["error"].get_legend_handles_labels(), fontsize=7, loc="outside upper center", ncols=6)


def domain_distances(
    out: File, members: Sequence[File], queries: Sequence[File], shards: Sequence[File], settings: Any = None
) -> None:
    """How unlike the catalogue the query is beside images of systems that were left out of it, by network."""
    metadata = read_metadata(shards)
    with figure(out, 4.2 * len(members), 2.8, settings) as drawing:
        for axes, path, own in zip(drawing.subplots(1, len(members), squeeze=False)[0], members, queries):
            table = read_features(path)
            place = domain_of(path, own, metadata)
            edge = 1.1 * max(place.far, place.unseen.max(), 1.0)
            bins = np.geomspace(max(0.9 * min(place.far, place.unseen.min()), 1e-3 * edge), edge, 40)
            axes.hist(place.unseen, bins, color=FAINT, label="systems left out")
            axes.axvline(1, color="black", ls="--", label="limit")
            axes.axvline(place.far, color=ACCENT, lw=2, label="the query")
            axes.set(xscale="log", xlabel="unlike the catalogue [limit]", yticks=[])
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
            name, words = table.description["network"]["name"], "like the catalogue" if place.known else "far"
            axes.set_title(f"{name.replace('_', ' ')}: {words}", fontsize=8)
            axes.legend(fontsize=6)
