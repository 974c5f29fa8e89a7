"""Figures of the LAMOST MRS mocks: one pair of spectra, and the stars of the training sample."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.lines import Line2D

from dioscuri.arms import Arm, arms_of
from dioscuri.io import open_shard
from dioscuri.libraries.grid import SpectralLibrary
from dioscuri.plots.style import ACCENT, BINARY, FAINT, MAP, PAGE, SINGLE, File, figure
from dioscuri.shards import MOCK_SCHEMA, read_mock_labels
from dioscuri.stars.tracks import TrackGrid
from dioscuri.synthesis.kinematics import Kinematics

# The pair of the paper's Fig. 2: label → value, and the unit in which a distance from it is counted.
EXAMPLE = {
    "q": (0.9, 0.1),
    "dv": (100.0, 30.0),
    "vsini1": (0.0, 20.0),
    "vsini2": (0.0, 20.0),
    "teff1": (5800.0, 500.0),
}
EXAMPLE_SNR = 50.0  # at least


def mock_pair(out: File, shard: File, library: File, arms: Mapping[str, Mapping], settings: Any = None) -> None:
    """A binary and its own primary (Fig. 2): noise-free fluxes above, normalised mocks below.

    Drawn is the pair of the mock shard that is most like the paper's example, in every arm of the shard.
    """
    labels = read_mock_labels(shard)
    pair = example_pair(labels)
    row = {name: float(values[pair]) for name, values in labels.items()}
    with open_shard(shard, MOCK_SCHEMA) as stream:
        shown = [arm for arm in arms_of(arms) if arm.name in stream]
        spectra = {
            arm.name: [stream[f"{arm.name}/{kind}"][pair] + 1.0 for kind in ("single", "binary")] for arm in shown
        }
    models = SpectralLibrary.load(library)
    with figure(out, PAGE, 5.4, settings) as drawing:
        panels = drawing.subplots(2, len(shown), sharex="col", squeeze=False)
        for column, arm in zip(panels.T, shown):
            primary, secondary = component_fluxes(row, models, arm)
            scale = np.median(primary + secondary)
            column[0].plot(arm.wave, (primary + secondary) / scale, color=BINARY, lw=0.8)
            column[0].plot(arm.wave, primary / scale, color=SINGLE, lw=0.8)
            column[0].plot(arm.wave, secondary / scale, color=ACCENT, lw=0.8)
            column[0].set_ylim(0, None)
            single, binary = spectra[arm.name]
            column[1].plot(arm.wave, binary, color=BINARY, lw=0.6)
            column[1].plot(arm.wave, single + 0.5, color=SINGLE, lw=0.6)
            column[1].text(0.01, 0.02, "binary, and primary + 0.5", transform=column[1].transAxes, fontsize=8)
            column[0].set_title(f"{arm.name} arm, R = {arm.resolution:g}")
            column[1].set_xlabel("vacuum wavelength [Å]")
        panels[0][0].set_ylabel("relative flux, noise-free")
        panels[1][0].set_ylabel("normalised flux")
        names = (("binary", BINARY), ("primary", SINGLE), ("secondary", ACCENT))
        handles = [Line2D([], [], color=colour, label=name) for name, colour in names]
        drawing.legend(handles=handles, loc="outside lower center", ncols=3)
        drawing.suptitle(_title(row), fontsize=9)


def example_pair(labels: Mapping[str, np.ndarray]) -> int:
    """Index of the pair most like the one of the paper's Fig. 2, of good S/N where there is one."""
    distance = sum(((np.abs(labels[name]) - value) / unit) ** 2 for name, (value, unit) in EXAMPLE.items())
    return int(np.argmin(distance + 100.0 * (labels["snr"] < EXAMPLE_SNR)))


