"""An observed map made comparable to a catalogue, and synthetic images observed as the map was.

The steps are those of §3.1: recentre, rotate (primary above secondary), zoom, crop; missing pixels from the nearest
neighbour, then cubic interpolation. Pixels are filled before the one interpolation that does all the rest, so that
no missing pixel is ever interpolated. Images follow the catalogue: row 0 is south, columns run to the right of an
observer with up along the line from secondary to primary, surface brightness in Jy/sr, velocities in km/s.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy import fft, ndimage

from dioscuri.analogues.catalogue import Frame
from dioscuri.analogues.observation.grid import (
    FEWEST_PIXELS,
    brightest_peak,
    midpoint,
    offsets,
    on_sky,
    pixel_steps,
    pixels_at,
    pixels_seen,
    pixels_used,
)
from dioscuri.analogues.observation.interferometer import Response, filtered, transfer
from dioscuri.analogues.observation.maps import Beam, Map
from dioscuri.io import observation_key

FWHM = np.sqrt(8 * np.log(2))  # of a Gaussian, in standard deviations
# A beam this wide in pixels is sampled well enough to be interpolated (Nyquist).
PIXELS_PER_BEAM = 2.0
DETECTED = 6.0  # of the noise: the brightest of 10⁴ pixels of noise alone reaches 4
SAME_SEPARATION = 0.25  # relative difference to the catalogue's projected separation that needs no word
FIELD = 2.0  # separations of the stars that a continuum map should show at least
APART = 2.0  # beams between points whose noise is independent
SPANS = 10  # such steps across a map; of fewer, differences tell less than plain clipping
NEGLIGIBLE = 1e-6  # pixel²: a Gaussian this narrow changes nothing; rounding leaves as much, of either sign


@dataclass(frozen=True)
class Query:
    """A map as an image of the catalogue: `image` (n, n) float32 in `unit`, without gaps.

    missing (n, n): pixels that were filled in. pixel_au, beam_au [AU, AU, deg]: of this image. noise: rms per pixel,
    in `unit`. extra (2, 2): covariance [AU²] by which synthetic images must be smoothed to have this beam.
    kept: share of spatial frequencies that the telescope measured (see `interferometer.transfer`), empty: all.
    calibration_error: relative, of the flux scale. history: centre, rotation, zoom and all else that was done.
    """

    image: np.ndarray
    missing: np.ndarray
    unit: str
    pixel_au: float
    beam_au: Beam
    noise: float
    extra: np.ndarray
    kept: np.ndarray = field(default_factory=lambda: np.empty((0, 0), np.float32))
    calibration_error: float = 0.0
    history: dict[str, Any] = field(default_factory=dict)


def prepare(
    observed: Map,
    frame: Frame,
    n_pixels: int,
    *,
    distance_pc: float,
    primary: tuple[float, float] | None = None,
    secondary: tuple[float, float] | None = None,
    centre: str = "midpoint",
    position_angle: float = 0.0,
    zoom: float = 1.0,
    field_au: float | None = None,
    noise: float | None = None,
    response: Response | None = None,
) -> Query:
    """A map on the pixels of a catalogue whose images have n_pixels × n_pixels of `frame`.

    distance_pc turns arcsec into AU. primary, secondary: (ra, dec) [deg, ICRS]; without a primary the brightest peak
    stands for it. Without a secondary (no binary, or not resolved) up is at `position_angle` [deg, north through
    east], and the primary is laid where those of the catalogue are: half of the catalogue's projected separation
    above the middle (where it stands if the catalogue has no such separation). centre: midpoint of the two stars, or
    primary: as in the catalogue. zoom magnifies the map, e.g. by the
    catalogue's projected separation over the observed one. field_au: side of the square that is used, at most that
    of the catalogue; None takes as much of it as the map covers, and of a velocity map the largest square of which
    at least half was seen (§3.1). noise: rms in the map's unit (Jy/sr); None measures it.
    response: of the interferometer that made the map, which synthetic images must pass too; of velocities it is only
    noted.
    """
    if not (0 < distance_pc < np.inf and 0 < zoom < np.inf):
        raise ValueError(f"{observed.path}: distance ({distance_pc} pc) and zoom ({zoom}) must be above 0, and finite")
    if centre not in ("midpoint", "primary"):
        raise ValueError(f"{observed.path}: unknown centre '{centre}': use midpoint or primary")
    au = distance_pc * zoom  # per arcsec, as magnified: 1 AU at 1 pc is 1 arcsec
    _check_scales(observed, frame, n_pixels, au)
    filled, missing = fill_missing(observed.image)
    brightest = brightest_peak(observed) if primary is None else on_sky(primary)
    second = None if secondary is None else on_sky(secondary)
    if second is not None:
        position_angle = float(second.position_angle(brightest).deg)
    middle = brightest if centre == "primary" else midpoint(brightest, second, position_angle, frame, au)

    continuum = observed.unit != "km/s"
    own = (0.0, 0.0, 0.0) if observed.beam is None else observed.beam
    own = (own[0] * au, own[1] * au, own[2] - position_angle)
    beam, smoothing, extra = (
        matched_beam(own, frame.beam_au, PIXELS_PER_BEAM * frame.pixel_au) if continuum else (own, *np.zeros((2, 2, 2)))
    )
    image = filled
    if continuum:
        to_right_up = pixel_steps(observed.wcs, position_angle) * au  # AU per pixel along x and y
        inverse = np.linalg.inv(to_right_up)
        image = smooth(filled, inverse @ smoothing @ inverse.T)
    if noise is None:
        pixel = au * 3600 * float(np.sqrt(abs(np.linalg.det(observed.wcs.pixel_scale_matrix))))
        noise = _noise(image, missing, max(1, round(APART * beam[0] / pixel)) if continuum else 0)

    if continuum and primary is None:  # of noise alone the brightest peak may lie at the edge
        _check_detected(observed, image, missing, noise)
    n = pixels_used(observed, middle, position_angle, au, frame.pixel_au, n_pixels, field_au)
    offset = offsets(n, frame.pixel_au / au)
    x, y = pixels_at(observed.wcs, middle, position_angle, *np.meshgrid(offset, offset))
    out = ndimage.map_coordinates(image, [y, x], order=3, mode="nearest").astype(np.float32)
    gaps = ndimage.map_coordinates(missing.astype(np.float32), [y, x], order=1, mode="constant", cval=1.0) > 0.5
    if not continuum and field_au is None:
        n = pixels_seen(gaps)
        inner = slice((len(out) - n) // 2, (len(out) + n) // 2)
        out, gaps = out[inner, inner], gaps[inner, inner]
    separation = None if second is None else float(second.separation(brightest).arcsec) * au
    if continuum:
        _check_detected(observed, out, gaps, noise)
    history = {
        "file": os.path.basename(observed.path),
        "ra": float(middle.ra.deg),
        "dec": float(middle.dec.deg),
        "position_angle": position_angle,
        "distance_pc": distance_pc,
        "zoom": zoom,
        "field_au": n * frame.pixel_au,
        "filled_share": float(gaps.mean()),
        "observed_beam_au": own,
        "separation_au": separation,
        "doubts": [*observed.notes, *_doubts_of_separation(separation, frame), *_doubts_of_field(n, frame, continuum)],
    }
    query = Query(out, gaps, observed.unit, frame.pixel_au, beam, float(noise), extra, history=history)
    return query if response is None else seen_by(query, response, n_pixels, frame.pixel_au / au, position_angle)


def seen_by(query: Query, response: Response, n_pixels: int, pixel_arcsec: float, position_angle: float) -> Query:
    """The query, said to come from an interferometer of `response`: the catalogue's images (n_pixels) pass it too."""
    if query.unit == "km/s":
        lost = ["velocities: what the interferometer does not see is not taken out of the members"]
        return replace(query, history=query.history | {"doubts": query.history["doubts"] + lost * response.filters})
    kept = transfer(response, n_pixels, pixel_arcsec, position_angle) if response.filters else query.kept
    history = query.history | {"largest_scale": response.largest_scale, "visibilities": len(response.uv)}
    return replace(query, kept=kept, calibration_error=response.calibration_error, history=history)


