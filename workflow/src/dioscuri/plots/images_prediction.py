"""The figure of `dioscuri predict` for images: scores against flux, and what the likely pairs look like."""

import os

import numpy as np
import pandas as pd

from dioscuri.plots.style import ACCENT, BINARY, PAGE, SINGLE, empty, figure, fraction_axis

STRONG = 100.0  # ln of the Bayes factor, from which it is drawn as such


def sources(table: pd.DataFrame, out: str | os.PathLike) -> None:
    """Draw the probability (or, without networks, ln of the Bayes factor) against flux, and separations and ratios."""
    scored = table[table["status"].str.startswith("ok")]
    p, log_bf = scored["p"].to_numpy(float), scored["log_bf"].to_numpy(float)
    pair = (np.isnan(p) | (p > 0.5)) & (log_bf > 0)
    with figure(out, PAGE, 3.8) as drawing:
        left, right = drawing.subplots(1, 2)
        left.set_title(f"{len(scored)} of {len(table)} sources scored, {pair.sum()} may be two stars")
        if not len(scored):
            for axes in (left, right):
                empty(axes, "nothing could be scored")
            return
        networks = np.isfinite(p).any()
        values = p if networks else np.clip(log_bf, -STRONG, STRONG)
        for here, colour in ((~pair, SINGLE), (pair, BINARY)):
            left.plot(scored["flux"][here], values[here], ".", color=colour)
        left.set(xscale="log", xlabel="flux [electrons]")
        if networks:
            fraction_axis(left, "probability of two stars")
        else:
            left.set(yscale="symlog", ylabel="ln of the Bayes factor, two stars : one")
        left.axhline(0.5 if networks else 0.0, color=ACCENT, lw=0.8)
        fitted = scored[pair & np.isfinite(scored["sep"])]
        if not len(fitted):
            empty(right, "no likely pair")
            return
        right.errorbar(
            fitted["sep"], fitted["flux_ratio"], xerr=fitted["sep_err"], ls="", marker="o", color=BINARY, lw=0.7
        )
        right.set(xlabel="separation [px]", ylabel="flux ratio", ylim=(0, 1.05))
        right.set_title("the likely pairs")
