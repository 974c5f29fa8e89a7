"""Rotation, radial velocity, line spread function and resampling of model spectra, in one FFT on ln λ."""

import math
from functools import lru_cache

import numpy as np
import torch
from numba import njit
from scipy.fft import next_fast_len
from scipy.special import j1

from dioscuri.arms import C_KMS

LIMB_DARKENING = 0.6  # linear law; the usual choice for FGK stars in the optical (Gray 2005, ch. 18)
FWHM_PER_SIGMA = math.sqrt(8 * math.log(2))
# Steps per radian of the tabulated rotation profile, and the Gaussian below which a frequency is nothing.
TABLE_STEPS, NOTHING = 16, 1e-9
MIN_PAD = 32  # pixels of edge flux beside the spectrum, so that its two ends do not meet in the periodic FFT


class Kinematics:
    """Broaden, shift and resample spectra from a library's ln-λ grid onto an arm's wavelengths.

    In velocity space all three broadenings are convolutions with kernels of known Fourier transform, so they
    cost one forward and one inverse FFT together. The resampling is a cubic B-spline whose prefilter is
    divided out in the same product (Unser 1999), which makes it nine times more accurate than four-point
    Lagrange interpolation.
    """

    def __init__(
        self,
        library_wave: np.ndarray,
        arm_wave: np.ndarray,
        native_resolution: float,
        limb_darkening: float = LIMB_DARKENING,
    ) -> None:
        """`library_wave` (Lg,) uniform in ln λ, `arm_wave` (L,) inside it, both vacuum Å; `native_resolution`
        = λ/FWHM."""
        log_wave = np.log(library_wave)
        step = (log_wave[-1] - log_wave[0]) / (len(log_wave) - 1)
        if np.abs(np.diff(log_wave) - step).max() > 1e-3 * step:
            raise ValueError("Kinematics needs library wavelengths that are uniform in ln λ")
        self.step_kms = step * C_KMS
        self.native_resolution = float(native_resolution)
        self.limb_darkening = limb_darkening
        self.n_library = len(library_wave)
        # How far, in km/s, a pixel of the arm can look to either side and still find the library.
        self.reach_kms = C_KMS * min(np.log(arm_wave[0]) - log_wave[0], log_wave[-1] - np.log(arm_wave[-1]))
        if self.reach_kms < 0:
            raise ValueError(
                f"the library covers {library_wave[0]:.1f}–{library_wave[-1]:.1f} Å, "
                f"the arm needs {arm_wave[0]:.1f}–{arm_wave[-1]:.1f} Å"
            )
        self.n_fft = next_fast_len(self.n_library + 2 * MIN_PAD, real=True)
        self.pad = (self.n_fft - self.n_library) // 2
        self._frequency_step = 1 / (self.n_fft * self.step_kms)  # cycles per km/s
        frequency = np.fft.rfftfreq(self.n_fft, self.step_kms)
        self._prefilter = 3.0 / (2.0 + np.cos(2 * np.pi * frequency * self.step_kms))
        position = (np.log(arm_wave) - log_wave[0]) / step + self.pad
        self._left = np.floor(position).astype(np.int64)
        t = position - self._left
        weights = [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, 3 * (1 - t) ** 3 - 6 * (1 - t) ** 2 + 4, t**3]
        self._weights = (np.stack(weights) / 6).astype(np.float32)

    def __call__(
        self,
        flux: torch.Tensor,
        vsini: np.ndarray | float,
        rv: np.ndarray | float,
        resolution: np.ndarray | float = 7500.0,
    ) -> torch.Tensor:
        """Flux (S, Lg) rotating at `vsini`, moving at `rv` [km/s], seen at `resolution`: (S, L) float32.

        `vsini`, `rv`, `resolution` are numbers or (S,). λ = λ₀ (1 + rv/c). Only the line spread that the
        library does not have yet is added. Raises ValueError where the velocities reach beyond the library's
        window.
        """
        size = len(flux)
        vsini = _per_row(vsini, size)
        rv = _per_row(rv, size)
        sigma = self._residual_sigma(_per_row(resolution, size))
        shift = C_KMS * np.log1p(rv / C_KMS)
        self._check_reach(vsini, shift, sigma)
        n, pad = self.n_library, self.pad
        padded = torch.empty(size, self.n_fft)
        padded[:, :pad] = flux[:, :1]
        padded[:, pad : pad + n] = flux
        padded[:, pad + n :] = flux[:, -1:]
        spectrum = torch.fft.rfft(padded)
        profile = rotation_table(float(vsini.max()) / self.step_kms if size else 0.0, self.limb_darkening)
        _convolve(spectrum.numpy(), self._frequency_step, self._prefilter, vsini, shift, sigma, profile)
        coefficients = torch.fft.irfft(spectrum, self.n_fft)
        out = np.empty((size, len(self._left)), np.float32)
        _resample(coefficients.numpy(), self._left, self._weights, out)
        return torch.from_numpy(out)

    def _residual_sigma(self, resolution: np.ndarray) -> np.ndarray:
        """σ [km/s] that takes a line from the library's resolution to `resolution` (S,)."""
        if np.any(resolution > self.native_resolution * (1 + 1e-9)):
            raise ValueError(
                f"the library has a resolution of {self.native_resolution:g}; "
                f"{float(resolution.max()):g} cannot be made of it"
            )
        variance = (C_KMS / resolution) ** 2 - (C_KMS / self.native_resolution) ** 2
        return np.sqrt(np.maximum(variance, 0)) / FWHM_PER_SIGMA

    def _check_reach(self, vsini: np.ndarray, shift: np.ndarray, sigma: np.ndarray) -> None:
        if np.any(vsini < 0):
            raise ValueError(f"vsini is negative: {vsini.min():g} km/s")
        needed = float((vsini + np.abs(shift) + 4 * sigma).max()) if len(vsini) else 0.0
        available = self.reach_kms + (self.pad - 2) * self.step_kms
        if not needed <= available:  # NaN neither
            raise ValueError(
                f"|rv| + vsini + 4 σ of the line spread reach {needed:.0f} km/s, but the library's window "
                f"extends only {self.reach_kms:.0f} km/s beyond the arm; build it with wider windows"
            )


