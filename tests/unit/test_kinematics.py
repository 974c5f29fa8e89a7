"""Kinematics: against direct convolution at high resolution, and against closed forms."""

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline

from dioscuri.arms import C_KMS, Arm
from dioscuri.libraries.grid import log_grid, window_of
from dioscuri.synthesis.kinematics import FWHM_PER_SIGMA, Kinematics

ARM = Arm("blue", 5000.0, 5300.0, 3347, 7500.0)
NATIVE = 20000.0
LINES = np.linspace(4990.0, 5310.0, 60) + 2.0 * np.sin(np.arange(60))
DEPTHS = 0.2 + 0.6 * np.abs(np.sin(3.0 * np.arange(60)))


def line_spectrum(wave: np.ndarray, lines: np.ndarray = LINES, depths: np.ndarray = DEPTHS) -> np.ndarray:
    """A sloping continuum with Gaussian lines of the library's own resolution, in velocity."""
    sigma = C_KMS / NATIVE / FWHM_PER_SIGMA
    velocity = C_KMS * np.log(wave[:, None] / lines)
    return (1 + 0.2 * np.log(wave / 5150) * 10) * (1 - (depths * np.exp(-0.5 * (velocity / sigma) ** 2)).sum(1))


def rotation_profile(velocity: np.ndarray, vsini: float, epsilon: float = 0.6) -> np.ndarray:
    """Gray (2005), eq. 18.14: the broadening function of a rotating star with linear limb darkening."""
    inside = np.clip(1 - (velocity / vsini) ** 2, 0, None)
    shape = 2 * (1 - epsilon) * np.sqrt(inside) + 0.5 * np.pi * epsilon * inside
    return shape / (np.pi * vsini * (1 - epsilon / 3))


def direct(vsini: float, rv: float, resolution: float, step: float = 0.25) -> np.ndarray:
    """The published way: convolve with each kernel on a fine grid, shift, interpolate."""
    wave = log_grid(*window_of(ARM), step)
    flux = line_spectrum(wave)
    if vsini > 0:
        v = np.arange(-np.ceil(vsini / step), np.ceil(vsini / step) + 1) * step
        kernel = rotation_profile(v, vsini)
        flux = np.convolve(np.pad(flux, len(v) // 2, mode="edge"), kernel / kernel.sum(), "valid")
    sigma = C_KMS * np.sqrt(resolution**-2 - NATIVE**-2) / FWHM_PER_SIGMA
    if sigma > 0:
        v = np.arange(-np.ceil(6 * sigma / step), np.ceil(6 * sigma / step) + 1) * step
        kernel = np.exp(-0.5 * (v / sigma) ** 2)
        flux = np.convolve(np.pad(flux, len(v) // 2, mode="edge"), kernel / kernel.sum(), "valid")
    return CubicSpline(wave * (1 + rv / C_KMS), flux)(ARM.wave)


@pytest.fixture(scope="module")
def library_wave() -> np.ndarray:
    return log_grid(*window_of(ARM), 4.0)


@pytest.fixture(scope="module")
def kinematics(library_wave: np.ndarray) -> Kinematics:
    return Kinematics(library_wave, ARM.wave, NATIVE)


@pytest.fixture(scope="module")
def model(library_wave: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(line_spectrum(library_wave).astype(np.float32))[None]


@pytest.mark.parametrize(
    ("vsini", "rv", "resolution"),
    [(0, 0, 7500), (30, -37.3, 7500), (120, 250, 7500), (500, 500, 7500), (500, -500, 6500), (3, 11, 8500)],
)
def test_agrees_with_direct_convolution(kinematics, model, vsini, rv, resolution):
    ours = kinematics(model, vsini, rv, resolution)[0].numpy()
    assert np.abs(ours - direct(vsini, rv, resolution)).max() < 1e-4


def isolated(library_wave: np.ndarray) -> torch.Tensor:
    flux = 1 - 0.5 * np.exp(-0.5 * (C_KMS * np.log(library_wave / 5150.0) / 6.366) ** 2)
    return torch.from_numpy(flux.astype(np.float32))[None]


@pytest.mark.parametrize("rv", [-480.0, -3.3, 0.0, 127.7])
@pytest.mark.parametrize("vsini", [0.0, 80.0, 300.0])
def test_line_moves_by_rv_and_keeps_its_equivalent_width(kinematics, library_wave, vsini, rv):
    out = 1 - kinematics(isolated(library_wave), vsini, rv)[0].double().numpy()
    # All kernels are symmetric in ln λ, so the centroid is exact there.
    velocity = C_KMS * np.log(ARM.wave / 5150.0)
    # Farther out there is only the rounding of float32, to which the distance would give weight.
    weight = np.where(np.abs(velocity - rv) < vsini + 200, out / ARM.wave, 0)
    assert (weight * velocity).sum() / weight.sum() == pytest.approx(C_KMS * np.log1p(rv / C_KMS), abs=0.01)
    # W in velocity is that of the Gaussian that went in, ½ √(2π) σ.
    width = weight.sum() * C_KMS * (ARM.wave[1] - ARM.wave[0])
    assert width == pytest.approx(0.5 * np.sqrt(2 * np.pi) * 6.366, rel=1e-4)


def test_rotation_profile_has_grays_shape(library_wave):
    # No line spread beyond the native one: a line much narrower than vsini shows the profile itself.
    out = 1 - Kinematics(library_wave, ARM.wave, NATIVE)(isolated(library_wave), 200.0, 0.0, NATIVE)[0].numpy()
    velocity = C_KMS * np.log(ARM.wave / 5150.0)
    expected = 0.5 * np.sqrt(2 * np.pi) * 6.366 * rotation_profile(velocity, 200.0)
    away_from_limb = np.abs(np.abs(velocity) - 200) > 25
    assert np.abs(out - expected)[away_from_limb].max() < 0.01 * expected.max()
    assert np.abs(out[np.abs(velocity) > 230]).max() < 1e-5


def test_every_row_has_its_own_settings(kinematics, model):
    vsini, rv, resolution = np.array([5.0, 250.0]), np.array([100.0, -50.0]), np.array([6500.0, 8500.0])
    together = kinematics(model.expand(2, -1), vsini, rv, resolution)
    for row in range(2):
        alone = kinematics(model, vsini[row], rv[row], resolution[row])
        assert torch.equal(together[row], alone[0])


def test_flat_spectrum_stays_flat(kinematics, library_wave):
    out = kinematics(torch.full((1, len(library_wave)), 3.0), 400.0, 300.0)
    assert float((out - 3.0).abs().max()) < 1e-5


def test_refuses_what_it_cannot_do(kinematics, model, library_wave):
    with pytest.raises(ValueError, match="beyond the arm; build it with wider windows"):
        kinematics(model, 500.0, 900.0)
    with pytest.raises(ValueError, match="reach nan km/s"):
        kinematics(model, 10.0, np.nan)
    with pytest.raises(ValueError, match="vsini is negative: -1 km/s"):
        kinematics(model, -1.0, 0.0)
    with pytest.raises(ValueError, match="resolution of 20000; 30000 cannot be made of it"):
        kinematics(model, 0.0, 0.0, 30000.0)
    with pytest.raises(ValueError, match="uniform in ln"):
        Kinematics(np.linspace(4980, 5320, 5000), ARM.wave, NATIVE)
    with pytest.raises(ValueError, match="the arm needs 5000"):
        Kinematics(log_grid(5010, 5320, 4.0), ARM.wave, NATIVE)
