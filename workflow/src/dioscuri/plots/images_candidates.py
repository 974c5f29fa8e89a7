"""Stamps of a frame: its PSF (Fig. 9), and the candidates with what one star and two stars leave of each."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, SymLogNorm

from dioscuri.cluster.cutouts import cut_stamps
from dioscuri.cluster.exposure_psf import ERROR_OVER_NOISE, chip_psf
from dioscuri.cluster.frames import Frame, read_flt
from dioscuri.cluster.scene import Scene
from dioscuri.plots.style import MAP, PAGE, File, empty, figure
from dioscuri.psf.effective import Psf
from dioscuri.seals import verified
from dioscuri.stamps.mocks import SIZE, Renderer
from dioscuri.stamps.optimum import fit_single

SHOWN = 12  # candidates, the most certain ones first
RESIDUAL = 5.0  # σ at the ends of the colour scale


def frame_psf(out: File, psf: File, training: File) -> None:
    """The PSF of an exposure, its error, and how it differs from the one that networks were trained with (Fig. 9 a)."""
    stored, trained = Psf.load(psf), Psf.load(training)
    extension = int(stored.parameters.get("extension", np.ones(1))[0])
    best = chip_psf(stored, extension)
    place = best.n_members // 2  # of a PSF that changes over the chip, that near its middle
    numbers = [int(number) for number in np.unique(stored.parameters.get("draw", np.zeros(1))) if number > 0]
    draws = np.array([chip_psf(stored, extension, number).samples[place] for number in numbers])
    samples, peak = best.samples[place], best.samples[place].max()
    reach = best.centre / best.oversampling
    extent = (-reach, reach, -reach, reach)
    titles = ("error of the PSF", "less the training PSF")
    error = ERROR_OVER_NOISE * (draws - samples).std(axis=0) if len(draws) > 1 else np.full(samples.shape, np.nan)
    n = min(samples.shape[0], trained.samples.shape[1])
    inner, theirs = ((k - n) // 2 for k in (samples.shape[0], trained.samples.shape[1]))
    change = (
        samples[inner : inner + n, inner : inner + n] - trained.samples[0][theirs : theirs + n, theirs : theirs + n]
    )
    half = n / 2 / best.oversampling
    with figure(out, PAGE, 3.2) as drawing:
        panels = drawing.subplots(1, 3)
        floor = peak * 1e-5
        shown = panels[0].imshow(
            np.maximum(samples / peak, 1e-5), origin="lower", cmap=MAP, norm=LogNorm(floor / peak, 1), extent=extent
        )
        panels[0].set_title(f"effective PSF, FWHM {best.fwhm(place):.3f}″")
        drawing.colorbar(shown, ax=panels[0], shrink=0.8, label="of the peak")
        for axes, words, image, edge in zip(panels[1:], titles, (error, change), (reach, half)):
            values = 100 * image / peak
            if not np.isfinite(values).any():
                empty(axes, "no bootstrap samples")
                continue
            limit = float(np.abs(values).max()) or 1.0
            low = 0.0 if image is error else -limit
            drawn = axes.imshow(values, origin="lower", cmap=MAP if image is error else "RdBu_r", vmin=low, vmax=limit,
                                extent=(-edge, edge, -edge, edge))  # fmt: skip
            axes.set_title(words)
            drawing.colorbar(drawn, ax=axes, shrink=0.8, label="% of the peak")
        for axes in panels:
            axes.grid(False)
            axes.set(xlabel="x [px]", ylabel="y [px]", xlim=(-7, 7), ylim=(-7, 7))


def candidate_sheet(
    out: File, candidates: File, frame: File, psf: File, detections: File, scores: File, known: File | None = None
) -> None:
    """The best candidates in one exposure: the stamp, what one star leaves [σ], and what the fitted pair leaves."""
    table = pd.read_parquet(verified(candidates)).head(SHOWN)
    frames, stored = read_flt(frame), Psf.load(psf)
    seen, scored = pd.read_parquet(verified(detections)), pd.read_parquet(verified(scores))
    kinds = {} if not known else pd.read_parquet(verified(known)).set_index("star_id")["true_kind"].to_dict()
    columns = 3
    rows = -(-max(len(table), 1) // columns)
    with figure(out, PAGE, 0.1 + 1.15 * rows) as drawing:
        if not len(table):
            empty(drawing.subplots(), "no candidates")
            return
        grid = drawing.subplots(rows, 3 * columns, squeeze=False)
        for axes in grid.ravel():
            axes.set_axis_off()
        for number, star in enumerate(table.itertuples()):
            panels = grid[number // columns, 3 * (number % columns) : 3 * (number % columns) + 3]
            row = scored[scored["star_id"] == star.star_id]
            if not len(row) or not np.isfinite(row["sep"].iloc[0]):
                panels[0].set_title("not fitted here", fontsize=6)
                continue
            one = next(each for each in frames if each.extension == row["extension"].iloc[0])
            _triptych(list(panels), one, chip_psf(stored, one.extension), seen, row.iloc[0], star, kinds)


def _triptych(
    panels: Sequence[Axes],
    frame: Frame,
    psf: Psf,
    seen: pd.DataFrame,
    row: pd.Series,
    star: Any,
    kinds: Mapping[int, str],
) -> None:
    """Stamp, residual of one star, residual of the pair fitted in this exposure."""
    stars = seen[(seen["exposure"] == frame.exposure) & (seen["extension"] == frame.extension)].reset_index(drop=True)
    index = np.flatnonzero(stars["star_id"] == star.star_id)
    cut = cut_stamps(frame, psf, stars, index)
    here = psf.at(float(row["x"]), float(row["y"])) if psf.n_members > 1 else psf
    renderer = Renderer(here)
    single = fit_single(cut.stamps, cut.variance, renderer)
    share = row["flux_ratio"] / (1 + row["flux_ratio"])
    offset = row["sep"] * np.array([np.cos(row["position_angle"]), np.sin(row["position_angle"])])
    place = np.array([single.x[0], single.y[0]])
    model = np.zeros((SIZE, SIZE))
    first, second = place - share * offset, place + (1 - share) * offset
    for where, part in ((first, 1 - share), (second, share)):
        Scene(here).paint(model, *(np.array([value]) for value in (*where, part * single.flux[0])))
    sigma = np.sqrt(np.maximum(model, 0) + cut.variance[0])
    stamp = np.where(np.isfinite(cut.variance[0]), cut.stamps[0], np.nan)
    panels[0].imshow(stamp, origin="lower", cmap=MAP, norm=SymLogNorm(10, vmin=-10, vmax=float(np.nanmax(stamp))))
    for image, axes in ((single.residual[0], panels[1]), ((stamp - model) / sigma, panels[2])):
        axes.imshow(image, origin="lower", cmap="RdBu_r", vmin=-RESIDUAL, vmax=RESIDUAL)
    for axes in panels[1:]:
        axes.plot(*np.transpose([first, second]), "k+", ms=3, mew=0.5)
    kind = f": {kinds[star.star_id]}" if star.star_id in kinds else ""
    p = f"p {star.p:.2f}, " if np.isfinite(star.p) else ""
    panels[0].set_title(f"{star.star_id}{kind}", fontsize=6)
    panels[1].set_title(f"{p}ln B {star.log_bf:.0f}", fontsize=6)
    panels[2].set_title(f"{star.sep_au:.0f} au, q {star.flux_ratio:.2f}", fontsize=6)
