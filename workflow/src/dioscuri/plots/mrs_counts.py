"""Counts of the catalogue: probabilities of a list of known SB2s by period (Fig. 11), observations (Fig. 13)."""

import os
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from dioscuri.catalogs.columns import read_columns
from dioscuri.catalogs.files import read_catalog
from dioscuri.catalogs.stars import periods_of
from dioscuri.catalogs.tables import probability_column
from dioscuri.plots.style import ACCENT, ARM_COLOUR, PAGE, SINGLE, empty, figure

File: TypeAlias = str | os.PathLike
SPLIT = 10.0  # d, §4.4


def known_binaries(
    out: File,
    catalog: File,
    *,
    arms: Mapping[str, Mapping[str, Any]],
    binaries: Mapping[str, Any],
    penalty: float = 16,
    settings: Any = None,
) -> None:
    """Fig. 11: p0 of the spectra of a list of SB2s, periods below and above ten days.

    `binaries`: path, columns and radius of the list, as in `stars.describe`; its column period splits it.
    """
    periods = periods_of(observations_of(catalog), **binaries) if binaries.get("path") else None
    with figure(out, PAGE, 4.6, settings) as drawing:
        if periods is None:
            empty(drawing.subplots(), "no list of known SB2s in the settings (lamost_mrs.sb2_list)")
            return
        table = read_columns(catalog, ["source_id", *((probability_column(arm, penalty), 0) for arm in arms)])
        source = table["source_id"]
        rows = np.isin(source.codes, source.index(periods.index))
        period = periods.reindex(source[rows]).to_numpy()
        panels = drawing.subplots(2, len(arms), sharex=True, squeeze=False)
        for row, short in zip(panels, (True, False)):
            for axes, arm in zip(row, arms):
                p = table[probability_column(arm, penalty), 0][rows].astype(float)
                p = p[np.isfinite(p) & ((period < SPLIT) if short else (period >= SPLIT))]
                axes.hist(p, np.linspace(0, 1, 21).tolist(), color=ARM_COLOUR[arm], alpha=0.8)
                found, total = int((p > 0.5).sum()), len(p)
                share = f"{found} of {total}" + (f" ({found / total:.0%})" if total else "")
                axes.set_title(f"{arm} arm, P {'<' if short else '≥'} {SPLIT:g} d: {share} above 0.5")
                axes.axvline(0.5, color=SINGLE, lw=0.8, ls="--")
                axes.set(xlabel=f"$p_0$ (Λ = {penalty:g})", ylabel="spectra", yscale="symlog", ylim=(0, None))
        for axes in panels[0]:
            axes.set_xlabel("")


def observations_of(catalog: File) -> dict[str, np.ndarray]:
    """The observations behind the rows of a catalogue, as `stars.observed_stars` takes them: each obsid once."""
    numbers = read_columns(catalog, ["obsid", "gaia_id", "ra", "dec"])
    texts = read_columns(catalog, ["source_id", "designation"])
    _, rows, counts = np.unique(numbers["obsid"], return_index=True, return_counts=True)
    known = {name: values[rows] for name, values in (numbers | texts).items()}
    return known | {"gaia_id": np.maximum(known["gaia_id"], 0), "n_exposures": counts}


def observations(out: File, candidates: File, settings: Any = None) -> None:
    """Fig. 13: how often the candidate stars were observed (black), and how often as an SB2 (blue)."""
    sources = read_catalog(candidates, "SOURCES")
    sources = sources[np.asarray(sources["n_flagged"]) > 0]
    with figure(out, 5.0, 3.6, settings) as drawing:
        axes = drawing.subplots()
        if not len(sources):
            empty(axes, "no SB2 candidate in this catalogue")
            return
        total, found = (np.asarray(sources[name], int) for name in ("n_exposures", "n_flagged"))
        edges = (0.5 + np.arange(max(total.max(), 2) + 1)).tolist()
        axes.hist(total, edges, histtype="step", color="black", lw=1.4, label=f"all (median {np.median(total):g})")
        axes.hist(found, edges, color=ACCENT, alpha=0.7, label=f"candidates (median {np.median(found):g})")
        axes.set(xlabel="$N_{obs}$ per star", ylabel="stars", title=f"{len(sources)} stars with a candidate")
        axes.legend()
