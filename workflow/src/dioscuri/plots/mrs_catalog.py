"""Figures of the LAMOST MRS catalogue: probability against S/N, the simulated night against its truth."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.lines import Line2D

from dioscuri.catalogs.columns import read_groups
from dioscuri.catalogs.scores import PERCENTILES
from dioscuri.catalogs.tables import SUFFIX, probability_column
from dioscuri.evaluation.mrs_recall import BRIGHT, DV_EDGES, SNR_EDGES, WIDE, KnownScores, known_scores
from dioscuri.plots.style import (
    ARM_COLOUR,
    ARM_MARKER,
    FAINT,
    PAGE,
    File,
    empty,
    figure,
    fraction_axis,
    recall_points,
)

SHARES = "Blues"  # empty cells are white, and dots and lines stand out on every shade
FEW = 2000  # spectra; below, each one is also drawn as a dot


def probability_vs_snr(
    out: File,
    catalog: File,
    *,
    arm: str,
    penalties: Sequence[float],
    percentiles: Sequence[int] = (0, 50, 100),
    settings: Any = None,
) -> None:
    """Distribution of p_q against S/N (Fig. 7), normalised in each S/N bin: columns Λ, rows percentiles q."""
    snr, p, counts, edges = _probabilities(catalog, arm, penalties, percentiles)
    few = len(snr) < FEW
    with figure(out, min(PAGE, 2.6 * len(penalties) + 1.6), 1.9 * len(percentiles) + 0.8, settings) as drawing:
        panels = drawing.subplots(len(percentiles), len(penalties), sharex=True, sharey=True, squeeze=False)
        image = None
        for row, percentile in zip(panels, percentiles):
            for axes, penalty in zip(row, penalties):
                shown = penalty, percentile
                if not len(snr):
                    empty(axes, f"no scored {arm} spectra")
                    continue
                total = counts[shown].sum(axis=1, keepdims=True)
                share = np.divide(counts[shown], total, out=np.full_like(counts[shown], np.nan), where=total > 0)
                image = axes.pcolormesh(
                    *edges,
                    np.ma.masked_invalid(share.T),
                    cmap=SHARES,
                    norm=PowerNorm(0.5, 0, 1),
                    rasterized=True,
                )
                if few:
                    axes.plot(snr, p[shown], "o", ms=2.5, color=ARM_COLOUR["red"], mew=0, alpha=0.8)
                axes.axhline(0.5, color="black", lw=0.8, ls="--")
                axes.set(xscale="log", xlim=(5, 200), ylim=(-0.02, 1.02))
                axes.set_xticks([5, 10, 20, 50, 100, 200], ["5", "10", "20", "50", "100", "200"], minor=False)
                axes.minorticks_off()
                axes.grid(False)
            row[0].set_ylabel(f"$p_{{{percentile}}}$")
        for axes, penalty in zip(panels[0], penalties):
            axes.set_title(f"{arm} arm, Λ = {penalty:g}")
        for axes in panels[-1]:
            axes.set_xlabel("S/N per pixel")
        if image is not None:
            drawing.colorbar(image, ax=panels, label="share of the spectra in each S/N bin", pad=0.01)


def _probabilities(
    catalog: File, arm: str, penalties: Sequence[float], percentiles: Sequence[int]
) -> tuple[np.ndarray, dict, dict, tuple[np.ndarray, np.ndarray]]:
    """S/N of scored spectra, the first FEW or all; their p, and counts of all in bins, by (Λ, q); edges of the bins."""
    columns = {
        (penalty, q): (probability_column(arm, penalty), PERCENTILES.index(q))
        for penalty in penalties
        for q in percentiles
    }
    snr_name, flag = f"snr_{SUFFIX[arm]}", f"specflag_{SUFFIX[arm]}"
    few = sum(int(part[flag].sum()) for part in read_groups(catalog, [flag])) < FEW
    edges = np.geomspace(5, 200, 9 if few else 31), np.linspace(0, 1, 11 if few else 41)
    counts = {shown: np.zeros((len(edges[0]) - 1, len(edges[1]) - 1)) for shown in columns}
    snrs: list[np.ndarray] = [np.empty(0)]
    points: dict[tuple, list[np.ndarray]] = {shown: [np.empty(0)] for shown in columns}
    for part in read_groups(catalog, [snr_name, flag, *columns.values()]):
        scored = part[flag] & (part[snr_name] > 0)
        snr = part[snr_name][scored].astype(float)
        kept = slice(0, max(0, FEW - sum(map(len, snrs))))
        snrs.append(snr[kept])
        for shown, name in columns.items():
            p = part[name][scored].astype(float)
            counts[shown] += np.histogram2d(snr, p, edges)[0]
            points[shown].append(p[kept])
    return np.concatenate(snrs), {shown: np.concatenate(p) for shown, p in points.items()}, counts, edges


def night_recall(
    out: File, catalog: File, night: File, *, arms: Iterable[str], penalty: float = 16, settings: Any = None
) -> None:
    """The simulated night against its truth: p50 of each exposure over |Δv|; recall in bins of Δv and S/N.

    `night`: the folder of its files, with truth.csv.
    """
    known = [known_scores(catalog, Path(night) / "truth.csv", arm, penalty) for arm in arms]
    with figure(out, PAGE, 3.5, settings) as drawing:
        left, middle, right = drawing.subplots(1, 3, width_ratios=(1.25, 1, 1))
        for scores in known:
            colour, marker = ARM_COLOUR[scores.arm], ARM_MARKER[scores.arm]
            left.plot(
                scores.dv[scores.binary],
                scores.p[scores.binary],
                marker,
                color=colour,
                ms=3.5,
                alpha=0.7,
                mew=0,
            )
            # Single stars stand left of zero, side by side.
            spread = np.linspace(-22, -8, int((~scores.binary).sum()))
            left.plot(spread, scores.p[~scores.binary], marker, mfc="none", mec=colour, ms=3.5, mew=0.7)
            seen, bright, wide = scores.p > 0.5, scores.snr >= BRIGHT, scores.dv >= WIDE
            for axes, x, edges, usable in (
                (middle, scores.dv, DV_EDGES, bright),
                (right, scores.snr, SNR_EDGES, wide),
            ):
                rows = scores.binary & usable
                total, found = np.histogram(x[rows], edges)[0], np.histogram(x[rows & seen], edges)[0]
                recall_points(axes, np.array(edges), found, total, scores.arm)
        left.axhline(0.5, color=FAINT, lw=1, zorder=0)
        left.axvline(0, color=FAINT, lw=1, zorder=0)
        left.set(xlabel="|Δv| [km s$^{-1}$]   (single stars: left of 0)", title="each exposure")
        fraction_axis(left, f"$p_{{50}}$ (Λ = {penalty:g})")
        fraction_axis(middle, "recall ($p_{50}$ > 0.5)")
        fraction_axis(right, "")
        middle.set(xlabel="|Δv| [km s$^{-1}$]", title=f"S/N ≥ {BRIGHT:g}")
        right.set(
            xlabel="S/N per pixel",
            title=f"|Δv| ≥ {WIDE:g} km s$^{{-1}}$",
            xscale="log",
            xlim=(SNR_EDGES[0], SNR_EDGES[-1]),
        )
        right.set_xticks([5, 10, 20, 40, 100, 200], ["5", "10", "20", "40", "100", "200"])
        right.minorticks_off()
        drawing.legend(handles=[_night_label(scores) for scores in known], loc="outside lower center", ncols=1)


def _night_label(scores: KnownScores) -> Line2D:
    false, singles = int((scores.p[~scores.binary] > 0.5).sum()), int((~scores.binary).sum())
    exposures = f"{int(scores.binary.sum())} exposures of SB2s; {false} of {singles} of single stars above 0.5 (open)"
    label = f"{scores.arm} arm: {exposures}"
    return Line2D([], [], ls="", marker=ARM_MARKER[scores.arm], color=ARM_COLOUR[scores.arm], label=label)
