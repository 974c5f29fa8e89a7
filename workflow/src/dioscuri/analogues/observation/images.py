"""Synthetic observations: dust continuum by transfer along the line of sight, moment-1 maps, the telescope's beam.

Every gas particle, and every element of a sub-grid disc, is a spherical cloud with density ∝ (1 − r²/R²)^{3/2}, whose
column is exactly ∝ (1 − b²/R²)². Along each ray the clouds are passed from the observer inwards, each with
I += e^{−τ} B_ν(T) (1 − e^{−Δτ}), the solution for a cell of constant source function that RADMC-3D uses too. No
scattering; lines are optically thin and not hidden by dust.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numba as nb
import numpy as np
import scipy.fft
from astropy import constants, units

from dioscuri.analogues.simulation.discs import disc_elements
from dioscuri.analogues.simulation.geometry import LinesOfSight
from dioscuri.analogues.simulation.system import Gas, Snapshot

# Ossenkopf & Henning (1994), thin ice, 10⁶ cm⁻³ (their column 5), 100 g of gas per g of dust: cm²/g of gas.
OPACITY_1300UM, OPACITY_SLOPE = 0.00899, 1.78
H_OVER_K = (constants.h / constants.k_B).cgs.value
TWO_H_OVER_C2 = (2 * constants.h / constants.c**2).cgs.value * 1e23  # Jy/sr for ν³
LIGHT = constants.c.to("mm/s").value
COLUMN = (units.Msun / units.AU**2).to("g/cm2")
SMALLEST_CLOUD = 1.5  # pixels: smaller clouds would fall between pixel centres
FEW_PIXELS = 4.0  # clouds below this radius are normalised pixel by pixel
RAYS_PER_DISC = 8  # rays per radius of a disc, and of its hotter inner parts, where pixels are wider
MOST_RAYS = 16  # per pixel and axis
DISC_MARGIN = 1.25  # of a disc's radius: its outermost clouds and its thickness
GAUSSIAN = 2 * np.sqrt(2 * np.log(2))  # FWHM / σ


class View(NamedTuple):
    """One observer: unit vectors `toward`, `north`, `right` (3,) and the point `centre` (3,) [AU] in mid-image."""

    toward: np.ndarray
    north: np.ndarray
    right: np.ndarray
    centre: np.ndarray


class Scene(NamedTuple):
    """What emits: all clouds, and where the compact ones are: `centre` (S, 3) and `extent` (S,) [AU] of the discs."""

    clouds: Gas
    centre: np.ndarray
    extent: np.ndarray


class Tracer(NamedTuple):
    """A molecule that leaves the ice at `sublimation` [K], seen in a line with upper level at `upper_level` [K]."""

    sublimation: float
    upper_level: float


# Alike in kind: methanol and other complex organics in the warm gas, C18O in what is not frozen out.
TRACERS = {"warm": Tracer(90.0, 100.0), "cold": Tracer(22.0, 15.8)}


def views(snapshot: Snapshot, lines: LinesOfSight) -> list[View]:
    """The observers on `lines`, looking at the midpoint between the stars."""
    centre = snapshot.stars.position.mean(axis=0)
    return [View(*vectors, centre) for vectors in zip(lines.toward, lines.north, lines.right)]


def emitters(snapshot: Snapshot) -> Scene:
    """The gas of a snapshot with its sub-grid discs, as clouds: what `image` and `moment1` look at."""
    stars = snapshot.stars
    parts = [snapshot.gas, *disc_elements(stars)]
    clouds = Gas(
        *(np.concatenate(values).astype(np.float64) for values in zip(*(vars(part).values() for part in parts)))
    )
    return Scene(clouds, stars.position, np.where(stars.disc_mass > 0, stars.disc_size, 0.0))


def planck(temperature: np.ndarray, wavelength_mm: float) -> np.ndarray:
    """B_ν(T) [Jy/sr]."""
    frequency = LIGHT / wavelength_mm
    return TWO_H_OVER_C2 * frequency**3 / np.expm1(H_OVER_K * frequency / temperature)


def opacity(wavelength_mm: float) -> float:
    """Dust absorption per mass of gas [cm²/g] at millimetre wavelengths."""
    return OPACITY_1300UM * (1.3 / wavelength_mm) ** OPACITY_SLOPE


def image(
    scene: Gas | Scene, view: View, wavelength_mm: float | Sequence[float], n_pixels: int, fov_au: float
) -> np.ndarray:
    """Dust continuum I_ν [Jy/sr] on n × n pixels over `fov_au`: (H, W), or (L, H, W) for L wavelengths [mm].

    Discs are compact and optically thick: around the discs of a `Scene` the rays are closer, and averaged to pixels.
    """
    gas = scene.clouds if isinstance(scene, Scene) else scene
    wavelengths = np.atleast_1d(np.asarray(wavelength_mm, float))
    right, up, depth, _ = _project(gas, view)
    order = np.argsort(-depth)
    source = np.stack([planck(gas.temperature[order], one) for one in wavelengths])
    column = COLUMN * np.stack([opacity(one) * gas.mass[order] for one in wavelengths])
    rays = _Rays(right[order], up[order], gas.size[order], column, source)
    patches: list[_Patch] = []
    if isinstance(scene, Scene):
        centre = (scene.centre - view.centre) @ np.array([view.right, view.north]).T
        patches = _patches(centre, scene.extent, fov_au / n_pixels, n_pixels)
    intensity = _draw(rays, patches, fov_au / n_pixels, n_pixels)
    return intensity if np.ndim(wavelength_mm) else intensity[0]


class _Rays(NamedTuple):
    """Clouds as seen, sorted from the observer inwards: (P,) [AU] and, (L, P), τ × area [AU²] and B_ν."""

    right: np.ndarray
    up: np.ndarray
    size: np.ndarray
    column: np.ndarray
    source: np.ndarray


class _Patch(NamedTuple):
    """A square of `side` whole pixels from pixel `first` (column, row) on, with `finer` rays per pixel and axis."""

    finer: int
    first: np.ndarray
    side: int


def _patches(centre: np.ndarray, extent: np.ndarray, pixel: float, n: int) -> list[_Patch]:
    """Patches about discs at `centre` (S, 2) [AU] with radius `extent` (S,), and about their hotter inner parts.

    In order of fineness, so that where two overlap the finer is what stays.
    """
    patches = []
    for where, radius in zip(centre, extent):
        for reach in (radius, radius / 4, radius / 16):
            finer = min(int(np.ceil(RAYS_PER_DISC * pixel / reach)), MOST_RAYS) if reach > 0 else 1
            corners = [(where + sign * DISC_MARGIN * reach) / pixel + 0.5 * n for sign in (-1, 1)]
            first, last = (np.floor(corner).astype(int) for corner in corners)
            if finer > 1 and (last >= 0).all() and (first < n).all():
                patches.append(_Patch(finer, first, int((last - first).max()) + 1))
            if finer == MOST_RAYS:
                break
    return sorted(patches, key=lambda patch: patch.finer)


def _draw(rays: _Rays, patches: Sequence[_Patch], pixel: float, n: int) -> np.ndarray:
    """Intensity (L, n, n); in patches the mean over closer rays.

    Clouds are drawn no smaller than the rays can catch; so that none spills over the edge of a patch, those that lie
    wholly within one are left to it.
    """
    everything = _Patch(1, np.zeros(2, int), n)
    intensity = np.zeros((len(rays.source), n, n))
    left = np.ones(len(rays.size), bool)
    todo = []
    for patch in (*reversed(patches), everything):  # the finest chooses first, and is drawn last
        half = 0.5 * patch.side * pixel
        x, y = (axis - (first - 0.5 * n) * pixel - half for axis, first in zip((rays.right, rays.up), patch.first))
        off = np.maximum(np.abs(x), np.abs(y))
        ray = pixel / patch.finer
        todo.append((patch, ray, x, y, left & (off < half + np.maximum(rays.size, SMALLEST_CLOUD * ray))))
        left = left & (off + rays.size > half)
    for patch, ray, x, y, chosen in reversed(todo):
        size, column, source = rays.size[chosen] / ray, rays.column[:, chosen] / ray**2, rays.source[:, chosen]
        fine = _march(x[chosen] / ray, y[chosen] / ray, size, column, source, patch.side * patch.finer)
        coarse = fine.reshape(len(fine), patch.side, patch.finer, patch.side, patch.finer).mean(axis=(2, 4))
        low, high = np.maximum(patch.first, 0), np.minimum(patch.first + patch.side, n)
        columns, rows = (slice(a - f, b - f) for a, b, f in zip(low, high, patch.first))
        intensity[:, low[1] : high[1], low[0] : high[0]] = coarse[:, rows, columns]
    return intensity


def emission(gas: Gas, tracer: Tracer) -> np.ndarray:
    """Relative line emission (P,) of each cloud: sublimated mass × population of the upper level (Q ∝ T)."""
    exponent = np.clip((gas.temperature - tracer.sublimation) / (0.1 * tracer.sublimation), -50, 50)
    return gas.mass / (1 + np.exp(-exponent)) * np.exp(-tracer.upper_level / gas.temperature) / gas.temperature


def moments(
    scene: Gas | Scene, view: View, tracer: str, n_pixels: int, fov_au: float, window_kms: float = 5.0
) -> tuple[np.ndarray, np.ndarray]:
    """Line emission and emission × velocity, (H, W) each, within ± `window_kms` of the systemic velocity.

    Velocities recede: −v·n. Both are linear, so a beam may act on them; `moment1` divides them.
    """
    if tracer not in TRACERS:
        raise ValueError(f"unknown tracer '{tracer}': accepted are {', '.join(TRACERS)}")
    gas = scene.clouds if isinstance(scene, Scene) else scene
    right, up, _, speed = _project(gas, view)
    weight = emission(gas, TRACERS[tracer]) * (np.abs(speed) < window_kms)
    pixel = fov_au / n_pixels
    weights = np.stack([weight, weight * speed])
    return tuple(_splat(right / pixel, up / pixel, gas.size / pixel, weights, n_pixels))  # type: ignore[return-value]


def moment1(
    scene: Gas | Scene,
    view: View,
    tracer: str,
    n_pixels: int,
    fov_au: float,
    *,
    beam_au: Sequence[float] = (0.0, 0.0, 0.0),
    window_kms: float = 5.0,
    faintest: float = 0.02,
) -> np.ndarray:
    """Moment-1 map [km/s] (H, W) seen with a beam; NaN where the line is fainter than `faintest` of its peak."""
    pixel = fov_au / n_pixels
    total, weighted = (
        convolve(one, beam_au, pixel) for one in moments(scene, view, tracer, n_pixels, fov_au, window_kms)
    )
    seen = total > max(faintest * total.max(), np.finfo(float).tiny)
    return np.where(seen, weighted / np.where(seen, total, 1.0), np.nan)


def _project(gas: Gas, view: View) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Offsets [AU] to the right, north and toward the observer, and receding velocities [km/s]; (P,) each."""
    offset = gas.position - view.centre
    return offset @ view.right, offset @ view.north, offset @ view.toward, -(gas.velocity @ view.toward)


