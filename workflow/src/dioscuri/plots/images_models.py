"""Figures of the image models: accuracy along test grids, ROC, recall of faint companions, PSF errors, learning."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from dioscuri.catalogs.published_images import ACCURACY, VALIDATION
from dioscuri.evaluation.image_merits import (
    ASSUMED,
    CLASSICAL,
    GLRT,
    OPTIMUM,
    RATIO_EDGES,
    SEP_EDGES,
    SHAPES,
    TEST,
    UNKNOWN,
    Sample,
    rankable,
    read_merits,
    samples_of,
)
from dioscuri.learn import metrics
from dioscuri.plots.style import ACCENT, FAINT, MAP, PAGE, SINGLE, File, empty, figure, fraction_axis

# Okabe & Ito again, and a marker each; the optimum is a line above which nothing can lie.
METHODS: dict[str, dict[str, Any]] = {
    "compact": {"color": "#0072B2", "marker": "o", "ls": "-"},
    "efficientnet_b3": {"color": "#D55E00", "marker": "s", "ls": "-"},
    "resnet34": {"color": "#CC79A7", "marker": "^", "ls": "-"},
    OPTIMUM: {"color": "black", "marker": ".", "ls": "-"},
    GLRT: {"color": SINGLE, "marker": ".", "ls": "--"},
    ASSUMED: {"color": "black", "marker": ".", "ls": ":"},
    UNKNOWN: {"color": "black", "marker": "x", "ms": 4, "ls": "-."},
    # Statistics of photometry programs: thin, of one colour a program.
    **{
        name: {"color": colour, "ls": line, "lw": 0.8}
        for name, colour, line in zip(
            SHAPES, ("#56B4E9", "#56B4E9", "#009E73", "#E69F00", "#CC79A7", "#CC79A7"), ("-", ":", "-", "-", "-", ":")
        )
    },
}
LABEL = {
    "compact": "compact network",
    "efficientnet_b3": "EfficientNet-B3",
    "resnet34": "ResNet-34",
    OPTIMUM: "optimum",
    GLRT: "likelihood-ratio test",
    ASSUMED: "optimum, nominal PSF",
    UNKNOWN: "optimum, PSF unknown",
    **dict(
        zip(SHAPES, ("DAOFIND sharpness", "DAOFIND roundness", "qfit", "moments", "DOLPHOT sharpness", "DOLPHOT χ"))
    ),
}
AXIS = {
    "snr": "S/N (eq. 1)",
    "sep": "separation [px]",
    "jitter": "change of the jitter [%]",
    "wfe": "added wavefront error [nm rms]",
}
PAPER: dict[str, Any] = {"marker": "D", "mfc": "white", "color": ACCENT, "ls": "", "zorder": 4}

RELIABILITY: dict[str, tuple[str, dict[str, Any]]] = {
    "before": ("raw", {"color": SINGLE, "marker": "o", "mfc": "white", "ls": ":"}),
    "after": ("calibrated", {"color": ACCENT, "marker": "o", "ls": "-"}),
}


def label(method: str) -> str:
    """A method as readers know it."""
    return LABEL.get(method, method.replace("_", " "))


def look(method: str) -> dict[str, Any]:
    """Colour, marker and line of a method."""
    return METHODS.get(method, {"color": "#009E73", "marker": "v", "ls": "-"})


def title(case: str) -> str:
    """A case as it stands above a panel."""
    return case.replace("_", " ")


def accuracy_along(out: File, merits: File, axis: str, settings: Any = None) -> None:
    """Accuracy (Figs. 6 and 7), and below it TPR and FPR, along one axis of the test grid: a column per case."""
    table = read_merits(merits)
    rows = table[(table["axis"] == axis) & (~table["method"].isin([ASSUMED, UNKNOWN]))]
    cases = list(dict.fromkeys(rows["case"]))
    with figure(out, max(4.6, 3.4 * len(cases) + 1.9), 5.2, settings) as drawing:
        if not cases:
            empty(drawing.subplots(), f"no case was tested along {axis}")
            return
        panels = drawing.subplots(2, len(cases), sharex=True, sharey="row", squeeze=False)
        for (above, below), case in zip(panels.T, cases):
            chosen = rows[rows["case"] == case]
            for method in dict.fromkeys(chosen["method"]):
                points = chosen[chosen["method"] == method].sort_values("cell")
                _points(above, points, "accuracy", method)
                _points(below, points, "tpr", method)
                _points(below, points, "fpr", method, faint=True)
            published = ACCURACY.get(chosen["survey"].iloc[0], {}).get(axis, {})
            above.plot(list(published), list(published.values()), **PAPER)
            above.set_title(title(case))
            below.set_xlabel(AXIS[axis])
        panels[0][0].set_ylabel("accuracy, half of the stamps single")
        panels[0][0].set_ylim(0.48, 1.01)
        fraction_axis(panels[1][0], "TPR (filled), FPR (open)")
        drawing.legend(handles=_handles(rows["method"], paper=True), loc="outside right center")


def _points(axes: Axes, points: pd.DataFrame, name: str, method: str, faint: bool = False) -> None:
    """Shares along an axis; the networks' with 68 % binomial errors."""
    style = look(method) | ({"alpha": 0.4, "mfc": "white"} if faint else {})
    x, y = points["cell"].to_numpy(float), points[name].to_numpy(float)
    if method in CLASSICAL:
        axes.plot(x, y, **style)
    else:
        errors = np.abs([y - points[f"{name}_low"], points[f"{name}_high"] - y])
        axes.errorbar(x, y, errors, zorder=3, **style)