def _check_scales(observed: Map, frame: Frame, n_pixels: int, au: float) -> None:
    """The map's pixels and beam must be of the catalogue's order, or there is nothing to compare."""
    field = n_pixels * frame.pixel_au
    pixel = au * 3600 * float(np.sqrt(abs(np.linalg.det(observed.wcs.pixel_scale_matrix))))
    beam = 0.0 if observed.beam is None else au * observed.beam[0]
    if pixel * FEWEST_PIXELS > field or beam > 0.5 * field:
        raise ValueError(
            f"{observed.path}: pixels of {pixel:.3g} AU and a beam of {beam:.3g} AU at this distance and zoom; the "
            f"catalogue's images are {field:g} AU wide: accepted are {FEWEST_PIXELS} pixels and two beams across"
        )
    if pixel * max(observed.image.shape) < FEWEST_PIXELS * frame.pixel_au:
        raise ValueError(
            f"{observed.path}: the whole map is {pixel * max(observed.image.shape):.3g} AU at this distance and zoom; "
            f"the catalogue has pixels of {frame.pixel_au:g} AU: accepted are {FEWEST_PIXELS} of them or more"
        )


def _check_detected(observed: Map, image: np.ndarray, missing: np.ndarray, noise: float) -> None:
    brightest = np.nanmax(image[~missing], initial=0.0)
    if not brightest > DETECTED * noise:
        raise ValueError(
            f"{observed.path}: nothing detected: the brightest of {' × '.join(map(str, image.shape))} pixels is "
            f"{brightest:.3g} Jy/sr, the noise {noise:.3g}; accepted: {DETECTED:g} times the noise"
        )