def rotation_profile(u: np.ndarray, limb_darkening: float = LIMB_DARKENING) -> np.ndarray:
    """Fourier transform of the rotation profile with linear limb darkening ε at u = 2π f vsini.

    [2 (1 − ε) J₁(u)/u + 2 ε (sin u − u cos u)/u³] / (1 − ε/3) (Gray 2005, eq. 18.14).
    """
    epsilon = limb_darkening
    u = np.asarray(u, float)
    # Below u = 0.01 the difference sin u − u cos u drowns in rounding: use the series, exact to 1e-10.
    series = 1 - u**2 * ((1 - epsilon) / 8 + epsilon / 15) / (1 - epsilon / 3)
    safe = np.maximum(u, 0.01)
    disc = j1(safe) / safe
    darkening = (np.sin(safe) - safe * np.cos(safe)) / safe**3
    profile = (2 * (1 - epsilon) * disc + 2 * epsilon * darkening) / (1 - epsilon / 3)
    return np.where(u < 0.01, series, profile)


def rotation_table(widest: float, limb_darkening: float) -> np.ndarray:
    """`rotation_profile` at steps of 1/TABLE_STEPS from −1/TABLE_STEPS, far enough for vsini = `widest` pixels."""
    return _rotation_table(2 ** math.ceil(math.log2(max(math.pi * widest, 1.0))), limb_darkening)


@lru_cache(maxsize=8)
def _rotation_table(u_max: int, limb_darkening: float) -> np.ndarray:
    return rotation_profile(np.abs(np.arange(-1, u_max * TABLE_STEPS + 3) / TABLE_STEPS), limb_darkening)


@njit(cache=True, nogil=True, error_model="numpy")
def _convolve(spectrum, step, prefilter, vsini, shift, sigma, profile):
    """Multiply the rows of `spectrum` (S, F), at frequencies k · `step`, by the transforms of all kernels.

    Gaussian and phase go from one frequency to the next by multiplication; the rotation profile is read from
    its table by cubic interpolation (1e-8).
    """
    for row in range(len(spectrum)):
        turn = -2 * math.pi * shift[row] * step
        turn_real, turn_imag = math.cos(turn), math.sin(turn)
        real, imag = 1.0, 0.0
        gauss, ratio = 1.0, math.exp(-2 * (math.pi * sigma[row] * step) ** 2)
        ratio_ratio = ratio * ratio
        per_step = 2 * math.pi * vsini[row] * step * TABLE_STEPS
        for k in range(spectrum.shape[1]):
            if gauss < NOTHING:
                spectrum[row, k:] = 0.0
                break
            place = k * per_step
            left = int(place)
            t = place - left
            below = (1 - t) * (2 - t) * ((1 + t) * profile[left + 1] / 2 - t * profile[left] / 6)
            above = t * (1 + t) * ((2 - t) * profile[left + 2] / 2 - (1 - t) * profile[left + 3] / 6)
            gain = gauss * prefilter[k] * (below + above)
            value = spectrum[row, k]
            spectrum[row, k] = complex(
                gain * (value.real * real - value.imag * imag), gain * (value.real * imag + value.imag * real)
            )
            real, imag = real * turn_real - imag * turn_imag, real * turn_imag + imag * turn_real
            gauss *= ratio
            ratio *= ratio_ratio


@njit(cache=True, nogil=True, error_model="numpy")
def _resample(coefficients, left, weights, out):
    """out (S, L): the cubic B-spline of `coefficients` (S, F) right of pixels `left` (L,), of `weights` (4, L)."""
    w0, w1, w2, w3 = weights[0], weights[1], weights[2], weights[3]
    for row in range(len(out)):
        c, made = coefficients[row], out[row]
        for i in range(len(left)):
            k = left[i]
            made[i] = c[k - 1] * w0[i] + c[k] * w1[i] + c[k + 1] * w2[i] + c[k + 2] * w3[i]


def _per_row(values: np.ndarray | float, size: int) -> np.ndarray:
    return np.array(np.broadcast_to(np.asarray(values, np.float64), (size,)))
