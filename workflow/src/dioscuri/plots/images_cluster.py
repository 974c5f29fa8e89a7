"""Figures of the cluster line: diagram, candidates, where they are, artificial stars, and a known field's truth."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Circle

from dioscuri.cluster.cmd import BINARY, MS
from dioscuri.cluster.spatial import radial_test
from dioscuri.cluster.statistics import CHANCE, RATIO_EDGES, SEP_EDGES, WIDE
from dioscuri.io import read_json
from dioscuri.plots.style import ACCENT, COLUMN, FAINT, PAGE, SINGLE, File, empty, figure
from dioscuri.plots.style import BINARY as GREEN
from dioscuri.seals import verified

SEQUENCE = {MS: "#D55E00", BINARY: "#56B4E9"}  # Fig. 8 has the main sequence red and the binaries cyan
CANDIDATE: dict[str, Any] = {"marker": "*", "ls": "", "ms": 9, "mfc": "black", "mec": "white", "mew": 0.6, "zorder": 5}
BAND_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
RATIO_COLOURS = ("#CC79A7", "#56B4E9", "#0072B2")


def colour_magnitude(out: File, sources: File, *, blue: str, red: str) -> None:
    """The colour–magnitude diagram with its regions and candidates, whole and close (Fig. 8)."""
    table = pd.read_parquet(verified(sources))
    magnitude = table[f"mag_{red}"]
    colour = table[f"mag_{blue}"] - magnitude
    found = table["is_candidate"].to_numpy(bool)
    with figure(out, PAGE, 4.6) as drawing:
        for axes, close in zip(drawing.subplots(1, 2), (False, True)):
            axes.plot(colour, magnitude, ".", color=FAINT, ms=2, zorder=1)
            for name, words in ((MS, "main sequence"), (BINARY, "binary sequence")):
                here = (table["region"] == name).to_numpy()
                label = f"{words}: {(found & here).sum()} of {here.sum()}"
                axes.plot(colour[here], magnitude[here], ".", color=SEQUENCE[name], ms=5 if close else 3, label=label)
            if close:
                axes.plot(colour[found], magnitude[found], **CANDIDATE, label="candidates")
            axes.set(xlabel=f"$m_{{{blue}}} - m_{{{red}}}$", ylabel=f"$m_{{{red}}}$ (instrumental)")
            searched = table["region"].isin([MS, BINARY])
            if close and searched.any():
                x, y = colour[searched], magnitude[searched]
                axes.set(xlim=(x.min() - 0.25, x.max() + 0.35), ylim=(y.max() + 0.3, y.min() - 0.3))
                axes.legend(loc="upper right")
            elif np.isfinite(colour).any():
                low, high = np.nanpercentile(colour, [0.3, 99.7])
                axes.set_xlim(low - 0.3, high + 0.3)
                axes.invert_yaxis()


def spatial_map(out: File, sources: File, *, centre: tuple[float, float], core_radius: float) -> None:
    """Where on the sky the sources of both sequences and the candidates are, with the core (Fig. 11)."""
    table = pd.read_parquet(verified(sources))
    table = table[table["n_scored"] > 0]
    east = (table["ra"] - centre[0] + 180) % 360 - 180
    east, north = east * np.cos(np.radians(centre[1])) * 3600, (table["dec"] - centre[1]) * 3600
    found = table["is_candidate"].to_numpy(bool)
    with figure(out, COLUMN, 4.8) as drawing:
        axes = drawing.subplots()
        axes.plot(east, north, "o", color="#999999", ms=2.5, alpha=0.7, label=f"{len(table)} sources")
        axes.plot(east[found], north[found], **CANDIDATE | {"mfc": "#D62728"}, label=f"{found.sum()} candidates")
        axes.add_patch(Circle((0, 0), core_radius, fill=False, color="black", lw=1))
        axes.set(xlabel="east of the centre [arcsec]", ylabel="north of the centre [arcsec]", aspect="equal")
        axes.invert_xaxis()
        drawing.legend(loc="outside upper center", ncols=2)


def radial(out: File, sources: File, spatial: File) -> None:
    """Distances from the centre: cumulative distributions and quantiles of candidates and sources (Fig. 12)."""
    table = pd.read_parquet(verified(sources))
    table = table[table["n_scored"] > 0]
    found = table["is_candidate"].to_numpy(bool)
    summary = read_json(spatial, "the statistics of a cluster")
    with figure(out, PAGE, 4.0) as drawing:
        left, right = drawing.subplots(1, 2)
        if not found.any():
            empty(left, "no candidates")
            empty(right, "no candidates")
            return
        test = radial_test(table["distance"].to_numpy()[found], table["distance"].to_numpy())
        for cdf, colour, label in (
            (test.cdf_sources, "#888888", f"{len(table)} sources"),
            (test.cdf_candidates, "#D62728", f"{found.sum()} candidates"),
        ):
            left.step(*cdf, where="post", color=colour, label=label)
        left.axvline(summary["core_radius"], color="black", lw=0.7, ls=":", label="core radius")
        left.set(xlabel="distance from the centre [arcsec]", ylabel="cumulative fraction", ylim=(0, 1.02))
        left.set_title(f"Kolmogorov–Smirnov: D = {test.statistic:.2f}, p = {test.p:.2g}")
        left.legend(loc="lower right")
        right.plot(*test.quantiles, "o", color="#D62728", ms=4)
        edge = float(test.quantiles.max()) * 1.05
        right.plot([0, edge], [0, edge], color=ACCENT, ls=":")
        right.set(xlabel="quantiles of the sources [arcsec]", ylabel="quantiles of the candidates [arcsec]")
        right.set(xlim=(0, edge), ylim=(0, edge), aspect="equal")
        if "z" in summary:
            right.set_title(
                f"core {100 * summary['core']['fraction']:.1f} %, "
                f"outside {100 * summary['outside']['fraction']:.1f} %: "
                f"Z = {summary['z']:.2f}\n"
                f"less chance pairs {100 * summary['core']['bound']:.1f} %, "
                f"{100 * summary['outside']['bound']:.1f} %: Z = {summary['z_bound']:.2f}"
            )


def artificial_stars(out: File, artificial: File, rates: File) -> None:
    """Completeness of artificial pairs by separation and flux ratio, and what is found of each of them."""
    table, cells = pd.read_parquet(verified(artificial)), pd.read_csv(rates)
    whole = cells[cells["sep_low"].isna()].set_index("kind")
    pairs = table[table["true_is_binary"]]
    found = pairs["is_candidate"].to_numpy(bool)
    with figure(out, PAGE, 3.9) as drawing:
        left, right = drawing.subplots(1, 2)
        _rates(left, cells[cells["kind"] == "pair"])
        left.set(ylabel="completeness of artificial pairs")
        left.set_title(
            f"{whole.loc['single', 'n_found']:.0f} of {whole.loc['single', 'n']:.0f} single stars on the list"
        )
        left.legend(loc="lower right", title="flux ratio")
        for here, style, label in (
            (found, {"marker": "o", "color": GREEN}, "candidates"),
            (~found, {"marker": "x", "color": SINGLE}, "missed"),
        ):
            right.plot(pairs["true_sep"][here], pairs["true_flux_ratio"][here], ls="", ms=4, label=label, **style)
        right.set(xlabel="separation [px]", ylabel="flux ratio")
        drawing.legend(*right.get_legend_handles_labels(), loc="outside upper right", ncols=2)


FEWEST = 5  # pairs; a bin with fewer is an open symbol that no line joins


def _rates(axes: Axes, cells: pd.DataFrame, style: Mapping[str, Any] | None = None) -> None:
    """Rates with intervals against separation, a line for each bin of flux ratio."""
    middle = 0.5 * (np.array(SEP_EDGES[1:]) + SEP_EDGES[:-1])
    for k, (low, high) in enumerate(itertools.pairwise(RATIO_EDGES)):
        rows = cells[np.isclose(cells["ratio_low"], low) & (cells["n"] > 0)].sort_values("sep_low")
        if not len(rows):
            continue
        x = 0.5 * (rows["sep_low"] + rows["sep_high"]) + (k - 1) * 0.04
        error = np.maximum([rows["rate"] - rows["low"], rows["high"] - rows["rate"]], 0)
        many = (rows["n"] >= FEWEST).to_numpy()
        look = {"marker": "o", "color": RATIO_COLOURS[k], **(style or {})}
        axes.errorbar(x[many], rows["rate"][many], error[:, many], label=f"{low:g} – {high:g}", **look)
        axes.errorbar(x[~many], rows["rate"][~many], error[:, ~many], **look | {"mfc": "white", "ls": ""})
    axes.set(xlabel="separation [px]", ylim=(-0.04, 1.04), xlim=(0, SEP_EDGES[-1] + 0.05), xticks=middle)


def photometry(out: File, table: File) -> None:
    """Errors of the photometry by magnitude, beside the limit that photons and the true PSF set; completeness, bias."""
    rows = pd.read_csv(table)
    with figure(out, PAGE, 4.8) as drawing:
        above, below = drawing.subplots(2, 1, sharex=True, height_ratios=(2, 1))
        for colour, (band, part) in zip(BAND_COLOURS, rows.groupby("filter")):
            mean = part.groupby("mag")[["scatter", "limit", "bias", "completeness"]].mean()
            above.plot(mean.index, mean["scatter"], "o-", color=colour, label=f"{band}: scatter")
            above.plot(mean.index, mean["limit"], "--", color=colour, label=f"{band}: photon limit, true PSF")
            below.plot(mean.index, mean["bias"], "o-", color=colour, label=f"{band}: bias of the flux")
            below.plot(mean.index, mean["completeness"] - 1, ":", color=colour, label=f"{band}: completeness − 1")
        above.set(yscale="log", ylabel="error of the flux")
        below.axhline(0, color="black", lw=0.6)
        below.set(xlabel="instrumental magnitude, −2.5 log$_{10}$(electrons)", ylabel="share")
        above.legend(loc="upper left")
        below.legend(loc="lower left", ncols=2)


def completeness(out: File, known: File, rates: File) -> None:
    """Wide pairs of the simulated field: found, and how pure the list is, beside the optimum and a blind choice."""
    table, cells = pd.read_parquet(verified(known)), pd.read_csv(rates)
    scored = table[(table["n_scored"] > 0) & np.isfinite(table["log_bf"])]
    wide, chance = ((scored["true_kind"] == kind).to_numpy() for kind in (WIDE, CHANCE))
    with figure(out, PAGE, 3.9) as drawing:
        left, right = drawing.subplots(1, 2)
        whole = cells[cells["sep_low"].isna()].set_index("quantity")
        _rates(left, cells[(cells["quantity"] == "completeness") & cells["sep_low"].notna()])
        bound = cells[(cells["quantity"] == "optimum_completeness") & cells["sep_low"].notna()]
        merged = bound.groupby(["sep_low", "sep_high"])[["n", "n_found"]].sum().reset_index()
        merged = merged[merged["n"] > 0]
        left.plot(
            0.5 * (merged["sep_low"] + merged["sep_high"]), merged["n_found"] / merged["n"], color="black", ls="--",
            label="optimum, all ratios",
        )  # fmt: skip
        left.set(ylabel="completeness of wide pairs")
        for column, words, colour in (
            ("log_bf", "Bayes factor", "#0072B2"), ("log_bf_true", "optimum, true PSF", "black"),
            ("p", "networks", ACCENT),
        ):  # fmt: skip
            if column in scored and scored[column].notna().any() and wide.any():
                order = np.argsort(-scored[column].fillna(-np.inf).to_numpy(), kind="stable")
                hits = np.cumsum(wide[order])
                purity = hits / np.arange(1, len(order) + 1)
                right.plot(hits[FEWEST - 1 :] / wide.sum(), purity[FEWEST - 1 :], color=colour, label=words, lw=1)
        for name, marker, words in (
            ("purity", "*", "the list"),
            ("purity_with_chance", "^", "chance pairs counted in"),
        ):
            if whole.loc[name, "n"] > 0:
                right.plot(whole.loc["completeness", "rate"], whole.loc[name, "rate"], marker, color="#D62728", ms=9,
                           label=words, ls="", zorder=5, clip_on=False)  # fmt: skip
        right.axhline(wide.mean() if len(wide) else 0, color=SINGLE, ls=":", label="blind choice")
        right.set(xlabel="completeness", ylabel="purity", xlim=(0, 1.02), ylim=(0, 1.04))
        right.set_title(f"{wide.sum()} wide and {chance.sum()} chance pairs among {len(scored)} sources")
        right.legend(loc="lower left")
        handles, labels = left.get_legend_handles_labels()
        words = f"flux ratio (open: fewer than {FEWEST} pairs)"
        drawing.legend(handles, labels, loc="outside lower left", ncols=4, title=words, alignment="left")


def companions(out: File, known: File, *, pixel_scale: float) -> None:
    """Separation, position angle and flux ratio of candidates that are wide pairs, against the truth."""
    table = pd.read_parquet(verified(known))
    table = table[table["is_candidate"] & (table["true_kind"] == WIDE)]
    with figure(out, PAGE, 3.5) as drawing:
        panels = drawing.subplots(1, 3)
        if not len(table):
            for axes in panels:
                empty(axes, "no wide pair found")
            return
        style: dict[str, Any] = {"ls": "", "marker": "o", "color": "#0072B2", "lw": 0.8, "ms": 3.5}
        sep, sep_error = table["sep"] / pixel_scale, table["sep_err"] / pixel_scale
        panels[0].errorbar(table["true_sep"], sep, sep_error, **style)
        panels[0].set(xlabel="true separation [px]", ylabel="separation [px]", xlim=(0, 2.1), ylim=(0, 2.1))
        turn = (table["sky_angle"] - table["true_sky_angle"] + 90) % 180 - 90
        panels[1].errorbar(table["true_sep"], turn, table["sky_angle_err"], **style)
        panels[1].axhline(0, color="black", lw=0.7)
        panels[1].set(xlabel="true separation [px]", ylabel="position angle − true [deg], modulo 180", xlim=(0, 2.1))
        reach = min(90.0, 1.3 * float((turn.abs() + table["sky_angle_err"]).max()))
        panels[1].set_ylim(-reach, reach)
        panels[2].errorbar(table["true_flux_ratio"], table["flux_ratio"], table["flux_ratio_err"], **style)
        panels[2].set(xlabel="true flux ratio", ylabel="flux ratio", xlim=(0, 1.05), ylim=(0, 1.05))
        for axes in (panels[0], panels[2]):
            axes.plot([0, 2.1], [0, 2.1], color="black", lw=0.7)