def _doubts_of_separation(separation_au: float | None, frame: Frame) -> list[str]:
    if separation_au is None or not np.isfinite(frame.separation_au):
        return []
    if abs(separation_au / frame.separation_au - 1) <= SAME_SEPARATION:
        return []
    return [
        f"stars {separation_au:.0f} AU apart (projected, as magnified), {frame.separation_au:g} AU in the catalogue: "
        f"zoom by {frame.separation_au / separation_au:.3g}, or use a catalogue of that separation"
    ]


def _doubts_of_field(n: int, frame: Frame, continuum: bool) -> list[str]:
    """Both stars at the edge, what is about them not seen; velocities are seen where there is gas, which is less."""
    if not continuum or not n * frame.pixel_au < FIELD * frame.separation_au:
        return []
    return [
        f"{n * frame.pixel_au:.0f} AU of the map are compared, {FIELD:g} times the stars' separation in the catalogue "
        f"({frame.separation_au:g} AU) are needed to see what surrounds them"
    ]


def observe_like(images: np.ndarray, names: Sequence[str], query: Query, seed: int = 0) -> np.ndarray:
    """Synthetic images (N, H, W) of a catalogue as the query was observed: (N, n, n) float32.

    The query's crop, beam, missing spatial frequencies, error of calibration and noise, and its gaps filled as they
    were. names (N,): image ids; the noise of an image depends on (seed, id) alone. Moment-1 maps keep the beam with
    which they were made, and get no noise: 10σ pixels have none to speak of.
    """
    images = np.asarray(images, dtype=np.float32)
    n = len(query.image)
    if images.ndim != 3 or min(images.shape[1:]) < n or (images.shape[-1] - n) % 2:
        raise ValueError(f"images {images.shape} cannot be cut to the {n} × {n} pixels of the query")
    if query.unit != "km/s":
        images = smooth(images, query.extra / query.pixel_au**2)
        if query.kept.size:
            images = filtered(images, query.kept)
        if query.calibration_error:
            images = images * calibrations(names, query.calibration_error, seed)[:, None, None]
    row, column = (images.shape[1] - n) // 2, (images.shape[2] - n) // 2
    images = images[:, row : row + n, column : column + n].astype(np.float32)
    if query.unit != "km/s" and query.noise > 0:
        images = images + query.noise * beam_noise(names, n, _covariance(query.beam_au) / query.pixel_au**2, seed)
    if query.missing.any() or not np.isfinite(images).all():
        images = np.stack([fill_missing(np.where(query.missing, np.nan, one))[0] for one in images])
    return images.astype(np.float32)


# --- pixels --------------------------------------------------------------------------------------------------


