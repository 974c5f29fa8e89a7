"""Making a SpectralLibrary: from spectra node by node, and from the embedded LTE synthesizer."""

import logging
import multiprocessing
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from scipy.interpolate import make_interp_spline
from scipy.ndimage import gaussian_filter1d

from dioscuri import __version__, io
from dioscuri.arms import C_KMS
from dioscuri.libraries.grid import AXES, SpectralLibrary, Window, continuum_knots, log_grid
from dioscuri.synthesis.kinematics import FWHM_PER_SIGMA

log = logging.getLogger(__name__)


def assemble(
    axes: Mapping[str, np.ndarray],
    resolution: float,
    windows: Mapping[str, np.ndarray],
    spectra: Iterable[tuple[int, Mapping[str, tuple[np.ndarray, np.ndarray | None]]]],
    provenance: Mapping[str, Any],
) -> SpectralLibrary:
    """A library from `spectra`, which yields (node, {arm: (flux (L,), continuum (L,) or None)}).

    `windows[arm]` (L,) are the wavelengths, vacuum Å, uniform in ln λ; fluxes are F_λ at the surface. Nodes
    that never come, or come with fluxes that are not finite and positive, are holes. Where a source has no
    continuum, a smooth upper envelope of its flux stands for it.
    """
    shape = [len(axes[name]) for name in AXES]
    n_nodes = int(np.prod(shape))
    present = np.zeros(n_nodes, bool)
    flux = {name: np.zeros((n_nodes, len(wave)), np.float32) for name, wave in windows.items()}
    continuum = {
        name: np.zeros((n_nodes, len(continuum_knots(len(wave)))), np.float32) for name, wave in windows.items()
    }
    came = 0
    for node, pieces in spectra:
        came += 1
        if not all(np.all(np.isfinite(f)) and f.min() >= 0 and f.max() > 0 for f, _ in pieces.values()):
            continue
        present[node] = True
        for name, (values, level) in pieces.items():
            level = upper_envelope(values) if level is None else level
            # A black line core has no logarithm; a thousandth of the continuum is black enough.
            flux[name][node] = np.log(np.maximum(values, 1e-3 * level))
            continuum[name][node] = np.log(level[continuum_knots(len(values))])
    if came > present.sum() or came < n_nodes:
        log.warning(
            "library: %d of %d nodes are holes: %d were not given, %d have flux that is not finite or negative "
            "(negative after resampling: sampled too coarsely for its resolution)",
            n_nodes - present.sum(), n_nodes, n_nodes - came, came - present.sum(),
        )  # fmt: skip
    if not present.any():
        raise ValueError("no usable spectrum was given to the library: all fluxes are missing, negative or not finite")
    built = {
        name: Window(np.asarray(wave, float), torch.from_numpy(flux[name]), torch.from_numpy(continuum[name]))
        for name, wave in windows.items()
    }
    return SpectralLibrary(axes, resolution, built, present, provenance)


def upper_envelope(flux: np.ndarray, degree: int = 3, n_iterations: int = 10) -> np.ndarray:
    """A smooth stand-in for the continuum, (L,): a polynomial in ln F through the pixels that lie highest."""
    x = np.linspace(-1, 1, len(flux))
    y = np.log(np.maximum(flux, 1e-6 * flux.max()))
    keep = np.ones(len(flux), bool)
    for _ in range(n_iterations):
        residual = y - np.polynomial.chebyshev.chebval(x, np.polynomial.chebyshev.chebfit(x[keep], y[keep], degree))
        scatter = residual[keep].std()
        tighter = keep & (residual > -0.5 * scatter)
        if scatter < 1e-4 or tighter.sum() < len(flux) // 20 or tighter.sum() == keep.sum():
            break
        keep = tighter
    fit = np.polynomial.chebyshev.chebfit(x[keep], y[keep], degree)
    return np.exp(np.polynomial.chebyshev.chebval(x, fit))


