"""Figures of the LAMOST LRS line."""

from collections.abc import Mapping
from os import PathLike
from typing import Any

import numpy as np
import pandas as pd

from dioscuri.catalogs import published_lrs as paper
from dioscuri.evaluation.lrs_merits import NOT_COUNTED, precision
from dioscuri.evaluation.lrs_models import true_classes
from dioscuri.learn.metrics import roc
from dioscuri.plots import style
from dioscuri.seals import verified
from dioscuri.spectra import lrs_calibration, lrs_frame

MOST = 200_000  # dots on the sky


def prediction(table: pd.DataFrame, path: str | PathLike) -> None:
    """Probability of a binary and Δχ² of `dioscuri predict` against Teff; what is not counted is grey."""
    with style.figure(path, width=style.PAGE) as drawing:
        left, right = drawing.subplots(1, 2)
        for verdict, colour in (("single", style.SINGLE), ("binary", style.BINARY), ("not counted", style.FAINT)):
            rows = table[table["verdict"] == verdict]
            for axes, name in ((left, "p"), (right, "dchi2")):
                axes.plot(rows["teff"], np.maximum(rows[name], -50), "o", ms=3, color=colour, label=verdict)
        style.fraction_axis(left, "probability of a second star")
        left.set_xlabel("Teff of the fit [K]")
        right.set(xlabel="Teff of the fit [K]", ylabel="Δχ², one star less two")
        right.set_yscale("symlog", linthresh=10)
        left.legend()


def roc_curve(out: str | PathLike, scores: str, *, settings: Any = None) -> None:
    """ROC of the test mocks, network and fit with one and two stars, by truth (Fig. 2)."""
    table = pd.read_parquet(verified(scores))
    classes = true_classes(table["q"].to_numpy())
    used = classes >= 0
    with style.figure(out, settings=settings) as drawing:
        axes = drawing.subplots()
        for name, values, colour in (("network", "p", style.BINARY), ("Δχ² of the fits", "dchi2", style.CLASSICAL)):
            false, true, _ = roc(table[values].to_numpy()[used], classes[used])
            area = float(np.trapezoid(true, false))
            axes.plot(false, true, color=colour, label=f"{name}: {area:.3f}")
        axes.plot([0, 1], [0, 1], ls="--", color=style.ACCENT, label=f"random; the paper's network: {paper.AUC}")
        axes.set(xlabel="false positive rate", ylabel="true positive rate")
        axes.legend(loc="lower right")


def distributions(out: str | PathLike, scores: str, *, settings: Any = None) -> None:
    """Densities of p of singles and intermediate pairs, and the precision at one binary on two singles (Fig. 3)."""
    table = pd.read_parquet(verified(scores))
    p, classes = table["p"].to_numpy(), true_classes(table["q"].to_numpy())
    binaries, singles = p[classes == 1], p[classes == 0]
    cuts = np.linspace(0.02, 0.98, 49)
    with style.figure(out, settings=settings) as drawing:
        axes = drawing.subplots()
        for values, colour, name in (
            (binaries, style.BINARY, "pairs, 0.6 < q < 0.93"),
            (singles, style.SINGLE, "singles"),
        ):
            axes.hist(values, list(np.linspace(0, 1, 26)), density=True, histtype="step", color=colour, label=name)
        axes.set(xlabel="p of a second star", ylabel="density", yscale="log")
        right = axes.twinx()
        right.plot(cuts, [precision(binaries, singles, cut) for cut in cuts], color="black", label="precision, 1 : 2")
        right.plot(list(paper.PRECISION), list(paper.PRECISION.values()), "x", color="black", label="the paper's")
        style.fraction_axis(right, "precision")
        axes.legend(loc="upper center")
        right.legend(loc="lower center")


