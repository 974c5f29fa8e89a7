"""The colour–magnitude diagram of a cluster: its main sequence, that of binaries, and the regions between them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

MS, BINARY, NEITHER = "ms", "binary", ""
KINDS = ("ridge", "polygons")


def binary_magnitude(magnitude: ArrayLike, flux_ratio: ArrayLike) -> np.ndarray:
    """Magnitude of a pair whose brighter star has `magnitude`: eq. (6) of Wu et al. (2023), m − 2.5 log10(1 + q)."""
    return np.asarray(magnitude, float) - 2.5 * np.log10(1.0 + np.asarray(flux_ratio, float))


@dataclass(frozen=True)
class Ridge:
    """The main sequence: `colour` and its width `sigma` (1σ, photometric) at ascending `magnitude` (R,)."""

    magnitude: np.ndarray
    colour: np.ndarray
    sigma: np.ndarray

    def colour_at(self, magnitude: np.ndarray) -> np.ndarray:
        """Colour of single stars; constant beyond the ends."""
        return np.interp(magnitude, self.magnitude, self.colour)

    def sigma_at(self, magnitude: np.ndarray) -> np.ndarray:
        """Width of the sequence."""
        return np.interp(magnitude, self.magnitude, self.sigma)

    def binary_colour(self, magnitude: np.ndarray, flux_ratio: float) -> np.ndarray:
        """Colour of pairs of two ridge stars with `flux_ratio` (red filter), at their joint red `magnitude`."""
        first = self.magnitude
        second = first - 2.5 * np.log10(flux_ratio)
        red = binary_magnitude(first, flux_ratio)
        blue_first, blue_second = first + self.colour, second + self.colour_at(second)
        blue = binary_magnitude(blue_first, 10 ** (-0.4 * (blue_second - blue_first)))
        return np.interp(magnitude, red, blue - red)


def fit_ridge(colour: np.ndarray, magnitude: np.ndarray, bright: float, faint: float, step: float = 0.25) -> Ridge:
    """The ridge line of the main sequence between `bright` and `faint` magnitudes; NaN stars are ignored.

    Binaries lie on the red side only, so the width is that of the blue side, and what is redder than 2 σ is
    left out of the next of several rounds: in each the running median in bins of `step` mag, joined by lines.
    """
    kept = np.isfinite(colour) & np.isfinite(magnitude) & (magnitude > bright - step) & (magnitude < faint + step)
    colour, magnitude = np.asarray(colour)[kept], np.asarray(magnitude)[kept]
    centres = np.arange(bright, faint + step / 2, step)
    line, sigma = np.full(len(centres), np.nan), np.full(len(centres), np.nan)
    rest, width = np.zeros(len(colour)), np.full(len(colour), np.inf)
    for _ in range(8):
        used = (rest <= 2.0 * width) & (rest >= -3.0 * width)
        for k, centre in enumerate(centres):
            near = used & (np.abs(magnitude - centre) <= step)
            if near.sum() >= 8:
                # Straight within the bin: the sequence is steeper than the bins are narrow.
                slope = np.polynomial.polynomial.polyfit(magnitude[near] - centre, colour[near], 1)[1]
                line[k] = np.median(colour[near] - slope * (magnitude[near] - centre))
                blue = (colour[near] - slope * (magnitude[near] - centre) - line[k]).clip(max=0.0)
                sigma[k] = 1.4826 * np.median(-blue[blue < 0]) if (blue < 0).any() else np.nan
        known = np.isfinite(line) & np.isfinite(sigma)
        if known.sum() < 2:
            raise ValueError(
                f"ridge line: {len(colour)} stars between {bright:g} and {faint:g} mag are too few to follow the main "
                "sequence; widen the range, or give polygons"
            )
        ridge = Ridge(centres[known], line[known], np.maximum(sigma[known], 1e-4))
        rest, width = colour - ridge.colour_at(magnitude), ridge.sigma_at(magnitude)
    return ridge


def regions(stars: pd.DataFrame, settings: Mapping[str, Any]) -> np.ndarray:
    """The CMD region of each star, (S,) of str: "ms", "binary" or "".

    `settings`: `blue` and `red` filter names; kind "polygons" with `ms` and `binary`, each a list of (colour,
    magnitude) corners; or kind "ridge" with `mag_min` and `mag_max` (−11 and −9 in the paper) and optionally
    flux_ratio_min (0.3), ms_sigma (3), binary_sigma (3). The border between the two is then the line of pairs of
    flux_ratio_min, or binary_sigma widths from the ridge where that is redder; the main sequence begins ms_sigma
    widths on the blue side of the ridge, and the binary sequence ends as many from the line of equal stars,
    0.75 mag above the ridge (eq. 6). So the main sequence holds pairs with a faint second star as well.
    """
    magnitude = stars[f"mag_{settings['red']}"].to_numpy(float)
    colour = stars[f"mag_{settings['blue']}"].to_numpy(float) - magnitude
    kind = settings.get("kind", "ridge")
    if kind not in KINDS:
        raise ValueError(f"CMD regions: kind is '{kind}'; accepted: {', '.join(KINDS)}")
    found = np.full(len(stars), NEITHER, dtype="<U6")
    if kind == "polygons":
        from matplotlib.path import Path as Polygon

        points = np.c_[colour, magnitude]
        for name in (BINARY, MS):  # where both overlap a star belongs to the main sequence
            found[Polygon(np.asarray(settings[name], float)).contains_points(points)] = name
        return found
    bright, faint = float(settings["mag_min"]), float(settings["mag_max"])
    ratio = float(settings.get("flux_ratio_min", 0.3))
    ridge = fit_ridge(colour, magnitude, bright - 0.25, faint + 0.8 - 2.5 * np.log10(ratio))
    with np.errstate(invalid="ignore"):
        inside = (magnitude >= bright) & (magnitude <= faint)
        excess, sigma = colour - ridge.colour_at(magnitude), ridge.sigma_at(magnitude)
        pairs = ridge.binary_colour(magnitude, ratio) - ridge.colour_at(magnitude)
        equal = ridge.binary_colour(magnitude, 1.0) - ridge.colour_at(magnitude)
        ms_sigma, binary_sigma = float(settings.get("ms_sigma", 3.0)), float(settings.get("binary_sigma", 3.0))
        border = np.maximum(pairs, binary_sigma * sigma)
        found[inside & (excess >= -ms_sigma * sigma) & (excess < border)] = MS
        found[inside & (excess >= border) & (excess <= equal + ms_sigma * sigma)] = BINARY
    return found