def _handles(methods: Sequence[str], paper: bool = False) -> list[Line2D]:
    present = [method for method in [*METHODS, *dict.fromkeys(methods)] if method in set(methods)]
    handles = [Line2D([], [], label=label(method), **look(method)) for method in dict.fromkeys(present)]
    return [*handles, Line2D([], [], label="Wu et al. 2023", **PAPER)] if paper else handles


def roc_and_confusion(
    out: File, test_scores: Sequence[File], test_optima: Sequence[File], settings: Any = None
) -> None:
    """ROC of every method, and the confusion matrix of the first network (Figs. 4 and 10): a column per case."""
    tests = [sample for sample in samples_of(test_scores, test_optima) if sample.axis == TEST and sample.members]
    with figure(out, max(4.6, 2.2 * len(tests)), 4.9 if len(tests) > 1 else 5.6, settings) as drawing:
        panels = drawing.subplots(2, len(tests), squeeze=False, gridspec_kw={"height_ratios": [1.25, 1]})
        for (above, below), sample in zip(panels.T, tests):
            _roc(above, sample)
            _confusion(below, sample, next(iter(sample.members)))
            above.set_title(title(sample.case))
        panels[0][0].set_ylabel("true positive rate")
        panels[1][0].set_ylabel("true class")
        methods = [method for sample in tests for method in _ranking(sample)]
        drawing.legend(handles=_handles(methods), loc="outside lower center", ncols=4 if len(tests) > 1 else 2)


def reliability(out: File, calibrations: Sequence[File], settings: Any = None) -> None:
    """Share of pairs against what networks answer, raw and calibrated, on stamps that the calibration has not seen.

    A column per file of a case and a network; twelve bins of equal numbers with binomial errors.
    """
    with figure(out, max(4.6, 2.2 * len(calibrations) + 1.4), 2.9, settings) as drawing:
        panels = drawing.subplots(1, len(calibrations), sharey=True, squeeze=False)[0]
        for axes, path in zip(panels, map(Path, calibrations)):
            report = json.loads(path.read_text(encoding="utf-8"))["report"]
            axes.plot([0, 1], [0, 1], color=FAINT, lw=0.8)
            for name, (words, style) in RELIABILITY.items():
                bins = report[name]
                axes.errorbar(bins["predicted"], bins["observed"], bins["error"], ms=3.5, lw=0.9, **style)
                axes.plot([], [], label=f"{words}: off by {100 * bins['expected_error']:.1f} %", **style)
            network, case = path.parent.name, path.parent.parent.name
            axes.set(title=f"{title(case)}\n{label(network)}", xlabel="probability of a pair", xlim=(-0.03, 1.03))
            axes.legend(loc="upper left", fontsize="x-small")
        fraction_axis(panels[0], "share of pairs")


def _ranking(sample: Sample) -> list[str]:
    """The methods that rank all stamps of a sample."""
    return [method for method in sample.methods if method != UNKNOWN]


