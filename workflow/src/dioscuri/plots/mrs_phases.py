"""Eclipsing binaries against the phase of their eclipses: probabilities (Fig. 8) and spectra (Fig. 9)."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from astropy.table import Table
from matplotlib.colors import LogNorm

from dioscuri.arms import Arm, arms_of
from dioscuri.catalogs.columns import read_columns, select_rows
from dioscuri.catalogs.files import astropy_table, read_catalog
from dioscuri.catalogs.scores import PERCENTILES
from dioscuri.catalogs.tables import SUFFIX, probability_column
from dioscuri.plots.mrs_candidates import identity, spectra_of
from dioscuri.plots.style import PAGE, SINGLE, empty, figure, fraction_axis

File: TypeAlias = str | os.PathLike
PERIODS, LEAST_SNR = (1.0, 10.0), 10.0  # d and S/N of §4.2
BINS = np.linspace(0, 1, 11)
WINDOWS = {"blue": (5155.0, 5195.0), "red": (6550.0, 6580.0)}  # Mg b and Hα, vacuum Å


def eclipsing(catalog: File, stars: File) -> tuple[Table, np.ndarray, np.ndarray]:
    """The spectra of stars whose eclipses are known, their phase (0: primary eclipse) and period [d], (S,) each."""
    known = read_catalog(stars).to_pandas().set_index("source_id")[["period", "bjd0"]].dropna()
    source = read_columns(catalog, ["source_id"])["source_id"]
    table = astropy_table(select_rows(catalog, np.isin(source.codes, source.index(known.index))))
    rows = known.reindex(np.asarray(table["source_id"]).astype(str))
    period, zero = rows["period"].to_numpy(float), rows["bjd0"].to_numpy(float)
    return table, (np.asarray(table["bjdmid"], float) - zero) / period % 1.0, period


def probability_vs_phase(
    out: File,
    catalog: File,
    stars: File,
    *,
    arms: Mapping[str, Mapping[str, Any]],
    penalty: float = 16,
    settings: Any = None,
) -> None:
    """Fig. 8: p50 of eclipsing binaries with 1 < P < 10 d at S/N > 10; grey: share of spectra with p50 < 0.5."""
    table, phase, period = eclipsing(catalog, stars)
    single = ~np.ma.getmaskarray(table["lmjm"])
    with figure(out, PAGE, 3.6, settings) as drawing:
        image = None
        for axes, arm in zip(drawing.subplots(1, len(arms), sharey=True, squeeze=False)[0], arms):
            snr = np.asarray(table[f"snr_{SUFFIX[arm]}"], float)
            p = np.asarray(table[probability_column(arm, penalty)], float)[:, PERCENTILES.index(50)]
            rows = single & np.isfinite(phase + p) & (snr > LEAST_SNR) & (period > PERIODS[0]) & (period < PERIODS[1])
            fraction_axis(axes, f"$p_{{50}}$ (Λ = {penalty:g})" if axes is drawing.axes[0] else "")
            axes.set(xlim=(0, 1), xlabel="phase of the eclipses")
            n_stars = len(np.unique(np.asarray(table["source_id"])[rows]))
            axes.set_title(f"{arm} arm: {int(rows.sum())} spectra of {n_stars} eclipsing binaries")
            if not rows.any():
                empty(axes, "no eclipsing binary with a period of 1 to 10 d\nin the user's table")
                continue
            norm = LogNorm(*PERIODS)
            image = axes.scatter(phase[rows], p[rows], 14, period[rows], cmap="viridis", norm=norm, linewidths=0)
            total, _ = np.histogram(phase[rows], BINS)
            low, _ = np.histogram(phase[rows & (p < 0.5)], BINS)
            share = np.divide(low, total, out=np.full(len(total), np.nan), where=total > 0)
            axes.plot(
                0.5 * (BINS[1:] + BINS[:-1]), share, color=SINGLE, lw=4, alpha=0.4, label="share with $p_{50}$ < 0.5"
            )
            axes.legend(loc="lower center", bbox_to_anchor=(0.5, -0.32))
        if image is not None:
            drawing.colorbar(image, ax=drawing.axes, label="period [d]", pad=0.01, ticks=[1, 2, 5, 10], format="%g")


def spectra_vs_phase(
    out: File,
    catalog: File,
    stars: File,
    shards: Sequence[File],
    arms: Mapping[str, Mapping[str, Any]],
    *,
    n_shown: int = 2,
    penalty: float = 16,
    settings: Any = None,
) -> None:
    """Fig. 9: spectra of the most observed eclipsing binaries, a row per exposure in its place of phase.

    In colour where p50 > 0.5, in grey where it is not; heliocentric, so that both stars move.
    """
    table, phase, _ = eclipsing(catalog, stars)
    rows = np.flatnonzero(np.isfinite(phase) & ~np.ma.getmaskarray(table["lmjm"]))
    names, counts = np.unique(np.asarray(table["source_id"]).astype(str)[rows], return_counts=True)
    shown = names[np.lexsort((names, -counts))][:n_shown]
    instruments = arms_of(arms)
    with figure(out, PAGE, 2.6 * max(len(shown), 1) + 0.6, settings) as drawing:
        if not len(shown):
            empty(drawing.subplots(), "no eclipsing binary of known period\nin the user's table")
            return
        panels = drawing.subplots(len(shown), len(instruments), squeeze=False)
        for row, name in zip(panels, shown):
            mine = rows[np.asarray(table["source_id"]).astype(str)[rows] == name]
            keys = {identity(dict(zip(table.colnames, table[int(i)]))): i for i in mine}
            spectra = spectra_of(keys, shards, instruments)
            for axes, arm in zip(row, instruments):
                _draw_arm(
                    axes, table, arm, {keys[key]: flux.get(arm.name) for key, flux in spectra.items()}, phase, penalty
                )
                axes.set_title(f"{name}, {arm.name} arm" if arm is instruments[0] else f"{arm.name} arm")
            row[0].set_ylabel("phase of the eclipses")
        for axes in panels[-1]:
            axes.set_xlabel("wavelength [vacuum Å]")


def _draw_arm(
    axes: Any, table: Table, arm: Arm, spectra: Mapping[int, np.ndarray | None], phase: np.ndarray, penalty: float
) -> None:
    """Strips of colour, one per spectrum, 1/40 of a turn high."""
    end = SUFFIX[arm.name]
    p = np.asarray(table[probability_column(arm.name, penalty)], float)[:, PERCENTILES.index(50)]
    low, high = WINDOWS[arm.name]
    for i, flux in spectra.items():
        if flux is None or not np.isfinite(flux).any():
            continue
        wave = arm.wave * (1 + float(table[f"rv_obs_{end}"][i]) / 299_792.458)
        inside = (wave > low) & (wave < high)
        extent = (wave[inside][0], wave[inside][-1], phase[i] - 0.0125, phase[i] + 0.0125)
        colours = "jet" if p[i] > 0.5 else "gray"
        axes.imshow(flux[inside][None], aspect="auto", extent=extent, cmap=colours, vmin=0.4, vmax=1.1)
    axes.set(xlim=(low, high), ylim=(-0.02, 1.02))
    axes.grid(False)
