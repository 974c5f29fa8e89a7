"""The rest frame in which LRS mocks and observations meet: grid, telluric bands, noise, systematics, normalisation."""

import numpy as np

from dioscuri.arms import C_KMS
from dioscuri.spectra.smoothing import smoothed

# The pixels of networks and fits: 2 Å, each the mean of two of the fine grid, 3900 to 8900 Å in vacuum at rest.
FINE = 3900.0 + np.arange(5000.0)
WAVE = FINE.reshape(-1, 2).mean(1)
# Of DR10's F and G dwarfs at their catalogue labels: 1500 to 1600 at 4250–6250 Å, 1800 in the red; stated is 1800.
RESOLUTION = 1650.0
WINDOW = (3950.0, 8850.0)  # Å that take part; nearer the ends smoothing is one-sided
WIDTH = 50.0  # Å of the Gaussian weights (Ho et al. 2017); Jing et al. (2025) print 350
CLIP = 1.5  # of the continuum: no line of a star reaches as far, cosmic rays do
# Bands of O2 and H2O and the gap of the two arms [Å, vacuum]; wide enough for ±200 km/s.
TELLURIC = ((6270, 6330), (6860, 6960), (7160, 7350), (7585, 7720), (8120, 8360), (8895, 9100))
# 1σ of a native pixel over smoothed flux, times S/N in g: medians of LAMOST DR7 to DR10 spectra.
NOISE = np.array(
    [(3750, 5.5), (4000, 2.25), (4500, 1.2), (5000, 0.85), (5500, 0.85), (5900, 1.08), (6200, 0.65), (7000, 0.49),
     (8000, 0.62), (8900, 0.97)]
)  # fmt: skip
NATIVE_STEP = 1e-4 * np.log(10)  # of LAMOST's pixels in ln λ
# What two nights differ by beyond noise, 1σ over 10 Å after normalisation: repeats of DR8 and DR10.
SYSTEMATICS = np.array(
    [(3900, 0.012), (4000, 0.009), (4500, 0.006), (4700, 0.004), (5500, 0.004), (5650, 0.009), (5800, 0.009),
     (6100, 0.005), (6200, 0.0035), (7000, 0.0035), (7100, 0.006), (8900, 0.007)]
)  # fmt: skip
SCALES = ((12.0, 0.8), (35.0, 0.6))  # correlation lengths of the systematics [Å] and their shares


def kept(low: float = WINDOW[0], high: float = WINDOW[1]) -> np.ndarray:
    """Pixels from `low` to `high` [Å] that take part, (L,) bool: no telluric band."""
    inside = (low <= WAVE) & (high >= WAVE)
    for first, last in TELLURIC:
        inside &= (first >= WAVE) | (last <= WAVE)
    return inside


def noise_curve() -> np.ndarray:
    """1σ of a pixel of the grid over smoothed flux at S/N_g = 1, (L,)."""
    native = np.interp(WAVE, NOISE[:, 0], NOISE[:, 1])
    return native * np.sqrt(NATIVE_STEP * WAVE / 2.0)


def excess_spread(resolution: np.ndarray, vsini: np.ndarray) -> np.ndarray:
    """Variance of the line spread beyond that of RESOLUTION, in its units, (S,): 0 is usual, .38 at R − 15 %.

    `vsini` [km/s] adds 0.225 v² for a limb darkening of 0.6 (second moment of Gray 2005, eq. 18.14): .54 at 120 km/s.
    """
    sigma = C_KMS / RESOLUTION / np.sqrt(8 * np.log(2))
    return (RESOLUTION / np.asarray(resolution)) ** 2 - 1.0 + 0.225 * (np.asarray(vsini) / sigma) ** 2


def binned(fine: np.ndarray) -> np.ndarray:
    """Fluxes on the fine grid (S, 2L) as means over the pixels, (S, L)."""
    return fine.reshape(*fine.shape[:-1], -1, 2).mean(-1)


def normalised(flux: np.ndarray, width: float = WIDTH, good: np.ndarray | None = None) -> np.ndarray:
    """Flux over Gaussian-smoothed flux − 1, clipped, (S, L) float32; 0 where not `good`."""
    level = smoothed(WAVE, flux, width=width, good=good)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(level > 0, flux / level - 1.0, 0.0)
    if good is not None:
        ratio = np.where(good, ratio, 0.0)
    return np.clip(np.nan_to_num(ratio), -CLIP, CLIP).astype(np.float32)


def systematics(random: np.random.Generator, n: int) -> np.ndarray:
    """Factors by which nights differ, (n, L): smooth noise of the measured size, log-normal from night to night."""
    amplitude = np.interp(WAVE, SYSTEMATICS[:, 0], SYSTEMATICS[:, 1]) * np.exp(0.5 * random.standard_normal((n, 1)))
    return np.exp(amplitude * sum(share * _smooth_noise(random, n, scale) for scale, share in SCALES))


def _smooth_noise(random: np.random.Generator, n: int, scale: float) -> np.ndarray:
    """Noise of unit variance, linear between knots `scale`·√3/2 apart [Å], (n, L)."""
    spacing = max(1, int(scale / 2.0 * 1.73))
    position = np.arange(len(WAVE)) / spacing
    left = position.astype(int)
    fraction = position - left
    knots = random.standard_normal((n, left[-1] + 2))
    values = (1 - fraction) * knots[:, left] + fraction * knots[:, left + 1]
    return values / np.sqrt((1 - fraction) ** 2 + fraction**2)