def node_labels(axes: Mapping[str, np.ndarray]) -> np.ndarray:
    """Labels of every node, (N, 4), in the order in which nodes are numbered (afe fastest)."""
    mesh = np.meshgrid(*(np.asarray(axes[name], float) for name in AXES), indexing="ij")
    return np.stack([values.ravel() for values in mesh], axis=1)


def node_number(axes: Mapping[str, np.ndarray], label: Sequence[float]) -> int:
    """The number of the node at `label` (4,), values that lie on the axes."""
    number = 0
    for name, value in zip(AXES, label):
        number = number * len(axes[name]) + int(np.searchsorted(axes[name], value))
    return number


def with_progress(items: Iterable, total: int, name: str, progress: bool | None) -> Iterator:
    """`items` behind a progress bar on stderr; None shows it only to a person (stderr is a terminal)."""
    if progress is False:
        return iter(items)
    from tqdm import tqdm

    return iter(tqdm(items, total=total, desc=name, unit="spectrum", disable=None if progress is None else False))


# The sampling of the embedded grid: 2754 nodes, quadratic interpolation rms ~1e-3 of the continuum.
EMBEDDED_AXES = {
    "teff": np.arange(4000.0, 8001.0, 250.0),
    "logg": np.arange(1.0, 5.01, 0.5),
    "feh": np.arange(-2.0, 0.51, 0.5),
    "afe": np.array([-0.5, 0.1, 0.7]),
}


def build_embedded(
    axes: Mapping[str, np.ndarray] | None,
    windows: Mapping[str, tuple[float, float]],
    *,
    linelist: Any = None,
    step_kms: float = 4.0,
    resolution: float = 20000.0,
    molecules: bool = False,
    loggf_jitter: float = 0.0,
    seed: int = 0,
    workers: int = 1,
    progress: bool | None = None,
) -> SpectralLibrary:
    """Synthesize a library with the embedded LTE code: about a tenth of a second per node and window.

    `axes` (None: EMBEDDED_AXES); `windows[arm] = (wave_min, wave_max)` vacuum Å, see `window_of`; `linelist`
    a LineList, a path, or None for the embedded one; `molecules`: with their bands, see `synthesize_windows`;
    `loggf_jitter` [dex] scatters every line's log gf, the
    same way at every node, by `seed`. The result does not depend on `workers`. A node whose synthesis is not
    finite becomes a hole.
    """
    from dioscuri.synthesis.synthesizer import LineList, read_linelist

    lines = linelist if isinstance(linelist, LineList) else read_linelist(linelist)
    if loggf_jitter > 0:
        lines = lines.jittered(loggf_jitter, seed)
    axes = {name: np.asarray(values, float) for name, values in (axes or EMBEDDED_AXES).items()}
    grids = {name: log_grid(low, high, step_kms) for name, (low, high) in windows.items()}
    labels = node_labels(axes)
    provenance = {
        "source": "embedded",
        "version": __version__,
        "axes": {name: values.tolist() for name, values in axes.items()},
        "windows": {name: [float(low), float(high)] for name, (low, high) in windows.items()},
        "step_kms": step_kms,
        "resolution": resolution,
        "linelist": {
            "name": lines.name,
            "lines": len(lines),
            "digest": io.digest([lines.wave, lines.log_gf]),
        },
        "molecules": molecules,
        "loggf_jitter": loggf_jitter,
        "seed": seed,
    }
    settings = (lines, grids, step_kms, resolution, molecules)
    if workers <= 1:
        _set_up_worker(*settings)
        spectra = map(_synthesize_node, labels)
        nodes = enumerate(with_progress(spectra, len(labels), "library", progress))
        return assemble(axes, resolution, grids, nodes, provenance)
    with (
        _no_main_module(),
        ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _set_up_worker, settings) as pool,
    ):
        spectra = pool.map(_synthesize_node, labels, chunksize=8)
        nodes = enumerate(with_progress(spectra, len(labels), "library", progress))
        return assemble(axes, resolution, grids, nodes, provenance)


