"""Rotation, radial velocity, line spread function and resampling of model spectra, in one FFT on ln λ."""

import math

import numpy as np
import torch
from scipy.fft import next_fast_len

from dioscuri.spectra.arms import C_KMS

LIMB_DARKENING = 0.6  # linear law; the usual choice for FGK stars in the optical (Gray 2005, ch. 18)
FWHM_PER_SIGMA = math.sqrt(8 * math.log(2))
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
        frequency = np.fft.rfftfreq(self.n_fft, self.step_kms)  # cycles per km/s
        self._frequency = torch.from_numpy(frequency.astype(np.float32))
        prefilter = 3.0 / (2.0 + np.cos(2 * np.pi * frequency * self.step_kms))
        self._prefilter = torch.from_numpy(prefilter.astype(np.float32))
        position = (np.log(arm_wave) - log_wave[0]) / step + self.pad
        left = np.floor(position).astype(np.int64)
        t = position - left
        weights = [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, 3 * (1 - t) ** 3 - 6 * (1 - t) ** 2 + 4, t**3]
        self._left = torch.from_numpy(left)
        self._weights = [torch.from_numpy((weight / 6).astype(np.float32)) for weight in weights]

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
        vsini = _column(vsini, size)
        rv = _column(rv, size)
        sigma = self._residual_sigma(_column(resolution, size))
        shift = C_KMS * torch.log1p(rv / C_KMS)
        self._check_reach(vsini, shift, sigma)
        n, pad = self.n_library, self.pad
        padded = torch.empty(size, self.n_fft)
        padded[:, :pad] = flux[:, :1]
        padded[:, pad : pad + n] = flux
        padded[:, pad + n :] = flux[:, -1:]
        f = self._frequency
        gain = self._rotation(f * vsini.float()) * self._prefilter
        gain *= torch.exp(-2 * (math.pi * sigma.float() * f) ** 2)
        phase = (-2 * math.pi * shift).float() * f
        spectrum = torch.fft.rfft(padded)
        spectrum *= torch.polar(gain, phase)
        coefficients = torch.fft.irfft(spectrum, self.n_fft)
        out = coefficients.index_select(1, self._left - 1) * self._weights[0]
        for offset, weight in enumerate(self._weights[1:]):
            out.addcmul_(coefficients.index_select(1, self._left + offset), weight)
        return out

    def _residual_sigma(self, resolution: torch.Tensor) -> torch.Tensor:
        """σ [km/s] that takes a line from the library's resolution to `resolution` (S, 1)."""
        if torch.any(resolution > self.native_resolution * (1 + 1e-9)):
            raise ValueError(
                f"the library has a resolution of {self.native_resolution:g}; "
                f"{float(resolution.max()):g} cannot be made of it"
            )
        variance = (C_KMS / resolution) ** 2 - (C_KMS / self.native_resolution) ** 2
        return torch.sqrt(variance.clamp(min=0)) / FWHM_PER_SIGMA

    def _check_reach(self, vsini: torch.Tensor, shift: torch.Tensor, sigma: torch.Tensor) -> None:
        needed = float((vsini + shift.abs() + 4 * sigma).max()) if len(vsini) else 0.0
        available = self.reach_kms + (self.pad - 2) * self.step_kms
        if needed > available:
            raise ValueError(
                f"|rv| + vsini + 4 σ of the line spread reach {needed:.0f} km/s, but the library's window "
                f"extends only {self.reach_kms:.0f} km/s beyond the arm; build it with wider windows"
            )

    def _rotation(self, cycles: torch.Tensor) -> torch.Tensor:
        """Fourier transform of the rotation profile with linear limb darkening ε at `cycles` = f · vsini.

        [2 (1 − ε) J₁(u)/u + 2 ε (sin u − u cos u)/u³] / (1 − ε/3), u = 2π f vsini (Gray 2005, eq. 18.14).
        """
        epsilon = self.limb_darkening
        u = 2 * math.pi * cycles
        # Below u = 0.1 the difference sin u − u cos u drowns in float32 rounding: use the series, exact to
        # 1e-8.
        series = 1 - u**2 * ((1 - epsilon) / 8 + epsilon / 15) / (1 - epsilon / 3)
        safe = u.clamp(min=0.1)
        disc = torch.special.bessel_j1(safe) / safe
        darkening = (torch.sin(safe) - safe * torch.cos(safe)) / safe**3
        profile = (2 * (1 - epsilon) * disc + 2 * epsilon * darkening) / (1 - epsilon / 3)
        return torch.where(u < 0.1, series, profile)


def _column(values: np.ndarray | float, size: int) -> torch.Tensor:
    return torch.as_tensor(np.broadcast_to(np.asarray(values, np.float64), (size,)).copy())[:, None]
