"""Figures of the LAMOST MRS models: learning curves, rates, detectability, reliability, twin binaries."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from dioscuri.catalogs.published_mrs import TABLE_3
from dioscuri.evaluation.mrs_rates import found_by_seeds, read_rates
from dioscuri.io import read_json
from dioscuri.learn.calibration import shift_probability
from dioscuri.learn.metrics import binomial_interval
from dioscuri.plots.style import (
    ARM_COLOUR,
    ARM_MARKER,
    CLASSICAL,
    COLUMN,
    FAINT,
    PAGE,
    SINGLE,
    File,
    empty,
    figure,
    fraction_axis,
    log_penalty_axis,
    recall_points,
    shades,
)
from dioscuri.seals import verified

DODGE = {"blue": 0.97, "red": 1.03}  # arms stand side by side on the axis of Λ, so that both are seen


def learning_curves(out: File, histories: Sequence[File], settings: Any = None) -> None:
    """Training and validation loss per epoch: a panel per arm, a colour per Λ, a dot at the model kept.

    `histories`: history.csv of each model, beside its model.json.
    """
    models = [
        (json.loads(Path(path).with_name("model.json").read_text(encoding="utf-8")), _history(path))
        for path in histories
    ]
    arms = sorted({model["arm"] for model, _ in models})
    colour = shades([model["penalty"] for model, _ in models])
    with figure(out, PAGE if len(arms) > 1 else COLUMN, 3.6, settings) as drawing:
        panels = drawing.subplots(1, len(arms), sharey=True, squeeze=False)[0]
        for axes, arm in zip(panels, arms):
            for model, history in models:
                if model["arm"] != arm:
                    continue
                shade = colour[float(model["penalty"])]
                axes.plot(history["epoch"], history["train_loss"], ":", color=shade, lw=0.9)
                axes.plot(history["epoch"], history["validation_loss"], "-", color=shade)
                best = np.argmin(history["validation_loss"])
                axes.plot(history["epoch"][best], history["validation_loss"][best], "o", color=shade)
            axes.set(xlabel="epoch", title=f"{arm} arm", yscale="log")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.2, 1.5, 2, 3, 5, 7)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_locator(NullLocator())
        panels[0].set_ylabel("penalised cross-entropy (eq. 7)")
        handles = [Line2D([], [], color=colour[penalty], label=f"Λ = {penalty:g}") for penalty in colour]
        handles += [
            Line2D([], [], color=SINGLE, ls=":", label="training"),
            Line2D([], [], color=SINGLE, ls="-", label="validation"),
            Line2D([], [], color=SINGLE, ls="", marker="o", label="model kept"),
        ]
        drawing.legend(handles=handles, loc="outside right center")


def tpr_against_fpr(out: File, rates: File, settings: Any = None) -> None:
    """TPR against FPR at p > 0.5, a point for each Λ with 68 % errors, beside Table 3 and the double-peaked CCF.

    One rate alone says nothing: Λ trades one for the other. Points that are higher and further left are better.
    """
    table = read_rates(rates)
    arms = list(dict.fromkeys(table["arm"]))
    with figure(out, PAGE, 4.0, settings) as drawing:
        panels = drawing.subplots(1, len(arms), squeeze=False, sharex=True, sharey=True)[0]
        for axes, arm in zip(panels, arms):
            rows = table[table["arm"] == arm]
            _paper_rates(axes, arm)
            _our_rates(axes, rows, arm)
            classical = np.isfinite(rows["tpr_classical"]) & (rows["fpr"] > 0)
            style: dict[str, Any] = {"ls": ":", "lw": 0.8, "marker": "D", "mfc": "white", "ms": 4}
            axes.plot(rows["fpr"][classical], rows["tpr_classical"][classical], color=CLASSICAL, **style)
            axes.set(title=f"{arm} arm", xlabel="false positive rate (p > 0.5)", xscale="log", xlim=(5e-6, 1))
        fraction_axis(panels[0], "true positive rate (p > 0.5)")
        handles = [
            Line2D([], [], color=ARM_COLOUR[arm], marker=ARM_MARKER[arm], label=f"{arm} arm, this work") for arm in arms
        ]
        handles.append(
            Line2D([], [], color=SINGLE, marker="o", mfc="white", ls="--", lw=0.8, label="Zhang et al. 2022")
        )
        if np.isfinite(table["tpr_classical"]).any():
            label = "double-peaked CCF\nat our FPR"
            handles.append(Line2D([], [], color=CLASSICAL, marker="D", mfc="white", ls=":", lw=0.8, label=label))
        drawing.legend(handles=handles, loc="outside right center", title="numbers: Λ")


def _our_rates(axes: Axes, rows: Any, arm: str) -> None:
    fpr, tpr = np.asarray(rows["fpr"], float), np.asarray(rows["tpr"], float)
    seen = fpr > 0
    errors = [
        np.maximum([value - rows[f"{name}_low"], rows[f"{name}_high"] - value], 0)
        for name, value in (("fpr", fpr), ("tpr", tpr))
    ]
    style: dict[str, Any] = {"color": ARM_COLOUR[arm], "marker": ARM_MARKER[arm], "zorder": 3}
    axes.errorbar(fpr[seen], tpr[seen], errors[1][:, seen], errors[0][:, seen], ls="-", **style)
    # None of the test singles was taken for a binary: the arrow starts at the upper end of the interval.
    high = np.asarray(rows["fpr_high"], float)[~seen]
    axes.errorbar(high, tpr[~seen], errors[1][:, ~seen], 0.5 * high, xuplims=True, ls="", **style)
    for penalty, x, y in zip(rows["penalty"], np.where(seen, fpr, rows["fpr_high"]), tpr):
        _name(axes, penalty, x, y, ARM_COLOUR[arm], above=True)


def _paper_rates(axes: Axes, arm: str) -> None:
    published = TABLE_3.get(arm, {})
    style: dict[str, Any] = {"marker": ARM_MARKER[arm], "mfc": "white", "ls": "--", "lw": 0.8, "color": SINGLE}
    axes.plot([rates.fpr for rates in published.values()], [rates.tpr for rates in published.values()], **style)
    for penalty, rates in list(published.items())[::2]:  # every second: the low rates lie close together
        _name(axes, penalty, rates.fpr, rates.tpr, SINGLE, above=False)


def _name(axes: Axes, penalty: float, x: float, y: float, colour: str, above: bool) -> None:
    """The Λ of a point beside it."""
    place: dict[str, Any] = {"xytext": (-4, 5) if above else (4, -9), "textcoords": "offset points"}
    axes.annotate(f"{penalty:g}", (x, y), color=colour, fontsize=6.5, ha="right" if above else "left", **place)


DETECTABILITY = {
    "q": ("mass ratio q", np.linspace(0, 1, 11)),
    "dv": ("|Δv| [km s$^{-1}$]", np.array([0, 20, 40, 60, 80, 100, 150, 200, 300, 400, 500.0])),
    "snr": ("S/N per pixel", np.linspace(5, 100, 11)),
    "teff1": ("$T_{\\rm eff}$ of the primary [K]", np.linspace(3750, 8000, 18)),
    "feh": ("[Fe/H] [dex]", np.linspace(-2, 0.5, 11)),
    "vsini1": (
        "$v\\sin i$ of the primary [km s$^{-1}$]",
        np.array([0, 10, 20, 40, 60, 100, 150, 200, 300, 400, 500.0]),
    ),
}


def detectability(out: File, scores: Sequence[File], *, penalty: float = 16, settings: Any = None) -> None:
    """TPR on the test binaries against one label at a time (Fig. 6), mean over seeds; grey: the sample."""
    recall, labels = found_by_seeds(scores, penalty, list(DETECTABILITY))
    with figure(out, PAGE, 5.2, settings) as drawing:
        for axes, (name, (label, edges)) in zip(drawing.subplots(2, 3).flat, DETECTABILITY.items()):
            if not recall:
                empty(axes, f"no model with Λ = {penalty:g}")
                continue
            values = np.abs(labels[name]) if name == "dv" else labels[name]
            total, _ = np.histogram(values, edges)
            density = total / np.diff(edges)
            axes.stairs(0.5 * density / density.max(), edges, fill=True, color="#EEEEEE", zorder=0)
            for arm, share in recall.items():
                seen, _ = np.histogram(values, edges, weights=share)
                recall_points(axes, edges, seen, total, arm)
            axes.set_xlabel(label)
            fraction_axis(axes, "TPR")
        handles = [Line2D([], [], color=ARM_COLOUR[a], marker=ARM_MARKER[a], label=f"{a} arm") for a in recall]
        handles.append(Line2D([], [], color="#DDDDDD", lw=6, label="test sample (density)"))
        drawing.legend(handles=handles, loc="outside upper center", ncols=3)


def reliability(out: File, calibration: File, settings: Any = None) -> None:
    """Share of binaries against predicted probability with 68 % binomial errors, and the spectra in each bin below.

    Negatives count Λ times, as in eq. 7: a calibrated network lies on the diagonal.
    """
    arms = read_json(calibration, "rates of the test pairs")["arms"]
    with figure(out, PAGE if len(arms) > 1 else COLUMN, 4.8, settings) as drawing:
        panels = drawing.subplots(2, len(arms), squeeze=False, sharex=True, sharey="row", height_ratios=[3, 1])
        for (above, below), (arm, content) in zip(panels.T, arms.items()):
            above.plot([0, 1], [0, 1], color=FAINT, lw=1)
            colour = shades([curve["penalty"] for curve in content["reliability"]])
            for number, curve in enumerate(content["reliability"]):
                weight, predicted, observed = (
                    np.array(curve[key], float) for key in ("weight", "predicted", "observed")
                )
                filled = weight > 0
                weight, predicted, observed = weight[filled], predicted[filled], observed[filled]
                positive, negative = observed * weight, (1 - observed) * weight / curve["penalty"]
                bounds = binomial_interval(positive, positive + negative)
                # The negatives of the interval count Λ times too.
                low, high = (shift_probability(bound, 1.0, curve["penalty"]) for bound in bounds)
                errors = np.maximum([observed - low, high - observed], 0)
                style: dict[str, Any] = {"color": colour[curve["penalty"]], "ms": 3.5, "lw": 0.9}
                shift = 0.008 * (number - (len(content["reliability"]) - 1) / 2)
                above.errorbar(predicted + shift, observed, errors, marker="o", **style)
                edges = np.linspace(0, 1, len(filled) + 1)
                below.stairs(_spread(positive + negative, filled), edges, color=colour[curve["penalty"]])
            above.set(title=f"{arm} arm", xlim=(-0.02, 1.02))
            below.set(xlabel="predicted probability", yscale="log")
        fraction_axis(panels[0][0], "observed share of binaries\n(negatives × Λ)")
        panels[1][0].set_ylabel("spectra")
        handles = [Line2D([], [], color=colour[penalty], label=f"Λ = {penalty:g}") for penalty in colour]
        drawing.legend(handles=handles, loc="outside right center")


def _spread(values: np.ndarray, filled: np.ndarray) -> np.ndarray:
    """Values of the filled bins in all bins, NaN in the others."""
    out = np.full(len(filled), np.nan)
    out[filled] = values
    return out


def penalty_shift(out: File, calibration: File, settings: Any = None) -> None:
    """How far each trained Λ moves the logits from the lowest one, median and 1σ of spectra; line: −ln Λ."""
    arms = read_json(calibration, "rates of the test pairs")["arms"]
    with figure(out, COLUMN, 3.6, settings) as drawing:
        axes = drawing.subplots()
        penalties = sorted({entry["penalty"] for content in arms.values() for entry in content["shift"]["to"]})
        if not penalties:
            empty(axes, "only one penalty was trained")
            return
        for arm, content in arms.items():
            start, entries = content["shift"]["from_penalty"], content["shift"]["to"]
            grid = np.array([start, *(entry["penalty"] for entry in entries)])
            axes.plot(grid, -np.log(grid / start), color=FAINT, zorder=1)
            axes.errorbar(
                grid[1:] * DODGE[arm],
                [entry["median"] for entry in entries],
                [entry["scatter"] for entry in entries],
                ls="",
                marker=ARM_MARKER[arm],
                color=ARM_COLOUR[arm],
                label=f"{arm} arm, trained",
            )
        axes.plot([], [], color=FAINT, label=f"expected: −ln(Λ/{start:g})")
        log_penalty_axis(axes, grid)
        axes.set_ylabel(f"logit(Λ) − logit({start:g}), median")
        axes.legend(loc="lower left")


def twin_binaries(out: File, twins: File, *, penalty: float = 16, settings: Any = None) -> None:
    """Probability of twin binaries against Δv (Fig. 5): a row per arm, a column per star, bands 16–84 %.

    `twins`: table of `evaluation.twins`. Lines are v sin i = 5 km/s, dots the next one (p50).
    """
    table = {name: np.asarray(values) for name, values in pq.read_table(verified(twins)).to_pydict().items()}
    names, arms = (list(dict.fromkeys(table[name])) for name in ("name", "arm"))
    snrs, (slow, *fast) = (sorted(set(table[name])) for name in ("snr", "vsini"))
    shade = shades(snrs)
    with figure(out, max(COLUMN, 1.3 * len(names) + 1), 1.9 * len(arms) + 0.5, settings) as drawing:
        panels = drawing.subplots(len(arms), len(names), sharex=True, sharey=True, squeeze=False)
        for arm, row in zip(arms, panels):
            for name, axes in zip(names, row):
                for snr in snrs:
                    here = (table["arm"] == arm) & (table["name"] == name) & (table["snr"] == snr)
                    here &= table["penalty"] == penalty
                    line, dots = here & (table["vsini"] == slow), here & np.isin(table["vsini"], fast[:1])
                    axes.fill_between(
                        table["dv"][line], table["p16"][line], table["p84"][line], color=shade[snr], alpha=0.18, lw=0
                    )
                    axes.plot(table["dv"][line], table["p50"][line], color=shade[snr])
                    axes.plot(table["dv"][dots], table["p50"][dots], ".", ms=2, color=shade[snr])
                axes.axhline(0.5, color=FAINT, lw=0.8, zorder=0)
                axes.set_title(f"{name}, {arm}", fontsize=8)
            fraction_axis(row[0], f"p (Λ = {penalty:g})")
        for axes in panels[-1]:
            axes.set_xlabel("Δv [km s$^{-1}$]")
        handles = [Line2D([], [], color=shade[snr], label=f"S/N = {snr:g}") for snr in snrs]
        drawing.legend(handles=handles, loc="outside right center")


def _history(path: File) -> Mapping[str, np.ndarray]:
    with open(path, encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
