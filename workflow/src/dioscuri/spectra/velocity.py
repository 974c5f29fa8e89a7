"""Radial velocities by cross-correlation with templates, and the double peak of two stars in the correlation.

The templates come from the library of the mocks and so stand in their rest frame: a velocity of another
origin may be off by what its own templates are off (83 km/s if air is taken for vacuum), and that turns
singles into 'binaries'.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.fft
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter1d

from dioscuri.arms import C_KMS, Arm
from dioscuri.spectra.continuum import normalise

if TYPE_CHECKING:
    from dioscuri.libraries.grid import SpectralLibrary

# Dwarfs, giants and metal-poor stars, (teff [K], logg, [Fe/H], [α/Fe]). Labels beyond a library move to its
# border.
TEMPLATE_LABELS = (
    (4250.0, 1.5, -0.5, 0.2),
    (4250.0, 4.5, 0.0, 0.0),
    (4750.0, 2.5, 0.0, 0.0),
    (4750.0, 4.5, 0.0, 0.0),
    (5250.0, 4.5, 0.0, 0.0),
    (5250.0, 3.0, -1.5, 0.4),
    (5750.0, 4.4, 0.0, 0.0),
    (5750.0, 4.2, -1.0, 0.3),
    (6250.0, 4.2, 0.0, 0.0),
    (6750.0, 4.2, 0.0, 0.0),
    (7500.0, 4.0, 0.0, 0.0),
)
TEMPLATE_STEP_KMS = 4.0  # a tenth of the resolution element at R = 7500
TEMPLATE_REACH_KMS = 700.0  # how far templates go beyond the arm: the velocities searched and a little more
BATCH = 32  # spectra in one Fourier transform; always this many, so that a result never depends on its company
FEWEST_PIXELS = 100  # with fewer finite pixels in the arm there is no velocity


@dataclass(frozen=True)
class Templates:
    """Normalised template spectra at rest.

    `wave` (L,) vacuum Å ascending, `flux` (T, L), `teff` (T,) [K], `vsini` (T,) [km/s].
    """

    wave: np.ndarray
    flux: np.ndarray
    teff: np.ndarray
    vsini: np.ndarray

    def __post_init__(self) -> None:
        shape = (len(self.teff), len(self.wave))
        if self.flux.shape != shape or len(self.vsini) != len(self.teff) or not len(self.teff):
            raise ValueError(
                f"templates: flux {self.flux.shape}, {len(self.wave)} wavelengths, {len(self.teff)} temperatures and "
                f"{len(self.vsini)} v sin i do not match; accepted is flux (templates, wavelengths)"
            )
        if not (np.all(np.diff(self.wave) > 0) and np.all(np.isfinite(self.flux))):
            raise ValueError("templates: wave must ascend and flux must be finite")

    @classmethod
    def from_library(
        cls,
        library: "SpectralLibrary",
        arm: Arm,
        labels: Sequence[Sequence[float]] | None = None,
        vsini: Sequence[float] = (5.0, 60.0),
    ) -> "Templates":
        """Templates of `library` at the resolution of `arm`, for every one of `labels` and `vsini` [km/s].

        `labels` are rows (teff [K], logg, feh, afe); by default `TEMPLATE_LABELS`, moved to the border of the
        library where they lie outside and left out where it has holes.
        """
        from dioscuri.libraries.grid import log_grid
        from dioscuri.synthesis.kinematics import Kinematics

        if labels is None:
            low, high = np.transpose(list(library.limits.values()))
            chosen = np.unique(np.clip(TEMPLATE_LABELS, low, high), axis=0)
            chosen = chosen[library.covered(chosen)]
            if not len(chosen):
                raise ValueError("velocity: the library has holes at all default templates; give `labels` it covers")
        else:
            chosen = np.atleast_2d(np.asarray(labels, float))
        grid = library.grid(arm.name)
        # The broadening kernels must find the library on both sides of the outermost pixel.
        margin = (max(vsini) + 2.5 * C_KMS / arm.resolution) / C_KMS
        low = max(arm.wave_min * (1 - TEMPLATE_REACH_KMS / C_KMS), grid[0] * (1 + margin))
        high = min(arm.wave_max * (1 + TEMPLATE_REACH_KMS / C_KMS), grid[-1] * (1 - margin))
        wave = log_grid(low, high, TEMPLATE_STEP_KMS)[:-1]
        move = Kinematics(grid, wave, library.resolution)
        flux = library.flux(arm.name, chosen)
        broadened = np.concatenate([move(flux, v, 0.0, arm.resolution).double().numpy() for v in vsini])
        normalised, _, _ = normalise(wave, broadened)
        return cls(
            wave, normalised, np.tile(chosen[:, 0], len(vsini)), np.repeat(np.asarray(vsini, float), len(chosen))
        )


@dataclass(frozen=True)
class Velocities:
    """Radial velocities of S spectra, all (S,).

    `rv`, `rv_err` [km/s, 1 σ]; `teff` [K] of the best template and `template` its number; `ccf_max` its
    correlation with the spectrum, at most 1; `at_edge` where the peak lies at the end of the velocities
    searched (no error then). Without enough finite pixels all numbers are NaN and `template` is −1.
    """

    rv: np.ndarray
    rv_err: np.ndarray
    teff: np.ndarray
    ccf_max: np.ndarray
    at_edge: np.ndarray
    template: np.ndarray


class VelocityMeter:
    """Measures velocities of normalised spectra in one arm, in [−velocity_max, velocity_max] km/s.

    A shift in velocity is one in ln λ, where the correlation of a spectrum with every template at every
    velocity is a product of Fourier transforms. Spectra are not interpolated for that: each pixel is shared
    between the two nodes of the ln λ grid beside it, which correlates the pixel itself with the linearly
    interpolated template.
    """

    def __init__(self, templates: Templates, arm: Arm, velocity_max: float = 600.0, step_kms: float = 4.0) -> None:
        if not (templates.wave[0] <= arm.wave_min and templates.wave[-1] >= arm.wave_max):
            raise ValueError(
                f"velocity: the templates span {templates.wave[0]:.1f}–{templates.wave[-1]:.1f} Å, "
                f"but arm {arm.name} needs {arm.wave_min:.1f}–{arm.wave_max:.1f} Å"
            )
        self.arm = arm
        self.teff = np.asarray(templates.teff, float)
        self._step = step_kms / C_KMS
        self._start = np.log(arm.wave_min)
        self._n_nodes = int(np.ceil((np.log(arm.wave_max) - self._start) / self._step)) + 1
        self._reach = int(np.ceil(velocity_max / step_kms))
        steps = np.arange(-self._reach, self._reach + 1)
        self.velocity = C_KMS * np.expm1(steps * self._step)
        # Template node m stands for ln λ = start + (m − reach) step. Beyond its ends a template is continuum.
        nodes = self._start + (np.arange(self._n_nodes + 2 * self._reach) - self._reach) * self._step
        spline = CubicSpline(np.log(templates.wave), templates.flux - 1.0, axis=1, extrapolate=False)
        self._templates = np.nan_to_num(spline(nodes))
        self._n_fft = scipy.fft.next_fast_len(len(nodes), real=True)
        self._transforms = scipy.fft.rfft(self._templates, self._n_fft).astype(np.complex64)
        self._norms = self._template_norms()

    def measure(
        self,
        wave: np.ndarray | Sequence[np.ndarray],
        flux: np.ndarray | Sequence[np.ndarray],
        sigma: np.ndarray | Sequence[np.ndarray] | None = None,
    ) -> Velocities:
        """Velocities of S spectra from the highest peak over all templates.

        `wave` [vacuum Å, ascending, as observed] and normalised `flux` are (L,) and (S, L), or two lists of S
        arrays, one pair per spectrum; pixels that are not finite, or outside the arm, are left out. The peak
        is that of the parabola through the highest point and its neighbours.

        The error is what the noise `sigma` (as `flux`; independent pixels) does to the place of the peak,

            σ² = Σ (wᵢ σᵢ M′ᵢ)² / C″²

        for pixel weights w and the template M. Without `sigma` it is Zucker's (2003, MNRAS 342, 1291), σ² =
        −1 / [N C″/C · C²/(1 − C²)], which takes the template's misfit for noise and so overstates the error of
        good spectra; N counts independent pixels by the correlation of their residuals.
        """
        peaks = [
            self._peak(spectrum, ccf)
            for spectra, ccfs in self._correlate(wave, flux, sigma)
            for spectrum, ccf in zip(spectra, ccfs)
        ]
        template = np.array([peak.template for peak in peaks], np.int64)
        return Velocities(
            rv=np.array([peak.rv for peak in peaks], float),
            rv_err=np.array([peak.rv_err for peak in peaks], float),
            teff=np.where(template >= 0, self.teff[template], np.nan),
            ccf_max=np.array([peak.ccf_max for peak in peaks], float),
            at_edge=np.array([peak.at_edge for peak in peaks], bool),
            template=template,
        )

    def ccf(
        self, wave: np.ndarray | Sequence[np.ndarray], flux: np.ndarray | Sequence[np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Velocities (V,) [km/s] and the correlation of S spectra with T templates, (S, T, V) float32."""
        parts = [ccf for _, ccf in self._correlate(wave, flux)]
        empty = np.empty((0, len(self.teff), len(self.velocity)), np.float32)
        return self.velocity, np.concatenate(parts) if parts else empty

    def _template_norms(self) -> np.ndarray:
        """Standard deviation of each template inside the arm at every velocity, (T, V) float32."""
        total = np.cumsum(np.pad(self._templates, ((0, 0), (1, 0))), axis=1)
        squares = np.cumsum(np.pad(self._templates**2, ((0, 0), (1, 0))), axis=1)
        n = self._n_nodes
        mean, square = ((sums[:, n:] - sums[:, :-n]) / n for sums in (total, squares))
        return np.sqrt(np.maximum(square - mean**2, 1e-12))[:, ::-1].astype(np.float32)

    def _correlate(self, wave, flux, sigma=None) -> Iterator[tuple[list["_Spectrum"], np.ndarray]]:
        """Batches of spectra and their correlations (≤ BATCH, T, V) float32."""
        spectra = self._spectra(wave, flux, sigma)
        n_velocities = len(self.velocity)
        while batch := list(islice(spectra, BATCH)):
            nodes = np.zeros((BATCH, self._n_nodes), np.float32)
            for row, spectrum in zip(nodes, batch):
                row[:] = spectrum.on_nodes(self._n_nodes)
            transforms = scipy.fft.rfft(nodes, self._n_fft)
            # c(s) = Σ_j X_j T_{j+s}, and the velocity goes down as s goes up.
            products = np.conj(transforms)[:, None, :] * self._transforms
            correlation = scipy.fft.irfft(products, self._n_fft)[:, :, n_velocities - 1 :: -1]
            yield batch, (correlation / self._norms)[: len(batch)]

    def _spectra(self, wave, flux, sigma) -> Iterator["_Spectrum"]:
        """Each spectrum's pixels in the arm, ready for correlation."""
        shared = isinstance(wave, np.ndarray) and wave.ndim == 1
        if not shared and len(wave) != len(flux):
            raise ValueError(f"velocity: {len(wave)} wavelength arrays for {len(flux)} spectra")
        position = self._positions(wave) if shared else None
        for s, one in enumerate(flux):
            here = position if position is not None else self._positions(wave[s])
            one = np.asarray(one, float)
            if one.shape != here.shape:
                raise ValueError(f"velocity: spectrum {s} has {len(here)} wavelengths and fluxes {one.shape}")
            error = np.full(one.shape, np.nan) if sigma is None else np.asarray(sigma[s], float)
            if error.shape != one.shape:
                raise ValueError(f"velocity: spectrum {s} has fluxes {one.shape} and errors {error.shape}")
            yield _Spectrum.of(here, one, error, self._n_nodes)

    def _positions(self, wave: np.ndarray) -> np.ndarray:
        """Wavelengths in units of nodes of the arm."""
        wave = np.asarray(wave, float)
        if wave.ndim != 1 or not np.all(np.diff(wave) > 0) or not (len(wave) and wave[0] > 0):
            raise ValueError(
                "velocity: wavelengths must be positive and ascend strictly (LAMOST's single red exposures "
                "descend): sort the spectrum by wavelength first"
            )
        return (np.log(wave) - self._start) / self._step

    def _peak(self, spectrum: "_Spectrum", ccf: np.ndarray) -> "_Peak":
        """Velocity, error and height of the highest peak of `ccf` (T, V)."""
        if not len(spectrum.flux):
            return _Peak(np.nan, np.nan, np.nan, False, -1)
        template, k = np.unravel_index(np.argmax(ccf), ccf.shape)
        if k in (0, len(self.velocity) - 1):
            return _Peak(self.velocity[k], np.nan, float(ccf[template, k]), True, int(template))
        before, peak, after = ccf[template, k - 1 : k + 2].astype(float)
        bend = before - 2 * peak + after  # < 0 at a maximum
        lag = k - self._reach + 0.5 * (before - after) / bend
        height = peak - 0.125 * (before - after) ** 2 / bend
        nodes = np.arange(self._templates.shape[1]) - self._reach
        model = np.interp(spectrum.position - lag, nodes, self._templates[template])
        correlation, n_independent = spectrum.compare(model)
        if np.isfinite(spectrum.error).all():
            slope = np.interp(spectrum.position - lag, nodes, np.gradient(self._templates[template]))
            slope -= np.sum(spectrum.weight * slope)  # the spectrum's mean has been taken out, with its noise
            slope /= self._norms[template, k]
            error = self._step * np.sqrt(np.sum((spectrum.weight * spectrum.error * slope) ** 2)) / -bend
        else:
            signal = correlation**2 / max(1 - correlation**2, 1e-12)
            information = n_independent * (-bend / height) * signal
            error = self._step / np.sqrt(information) if information > 0 else np.nan
        rv = C_KMS * np.expm1(lag * self._step)
        return _Peak(rv, C_KMS * error, correlation, False, int(template))


