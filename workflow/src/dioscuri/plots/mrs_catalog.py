"""Figures of the LAMOST MRS catalogue: probability against S/N, the simulated night, the candidates."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.lines import Line2D

from dioscuri.arms import Arm, arms_of
from dioscuri.catalogs.files import read_catalog
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
from dioscuri.shards import read_exposures, read_spectra
from dioscuri.spectra.templates import velocity_meters

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
    table = read_catalog(catalog)
    snr = np.asarray(table[f"snr_{SUFFIX[arm]}"], float)
    scored = np.asarray(table[f"specflag_{SUFFIX[arm]}"], bool) & (snr > 0)
    few = scored.sum() < FEW
    edges = np.geomspace(5, 200, 9 if few else 31), np.linspace(0, 1, 11 if few else 41)
    with figure(out, min(PAGE, 2.6 * len(penalties) + 1.6), 1.9 * len(percentiles) + 0.8, settings) as drawing:
        panels = drawing.subplots(len(percentiles), len(penalties), sharex=True, sharey=True, squeeze=False)
        image = None
        for row, percentile in zip(panels, percentiles):
            for axes, penalty in zip(row, penalties):
                values = np.asarray(table[probability_column(arm, penalty)], float)
                p = values[scored, PERCENTILES.index(percentile)]
                if not len(p):
                    empty(axes, f"no scored {arm} spectra")
                    continue
                counts, _, _ = np.histogram2d(snr[scored], p, edges)
                total = counts.sum(axis=1, keepdims=True)
                share = np.divide(counts, total, out=np.full_like(counts, np.nan), where=total > 0)
                image = axes.pcolormesh(
                    *edges,
                    np.ma.masked_invalid(share.T),
                    cmap=SHARES,
                    norm=PowerNorm(0.5, 0, 1),
                    rasterized=True,
                )
                if few:
                    axes.plot(snr[scored], p, "o", ms=2.5, color=ARM_COLOUR["red"], mew=0, alpha=0.8)
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


def night_recall(
    out: File, catalog: File, night: File, *, arms: Iterable[str], penalty: float = 16, settings: Any = None
) -> None:
    """The simulated night against its truth: p50 of each exposure over |Δv|; recall in bins of Δv and S/N.

    `night`: the folder of its files, with truth.csv.
    """
    table = read_catalog(catalog)
    known = [known_scores(table, Path(night) / "truth.csv", arm, penalty) for arm in arms]
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


@dataclass(frozen=True)
class Candidate:
    """What a row of the candidates figure shows.

    `title`; `flux` arm → normalised rest-frame flux (L,), NaN where masked; `ccf` arm → correlation with the
    best template over `velocity` (V,) [km/s], relative to the brighter star.
    """

    title: str
    flux: Mapping[str, np.ndarray]
    velocity: np.ndarray
    ccf: Mapping[str, np.ndarray] = field(default_factory=dict)


def draw_candidates(out: File, candidates: Sequence[Candidate], arms: Sequence[Arm], settings: Any = None) -> None:
    """Spectra of SB2 candidates and their cross-correlation functions (Fig. 12), a row each."""
    with figure(out, PAGE, max(2.2, 1.35 * len(candidates) + 0.8), settings) as drawing:
        if not candidates:
            empty(drawing.subplots(), "no SB2 candidate in this catalogue")
            return
        ratios = [2.0] * len(arms) + [1.6]
        panels = drawing.subplots(len(candidates), len(arms) + 1, sharex="col", squeeze=False, width_ratios=ratios)
        for row, candidate in zip(panels, candidates):
            for axes, arm in zip(row, arms):
                flux = candidate.flux.get(arm.name)
                if flux is None or not np.isfinite(flux).any():
                    empty(axes, "not scored")
                else:
                    axes.plot(arm.wave, flux, color=ARM_COLOUR[arm.name], lw=0.6)
                    axes.set_ylim(
                        min(0.3, np.nanpercentile(flux, 0.2) - 0.05),
                        max(1.2, np.nanpercentile(flux, 99.8) + 0.05),
                    )
            for name, ccf in candidate.ccf.items():
                row[-1].plot(candidate.velocity, ccf, color=ARM_COLOUR[name], lw=1)
            row[-1].axvline(0, color=FAINT, lw=0.8, zorder=0)
            row[0].set_title(candidate.title, fontsize=8)
            row[0].set_ylabel("norm. flux", fontsize=8)
            row[-1].set_ylabel("CCF", fontsize=8)
        for axes, arm in zip(panels[-1], arms):
            axes.set_xlabel(f"rest wavelength, {arm.name} arm [vacuum Å]")
        panels[-1][-1].set(xlabel="velocity [km s$^{-1}$]", xlim=(-400, 400))


def candidates(
    out: File,
    candidates: File,
    shards: Sequence[File],
    templates: File,
    arms: Mapping[str, Mapping],
    *,
    n_shown: int = 6,
    penalty: float = 16,
    settings: Any = None,
) -> None:
    """Draw the best candidate spectra, at most one per source, with the CCFs of their rest-frame spectra.

    Best: the highest product of p0 over the arms, then of S/N. `shards`: the observed shards that hold them.
    """
    table, spectrograph = read_catalog(candidates, "CANDIDATES"), arms_of(arms)
    draw_candidates(
        out, _best_candidates(table, shards, templates, spectrograph, n_shown, penalty), spectrograph, settings
    )


def _best_candidates(
    table: Any,
    shards: Sequence[File],
    templates: File,
    arms: Sequence[Arm],
    n_shown: int,
    penalty: float,
) -> list[Candidate]:
    least = np.ones(len(table))
    snr = np.zeros(len(table))
    for arm in arms:
        least *= np.nan_to_num(np.asarray(table[probability_column(arm.name, penalty)], float)[:, 0])
        snr += np.nan_to_num(np.asarray(table[f"snr_{SUFFIX[arm.name]}"], float))
    order = np.lexsort((-snr, -np.round(least, 2)))
    _, first = np.unique(np.asarray(table["source_id"])[order], return_index=True)
    chosen = [dict(zip(table.colnames, table[int(order[position])])) for position in np.sort(first)[:n_shown]]
    if not chosen:
        return []
    wanted = {_identity(row): row for row in chosen}
    spectra = _spectra_of(wanted, shards, arms)
    meters = velocity_meters(templates, arms)
    found = []
    for key, row in wanted.items():
        curves, velocity = {}, np.empty(0)
        for arm in arms:
            flux = spectra[key].get(arm.name)
            if flux is not None and np.isfinite(flux).all():
                velocity, ccf = meters[arm.name].ccf(arm.wave, flux[None])
                curves[arm.name] = ccf[0, int(np.argmax(ccf[0].max(axis=1)))]
        p0 = " and ".join(f"{row[probability_column(arm.name, penalty)][0]:.2f}" for arm in arms)
        when = "co-add" if key[1] < 0 else f"LMJM {key[1]}"
        found.append(Candidate(f"{row['source_id']}, {when}, $p_0$ = {p0}", spectra[key], velocity, curves))
    return found


def _identity(row: Mapping[str, Any]) -> tuple[str, int, float, float]:
    """File, exposure and S/N of both arms (0: none), which tell files of one name in two folders apart."""
    lmjm = row["exposure"] if "exposure" in row else row["lmjm"]
    blue, red = (float(np.nan_to_num(row[name])) if name in row else 0.0 for name in ("snr_B", "snr_R"))
    return str(row["file"]), -1 if np.ma.is_masked(lmjm) else int(lmjm), blue, red


def _spectra_of(
    wanted: Mapping[tuple, Any], shards: Sequence[File], arms: Sequence[Arm]
) -> dict[tuple, dict[str, np.ndarray]]:
    """Normalised flux of the wanted exposures (see `_identity`), by arm."""
    spectra: dict[tuple, dict[str, np.ndarray]] = {key: {} for key in wanted}
    for shard in map(Path, shards):
        exposures = read_exposures(shard)
        used = {name: exposures[name] for name in ("file", "exposure", "snr_B", "snr_R") if name in exposures}
        keys = [_identity(dict(zip(used, values))) for values in zip(*used.values())]
        rows = {key: i for i, key in enumerate(keys)}
        for key in wanted.keys() & rows.keys():
            for arm in arms:
                spectra[key][arm.name] = read_spectra(shard, arm.name)[0][rows[key]].astype(float) + 1.0
    return spectra
