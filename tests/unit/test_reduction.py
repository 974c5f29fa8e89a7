"""Repair, velocity and rest frame of single spectra, on spectra whose truth is known."""

from types import SimpleNamespace

import numpy as np
import pytest

from dioscuri.arms import C_KMS, Arm
from dioscuri.flags import Quality, Refusal
from dioscuri.lamost.exposures import Exposure
from dioscuri.lamost.reduction import RefusedSpectrum, clean, measure_velocities, rest_frame, spikes

BLUE = Arm("blue", 5000.0, 5300.0, 3347, 7500.0)
SNR = 40.0
NATIVE = np.linspace(4898, 5390, 4136)  # the pixels of a single blue exposure


def star(seed: int = 0, wave: np.ndarray = NATIVE, rv: float = 0.0, n_lines: int = 300) -> np.ndarray:
    """Lines of random depth, with the narrowest profile that the spectrograph lets through."""
    rng = np.random.default_rng(seed)
    centres, depths = rng.uniform(4890, 5400, (n_lines, 1)), rng.uniform(0, 0.7, (n_lines, 1))
    width = 5200 / 7500 / 2.3548
    rest = wave / (1 + rv / C_KMS)
    return np.prod(1 - depths * np.exp(-0.5 * ((rest - centres) / width) ** 2), axis=0)


def observed(flux: np.ndarray, *, snr: float = SNR, seed: int = 1, wave: np.ndarray = NATIVE) -> Exposure:
    """Counts of `flux` through a blaze, with noise."""
    rng = np.random.default_rng(seed)
    blaze = 1000 * (1.4 - ((wave - 5130) / 260) ** 2)
    sigma = np.full(len(wave), 1000 / snr)
    counts = flux * blaze + rng.normal(size=len(wave)) * sigma
    return Exposure("B-1", "blue", 1, 58000.0, 1200.0, snr, wave, counts, sigma**-2.0, np.zeros(len(wave), bool))


def changed(exposure: Exposure, **values) -> Exposure:
    return Exposure(**{**exposure.__dict__, **values})


@pytest.mark.parametrize("snr", [10, 40, 300])
@pytest.mark.parametrize("n_lines", [0, 300, 450])
def test_stellar_spectra_have_no_spikes(snr, n_lines):
    """Noise, a blaze, deep lines and crowds of them are no cosmic rays: at most one pixel in 40,000."""
    flagged = sum(
        spikes(e.flux / 1000, e.ivar**-0.5 / 1000).sum()
        for e in (observed(star(seed, n_lines=n_lines), snr=snr, seed=seed) for seed in range(10))
    )
    assert flagged <= 3, "one false hit comes with its two neighbours"


@pytest.mark.parametrize("width", [1, 2, 4, 15])
@pytest.mark.parametrize("height", [0.5, 5.0])
def test_cosmic_rays_on_the_continuum_are_found_whole(width, height):
    exposure = observed(np.ones_like(NATIVE))
    for start in range(300, 3900, 450):
        exposure.flux[start : start + width] += height * 1000
    hit = spikes(exposure.flux / 1000, exposure.ivar**-0.5 / 1000)
    for start in range(300, 3900, 450):
        assert hit[start : start + width].all()
    assert hit.sum() == 8 * (width + 2), "with one neighbour on either side, and nothing else"


@pytest.mark.parametrize("width", [1, 2, 4])
def test_cosmic_rays_in_the_core_of_a_broad_line_are_found(width):
    halpha = 1 - 0.6 * np.exp(-0.5 * ((NATIVE - 5150) / 3.0) ** 2)
    exposure = observed(halpha, snr=100)
    core = np.searchsorted(NATIVE, 5150)
    exposure.flux[core : core + width] += 450.0  # still below the continuum
    assert spikes(exposure.flux / 1000, exposure.ivar**-0.5 / 1000)[core : core + width].all()


def test_the_central_bump_of_a_double_line_is_no_cosmic_ray():
    """Two equal stars 60 km/s apart: the bump between their lines is what the whole project looks for."""
    pair = 0.5 * (star(3, rv=30) + star(3, rv=-30))
    exposure = observed(pair, snr=300)
    assert not spikes(exposure.flux / 1000, exposure.ivar**-0.5 / 1000).any()


def test_bad_pixels_are_bridged_and_counted_once():
    exposure = observed(np.ones_like(NATIVE))
    flux, ivar, mask = exposure.flux.copy(), exposure.ivar.copy(), exposure.mask.copy()
    flux[1500], flux[1510:1513], flux[1600] = np.nan, 9000.0, np.inf
    ivar[1700:1705], ivar[1800], mask[1900:1904] = 0.0, np.nan, True
    flux[1900:1904], flux[2000] = -1e5, -9000.0
    cleaned = clean(changed(exposure, flux=flux, ivar=ivar, mask=mask), BLUE, 5.0)
    offset = np.searchsorted(NATIVE, cleaned.wave[0])
    expected = {1500, *range(1509, 1514), 1600, *range(1700, 1705), 1800, *range(1900, 1904), 2000}
    assert set(np.flatnonzero(cleaned.bad) + offset) == expected
    assert np.all(np.isfinite(cleaned.flux)) and np.all(cleaned.sigma > 0)
    line = np.interp(NATIVE[1900], NATIVE[[1899, 1904]], cleaned.flux[[1899 - offset, 1904 - offset]])
    assert cleaned.flux[1900 - offset] == pytest.approx(line)