class _Peak(NamedTuple):
    """The entries of `Velocities` for one spectrum."""

    rv: float
    rv_err: float
    ccf_max: float
    at_edge: bool
    template: int


@dataclass(frozen=True)
class _Spectrum:
    """The pixels of a spectrum that take part: `position` [nodes], `weight` (sum 1), `flux` (mean 0, norm 1) and its
    `error` in the same unit (NaN where it is not known).

    None do when there are too few, or when the spectrum is flat.
    """

    position: np.ndarray
    weight: np.ndarray
    flux: np.ndarray
    error: np.ndarray

    @classmethod
    def of(cls, position: np.ndarray, flux: np.ndarray, error: np.ndarray, n_nodes: int) -> "_Spectrum":
        """A pixel weighs what it covers in ln λ: then the template's norm does not depend on the sampling.

        Pixels beside a missing one take over its share, those beside a wide gap not more than twice their
        own.
        """
        used = np.isfinite(flux) & (position >= 0) & (position < n_nodes - 1)
        position, flux, error = position[used], flux[used], error[used]
        if len(flux) < FEWEST_PIXELS:
            return cls(*np.empty((4, 0)))
        weight = np.gradient(position)
        weight = np.minimum(weight, 3.0 * np.median(weight))
        weight /= weight.sum()
        flux = flux - np.sum(weight * flux)
        norm = np.sqrt(np.sum(weight * flux**2))
        return cls(position, weight, flux / norm, error / norm) if norm > 0 else cls(*np.empty((4, 0)))

    def on_nodes(self, n_nodes: int) -> np.ndarray:
        """Weighted fluxes shared between neighbouring nodes, (n_nodes,): interpolation transposed."""
        left = self.position.astype(np.int64)
        to_right = self.position - left
        value = self.weight * self.flux
        nodes = np.bincount(left, (1 - to_right) * value, n_nodes)
        nodes[1:] += np.bincount(left, to_right * value, n_nodes)[:-1]
        return nodes

    def compare(self, model: np.ndarray) -> tuple[float, float]:
        """Correlation with `model` at these pixels, and how many of their residuals are independent."""
        model = model - np.sum(self.weight * model)
        model /= np.sqrt(np.sum(self.weight * model**2))
        correlation = float(np.sum(self.weight * self.flux * model))
        residual = self.flux - correlation * model
        shared = sum(np.sum(residual[lag:] * residual[:-lag]) for lag in (1, 2)) / np.sum(residual**2)
        return correlation, len(residual) / max(1.0, 1.0 + 2.0 * shared)