def _roc(axes: Axes, sample: Sample) -> None:
    axes.plot([0, 1], [0, 1], color=FAINT, lw=0.8)
    area = {}
    for method in _ranking(sample):
        score = rankable(sample.score(method))
        fpr, tpr, _ = metrics.roc(score, sample.is_binary)
        axes.plot(fpr, tpr, **{**look(method), "marker": ""})
        area[method] = metrics.auc(score, sample.is_binary)
    # Of the six statistics of photometry programs the best is told; the table has all.
    shapes = sorted((method for method in area if method in SHAPES), key=area.__getitem__)
    areas = [f"{label(method)} {area[method]:.3f}" for method in area if method not in shapes[:-1]]
    for network, scores in VALIDATION.get(sample.survey, {}).items():
        areas.append(f"paper, {label(network)} {scores.auc:.3f}")
        if scores.fpr is not None and scores.fnr is not None:
            axes.plot(scores.fpr, 1 - scores.fnr, **PAPER)
    axes.text(0.97, 0.04, "AUC\n" + "\n".join(areas), transform=axes.transAxes, ha="right", fontsize=6.5)
    axes.set(xlabel="false positive rate", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")


def _confusion(axes: Axes, sample: Sample, network: str) -> None:
    """Counts and shares of single stars and pairs called either; rows: the truth."""
    called = sample.score(network) > 0.5
    counts = np.array([[np.sum(called[sample.is_binary == k] == m) for m in (False, True)] for k in (False, True)])
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap=MAP, vmin=0, vmax=1)
    for i in range(2):
        for j in range(2):
            text = f"{counts[i, j]}\n{100 * shares[i, j]:.1f} %"
            axes.text(j, i, text, ha="center", va="center", color="black" if shares[i, j] > 0.5 else "white")
    axes.set_xticks([0, 1], ["single", "pair"])
    axes.set_yticks([0, 1], ["single", "pair"], rotation=90, va="center")
    axes.set_xlabel(f"called by the {label(network)}", fontsize=8)
    axes.grid(False)


FEWEST = 5  # pairs; a bin with fewer is left white


def recall_map(out: File, recall: File, settings: Any = None) -> None:
    """Share of the test pairs found over separation and flux ratio: a row per case with unequal pairs."""
    table = read_merits(recall)
    cases, methods = list(dict.fromkeys(table["case"])), list(dict.fromkeys(table["method"]))
    methods.sort(key=lambda method: method == OPTIMUM)  # the optimum last
    with figure(out, 2.6 * max(len(methods), 2) + 1.4, 2.5 * max(len(cases), 1) + 0.6, settings) as drawing:
        panels = drawing.subplots(max(len(cases), 1), max(len(methods), 1), sharex=True, sharey=True, squeeze=False)
        if not cases:
            empty(panels[0][0], "no case has pairs of unequal flux")
            return
        for row, case in zip(panels, cases):
            for axes, method in zip(row, methods):
                image = _recall_panel(axes, table[(table["case"] == case) & (table["method"] == method)])
                axes.set_title(f"{title(case)}\n{label(method)}", fontsize=8)
            row[0].set_ylabel("flux ratio $F_2/F_1$")
        for axes in panels[-1]:
            axes.set_xlabel(AXIS["sep"])
        drawing.colorbar(image, ax=panels, label="share of the pairs found", shrink=0.9)


def _recall_panel(axes: Axes, bins: pd.DataFrame) -> Any:
    table = np.full((len(RATIO_EDGES) - 1, len(SEP_EDGES) - 1), np.nan)
    counted = bins[bins["n_binaries"] >= FEWEST]
    row, column = (
        np.searchsorted(edges, counted[name] + 1e-6) - 1
        for edges, name in ((RATIO_EDGES, "ratio_low"), (SEP_EDGES, "sep_low"))
    )
    table[row, column] = counted["tpr"]
    share = np.ma.masked_invalid(table)
    image = axes.pcolormesh(SEP_EDGES, RATIO_EDGES, share, cmap=MAP, vmin=0, vmax=1, rasterized=True)
    centres = [0.5 * (values[1:] + values[:-1]) for values in (SEP_EDGES, RATIO_EDGES)]
    if not share.mask.all():
        axes.contour(*centres, share, levels=[0.5, 0.9], colors="white", linewidths=0.8)
    axes.grid(False)
    return image


