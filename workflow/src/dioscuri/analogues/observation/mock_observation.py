"""A simulated system as an observatory delivers it: FITS maps with WCS, beam and noise, and the truth beside them."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dioscuri.analogues.observation.interferometer import Response, filtered, transfer
from dioscuri.analogues.simulation.system import System
from dioscuri.analogues.synthetic import CONTINUUM, UNITS, observe_system
from dioscuri.io import atomic, write_json
from dioscuri.job import provenance

DISTANCE = 300.0  # pc
CENTRE = (52.2656, 31.2672)  # ra, dec [deg]: in Perseus, as IRAS 2A
POSITION_ANGLE = 35.0  # deg: from secondary to primary, north through east
LIGHT = 299792.458  # km/s
# The peak of the continuum stands out this much above the noise; fainter envelopes are lost, as they are in a real map.
PEAK_TO_NOISE = 300.0


def write_observation(
    folder: str | os.PathLike,
    system: System,
    *,
    channels: Sequence[str],
    separation_au: float,
    fov_au: float,
    n_pixels: int,
    beam_au: float,
    seed: int,
    response: Response | None = None,
) -> dict[str, Any]:
    """Observe one snapshot of `system` from one side, write `<channel>.fits` into `folder`, and return what is true.

    response: of an interferometer, which the continuum passes before noise is added.

    The snapshot is drawn from those whose stars are far enough apart. Continuum comes in Jy/beam with correlated
    noise, moment-1 maps in m/s; all are turned so that the primary lies at `POSITION_ANGLE` from the secondary.
    """
    from astropy.io import fits
    from scipy.ndimage import rotate

    rng = np.random.Generator(np.random.Philox(key=[seed, 0]))
    wide = [k for k, snapshot in enumerate(system.snapshots) if snapshot.stars.separation > separation_au]
    if not wide:
        raise ValueError(f"{folder}: the stars of this system never are {separation_au} AU apart; take another seed")
    moment = int(rng.choice(wide))
    fine, field = 2 * n_pixels, 1.5 * fov_au  # margin for the turn, finer pixels than those of the catalogue
    one = replace(system, snapshots=[system.snapshots[moment]])
    images, metadata, _, _ = observe_system(
        one,
        0,
        separation_au=separation_au,
        n_pixels=fine,
        fov_au=field,
        beam_au=(beam_au, beam_au, 0.0),
        channels=channels,
    )
    view = int(rng.integers(len(metadata["image_id"])))
    truth: dict[str, Any] = {name: values[view].item() for name, values in metadata.items()}
    truth |= {"snapshot": moment, "distance_pc": DISTANCE, "position_angle": POSITION_ANGLE, "noise": {}}
    pixel = field / fine / DISTANCE  # arcsec
    half = 0.5 * separation_au / DISTANCE / 3600  # deg from the midpoint to either star
    for name, sign in (("primary", 1), ("secondary", -1)):
        east, north = (sign * half * f(np.radians(POSITION_ANGLE)) for f in (np.sin, np.cos))
        truth[name] = [float(CENTRE[0] + east / np.cos(np.radians(CENTRE[1]))), float(CENTRE[1] + north)]
    for channel in channels:
        image = images[channel][view].astype(float)
        gaps = ~np.isfinite(image)
        # Row 0 is south and columns run west. scipy turns rows towards columns, that is up towards the west.
        image = rotate(np.where(gaps, 0.0, image), -POSITION_ANGLE, reshape=False, order=1, mode="nearest")
        gaps = rotate(gaps.astype(float), -POSITION_ANGLE, reshape=False, order=1, mode="nearest") > 0.5
        header = _header(pixel, fine, beam_au / DISTANCE, channel)
        if channel in CONTINUUM:
            if response is not None and response.filters:
                image = filtered(image, transfer(response, fine, pixel, 0.0))
            rms = image.max() / PEAK_TO_NOISE
            truth["noise"][channel] = float(rms)  # Jy/sr
            image += _noise(rng, rms, fine, beam_au / (field / fine))
            image *= np.pi / (4 * np.log(2)) * (np.radians(beam_au / DISTANCE / 3600)) ** 2  # Jy/sr → Jy/beam
        else:
            image = np.where(gaps, np.nan, image * 1000.0)
        with atomic(Path(folder) / f"{channel}.fits") as temporary:
            fits.PrimaryHDU(image.astype(np.float32), header).writeto(temporary, overwrite=True, checksum=True)
    write_json(Path(folder) / "truth.json", truth | {"provenance": provenance(seed=seed, units=UNITS)})
    return truth


def _noise(rng: np.random.Generator, rms: float, n: int, beam_pixels: float) -> np.ndarray:
    """White noise smoothed by the beam, (n, n) with this rms."""
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(rng.normal(size=(n, n)), beam_pixels / np.sqrt(8 * np.log(2)), mode="wrap")
    return rms * smooth / smooth.std()


def _header(pixel: float, n: int, beam: float, channel: str) -> Any:
    """Header of a map: `pixel` and `beam` in arcsec."""
    from astropy.io import fits

    header = fits.Header()
    for axis, kind, value, step in ((1, "RA---SIN", CENTRE[0], -pixel), (2, "DEC--SIN", CENTRE[1], pixel)):
        header[f"CTYPE{axis}"], header[f"CUNIT{axis}"] = kind, "deg"
        header[f"CRVAL{axis}"], header[f"CRPIX{axis}"], header[f"CDELT{axis}"] = value, (n + 1) / 2, step / 3600
    header["RADESYS"] = "ICRS"
    header["BMAJ"] = header["BMIN"] = beam / 3600
    header["BPA"] = 0.0
    if channel in CONTINUUM:
        header["BUNIT"], header["RESTFRQ"] = "Jy/beam", LIGHT / CONTINUUM[channel] * 1e6
    else:
        header["BUNIT"] = "m/s"
    header["OBJECT"], header["ORIGIN"] = "SIMULATED", "dioscuri toy catalogue"
    return header