def by_ratio(out: str | PathLike, scores: str, *, settings: Any = None) -> None:
    """What is found against the true mass ratio, and the ratio of the fit against the true one."""
    table = pd.read_parquet(verified(scores))
    pairs = table[table["q"] > 0]
    edges = np.linspace(0.1, 1.0, 19)
    with style.figure(out, width=style.PAGE, settings=settings) as drawing:
        left, right = drawing.subplots(1, 2)
        total, _ = np.histogram(pairs["q"], edges)
        found, _ = np.histogram(pairs["q"][pairs["p"] > 0.5], edges)
        rate = np.divide(found, total, out=np.full(len(total), np.nan), where=total > 0)
        left.stairs(rate, edges, color=style.BINARY, label="pairs with p > 0.5")
        false = float((table["p"][table["q"] == 0] > 0.5).mean())
        left.axhline(false, color=style.SINGLE, ls="--", label=f"singles: {false:.3f}")
        left.axvspan(0.71, 0.93, color=style.FAINT, alpha=0.3, lw=0, label="the paper's intermediate ratios")
        style.fraction_axis(left, "share called binary")
        left.set_xlabel("true mass ratio")
        left.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0))
        told = pairs[pairs["dchi2"] > 25]
        right.plot(told["q"], told["q_fit"], ".", ms=2, color=style.BINARY)
        right.plot([0.1, 1], [0.1, 1], color="black", lw=0.7)
        right.set(xlabel="true mass ratio", ylabel="mass ratio of the fit, Δχ² > 25")


def eclipsing(out: str | PathLike, catalog: str, truth: str, *, settings: Any = None) -> None:
    """Densities of p of eclipsing pairs (Fig. 4), and of stars of variable and constant velocity (Fig. 5).

    Only rows that the catalogue counts; of the eclipsing pairs the label says how many there are in all.
    """
    rows = pd.read_parquet(verified(catalog), columns=["obsid", "source_id", "p_b", "rv", "flags"])
    rows = rows.merge(pd.read_parquet(verified(truth))[["obsid", "kind"]], on="obsid")
    everything, rows = rows, rows[(rows["flags"] & int(NOT_COUNTED)) == 0]
    bins = list(np.linspace(0, 1, 21))
    with style.figure(out, width=style.PAGE, settings=settings) as drawing:
        left, right = drawing.subplots(1, 2)
        for kind, colour in (("EA", style.ARM_COLOUR["blue"]), ("EW", style.ARM_COLOUR["red"])):
            p = rows["p_b"][rows["kind"] == kind].dropna()
            share = (p > 0.5).mean() if len(p) else np.nan
            counted = f"{len(p)} counted of {(everything['kind'] == kind).sum()}"
            label = f"{kind}: {share:.2f} of {counted} above 0.5 (paper: {paper.ECLIPSING[kind]})"
            left.hist(p, bins, density=True, histtype="step", color=colour, label=label)
        stars = rows.groupby("source_id").agg(n=("rv", "size"), low=("rv", "min"), high=("rv", "max"), p=("p_b", "max"))
        spread = stars["high"] - stars["low"]
        samples = (
            ("≥ 2 visits, > 25 km/s", (stars["n"] >= 2) & (spread > 25), style.BINARY, paper.RV_VARIABLE),
            ("≥ 4 visits, < 5 km/s", (stars["n"] >= 4) & (spread < 5), style.SINGLE, 1 - paper.RV_CONSTANT),
        )
        for name, chosen, colour, published in samples:
            p = stars["p"][chosen].dropna()
            share = (p > 0.5).mean() if len(p) else np.nan
            label = f"{name}: {share:.2f} of {len(p)} (paper: {published:.3f})"
            right.hist(p, bins, density=True, histtype="step", color=colour, label=label)
        for axes in (left, right):
            axes.set(xlabel="p of a second star", ylabel="density")
            axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0))