# The cases that differ in the PSFs of their training have a colour each.
CASE_COLOURS = ("#0072B2", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#E69F00")


def psf_mismatch(out: File, merits: File, settings: Any = None) -> None:
    """FPR and accuracy where the PSF is not the one assumed: a colour per case, a marker per network.

    The test sample, whose PSF is the nominal one, stands at zero on both axes.
    """
    table = read_merits(merits)
    shown = [axis for axis in ("jitter", "wfe") if (table["axis"] == axis).any()]
    with figure(out, PAGE, 5.0, settings) as drawing:
        panels = drawing.subplots(2, max(len(shown), 1), sharex="col", sharey="row", squeeze=False)
        if not shown:
            empty(panels[0][0], "no case was tested with other PSFs")
            return
        rows = table[table["axis"].isin(shown) & (table["method"] != GLRT)]
        colour = dict(zip(dict.fromkeys(rows["case"]), CASE_COLOURS))
        # The likelihood ratios know nothing of a training: the first case that has each is enough.
        first = rows.drop_duplicates("method").set_index("method")["case"]
        for (above, below), axis in zip(panels.T, shown):
            for (case, method), points in rows[rows["axis"] == axis].groupby(["case", "method"], sort=False):
                if method in CLASSICAL and case != first[method]:
                    continue
                points = _with_nominal(points, table, str(case), str(method))
                for axes, name in ((above, "fpr"), (below, "accuracy")):
                    _mismatch_line(axes, points, name, str(method), colour[case])
            above.axhline(0.05, color=FAINT, lw=0.8, zorder=0)
            below.set_xlabel(AXIS[axis])
        panels[0][0].set(ylabel="false positive rate", ylim=(-0.02, None))
        panels[1][0].set(ylabel="accuracy")
        handles = [Line2D([], [], color=colour[case], label=title(case)) for case in colour]
        for method in dict.fromkeys(rows["method"]):
            neutral: dict[str, Any] = {} if method in CLASSICAL else {"color": SINGLE, "ls": ""}
            handles.append(Line2D([], [], label=label(method), **(look(method) | neutral)))
        drawing.legend(handles=handles, loc="outside right center")


def _with_nominal(points: pd.DataFrame, merits: pd.DataFrame, case: str, method: str) -> pd.DataFrame:
    """Cells of one axis, percent for the jitter, with the test sample as the cell 0."""
    scale = 100 if points["axis"].iloc[0] == "jitter" else 1
    known = OPTIMUM if method == ASSUMED else method  # with the nominal PSF the two are one
    test = merits[(merits["axis"] == TEST) & (merits["case"] == case) & (merits["method"] == known)]
    return pd.concat([points.assign(cell=scale * points["cell"]), test.assign(cell=0.0)]).sort_values("cell")


def _mismatch_line(axes: Axes, points: pd.DataFrame, name: str, method: str, colour: str) -> None:
    style = look(method) | ({} if method in CLASSICAL else {"color": colour})
    y = points[name].to_numpy(float)
    errors = np.abs([y - points[f"{name}_low"], points[f"{name}_high"] - y])
    axes.errorbar(points["cell"], y, None if method in CLASSICAL else errors, **style)


def learning_curves(out: File, histories: Sequence[File], settings: Any = None) -> None:
    """Training and validation loss per epoch: a panel per case, a colour per network, a dot at the model kept.

    `histories`: history.csv of each model, beside its model.json.
    """
    models = [
        (json.loads(Path(path).with_name("model.json").read_text(encoding="utf-8"))["context"], _history(path))
        for path in histories
    ]
    cases = list(dict.fromkeys(model["case"] for model, _ in models))
    with figure(out, max(4.6, 2.1 * len(cases) + 1.6), 3.2, settings) as drawing:
        panels = drawing.subplots(1, len(cases), sharey=True, squeeze=False)[0]
        for axes, case in zip(panels, cases):
            for model, history in models:
                if model["case"] != case:
                    continue
                colour = look(model["network"])["color"]
                axes.plot(history["epoch"], history["train_loss"], ":", color=colour, lw=0.9)
                axes.plot(history["epoch"], history["validation_loss"], "-", color=colour)
                best = np.argmin(history["validation_loss"])
                axes.plot(history["epoch"][best], history["validation_loss"][best], "o", color=colour)
            axes.set(xlabel="epoch", title=title(case))
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        panels[0].set_ylabel("cross-entropy (eqs. 2 and 3)")
        networks = dict.fromkeys(model["network"] for model, _ in models)
        handles = [Line2D([], [], color=look(name)["color"], label=label(name)) for name in networks]
        handles += [
            Line2D([], [], color=SINGLE, ls=":", label="training"),
            Line2D([], [], color=SINGLE, ls="-", label="validation"),
            Line2D([], [], color=SINGLE, ls="", marker="o", label="model kept"),
        ]
        drawing.legend(handles=handles, loc="outside right center")


def _history(path: File) -> dict[str, np.ndarray]:
    with open(path, encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
