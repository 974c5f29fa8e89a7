"""Grids of PSFs over a detector as STScI gives them: STDPSF (empirical) and STPSF, once WebbPSF (computed)."""

import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.ndimage import shift as spline_shift

from dioscuri.psf.effective import Psf
from dioscuri.reading import open_fits, reading

log = logging.getLogger(__name__)

STDPSF = "a STDPSF grid (NXPSFS, NYPSFS, IPSFX01, …)"
STPSF = "a STPSF (WebbPSF) grid (OVERSAMP, DET_YX0, …)"
STDPSF_OVERSAMPLING = 4
# Of the native, distorted frames that the grids are for [arcsec/px].
PIXEL_SCALES = {
    "WFC3UV": 0.03962, "WFC3IR": 0.1283, "ACSWFC": 0.0497, "ACSHRC": 0.0265, "WFPC2": 0.0996, "NRCSW": 0.0311,
    "NRCA": 0.0311, "NRCB": 0.0311, "NRCAL": 0.063, "NRCBL": 0.063, "NIRISS": 0.0656, "MIRI": 0.111,
}  # fmt: skip
FILTER = re.compile(r"F\d{3,4}(?:W2|LP|[WMNX])")
# No effective PSF is as negative as this: the files mark samples without a value by −0.1.
FILL = -0.05
MOST_FILLED = 0.2  # of a member's samples


class Layout(NamedTuple):
    """How a file lays the chips of a camera side by side: `across` × `up` of them, `size` px each.

    `chips`: number of each, as CCDCHIP (WFPC2: DETECTOR; NIRCam: A1 … A4, B1 … B4 are 1 … 8), from the lower left,
    row by row.
    """

    across: int
    up: int
    size: int
    chips: tuple[int, ...]


TWO_CHIPS = Layout(1, 2, 2048, (2, 1))
# By the number of PSFs in the file, which is how photutils tells them, too.
LAYOUTS = {
    56: TWO_CHIPS,  # WFC3/UVIS
    90: TWO_CHIPS,  # ACS/WFC
    36: Layout(2, 2, 800, (3, 4, 2, 1)),  # WFPC2
    200: Layout(4, 2, 2048, (1, 3, 8, 6, 2, 4, 7, 5)),  # the short-wave detectors of NIRCam
}


def is_stdpsf(header: Any) -> bool:
    """Whether a primary header is that of a STDPSF grid."""
    return "NXPSFS" in header and "NYPSFS" in header


def is_stpsf(header: Any) -> bool:
    """Whether a primary header is that of a STPSF or WebbPSF grid."""
    return "OVERSAMP" in header and "DET_YX0" in header


@contextmanager
def opened(path: str | os.PathLike) -> Iterator[Any]:
    """The primary HDU of a grid. Behind genuine ones may lie a header without END; some write keywords small."""
    from astropy.io.fits.verify import VerifyWarning
    from astropy.utils.exceptions import AstropyUserWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VerifyWarning)
        for message in ("non-ASCII characters", "The following header keyword is invalid", "Unexpected extra padding"):
            warnings.filterwarnings("ignore", message, AstropyUserWarning)
        with open_fits(path, ignore_missing_end=True) as hdus:
            yield hdus[0]


