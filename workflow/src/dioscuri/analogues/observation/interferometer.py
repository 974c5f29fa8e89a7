"""What an interferometer keeps of a sky: its response to spatial frequencies, from uv tracks, antennas or a scale.

A map is the sky times the beam only where baselines measured it. Scales that no baseline is short enough for are lost
(the largest angular scale), and a catalogue must lose them too before it is compared with such a map.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy import fft, ndimage

LATITUDES = {
    "ALMA": -23.029,
    "ACA": -23.029,
    "VLA": 34.079,
    "EVLA": 34.079,
    "SMA": 19.824,
    "NOEMA": 44.634,
    "PDBI": 44.634,
}
STEP_H = 1 / 30  # hours between visibilities of a track: arcs far shorter than a cell of the uv plane
HALF = 4 * np.log(2)  # of a Gaussian with this FWHM: exp(−4 ln 2 x²)
ARCSEC = np.pi / 180 / 3600


@dataclass(frozen=True)
class Response:
    """uv (K, 2): east and north of all visibilities, in wavelengths; largest_scale [arcsec], None: nothing is lost.

    calibration_error: relative error of the flux scale (1σ), one draw per image.
    """

    uv: np.ndarray = field(default_factory=lambda: np.empty((0, 2)))
    largest_scale: float | None = None
    calibration_error: float = 0.0

    @property
    def filters(self) -> bool:
        """Whether anything but the flux scale differs from a telescope that measures every scale."""
        return len(self.uv) > 0 or self.largest_scale is not None


def response_of(settings: Mapping[str, Any], declination: float, wavelength_um: float | None) -> Response:
    """The response that settings of a query or of an observation describe (keys as in the configuration).

    declination [deg] of the object: with `antennas` it shapes the tracks. wavelength_um turns metres into wavelengths.
    """
    scale, error = settings.get("largest_scale"), settings.get("calibration_error") or 0.0
    uv = np.empty((0, 2))
    if settings.get("uv") and settings.get("antennas"):
        raise ValueError("uv and antennas both describe the uv coverage: give one of them")
    if settings.get("uv"):
        uv = read_uv(settings["uv"], wavelength_um)
    elif settings.get("antennas"):
        antennas, latitude = read_antennas(settings["antennas"])
        latitude = settings.get("latitude") if settings.get("latitude") is not None else latitude
        if latitude is None:
            raise ValueError(
                f"{settings['antennas']}: names no observatory that is known ({', '.join(LATITUDES)}); give latitude "
                "[deg]"
            )
        if wavelength_um is None:
            raise ValueError(f"{settings['antennas']}: the wavelength is not known: baselines are in metres")
        hours = settings.get("hour_angles") or (-1.0, 1.0)
        uv = tracks(antennas, latitude, declination, hours) / (1e-6 * wavelength_um)
    return Response(uv, scale, error)


def transfer(response: Response, n: int, pixel_arcsec: float, position_angle: float) -> np.ndarray:
    """Share kept of each spatial frequency of n × n images, mirrored to twice their size: (2n, n + 1) float32.

    Up is at `position_angle` [deg, north through east]. largest_scale θ: 1 − exp(−(π θ f)² / 4 ln 2), which is what is
    left when all that is smooth on a Gaussian of FWHM θ is taken away. uv: 1 within half of 1 / field of a visibility,
    0 beyond twice that; past the longest baseline the beam decides, not the coverage.
    """
    up = fft.fftfreq(2 * n, pixel_arcsec)[:, None]
    right = fft.rfftfreq(2 * n, pixel_arcsec)[None, :]
    kept = np.ones((2 * n, n + 1))
    if response.largest_scale is not None:
        kept *= 1 - np.exp(-((np.pi * response.largest_scale) ** 2) * (up**2 + right**2) / HALF)
    if len(response.uv):
        kept *= _covered(response.uv * ARCSEC, n, 1 / (2 * n * pixel_arcsec), position_angle)
    return kept.astype(np.float32)


def filtered(images: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Images (…, n, n) with the share `kept` (2n, n + 1) of every spatial frequency; they go on as their mirror."""
    n = images.shape[-1]
    edges = [(0, 0)] * (images.ndim - 2) + [(0, n)] * 2
    spectrum = fft.rfft2(np.pad(images, edges, mode="symmetric"))
    spectrum *= kept
    return fft.irfft2(spectrum, s=(2 * n, 2 * n))[..., :n, :n].astype(images.dtype)


def _covered(uv: np.ndarray, n: int, cell: float, position_angle: float) -> np.ndarray:
    """Coverage (2n, n + 1) by visibilities at `uv` (K, 2) [1/arcsec, east and north] on a grid of `cell`s."""
    angle = np.deg2rad(position_angle)
    right = uv[:, 1] * np.sin(angle) - uv[:, 0] * np.cos(angle)
    up = uv[:, 1] * np.cos(angle) + uv[:, 0] * np.sin(angle)
    away = np.ones((2 * n, 2 * n), bool)
    for sign in (-1, 1):  # a real sky: every visibility is there twice
        rows, columns = (np.rint(sign * axis / cell).astype(int) + n for axis in (up, right))
        inside = (rows >= 0) & (rows < 2 * n) & (columns >= 0) & (columns < 2 * n)
        away[rows[inside], columns[inside]] = False
    y, x = np.indices(away.shape) - n
    beyond = np.hypot(x, y) > np.hypot(right, up).max() / cell
    if away.all():  # every baseline is longer than what the pixels show
        return np.zeros((2 * n, n + 1))
    kept = np.where(beyond, 1.0, np.clip(2 - ndimage.distance_transform_edt(away), 0, 1))
    return fft.ifftshift(kept)[:, : n + 1]