@nb.njit(cache=True)
def _footprint(x, y, radius, n):
    """Centre in pixels, radius, first and last pixel of a cloud, and the factor that makes its column integrate to 1.

    The column is 3/(π R²) (1 − b²/R²)²; for small clouds the pixels' own sum takes the place of the integral.
    """
    half = 0.5 * (n - 1)
    x, y = x + half, y + half
    radius = max(radius, SMALLEST_CLOUD)
    i0, i1 = int(np.ceil(y - radius)), int(np.floor(y + radius)) + 1
    j0, j1 = int(np.ceil(x - radius)), int(np.floor(x + radius)) + 1
    factor = 3.0 / (np.pi * radius**2)
    if radius < FEW_PIXELS:
        total = 0.0
        for i in range(i0, i1):
            for j in range(j0, j1):
                inside = 1.0 - ((i - y) ** 2 + (j - x) ** 2) / radius**2
                if inside > 0.0:
                    total += inside * inside
        factor = 1.0 / total
    return x, y, radius, max(i0, 0), min(i1, n), max(j0, 0), min(j1, n), factor


@nb.njit(cache=True, fastmath=True, error_model="numpy")
def _march(x, y, radius, column, source, n):
    """Transfer through clouds sorted from the observer inwards: (P,) positions, (L, P) τ × pixel area and B_ν."""
    intensity = np.zeros((len(source), n, n))
    transmission = np.ones((len(source), n, n))
    for p in range(len(x)):
        cx, cy, r, i0, i1, j0, j1, factor = _footprint(x[p], y[p], radius[p], n)
        for i in range(i0, i1):
            across = 1.0 - (i - cy) ** 2 / r**2
            for j in range(j0, j1):
                inside = across - (j - cx) ** 2 / r**2
                if inside <= 0.0:
                    continue
                share = factor * inside * inside
                for k in range(len(source)):
                    tau = share * column[k, p]
                    # Below 0.01 two terms of the series of 1 − e^{−τ} are right to 2e-5 and spare the exponential.
                    lost = tau * (1.0 - 0.5 * tau) if tau < 0.01 else 1.0 - np.exp(-tau)
                    intensity[k, i, j] += transmission[k, i, j] * source[k, p] * lost
                    transmission[k, i, j] *= 1.0 - lost
    return intensity


