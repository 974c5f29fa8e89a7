"""RADMC-3D images: `image.out` (text) and `image.bout` (binary), one or many wavelengths."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

AU_CM = 1.495978707e13
JANSKY = 1e23  # Jy per erg/s/cm²/Hz
LIGHT_KMS = 299792.458
PARALLEL, LOCAL, STOKES = 1, 2, 3  # iformat: observer at infinity, local observer, all four Stokes parameters


@dataclass(frozen=True)
class RadmcImage:
    """`intensity` (L, H, W) [Jy/sr] with row 0 at the bottom, `wavelength_um` (L,), `pixel_au` of a square pixel."""

    intensity: np.ndarray
    wavelength_um: np.ndarray
    pixel_au: float

    def at(self, wavelength_um: float, tolerance: float = 0.05) -> np.ndarray:
        """The image (H, W) nearest to `wavelength_um`; ValueError if none is within a relative `tolerance`."""
        best = int(np.argmin(np.abs(np.log(self.wavelength_um / wavelength_um))))
        if abs(self.wavelength_um[best] / wavelength_um - 1) > tolerance:
            have = ", ".join(f"{value:g}" for value in self.wavelength_um[:8])
            raise ValueError(f"no image at {wavelength_um:g} µm; wavelengths in the file [µm]: {have}")
        return self.intensity[best]

    def velocity(self, rest_wavelength_um: float) -> np.ndarray:
        """Receding velocities (L,) [km/s] of the wavelengths of a line, radio definition."""
        return LIGHT_KMS * (1 - rest_wavelength_um / self.wavelength_um)


def read_radmc(path: str | os.PathLike) -> RadmcImage:
    """Read a RADMC-3D image as seen from infinity; of polarised images Stokes I.

    ValueError (what, where) for a truncated file, another kind of file, and a local observer, whose pixels are angles.
    """
    if Path(path).suffix == ".bout":
        numbers, shape, pixel, wavelength = _binary(path)
    else:
        numbers, shape, pixel, wavelength = _text(path)
    if abs(pixel[0] / pixel[1] - 1) > 1e-3:
        raise ValueError(f"{path}: pixels of {pixel[0]:g} × {pixel[1]:g} cm; square pixels are needed")
    per_pixel = 4 if shape[0] == STOKES else 1
    n_wanted = len(wavelength) * shape[1] * shape[2] * per_pixel
    if len(numbers) != n_wanted:
        raise ValueError(
            f"{path}: {len(numbers)} intensities for {len(wavelength)} wavelengths of {shape[2]} × {shape[1]} pixels, "
            f"expected {n_wanted}; the file is truncated or not a RADMC-3D image"
        )
    intensity = numbers.reshape(len(wavelength), shape[1], shape[2], per_pixel)[..., 0]
    return RadmcImage(intensity * JANSKY, wavelength, float(pixel[0] / AU_CM))


def _text(path: str | os.PathLike) -> tuple[np.ndarray, tuple[int, int, int], np.ndarray, np.ndarray]:
    words = Path(path).read_text(encoding="utf-8", errors="replace").split()
    try:
        kind, n_x, n_y, n_wavelengths = (int(word) for word in words[:4])
        numbers = np.array(words[4:], dtype=float)
    except ValueError as error:
        raise ValueError(f"{path}: not a RADMC-3D image.out: {error}") from None
    return _split(path, (kind, n_y, n_x), n_wavelengths, numbers)


def _binary(path: str | os.PathLike) -> tuple[np.ndarray, tuple[int, int, int], np.ndarray, np.ndarray]:
    raw = Path(path).read_bytes()
    if len(raw) < 48 or len(raw) % 8:
        raise ValueError(f"{path}: {len(raw)} bytes are no RADMC-3D image.bout; the file is truncated")
    kind, n_x, n_y, n_wavelengths = (int(value) for value in np.frombuffer(raw, "<i8", 4))
    return _split(path, (kind, n_y, n_x), n_wavelengths, np.frombuffer(raw, "<f8", offset=32))


def _split(
    path: str | os.PathLike, shape: tuple[int, int, int], n_wavelengths: int, numbers: np.ndarray
) -> tuple[np.ndarray, tuple[int, int, int], np.ndarray, np.ndarray]:
    """Pixel sizes and wavelengths lie before the intensities."""
    if shape[0] == LOCAL:
        raise ValueError(f"{path}: an image of a local observer (iformat 2); make it as seen from infinity")
    if shape[0] not in (PARALLEL, STOKES) or min(shape[1], shape[2], n_wavelengths) < 1:
        found = f"iformat {shape[0]}, {shape[2]} × {shape[1]} pixels, {n_wavelengths} wavelengths"
        raise ValueError(f"{path}: not a RADMC-3D image: {found}; accepted is iformat 1 or 3")
    if len(numbers) < 2 + n_wavelengths:
        raise ValueError(f"{path}: ends within its {n_wavelengths} wavelengths; the file is truncated")
    return numbers[2 + n_wavelengths :], shape, numbers[:2], numbers[2 : 2 + n_wavelengths]