def component_fluxes(row: Mapping[str, float], library: SpectralLibrary, arm: Arm) -> tuple[np.ndarray, np.ndarray]:
    """F₁R₁² and F₂R₂² (eq. 4) of the pair with labels `row`, each (L,), noise-free, on the arm's grid."""
    move = Kinematics(library.grid(arm.name), arm.wave, library.resolution)
    stars = np.array([[row[f"teff{k}"], row[f"logg{k}"], row["feh"], row["afe"]] for k in (1, 2)])
    vsini = np.array([row["vsini1"], row["vsini2"]])
    rv = np.array([row["v1"], row["v1"] + row["dv"]])
    flux = move(library.flux(arm.name, stars), vsini, rv, arm.resolution).numpy().astype(float)
    return flux[0] * row["radius1"] ** 2, flux[1] * row["radius2"] ** 2


def _title(row: Mapping[str, float]) -> str:
    speed = "km s$^{-1}$"
    parts = (
        f"q = {row['q']:.2f}",
        f"$T_{{\\rm eff}}$ = {row['teff1']:.0f} and {row['teff2']:.0f} K",
        f"[Fe/H] = {row['feh']:+.2f}",
        f"Δv = {row['dv']:+.0f} {speed}",
        f"$v\\,\\sin i$ = {row['vsini1']:.0f} and {row['vsini2']:.0f} {speed}",
        f"S/N = {row['snr']:.0f}",
    )
    return "    ".join(parts)


def hr_diagram(
    out: File, shards: Sequence[File], *, tracks: File | None = None, n_pairs: int = 2000, settings: Any = None
) -> None:
    """Teff and logg of primaries and secondaries of the training sample (Fig. 1); colour: L₂/L₁.

    Drawn are the first `n_pairs` pairs, over solar isochrones where `tracks` is given.
    """
    labels: dict[str, np.ndarray] = {}
    for path in shards:
        part = read_mock_labels(path)
        labels = {name: np.concatenate([labels.get(name, values[:0]), values]) for name, values in part.items()}
        if len(labels["q"]) >= n_pairs:
            break
    labels = {name: values[:n_pairs] for name, values in labels.items()}
    ratio = (labels["radius2"] / labels["radius1"]) ** 2 * (labels["teff2"] / labels["teff1"]) ** 4
    with figure(out, PAGE, 4.2, settings) as drawing:
        panels = drawing.subplots(1, 2, sharex=True, sharey=True)
        for axes, k, name in zip(panels, (1, 2), ("primary", "secondary")):
            if tracks is not None:
                _isochrones(axes, TrackGrid.load(tracks))
            points = axes.scatter(
                labels[f"teff{k}"],
                labels[f"logg{k}"],
                c=np.log10(ratio),
                s=5,
                cmap=MAP,
                vmin=-2,
                vmax=0,
                lw=0,
            )
            axes.set(title=f"{name} stars, {len(ratio)} pairs", xlabel="$T_{\\rm eff}$ [K]")
        panels[0].set_ylabel("log g [cm s$^{-2}$]")
        panels[0].set(xlim=(max(8200.0, labels["teff1"].max() + 100), min(3800.0, labels["teff2"].min() - 100)))
        panels[0].set(ylim=(5.3, min(0.8, labels["logg1"].min() - 0.2)))
        drawing.colorbar(points, ax=panels, label="log$_{10}$ L$_2$/L$_1$", extend="both", pad=0.01)
        if tracks is not None:
            panels[1].legend(loc="upper left")


def _isochrones(axes: Any, tracks: TrackGrid) -> None:
    """Solar-metallicity isochrones of 1, 3 and 10 Gyr."""
    mass = np.linspace(tracks.mass[0], tracks.mass[-1], 2000)
    solar = np.zeros_like(mass)
    for age, line in zip((1.0, 3.0, 10.0), (":", "--", "-")):
        eep = tracks.eep_at_age(mass, np.full_like(mass, np.log10(age * 1e9)), solar)
        state = tracks.evaluate(mass, eep, solar)
        axes.plot(10 ** state[:, 1], state[:, 2], line, color=FAINT, lw=1.2, zorder=0, label=f"{age:g} Gyr, solar")