_worker_settings: tuple = ()


def _set_up_worker(*settings: Any) -> None:
    global _worker_settings
    _worker_settings = settings


def _synthesize_node(label: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Flux and continuum of one node on every window's grid."""
    from dioscuri.synthesis.synthesizer import synthesize_windows

    lines, grids, step_kms, resolution, molecules = _worker_settings
    # Twice as fine as the library's grid and starting with it: every second pixel is the library's.
    teff, logg, feh, afe = (float(value) for value in label)
    models = synthesize_windows(
        teff,
        logg,
        feh,
        afe,
        [(wave[0], wave[-1] * (1 + 0.25 * step_kms / C_KMS)) for wave in grids.values()],
        linelist=lines,
        step_kms=step_kms / 2,
        resolution=resolution,
        molecules=molecules,
    )
    return {name: (model.flux[::2], model.continuum[::2]) for name, model in zip(grids, models)}


@contextmanager
def _no_main_module() -> Iterator[None]:
    """Hide the main script from spawned workers, which would import, and so run, a Snakemake script again."""
    main = sys.modules["__main__"]
    names = ("__file__", "__spec__")
    hidden: dict[str, Any] = {name: main.__dict__.pop(name) for name in names if name in main.__dict__}
    main.__spec__ = None
    try:
        yield
    finally:
        main.__dict__.update(hidden)


def onto_grid(wave: np.ndarray, flux: np.ndarray, native: float, grid: np.ndarray, resolution: float) -> np.ndarray:
    """A spectrum of resolving power `native` at `resolution` ≤ `native`, on the ln-λ wavelengths `grid` (L,).

    `wave` (Lw,) ascending, vacuum Å, any spacing that samples the spectrum; `flux` (Lw,).
    """
    if grid[0] < wave[0] * (1 - 1e-9) or grid[-1] > wave[-1] * (1 + 1e-9):
        raise ValueError(
            f"the spectrum covers {wave[0]:.1f} to {wave[-1]:.1f} Å (vacuum), "
            f"the window needs {grid[0]:.1f} to {grid[-1]:.1f} Å"
        )
    variance = (C_KMS / resolution) ** 2 - (C_KMS / native) ** 2
    sigma_kms = np.sqrt(max(variance, 0.0)) / FWHM_PER_SIGMA
    margin = 1 + 6 * sigma_kms / C_KMS
    near = slice(max(np.searchsorted(wave, grid[0] / margin) - 8, 0), np.searchsorted(wave, grid[-1] * margin) + 8)
    spline = make_interp_spline(np.log(wave[near]), flux[near], k=5)
    step_kms = C_KMS * np.log(grid[1] / grid[0])
    if sigma_kms < 0.1 * step_kms:
        return spline(np.log(grid))
    # Convolve on a grid fine enough for the sharper of the two; its first pixel is 6 σ before the library's.
    fine = max(1, int(np.ceil(2.5 * step_kms * native / C_KMS)))
    reach = int(np.ceil(6 * sigma_kms / step_kms)) * fine
    ln_wave = np.log(grid[0]) + np.arange(-reach, (len(grid) - 1) * fine + reach + 1) * step_kms / fine / C_KMS
    sampled = spline(np.clip(ln_wave, np.log(wave[0]), np.log(wave[-1])))
    smooth = gaussian_filter1d(sampled, sigma_kms * fine / step_kms, mode="nearest", truncate=6.0)
    return smooth[reach : reach + (len(grid) - 1) * fine + 1 : fine]


def sampled_resolution(native: float, step_kms: float) -> float:
    """The resolving power to store on a grid of `step_kms`: `native`, or the most that the grid can carry."""
    return min(native, C_KMS / (3.7 * step_kms))
