"""Figures of stamps: the PSF and what is made with it, which pixels a network goes by, and chance alignments."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm

from dioscuri.catalogs.published_images import CHANCE_ALIGNMENTS, CHANCE_RADIUS
from dioscuri.plots.images_models import PAPER, label
from dioscuri.plots.style import ACCENT, COLUMN, FAINT, MAP, PAGE, SINGLE, File, figure
from dioscuri.psf.effective import Psf
from dioscuri.stamps.channels import make_channels
from dioscuri.stamps.mocks import COLUMNS, SIZE, Noise, Renderer, make_stamps
from dioscuri.stamps.optimum import fit_single

EXAMPLE_FLUX = 10000.0  # electrons, of a single star or of both stars together (Figs. 2 and 9)
EXAMPLE_SEPS = (0.0, 0.5, 1.0)  # px
EXAMPLE_ANGLE = np.deg2rad(30.0)
OCCLUDED_SEP = 1.0  # px, Fig. 5
RESIDUAL = 5.0  # σ at the ends of the colour scale


def example_sources(seps: tuple[float, ...] = EXAMPLE_SEPS, flux: float = EXAMPLE_FLUX) -> dict[str, np.ndarray]:
    """Single stars (separation 0) and pairs of equal stars, their photocentre in the middle of the stamp."""
    sep = np.array(seps)
    half = 0.5 * sep[:, None] * np.array([np.cos(EXAMPLE_ANGLE), np.sin(EXAMPLE_ANGLE)])
    middle, pair = (SIZE - 1) / 2, sep > 0
    columns = {
        "star_id": np.arange(len(sep)),
        "is_binary": pair,
        "flux": np.full(len(sep), flux),
        "sep": sep,
        "position_angle": np.where(pair, EXAMPLE_ANGLE, 0.0),
        "flux_ratio": pair.astype(float),
        "x": np.full(len(sep), middle),
        "y": np.full(len(sep), middle),
        "x1": middle - half[:, 0],
        "y1": middle - half[:, 1],
        "flux1": np.where(pair, 0.5, 1.0) * flux,
        "x2": middle + half[:, 0],
        "y2": middle + half[:, 1],
        "flux2": np.where(pair, 0.5, 0.0) * flux,
        "member": np.zeros(len(sep), int),
        "snr": np.full(len(sep), np.nan),
    }
    return {name: columns[name] for name in COLUMNS}


def psf_and_stamps(out: File, psf: File, *, noise: Mapping[str, Any], seed: int, settings: Any = None) -> None:
    """The PSF and its profile, a single star and pairs (Figs. 2 and 9), and what the fit of one star leaves of each."""
    nominal, level = Psf.load(psf).member(0), Noise(**noise)
    sources, renderer = example_sources(), Renderer(nominal)
    stamps = make_stamps(sources, renderer, level, seed)
    fits = fit_single(stamps, level.variance, renderer)
    with figure(out, PAGE, 4.6, settings) as drawing:
        above, below = drawing.subplots(2, 1 + len(stamps))
        _psf_panel(above[0], nominal)
        _profile_panel(below[0], nominal)
        brightest = float(stamps.max())
        for k, sep in enumerate(EXAMPLE_SEPS):
            shown = np.maximum(stamps[k], 1.0)
            picture = above[k + 1].imshow(shown, origin="lower", cmap=MAP, norm=LogNorm(1, brightest))
            left = below[k + 1].imshow(fits.residual[k], origin="lower", cmap="RdBu_r", vmin=-RESIDUAL, vmax=RESIDUAL)
            above[k + 1].set_title("single star" if sep == 0 else f"pair, {sep:g} px apart")
            for axes in (above[k + 1], below[k + 1]):
                axes.plot(sources["x1"][k], sources["y1"][k], "+", color="white", ms=6)
                if sep > 0:
                    axes.plot(sources["x2"][k], sources["y2"][k], "+", color="white", ms=6)
                axes.grid(False)
                axes.set_xticks([0, 5, 10])
                axes.set_yticks([0, 5, 10])
        for axes, k in zip(below[1:], range(len(stamps))):
            axes.set_xlabel(f"$\\chi^2$ = {fits.chi2[k]:.0f} of {SIZE**2 - 3} expected", fontsize=8)
        drawing.colorbar(picture, ax=above[1:], label="electrons", shrink=0.9)
        drawing.colorbar(left, ax=below[1:], label="residual of one star [σ]", shrink=0.9)


def _psf_panel(axes: Axes, psf: Psf) -> None:
    """The samples of the PSF, logarithmic, in pixels from the star."""
    samples = psf.samples[0]
    reach = psf.centre / psf.oversampling
    floor = samples.max() * 1e-5
    extent = (-reach, reach, -reach, reach)
    axes.imshow(np.maximum(samples, floor), origin="lower", cmap=MAP, norm=LogNorm(floor, samples.max()), extent=extent)
    axes.set_title(f"PSF, FWHM {psf.fwhm():.3f}″")
    axes.set(xlabel="x [px]", ylabel="y [px]")
    axes.grid(False)


def _profile_panel(axes: Axes, psf: Psf) -> None:
    """All samples against their distance, and the share of the flux in a square stamp of that half-side."""
    samples = psf.samples[0]
    rows, columns = np.indices(samples.shape)
    distance = np.hypot(rows - psf.centre, columns - psf.centre) / psf.oversampling
    near = (distance <= SIZE / 2) & (samples > 0)
    axes.plot(distance[near], samples[near], ".", ms=1, color=SINGLE, rasterized=True)
    axes.axvline(psf.fwhm() / psf.pixel_scale / 2, color=ACCENT, lw=0.8)
    axes.set(yscale="log", xlabel="distance [px]", ylabel="share per pixel", xlim=(0, SIZE / 2))
    axes.set_title(f"{100 * psf.enclosed(SIZE):.1f} % in the stamp")


def occlusion(out: File, model: File, psf: File, *, noise: Mapping[str, Any], seed: int, settings: Any = None) -> None:
    """A pair one pixel apart, and how much the probability falls where pixels are hidden (Fig. 5)."""
    from dioscuri.learn.images.backbones import Compact
    from dioscuri.learn.images.inference import Classifier
    from dioscuri.learn.images.occlusion import attribution

    sources, renderer, level = example_sources((OCCLUDED_SEP,)), Renderer(Psf.load(psf)), Noise(**noise)
    stamps = make_stamps(sources, renderer, level, seed)
    classifier = Classifier.load(model)
    channels = make_channels(stamps, classifier.rendering, variance=level.variance, renderer=renderer)
    net = classifier.networks[0]
    window = 3 if isinstance(net, Compact) else round(3 * net.upscale / SIZE)
    importance = attribution(net, channels, window, max(1, window // 3))[0]
    p = float(classifier.probability(channels)[0])
    with figure(out, PAGE * 0.85, 3.3, settings) as drawing:
        left, right = drawing.subplots(1, 2)
        extent = (-0.5, SIZE - 0.5, -0.5, SIZE - 0.5)
        shown = left.imshow(
            np.maximum(stamps[0], 1.0), origin="lower", cmap=MAP, norm=LogNorm(1, stamps.max()), extent=extent
        )
        limit = float(np.abs(importance).max()) or 1.0
        map_ = right.imshow(importance, origin="lower", cmap="RdBu_r", vmin=-limit, vmax=limit, extent=extent)
        for axes in (left, right):
            for star in "12":
                axes.plot(sources[f"x{star}"], sources[f"y{star}"], "+", color="white" if axes is left else "black")
            axes.set(xlabel="x [px]", ylabel="y [px]")
            axes.grid(False)
        left.set_title(f"two equal stars {OCCLUDED_SEP:g} px apart, p = {p:.3f}")
        right.set_title(f"occlusion of the {label(classifier.context['network'])}")
        drawing.colorbar(shown, ax=left, label="electrons", shrink=0.8)
        drawing.colorbar(map_, ax=right, label="fall of p where hidden", shrink=0.8)


def chance_alignments(out: File, chance: File, settings: Any = None) -> None:
    """Share of chance alignments against density (Fig. 1), with the closed form and the paper's two numbers."""
    table = pd.read_csv(chance, comment="#")
    with figure(out, COLUMN, 3.6, settings) as drawing:
        axes = drawing.subplots()
        axes.plot(table["density"], table["expected"], color=FAINT, lw=2, label="closed form", zorder=1)
        axes.errorbar(
            table["density"], table["share"], table["error"], marker="o", color="#0072B2", ls="", label="simulations"
        )
        radius = float(table["radius"].iloc[0])
        if radius == CHANCE_RADIUS:
            axes.plot(list(CHANCE_ALIGNMENTS), list(CHANCE_ALIGNMENTS.values()), **PAPER, label="Wu et al. 2023")
        axes.set(xlabel="stars per square degree", ylabel=f"pairs within {radius:g}″ per star", xlim=(0, None))
        axes.legend(loc="upper left")