def read_stdpsf(path: str | os.PathLike, *, chip: int | None = None, pixel_scale: float | None = None) -> Psf:
    """A grid of PSFs over a detector, in STScI's STDPSF format (Anderson 2016, WFC3 ISR 2016-12).

    Members lie at the parameters x, y, 0-based px of their own chip's frame, and know its number, `chip`, where the
    file holds several chips; `chip` given takes that one alone. Chips meet where a position stands twice (2048, 2048)
    or nearly (2048, 2049). The pixel scale is that of the camera named in the file; give it for others.

    Samples that the file marks as missing (−0.1, at the border of members at the border of a chip) get the value of
    the nearest good sample; provenance says in how many members (`repaired`).
    """
    with reading(path, STDPSF), opened(path) as hdu:
        header, samples = hdu.header, np.array(hdu.data, float)
        x_grid, y_grid = _nodes(path, header)
        if samples.ndim != 3:
            raise ValueError(f"{path}: found {samples.ndim} axes, a grid of PSFs has 3")
        if len(samples) != len(x_grid) * len(y_grid):
            raise ValueError(f"{path}: found {len(samples)} PSFs, the header promises {len(x_grid)} x {len(y_grid)}")
        samples, repaired = _mended(path, samples)
        x, y, number = _places(x_grid, y_grid)
        camera, filter_name = _told(path, header)
        if pixel_scale is None:
            if camera is None:
                raise ValueError(f"{path}: found none of {', '.join(PIXEL_SCALES)} in its name; give pixel_scale")
            pixel_scale = PIXEL_SCALES[camera]
        parameters = {"x": x, "y": y} | ({} if number is None else {"chip": number.astype(float)})
        found = {"source": "stdpsf", "file": Path(path).name, "detector": camera, "filter": filter_name}
        grid = Psf(samples, STDPSF_OVERSAMPLING, float(pixel_scale), parameters, found | {"repaired": repaired})
        return grid if chip is None else one_chip(grid, chip)


def read_stpsf(path: str | os.PathLike, *, pixel_scale: float | None = None) -> Psf:
    """A grid of PSFs over one detector as `psf_grid` of STPSF (once WebbPSF) saves it.

    DET_YX<n> are (y, x), as its comment in the file says, 0-based; the samples may sum to 1 or to oversampling².
    """
    with reading(path, STPSF), opened(path) as hdu:
        header, samples = hdu.header, np.array(hdu.data, float)
        samples = samples[None] if samples.ndim == 2 else samples
        places = [header[key] for key in (f"DET_YX{k}" for k in range(len(samples))) if key in header]
        if samples.ndim != 3 or len(places) != len(samples):
            raise ValueError(f"{path}: found {len(places)} positions DET_YX… of samples of shape {samples.shape}")
        y, x = np.array([[float(part) for part in str(place).strip("() ").split(",")] for place in places]).T
        oversampling = int(header["OVERSAMP"])
        if pixel_scale is None:
            pixel_scale = float(header.get("PIXELSCL", 0.0)) * oversampling
        if samples.shape[1] % 2 == 0:  # the star lies between samples, as it does with the defaults of psf_grid
            samples = spline_shift(samples, (0.0, -0.5, -0.5), order=5, mode="nearest")[:, :-1, :-1]
        total = float(np.median(samples.sum((1, 2))))
        if abs(total - 1.0) < 0.3:
            samples = samples * oversampling**2
        elif not 0.7 < total / oversampling**2 < 1.3:
            raise ValueError(f"{path}: its PSFs sum to {total:.3g}; accepted: about 1, or {oversampling**2}")
        about = {
            "source": "stpsf", "file": Path(path).name, "filter": str(header.get("FILTER", "")).strip().upper() or None,
            "detector": str(header.get("DETECTOR", "")).strip().upper() or None,
        }  # fmt: skip
        return Psf(samples, oversampling, pixel_scale, {"x": x, "y": y}, about)


def one_chip(psf: Psf, chip: int) -> Psf:
    """The members of one chip; a grid that does not tell chips apart has none."""
    numbers = psf.parameters.get("chip")
    known = [] if numbers is None else sorted({int(number) for number in numbers})
    if chip not in known:
        there = f"accepted: {', '.join(map(str, known))}" if known else "it does not tell chips apart"
        raise ValueError(f"{psf.provenance.get('file', 'PSF')}: there is no chip {chip}; {there}")
    return psf.where(chip=chip)