# --- files ---------------------------------------------------------------------------------------------------


def read_uv(path: str, wavelength_um: float | None) -> np.ndarray:
    """u, v (K, 2) [wavelengths] of a UVFITS file, or of a table (CSV, ECSV) with columns `u [unit]` and `v [unit]`.

    Units: m (with the wavelength), lambda, klambda, Mlambda. UVFITS: light seconds at its own reference frequency.
    """
    if Path(path).suffix.lower() not in (".csv", ".ecsv"):
        return _uvfits(path)
    from astropy.table import Table

    try:
        table = Table.read(path, format="ascii.ecsv" if path.lower().endswith(".ecsv") else "ascii.csv")
    except Exception as error:  # of many kinds
        raise ValueError(f"{path}: no table of uv coverage: {error}") from error
    found = {name.split("[")[0].strip(): name for name in table.colnames}
    if not {"u", "v"} <= found.keys():
        raise ValueError(f"{path}: columns {', '.join(table.colnames)}; accepted: u [unit] and v [unit]")
    axes = [_wavelengths(path, found[name], table[found[name]], wavelength_um) for name in ("u", "v")]
    return _checked(path, np.stack(axes, axis=1))


def _wavelengths(path: str, name: str, column: Any, wavelength_um: float | None) -> np.ndarray:
    unit = name.split("[")[1].rstrip("] ") if "[" in name else str(column.unit or "")
    factors = {"lambda": 1.0, "klambda": 1e3, "Mlambda": 1e6}
    if wavelength_um is not None:
        factors["m"] = 1e6 / wavelength_um
    if unit not in factors:
        raise ValueError(f"{path}: column {name} in '{unit}'; accepted: {', '.join(factors)}, as in 'u [klambda]'")
    return np.asarray(column, float) * factors[unit]


def _uvfits(path: str) -> np.ndarray:
    from astropy.io import fits

    try:
        with fits.open(path) as hdus:
            data, header = hdus[0].data, hdus[0].header
            names = {name.split("-")[0]: name for name in getattr(data, "parnames", [])}
            frequency = next(header[f"CRVAL{k}"] for k in range(1, 9) if header.get(f"CTYPE{k}") == "FREQ")
            axes = [np.asarray(data.par(names[axis]), float) for axis in ("UU", "VV")]
    except (OSError, KeyError, StopIteration, AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: no uv coverage; accepted: UVFITS (UU, VV and a FREQ axis), or a table (.csv, .ecsv) of u and v"
        ) from error
    return _checked(path, np.stack(axes, axis=1) * frequency)


def read_antennas(path: str) -> tuple[np.ndarray, float | None]:
    """East, north and up (A, 3) [m] of an antenna list, and the latitude [deg] of the observatory that it names.

    CASA's configuration files (`# coordsys=LOC (local tangent plane)`, `# observatory=ALMA`), or any table of numbers
    whose first three columns are that.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: no antenna list that can be read: {error}") from error
    notes = dict(line.lstrip("# ").split("=", 1) for line in lines if line.startswith("#") and "=" in line)
    system = notes.get("coordsys", "LOC").split()[0].upper()
    if system != "LOC":
        raise ValueError(f"{path}: coordinates in '{system}'; accepted: LOC (east, north, up in metres)")
    rows = [line.replace(",", " ").split()[:3] for line in lines if line.strip() and not line.startswith("#")]
    try:
        antennas = np.array(rows, float)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; accepted: a line per antenna: east, north, up in metres") from error
    if antennas.ndim != 2 or antennas.shape[0] < 2 or antennas.shape[1] != 3 or not np.isfinite(antennas).all():
        raise ValueError(f"{path}: {len(rows)} antennas; accepted: two or more, each east, north and up in metres")
    return antennas, LATITUDES.get(notes.get("observatory", "").strip().upper())


def tracks(antennas: np.ndarray, latitude: float, declination: float, hour_angles: Sequence[float]) -> np.ndarray:
    """u, v (K, 2) [m] of all baselines of `antennas` (A, 3) over the hour angles from … to [h]; angles in deg.

    Thompson, Moran & Swenson (2017), eqs. 4.1 and 4.3.
    """
    low, high = hour_angles
    if not -12 <= low <= high <= 12:
        raise ValueError(f"hour angles {low} to {high} h: accepted are two between −12 and 12, the smaller first")
    first, second = np.triu_indices(len(antennas), 1)
    east, north, up = (antennas[second] - antennas[first]).T
    phi, delta = np.deg2rad(latitude), np.deg2rad(declination)
    x, y, z = -np.sin(phi) * north + np.cos(phi) * up, east, np.cos(phi) * north + np.sin(phi) * up
    hours = np.linspace(low, high, int((high - low) / STEP_H) + 1)[:, None] * np.pi / 12
    u = np.sin(hours) * x + np.cos(hours) * y
    v = -np.sin(delta) * np.cos(hours) * x + np.sin(delta) * np.sin(hours) * y + np.cos(delta) * z
    return np.stack([u.ravel(), v.ravel()], axis=1)


def _checked(path: str, uv: np.ndarray) -> np.ndarray:
    uv = uv[np.isfinite(uv).all(axis=1)]
    if not len(uv):
        raise ValueError(f"{path}: not a single visibility with finite u and v")
    return uv