def fill_missing(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An image (H, W) whose non-finite pixels have the value of the nearest finite one, and where these were."""
    missing = ~np.isfinite(image)
    if missing.all():
        raise ValueError("an image without a single finite pixel cannot be filled")
    if not missing.any():
        return np.asarray(image, dtype=float), missing
    nearest = ndimage.distance_transform_edt(missing, return_distances=False, return_indices=True)
    return np.asarray(image, dtype=float)[tuple(nearest)], missing


def smooth(images: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Images (…, H, W) convolved with a Gaussian of `covariance` (2, 2) [pixel², along columns and rows].

    Beyond its edges an image goes on with its outermost pixels.
    """
    widest = np.linalg.eigvalsh(covariance)[-1]
    if widest < NEGLIGIBLE:
        return images
    margin = int(np.ceil(4 * np.sqrt(widest)))
    edges = [(0, 0)] * (images.ndim - 2) + [(margin, margin)] * 2
    padded = np.pad(images, edges, mode="edge")
    shape = [fft.next_fast_len(size, real=True) for size in padded.shape[-2:]]
    transfer = _transfer(shape, covariance).astype(np.float32 if images.dtype == np.float32 else float)
    spectrum = fft.rfft2(padded, s=shape)
    spectrum *= transfer
    out = fft.irfft2(spectrum, s=shape)
    return out[..., margin : margin + images.shape[-2], margin : margin + images.shape[-1]]


def calibrations(names: Sequence[str], error: float, seed: int) -> np.ndarray:
    """Factors (N,) by which the flux scale of each image is off: log-normal, image by image of (seed, name)."""
    draws = [
        np.random.Generator(np.random.Philox(key=[seed, observation_key(str(name), "calibration")])).standard_normal()
        for name in names
    ]
    return np.exp(error * np.array(draws, np.float32))


def beam_noise(names: Sequence[str], n: int, covariance: np.ndarray, seed: int) -> np.ndarray:
    """Noise (N, n, n) of unit rms, correlated by a beam of `covariance` [pixel²]; image by image of (seed, name)."""
    white = np.stack(
        [
            np.random.Generator(np.random.Philox(key=[seed, observation_key(str(name), "noise")])).standard_normal(
                (n, n), dtype=np.float32
            )
            for name in names
        ]
    )
    transfer = _transfer([n, n], covariance)
    # Power that the beam leaves: half of the plane is stored, so the full one is made for this sum.
    power = np.mean(_transfer([n, n], 2 * covariance, whole=True))
    return fft.irfft2(fft.rfft2(white) * transfer.astype(np.float32), s=(n, n)) / np.float32(np.sqrt(power))


def _transfer(shape: Sequence[int], covariance: np.ndarray, whole: bool = False) -> np.ndarray:
    """Fourier transform of a unit Gaussian of `covariance` (x, y) on an image of `shape` (rows, columns)."""
    v = fft.fftfreq(shape[0])[:, None]
    u = (fft.fftfreq if whole else fft.rfftfreq)(shape[1])[None, :]
    return np.exp(-2 * np.pi**2 * (covariance[0, 0] * u**2 + 2 * covariance[0, 1] * u * v + covariance[1, 1] * v**2))


def _noise(image: np.ndarray, missing: np.ndarray, step: int) -> float:
    """The rms of the noise of an image (H, W), of what is left of the sky by second differences over `step` pixels.

    So far apart noise is independent, and an envelope that is smooth on that scale drops out; plain clipping takes it
    for noise, three times as much as there is. Plain clipping where `step` is 0 or the image small.
    """
    from astropy.stats import sigma_clipped_stats

    _, middle, rms = sigma_clipped_stats(image[~missing], sigma=3, maxiters=20)
    if not step or min(image.shape) < SPANS * step:
        return float(rms)
    faint = np.where(missing | (np.abs(image - middle) > 3 * rms), np.nan, image)
    left = [one[step:-step] - 0.5 * (one[: -2 * step] + one[2 * step :]) for one in (faint, faint.T)]
    known = np.concatenate([one[np.isfinite(one)] for one in left])
    return float(sigma_clipped_stats(known, sigma=3, maxiters=20)[2] / np.sqrt(1.5)) if known.size else float(rms)


# --- beams ---------------------------------------------------------------------------------------------------


def matched_beam(observed: Beam, synthetic: Beam, smallest: float) -> tuple[Beam, np.ndarray, np.ndarray]:
    """A beam that map and synthetic images can both be brought to, and the covariances (2, 2) that take them there.

    The observed beam itself where the synthetic one fits into it and it is at least `smallest` wide; a circular one
    with the larger of both major axes (or `smallest`) otherwise.
    """
    own, other = _covariance(observed), _covariance(synthetic)
    fits = np.linalg.eigvalsh(own - other)[0] >= -1e-9 * own.max()
    if fits and observed[1] >= smallest:
        return observed, np.zeros((2, 2)), own - other
    width = max(observed[0], synthetic[0], smallest)
    common = (width / FWHM) ** 2 * np.eye(2)
    return (width, width, 0.0), common - own, common - other


def _covariance(beam: Beam) -> np.ndarray:
    """Covariance (2, 2) along (right, up) of a beam given by its axes (FWHM) and position angle [deg]."""
    angle = np.deg2rad(beam[2])
    axes = np.array([[-np.sin(angle), np.cos(angle)], [np.cos(angle), np.sin(angle)]])  # of major, of minor
    return axes.T @ np.diag([(beam[0] / FWHM) ** 2, (beam[1] / FWHM) ** 2]) @ axes