@pytest.mark.parametrize(
    ("change", "reason", "flag"),
    [
        ({"flux": np.zeros(len(NATIVE))}, Refusal.EMPTY, Quality.LOW_SNR),
        ({"flux": np.full(len(NATIVE), -3.0)}, Refusal.EMPTY, Quality.LOW_SNR),
        ({"flux": np.full(len(NATIVE), np.nan)}, Refusal.NOT_FINITE, Quality.MANY_BAD_PIXELS),
        ({"ivar": np.zeros(len(NATIVE))}, Refusal.NOT_FINITE, Quality.MANY_BAD_PIXELS),
        ({"mask": np.ones(len(NATIVE), bool)}, Refusal.NOT_FINITE, Quality.MANY_BAD_PIXELS),
        ({"snr": 5.0}, Refusal.LOW_SNR, Quality.LOW_SNR),
        ({"snr": np.nan}, Refusal.LOW_SNR, Quality.LOW_SNR),
        ({"wave": NATIVE + 1000}, Refusal.NO_COVERAGE, Quality.SHORT_COVERAGE),
        ({"wave": NATIVE + 170}, Refusal.NO_COVERAGE, Quality.SHORT_COVERAGE),
        (dict.fromkeys(("wave", "flux", "ivar"), np.zeros(0)), Refusal.NO_COVERAGE, Quality.SHORT_COVERAGE),
    ],
)
def test_unusable_spectra_are_refused(change, reason, flag):
    with pytest.raises(RefusedSpectrum) as caught:
        clean(changed(observed(np.ones_like(NATIVE)), **change), BLUE, 5.0)
    assert (caught.value.reason, caught.value.flag) == (reason, flag)


class Fixed:
    """A meter that says what it is told, and remembers what it was shown."""

    teff = np.array([4500.0, 7000.0])

    def measure(self, wave, flux, sigma=None):
        self.wave, self.flux = wave, flux
        zero = np.zeros(len(flux))
        return SimpleNamespace(rv=zero, rv_err=zero, teff=zero, ccf_max=zero, at_edge=zero > 1)


def test_the_meter_sees_native_pixels_at_their_continuum():
    meter = Fixed()
    cleaned = [clean(observed(star(seed), seed=seed, snr=200), BLUE, 5.0) for seed in range(3)]
    measure_velocities(cleaned, BLUE, meter)
    for spectrum, wave, flux in zip(cleaned, meter.wave, meter.flux, strict=True):
        assert wave is spectrum.wave
        assert len(flux) == len(wave) and np.all(np.isfinite(flux)) and flux.max() <= 1.5
        assert np.percentile(flux, 95) == pytest.approx(1.0, abs=0.04)


@pytest.mark.parametrize("rv", [-250.0, 0.0, 80.0])
def test_lines_come_to_rest(rv):
    """Noise-free: what arrives on the grid is the star at rest, to the accuracy of linear interpolation."""
    exposure = observed(star(rv=rv), snr=1e6)
    flux, sigma, covered = rest_frame([clean(exposure, BLUE, 5.0)], np.array([rv]), BLUE)
    truth, _, _ = rest_frame([clean(observed(star(), snr=1e6), BLUE, 5.0)], np.zeros(1), BLUE)
    assert flux.dtype == sigma.dtype == np.float16
    assert covered.all()
    # curvature of the sharpest lines, step²/8 · F″ ≈ 0.01; continua differ where other lines enter the ends
    assert np.abs(flux.astype(float) - truth).max() < 0.03
    assert np.std(flux.astype(float) - truth) < 0.003


def test_sigma_is_the_noise_of_native_pixels():
    exposures = [observed(np.ones_like(NATIVE), snr=50, seed=seed) for seed in range(12)]
    flux, sigma, _ = rest_frame([clean(e, BLUE, 5.0) for e in exposures], np.zeros(12), BLUE)
    ratio = flux.astype(float).std() / sigma.astype(float).mean()
    # linear interpolation at a uniform phase leaves √(2/3) = 0.82 of the noise; the continuum takes next to
    # none
    assert ratio == pytest.approx(np.sqrt(2 / 3), rel=0.05)
    blaze = 1.4 - ((BLUE.wave - 5130) / 260) ** 2
    np.testing.assert_allclose(sigma.mean(axis=0) * blaze * 50, 1.0, rtol=0.1)


def test_beyond_the_native_ends_the_star_is_continuum():
    wave = NATIVE[1100:]
    short = observed(star(wave=wave), wave=wave)
    flux, sigma, covered = rest_frame([clean(short, BLUE, 5.0)], np.zeros(1), BLUE)
    assert not covered[0]
    outside = BLUE.wave < wave[0]
    assert outside.any() and np.all(flux[0, outside] == 0) and np.all(np.isfinite(sigma))