def catalogue(out: str | PathLike, catalog: str, *, settings: Any = None) -> None:
    """p of spectra and of stars by their maximum, with counts above a threshold (Fig. 6); the sky (Fig. 7)."""
    rows = pd.read_parquet(verified(catalog), columns=["source_id", "p_b", "p_max", "ra", "dec"])
    stars = rows.drop_duplicates("source_id") if (rows["source_id"] > 0).any() else rows
    cuts = np.linspace(0, 1, 51)
    with style.figure(out, width=style.PAGE, settings=settings) as drawing:
        left, right = drawing.subplots(1, 2)
        blue, red = style.ARM_COLOUR["blue"], style.ARM_COLOUR["red"]
        for name, p, colour in (("spectra", rows["p_b"], blue), ("stars", stars["p_max"], red)):
            left.hist(p, list(cuts), histtype="step", color=colour, label=name)
            left.plot(cuts, [(p > cut).sum() for cut in cuts], ls="--", color=colour, label=f"{name} above")
        left.set(xlabel="p of a second star, or threshold", ylabel="number", yscale="log")
        left.legend()
        binary = rows["p_b"] > 0.5
        for shown, size, colour, name in ((rows, 1.5, style.FAINT, "all"), (rows[binary], 2, style.BINARY, "p > 0.5")):
            every = -(-len(shown) // MOST)  # more dots than that are the same picture
            label = name if every <= 1 else f"{name} (one of {every} drawn)"
            right.plot(shown["ra"][:: every or 1], shown["dec"][:: every or 1], ".", ms=size, color=colour, label=label)
        right.set(xlabel="right ascension [deg]", ylabel="declination [deg]", xlim=(360, 0))
        right.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, markerscale=3)


def calibration(out: str | PathLike, calibration: str, *, settings: Any = None) -> None:
    """What real stars differ by from the library, per release: residual at three temperatures with its error."""
    found = lrs_calibration.load(calibration)
    with style.figure(out, width=style.PAGE, height=2.6 * max(len(found), 1), settings=settings) as drawing:
        panels = drawing.subplots(max(len(found), 1), 1, squeeze=False)[:, 0]
        if not found:
            style.empty(panels[0], "no release is calibrated")
        for axes, one in zip(panels, found.values()):
            kept = lrs_frame.kept()
            for share, colour in ((0.1, style.ARM_COLOUR["red"]), (0.5, style.SINGLE), (0.9, style.ARM_COLOUR["blue"])):
                teff = np.array([one.teff[0] + share * (one.teff[1] - one.teff[0])])
                residual = np.where(kept, one.at(teff, np.array([np.mean(one.feh)]))[0], np.nan)
                axes.plot(lrs_frame.WAVE, residual, lw=0.6, color=colour, label=f"{teff[0]:.0f} K")
            error = np.where(kept, one.errors[0], np.nan)
            axes.fill_between(lrs_frame.WAVE, -error, error, color=style.FAINT, lw=0, label="error of the mean")
            axes.set(xlabel="wavelength [Å]", ylabel="real − library", ylim=(-0.15, 0.15))
            axes.set_title(f"{one.release}: {one.n_stars} stars, {one.teff[0]:.0f} to {one.teff[1]:.0f} K")
            axes.legend(ncols=4, loc="lower right")


def real_beside_libraries(
    out: style.File,
    wave: np.ndarray,
    stars: Mapping[str, tuple[np.ndarray, Mapping[str, np.ndarray]]],
    settings: Any = None,
) -> None:
    """Real spectra beside the best of each library: a row per star, name → (flux (L,), library → flux (L,))."""
    colours = (style.BINARY, style.ACCENT)
    with style.figure(out, style.PAGE, 0.6 + 1.3 * len(stars), settings) as drawing:
        panels = drawing.subplots(len(stars), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (name, (real, models)) in zip(panels, stars.items()):
            axes.plot(wave, real, color=style.SINGLE, lw=0.6, label="LAMOST")
            for colour, (library, model) in zip(colours, models.items()):
                axes.plot(wave, model, color=colour, lw=0.5, alpha=0.8, label=library)
            axes.set_title(name)
            axes.set_ylim(0, 1.6)
            axes.set_ylabel("flux / smoothed")
        panels[-1].set_xlabel("vacuum wavelength at rest [Å]")
        panels[0].legend(ncols=3, loc="lower right")
