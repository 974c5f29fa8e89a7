"""RADMC-3D images: files as its `image` command writes them."""

import numpy as np
import pytest

from dioscuri.analogues.observation.radmc import read_radmc

AU = 1.495978707e13


def write_text(path, intensity, wavelengths, iformat=1, pixel_cm=(10 * AU, 10 * AU)):
    """An image.out as RADMC-3D writes it; `intensity` (L, H, W) or (L, H, W, 4) [erg/s/cm²/Hz/sr]."""
    n_y, n_x = intensity.shape[1:3]
    lines = [f"{iformat:12d}", f"{n_x:12d}{n_y:12d}", f"{len(wavelengths):12d}"]
    lines += ["   ".join(f"{value:.16E}" for value in pixel_cm)]
    lines += [f"   {value:.16E}" for value in wavelengths]
    for plane in intensity:
        lines.append(" ")
        lines += [" ".join(f"  {value:.16E}" for value in np.atleast_1d(pixel)) for row in plane for pixel in row]
    path.write_text("\n".join(lines) + "\n\n")


@pytest.fixture
def intensity():
    return np.random.default_rng(3).uniform(1e-16, 1e-12, (2, 3, 5))


def test_image_out_of_two_wavelengths(tmp_path, intensity):
    write_text(tmp_path / "image.out", intensity, [870.0, 1300.0])
    found = read_radmc(tmp_path / "image.out")
    np.testing.assert_allclose(found.intensity, intensity * 1e23, rtol=1e-14)  # x runs fastest; Jy/sr
    assert found.pixel_au == pytest.approx(10)
    np.testing.assert_array_equal(found.at(1299.0), found.intensity[1])
    with pytest.raises(ValueError, match=r"no image at 450 µm; wavelengths in the file \[µm\]: 870, 1300"):
        found.at(450.0)


def test_image_bout(tmp_path, intensity):
    head = np.array([1, 5, 3, 2], "<i8").tobytes() + np.array([10 * AU, 10 * AU, 870, 1300], "<f8").tobytes()
    (tmp_path / "image.bout").write_bytes(head + intensity.astype("<f8").tobytes())
    found = read_radmc(tmp_path / "image.bout")
    np.testing.assert_allclose(found.intensity, intensity * 1e23)
    np.testing.assert_array_equal(found.wavelength_um, [870, 1300])


def test_of_a_polarised_image_stokes_i_is_taken(tmp_path, intensity):
    stokes = np.stack([intensity, -0.1 * intensity, 0.2 * intensity, 0 * intensity], axis=-1)
    write_text(tmp_path / "image.out", stokes, [870.0, 1300.0], iformat=3)
    np.testing.assert_allclose(read_radmc(tmp_path / "image.out").intensity, intensity * 1e23)


def test_velocities_of_a_line_cube(tmp_path, intensity):
    rest = 1300.403655  # CO 2–1
    write_text(tmp_path / "image.out", intensity, rest * (1 + np.array([-1.0, 2.0]) / 299792.458))
    velocity = read_radmc(tmp_path / "image.out").velocity(rest)
    np.testing.assert_allclose(velocity, [-1, 2], atol=1e-4)  # longer wavelengths recede


def test_truncated_file(tmp_path, intensity):
    write_text(tmp_path / "image.out", intensity, [870.0, 1300.0])
    words = (tmp_path / "image.out").read_text().split("\n")
    (tmp_path / "image.out").write_text("\n".join(words[:-6]))
    with pytest.raises(ValueError, match=r"image.out: 26 intensities .* expected 30; the file is truncated"):
        read_radmc(tmp_path / "image.out")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("2\n2 2\n1\n0.1 0.1\n870\n\n1\n1\n1\n1\n", "local observer"),
        ("hello world\n", "not a RADMC-3D image.out"),
        ("1\n2 2\n3\n1 1\n870\n", "ends within its 3 wavelengths"),
        ("1\n2 2\n1\n1.0 2.0\n870\n\n1\n1\n1\n1\n", "square pixels are needed"),
        ("7\n2 2\n1\n1.0 1.0\n870\n\n1\n1\n1\n1\n", "accepted is iformat 1 or 3"),
        ("", "not a RADMC-3D image.out"),
    ],
)
def test_other_files_are_refused_with_a_reason(tmp_path, text, complaint):
    (tmp_path / "image.out").write_text(text)
    with pytest.raises(ValueError, match=complaint):
        read_radmc(tmp_path / "image.out")


def test_binary_rubbish(tmp_path):
    (tmp_path / "image.bout").write_bytes(b"x" * 50)
    with pytest.raises(ValueError, match=r"50 bytes are no RADMC-3D image.bout"):
        read_radmc(tmp_path / "image.bout")