@dataclass(frozen=True)
class DoublePeaks:
    """Signs of two stars in S correlations, all (S,).

    `statistic` how strong the second component is beside the first, 0 (none found) to 1 (equal); `velocity1`,
    `velocity2` [km/s] of the two, NaN where there is no such component.
    """

    statistic: np.ndarray
    velocity1: np.ndarray
    velocity2: np.ndarray


def double_peak(velocity: np.ndarray, ccf: np.ndarray, smoothing_kms: float = 12.0) -> DoublePeaks:
    """The classical test for double lines: components are minima of the correlation's second derivative.

    `velocity` (V,) [km/s], evenly spaced; `ccf` (S, T, V) correlations with T templates, or (S, V). Like the
    detection of extrema of Merle et al. (2017, A&A 608, A95), it differentiates with a Gaussian of σ =
    `smoothing_kms` and so finds a component that shows only as a shoulder. Templates are averaged first:
    their sidelobes, which pass for faint companions, differ, while the peaks of the stars agree. The
    statistic is the ratio of the curvatures of the second and the first component.
    """
    ccf = np.asarray(ccf)
    mean = ccf.mean(axis=1, dtype=np.float64) if ccf.ndim == 3 else ccf.astype(np.float64)
    step = (velocity[-1] - velocity[0]) / (len(velocity) - 1)
    curvature = -gaussian_filter1d(mean, smoothing_kms / step, axis=1, order=2)
    inner = curvature[:, 1:-1]
    is_peak = (inner > curvature[:, :-2]) & (inner >= curvature[:, 2:]) & (inner > 0)
    heights = np.where(is_peak, inner, 0.0)
    order = np.argsort(-heights, axis=1, kind="stable")[:, :2]
    first, second = np.take_along_axis(heights, order, axis=1).T
    statistic = np.divide(second, first, out=np.zeros_like(first), where=first > 0)
    at = velocity[1:-1][order]
    return DoublePeaks(statistic, np.where(first > 0, at[:, 0], np.nan), np.where(second > 0, at[:, 1], np.nan))