def _nodes(path: str | os.PathLike, header: Any) -> tuple[np.ndarray, np.ndarray]:
    """Positions along x and y, 0-based px: a card each, or five in a card (NIRCam)."""
    try:
        if "IPSFXA5" in header:
            x = [float(part) for key in "ABCD" for part in str(header[f"IPSFX{key}5"]).split()]
            y = [float(part) for key in "AB" for part in str(header[f"JPSFY{key}5"]).split()]
            x, y = x[: header["NXPSFS"]], y[: header["NYPSFS"]]
        else:
            x = [header[f"IPSFX{i:02d}"] for i in range(1, header["NXPSFS"] + 1)]
            y = [header[f"JPSFY{i:02d}"] for i in range(1, header["NYPSFS"] + 1)]
    except KeyError as error:
        raise ValueError(f"{path}: expected a STDPSF grid (NXPSFS, NYPSFS, IPSFX01, ...), found no {error}") from error
    return np.array(x, float) - 1.0, np.array(y, float) - 1.0


def _places(x_grid: np.ndarray, y_grid: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """x and y in the frame of the chip, and its number, of all members (row by row over the camera)."""
    n_x, n_y = len(x_grid), len(y_grid)
    x, y = np.tile(x_grid, n_y), np.repeat(y_grid, n_x)
    layout = LAYOUTS.get(n_x * n_y)
    if layout is None or n_x % layout.across or n_y % layout.up:
        halves = n_y // 2
        twice = n_y % 2 == 0 and n_y > 2 and y_grid[halves] - y_grid[halves - 1] <= 1.0
        if not twice:
            return x, y, None
        layout = TWO_CHIPS._replace(size=round(y_grid[halves - 1] + 1))
    column = np.tile(np.arange(n_x) // (n_x // layout.across), n_y)
    row = np.repeat(np.arange(n_y) // (n_y // layout.up), n_x)
    number = np.array(layout.chips)[row * layout.across + column]
    return x - column * layout.size, y - row * layout.size, number


def _mended(path: str | os.PathLike, samples: np.ndarray) -> tuple[np.ndarray, int]:
    """Samples without a value (fill, or not finite) from the nearest good one; how many members had such."""
    missing = ~np.isfinite(samples) | (samples < FILL)
    broken = np.flatnonzero(missing.any((1, 2)))
    core = slice(samples.shape[1] // 4, -(samples.shape[1] // 4) or None)
    for k in broken:
        if missing[k].mean() > MOST_FILLED or missing[k][core, core].any():
            raise ValueError(
                f"{path}: PSF {k} of the grid has no values ({missing[k].mean():.0%} are fill) at its star"
            )
        nearest = distance_transform_edt(missing[k], return_distances=False, return_indices=True)
        samples[k] = samples[k][tuple(nearest)]
    if len(broken):
        log.info("%s: %d of %d PSFs have samples without a value, continued outwards", path, len(broken), len(samples))
    return samples, len(broken)


def _told(path: str | os.PathLike, header: Any) -> tuple[str | None, str | None]:
    """Camera and filter of a STDPSF file by its comments, which go with the data, else by its name."""
    comments = " ".join(str(card) for card in header.get("COMMENT", []))
    told = []
    for find in (_camera, _filter):
        inside, outside = find(comments.upper()), find(Path(path).name.upper())
        if inside and outside and inside != outside:
            log.warning("%s: its comments tell of %s, not of %s: they are believed", path, inside, outside)
        told.append(inside or outside)
    return told[0], told[1]


def _camera(text: str) -> str | None:
    """The longest name goes first: NRCAL before NRCA."""
    plain = text.replace("WFC3/IR", "WFC3IR").replace("WFC3/UV", "WFC3UV").replace("ACS/WFC", "ACSWFC")
    return next((name for name in sorted(PIXEL_SCALES, key=len, reverse=True) if name in plain), None)


def _filter(text: str) -> str | None:
    found = FILTER.search(text)
    return found[0] if found else None
