"""Figures of what MRS mocks are made from: our spectra beside other libraries and stars, and the paper's example."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dioscuri.arms import Arm, arms_of
from dioscuri.mocks.pairs import one_spectrum
from dioscuri.plots.style import ACCENT, BINARY, FAINT, PAGE, SINGLE, File, figure
from dioscuri.spectra.continuum import fit_continuum
from dioscuri.stars.tracks import TrackGrid, describe_star

# Fig. 2 of Zhang et al. (2022): masses, age and velocity; both stars rotate as slowly as the Sun.
FIGURE_2 = {"m1": 1.0, "q": 0.9, "age_gyr": 5.0, "feh": 0.0, "dv": 100.0, "vsini": 2.0}


@dataclass(frozen=True)
class Comparison:
    """Normalised spectra of one star in one arm: `ours` and `theirs` (L,) at `wave` (L,) [vacuum Å]."""

    name: str
    arm: str
    wave: np.ndarray
    ours: np.ndarray
    theirs: np.ndarray

    @property
    def rms(self) -> float:
        """Scatter of the difference about its mean: an offset of the continuum is no difference of lines."""
        return float(np.std(self.ours - self.theirs))


def cross_library(out: File, comparisons: Sequence[Comparison], settings: Any = None) -> None:
    """The embedded synthesizer beside other libraries and stars: a row per star, a column per arm."""
    names = list(dict.fromkeys(one.name for one in comparisons))
    arms = list(dict.fromkeys(one.arm for one in comparisons))
    with figure(out, PAGE, 0.6 + 1.35 * len(names), settings) as drawing:
        panels = drawing.subplots(len(names), len(arms), sharex="col", sharey="row", squeeze=False)
        for one in comparisons:
            axes = panels[names.index(one.name)][arms.index(one.arm)]
            axes.plot(one.wave, one.theirs, color=SINGLE, lw=0.9, label="theirs")
            axes.plot(one.wave, one.ours, color=ACCENT, lw=0.6, label="ours")
            axes.plot(one.wave, one.ours - one.theirs + 0.15, color=BINARY, lw=0.5, label="difference + 0.15")
            axes.axhline(0.15, color=FAINT, lw=0.6)
            axes.set_title(f"{one.name}, {one.arm} arm: rms {one.rms:.3f}")
            axes.set_ylim(0, 1.12)
        for axes in panels[-1]:
            axes.set_xlabel("vacuum wavelength [Å]")
        for row in panels:
            row[0].set_ylabel("flux / continuum")
        handles, labels = panels[0][0].get_legend_handles_labels()
        drawing.legend(handles, labels, loc="outside lower center", ncols=3)


RAISED = 0.6  # by how much the normalised primary stands above the binary


def papers_pair(
    out: File, tracks: File, arms: Mapping[str, Mapping], settings: Any = None
) -> dict[str, dict[str, float]]:
    """The binary of the paper's Fig. 2 (1 and 0.9 M☉, solar, 5 Gyr, Δv = 100 km/s), synthesized without noise.

    Relative fluxes F R² above, over their continua below. Returns the two stars, as the tracks describe them.
    """
    example, grid, spectrograph = FIGURE_2, TrackGrid.load(tracks), arms_of(arms)
    stars = {
        name: describe_star(grid, mass, example["feh"], age_gyr=example["age_gyr"])
        for name, mass in (("primary", example["m1"]), ("secondary", example["q"] * example["m1"]))
    }
    with figure(out, PAGE, 5.0, settings) as drawing:
        panels = drawing.subplots(2, len(spectrograph), sharex="col", sharey="row", squeeze=False)
        for column, arm in zip(panels.T, spectrograph):
            primary = _seen(stars["primary"], 0.0, arm)
            secondary = _seen(stars["secondary"], example["dv"], arm)
            both = primary + secondary
            lines = (("primary", primary, SINGLE), ("secondary", secondary, ACCENT), ("binary", both, BINARY))
            for name, flux, colour in lines:
                column[0].plot(arm.wave, flux / np.median(both), color=colour, lw=0.8, label=name)
                if name != "secondary":
                    above = RAISED if name == "primary" else 0.0  # else the one would hide the other
                    column[1].plot(arm.wave, flux / fit_continuum(arm.wave, flux) + above, color=colour, lw=0.8)
            column[0].set_title(f"{arm.name} arm, R = {arm.resolution:g}")
            column[1].set_xlabel("vacuum wavelength [Å]")
        panels[0][0].set(ylabel="relative flux", ylim=(0, 1.3))
        panels[1][0].set(ylabel=f"normalised flux\n(primary + {RAISED:g})", ylim=(0.1, 1.75))
        handles, labels = panels[0][0].get_legend_handles_labels()
        drawing.legend(handles, labels, loc="outside lower center", ncols=3)
        temperatures = " and ".join(f"{star['teff']:.0f}" for star in stars.values())
        drawing.suptitle(
            f"{example['m1']:g} and {example['q'] * example['m1']:g} M$_\\odot$, {temperatures} K, solar, "
            f"{example['age_gyr']:g} Gyr, Δv = {example['dv']:g} km s$^{{-1}}$",
            fontsize=9,
        )
    return stars


def _seen(star: Mapping[str, float], rv: float, arm: Arm) -> np.ndarray:
    """F R² of a star on the arm's pixels, (L,)."""
    labels = star["teff"], star["logg"], star["feh"], 0.0
    wave, flux, _ = one_spectrum(
        *labels,
        vsini=FIGURE_2["vsini"],
        rv=rv,
        resolution=arm.resolution,
        wave_min=arm.wave_min,
        wave_max=arm.wave_max,
    )
    return np.interp(arm.wave, wave, flux) * star["radius"] ** 2