@nb.njit(cache=True, fastmath=True, error_model="numpy")
def _splat(x, y, radius, weight, n):
    """Sums of `weight` (C, P) over clouds, per pixel: (C, H, W)."""
    total = np.zeros((len(weight), n, n))
    for p in range(len(x)):
        if weight[0, p] == 0.0:
            continue
        cx, cy, r, i0, i1, j0, j1, factor = _footprint(x[p], y[p], radius[p], n)
        for i in range(i0, i1):
            across = 1.0 - (i - cy) ** 2 / r**2
            for j in range(j0, j1):
                inside = across - (j - cx) ** 2 / r**2
                if inside > 0.0:
                    for k in range(len(weight)):
                        total[k, i, j] += factor * inside * inside * weight[k, p]
    return total


# --- the telescope ------------------------------------------------------------------------------------------


def convolve(image: np.ndarray, beam_au: Sequence[float], pixel_au: float) -> np.ndarray:
    """Convolve (..., H, W) with a Gaussian beam: FWHM major, minor [same unit as the pixel], position angle [deg].

    The position angle runs from north (up) to the left (east). The image continues beyond its edges as its mirror
    image; a beam of zero does nothing.
    """
    major, minor, angle = (float(value) for value in beam_au)
    if major <= 0:
        return np.asarray(image)
    pad = int(np.ceil(3 * major / GAUSSIAN / pixel_au))
    height, width = image.shape[-2:]
    pad = min(pad, height - 1, width - 1)
    padded = np.pad(image, [(0, 0)] * (image.ndim - 2) + [(pad, pad), (pad, pad)], mode="symmetric")
    fy = scipy.fft.fftfreq(padded.shape[-2])[:, None]
    fx = scipy.fft.rfftfreq(padded.shape[-1])
    sine, cosine = np.sin(np.radians(angle)), np.cos(np.radians(angle))
    along, across = cosine * fy - sine * fx, sine * fy + cosine * fx
    power = (along * major) ** 2 + (across * minor) ** 2
    transfer = np.exp(-2 * np.pi**2 * power / (GAUSSIAN * pixel_au) ** 2)
    smooth = scipy.fft.irfft2(scipy.fft.rfft2(padded) * transfer, padded.shape[-2:])
    return smooth[..., pad : pad + height, pad : pad + width]
