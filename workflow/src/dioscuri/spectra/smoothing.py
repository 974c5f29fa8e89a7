"""The Gaussian-smoothed continuum of low-resolution spectra (Ho et al. 2017, ApJ 836, 5)."""

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft

# Jing et al. (2025, eq. 2) print 35 nm; Ho et al. (2017) used 50 Å.
WIDTH = 350.0


def smoothed(wave: np.ndarray, flux: np.ndarray, *, width: float = WIDTH, good: np.ndarray | None = None) -> np.ndarray:
    """Σ f wᵢ / Σ wᵢ with wᵢ(λ) = exp(−(λ − λᵢ)² / width²) at every pixel, (S, L) float64.

    `wave` (L,) equidistant [Å]; `flux` (S, L) or (L,); `width` [Å]; pixels that are not `good` (bool, the shape
    of `flux`; None: all finite ones are) weigh nothing, and are bridged. NaN where no good pixel is in reach.
    Note that the weight has no ½ in its exponent: its standard deviation is width / √2.
    """
    wave, flux = np.asarray(wave, float), np.asarray(flux, float)
    if wave.ndim != 1 or flux.shape[-1] != len(wave) or len(wave) < 2:
        raise ValueError(f"smoothed continuum: wave {wave.shape} and flux {flux.shape} do not match")
    step = (wave[-1] - wave[0]) / (len(wave) - 1)
    if not (step > 0 and width > 0) or np.abs(np.diff(wave) - step).max() > 1e-6 * step:
        raise ValueError(
            f"smoothed continuum: wave must be equidistant and ascending, and width (found {width}) positive; "
            "interpolate the spectrum onto the common grid first"
        )
    n = len(wave)
    reach = min(n - 1, int(np.ceil(6 * width / step)))  # exp(−36) is nothing
    n_fft = next_fast_len(n + reach, real=True)
    offset = np.arange(reach + 1) * step
    kernel = np.zeros(n_fft)
    kernel[: reach + 1] = np.exp(-((offset / width) ** 2))
    kernel[n_fft - reach :] = kernel[reach:0:-1]
    transform = rfft(kernel)

    def convolved(values: np.ndarray) -> np.ndarray:
        return irfft(rfft(values, n_fft) * transform, n_fft)[..., :n]

    usable = np.isfinite(flux) if good is None else np.asarray(good, bool) & np.isfinite(flux)
    if usable.all():
        return convolved(flux) / convolved(np.ones(n))
    weight = convolved(usable.astype(float))
    with np.errstate(invalid="ignore", divide="ignore"):
        # Below 1e-9 of a pixel's weight only the rounding of the transforms is left.
        return np.where(weight > 1e-9, convolved(np.where(usable, flux, 0.0)) / weight, np.nan)
