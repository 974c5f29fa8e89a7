"""Stamps of single stars and of unresolved pairs: which sources there are, how they look, and their files."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import h5py
import numpy as np

from dioscuri.io import atomic, open_shard
from dioscuri.job import provenance
from dioscuri.learn.noise import normals
from dioscuri.psf.render import SIZE, add_stars, spline_phases
from dioscuri.stamps.draws import poisson, uniforms

if TYPE_CHECKING:
    from dioscuri.psf.effective import Psf

CENTRE = (SIZE - 1) / 2
SCHEMA = "dioscuri/stamps/1"
# x, y: photocentre; x1, y1 the brighter star and x2, y2 the other one, all in pixels of the stamp (0-based
# centres). Fluxes in electrons. A single star has sep = position_angle = flux_ratio = flux2 = 0.
COLUMNS = (
    "star_id", "is_binary", "flux", "sep", "position_angle", "flux_ratio", "x", "y",
    "x1", "y1", "flux1", "x2", "y2", "flux2", "member", "snr",
)  # fmt: skip
_TYPES = {"star_id": np.int64, "is_binary": np.bool_, "member": np.int32}
PLACEMENTS = ("photocentre_random", "primary_centred")
SEPARATIONS = ("grid", "uniform")
FLUX_RATIOS = ("equal", "uniform")
# Streams of random numbers: none of them changes when another is used more.
_SOURCES, _PHOTONS, _READOUT = 0, 1, 2
_BATCH = 1024  # stamps made at a time: their pixels stay in the cache


@dataclass(frozen=True)
class Law:
    """What is drawn: the population of Wu et al. (2023, §2.2) and what their text leaves open.

    placement: `photocentre_random` puts the photocentre anywhere within `offset_max` [pixels] of the stamp's
    centre in x and in y, as a detection would; `primary_centred` puts the brighter (or only) star exactly on
    the centre, where the offset of the photocentre gives pairs away.
    separation: `grid` draws sep_min, sep_min + sep_step, … sep_max [pixels] as printed, `uniform` anything between.
    flux_ratio: `equal`, or `uniform` in (flux_ratio_min, 1).
    Total fluxes [electrons] are uniform in (flux_min, flux_max), of single stars and of pairs alike.
    """

    placement: str = "photocentre_random"
    separation: str = "uniform"
    sep_min: float = 0.1
    sep_max: float = 2.0
    sep_step: float = 0.1
    flux_ratio: str = "equal"
    flux_ratio_min: float = 0.0
    flux_min: float = 1000.0
    flux_max: float = 25000.0
    offset_max: float = 0.5

    def __post_init__(self) -> None:
        for name, accepted in (("placement", PLACEMENTS), ("separation", SEPARATIONS), ("flux_ratio", FLUX_RATIOS)):
            if getattr(self, name) not in accepted:
                raise ValueError(f"law: {name} is '{getattr(self, name)}'; accepted: {', '.join(accepted)}")
        if not (0 < self.sep_min <= self.sep_max and self.sep_step > 0):
            raise ValueError(
                f"law: sep_min {self.sep_min:g}, sep_max {self.sep_max:g}, sep_step {self.sep_step:g}; "
                "accepted: 0 < sep_min ≤ sep_max and a positive step [pixels]"
            )
        if not 0 <= self.flux_ratio_min < 1:
            raise ValueError(f"law: flux_ratio_min is {self.flux_ratio_min:g}; accepted: 0 or more, below 1")
        if not 0 < self.flux_min <= self.flux_max:
            raise ValueError(
                f"law: flux_min {self.flux_min:g} and flux_max {self.flux_max:g}; "
                "accepted: 0 < flux_min ≤ flux_max [electrons]"
            )
        if self.offset_max < 0:
            raise ValueError(f"law: offset_max is {self.offset_max:g}; accepted: 0 or more [pixels]")

    @property
    def sep_grid(self) -> np.ndarray:
        """The separations [pixels] of the printed grid: sep_min to sep_max by sep_step."""
        n = int(np.floor((self.sep_max - self.sep_min) / self.sep_step + 1e-6)) + 1
        return self.sep_min + self.sep_step * np.arange(n)


@dataclass(frozen=True)
class Noise:
    """`sigma`: rms of the Gaussian noise [e/pixel]; `background` [e/pixel]: already subtracted, its photons remain."""

    sigma: float = 0.59
    background: float = 0.0

    def __post_init__(self) -> None:
        if self.sigma < 0 or self.background < 0:
            raise ValueError(f"noise: sigma {self.sigma:g}, background {self.background:g}; accepted: 0 or more")

    @property
    def variance(self) -> float:
        """Variance of a pixel without source [e²]: what the fits take."""
        return self.sigma**2 + self.background


class Renderer:
    """Lays point sources on pixel grids with the members of a `Psf`.

    Cubic B-splines through the samples: with 4 samples a pixel the error is 1e-4 of the peak. Pixels beyond the
    samples receive nothing.
    """

    def __init__(self, psf: "Psf") -> None:
        samples = np.asarray(psf.samples, float)
        if samples.ndim != 3 or samples.shape[1] != samples.shape[2] or samples.shape[1] % 2 == 0:
            raise ValueError(
                f"renderer: PSF samples of shape {samples.shape}; accepted: (members, n, n) with n odd, the star "
                "on the middle sample"
            )
        if not np.all(np.isfinite(samples)):
            raise ValueError("renderer: the PSF has samples that are not finite; mend it before use")
        self.oversampling = int(psf.oversampling)
        self.n_members, self.n_samples = samples.shape[:2]
        self.phases = spline_phases(samples, self.oversampling)  # what the numba loops take, (K, o, o, m, m)

    def render(self, x, y, flux, member=0, size: int = SIZE) -> np.ndarray:
        """Images (B, size, size) [electrons] of one star each, at `x`, `y` [pixels, 0-based centres].

        `x`, `y`, `flux` and `member` are (B,) or scalars.
        """
        x, y, flux, member = self._columns(x, y, flux, member)
        images = np.zeros((len(x), size, size))
        add_stars(self.phases, self.n_samples, member, x, y, flux, images)
        return images

    def render_pairs(self, sources: Mapping[str, np.ndarray], size: int = SIZE) -> np.ndarray:
        """Noiseless images (B, size, size) [electrons] of `sources`, whose columns are those of `COLUMNS`."""
        images = np.zeros((len(sources["x1"]), size, size))
        for star in ("1", "2"):
            x, y, flux, member = self._columns(
                sources[f"x{star}"], sources[f"y{star}"], sources[f"flux{star}"], sources["member"]
            )
            add_stars(self.phases, self.n_samples, member, x, y, flux, images)
        return images

    def members(self, member, n: int) -> np.ndarray:
        """`member`, a number or (n,), as indices (n,) into the PSF's members; a ValueError if there is no such one."""
        member = np.atleast_1d(np.asarray(member, np.int64))
        if member.shape not in ((1,), (n,)):
            raise ValueError(
                f"renderer: PSF members of shape {member.shape} for {n} stamps; accepted: one, or one each"
            )
        if member.size and not (member.min() >= 0 and member.max() < self.n_members):
            wrong = member.min() if member.min() < 0 else member.max()
            raise ValueError(f"renderer: PSF member {wrong} asked for; the PSF has members 0 to {self.n_members - 1}")
        return np.ascontiguousarray(np.broadcast_to(member, (n,)))

    def _columns(self, x, y, flux, member) -> tuple[np.ndarray, ...]:
        """The four as arrays of one length, checked."""
        x, y, flux, member = np.broadcast_arrays(*(np.atleast_1d(one) for one in (x, y, flux, member)))
        x, y, flux = (np.ascontiguousarray(one, float) for one in (x, y, flux))
        if not (np.all(np.isfinite(x)) and np.all(np.isfinite(y)) and np.all(np.isfinite(flux))):
            raise ValueError("renderer: positions and fluxes must be finite")
        return x, y, flux, self.members(member, len(x))


def draw_sources(
    n: int,
    seed: int,
    law: Law,
    *,
    noise: Noise = Noise(),
    n_members: int = 1,
    start: int = 0,
    binary_share: float = 0.5,
    snr: float | None = None,
    sep: float | None = None,
) -> dict[str, np.ndarray]:
    """Sources `start` … `start + n − 1` of `law`: every one of `COLUMNS`, (n,).

    A source depends on (seed, its number) alone. Pairs and single stars take turns so that any long run of
    numbers has `binary_share` of pairs to within one. `snr` and `sep` fix all sources at one S/N (eq. 1, with
    `noise`) or all pairs at one separation [pixels]: the cells of the test grids. `n_members`: members of the
    PSF bank, used equally.
    """
    star_id = np.arange(start, start + n, dtype=np.int64)
    is_binary = np.floor((star_id + 1) * binary_share) > np.floor(star_id * binary_share)
    u_flux, u_sep, u_angle, u_ratio, u_x, u_y, u_member = uniforms(star_id, 7, seed, _SOURCES).T
    if snr is None:
        flux = law.flux_min + (law.flux_max - law.flux_min) * u_flux
    else:
        flux = np.full(n, flux_of_snr(snr, noise))
    if sep is not None:
        drawn = np.full(n, float(sep))
    elif law.separation == "grid":
        drawn = law.sep_grid[(u_sep * len(law.sep_grid)).astype(int)]
    else:
        drawn = law.sep_min + (law.sep_max - law.sep_min) * u_sep
    if law.flux_ratio == "equal":
        ratio = np.ones(n)
    else:
        ratio = law.flux_ratio_min + (1 - law.flux_ratio_min) * u_ratio
    drawn, ratio = np.where(is_binary, drawn, 0.0), np.where(is_binary, ratio, 0.0)
    angle = np.where(is_binary, 2 * np.pi * u_angle, 0.0)
    share = ratio / (1 + ratio)  # of the fainter star in the flux
    dx, dy = drawn * np.cos(angle), drawn * np.sin(angle)
    if law.placement == "primary_centred":
        x, y = CENTRE + share * dx, CENTRE + share * dy
    else:
        x = CENTRE + law.offset_max * (2 * u_x - 1)
        y = CENTRE + law.offset_max * (2 * u_y - 1)
    columns = {
        "star_id": star_id,
        "is_binary": is_binary,
        "flux": flux,
        "sep": drawn,
        "position_angle": angle,
        "flux_ratio": ratio,
        "x": x,
        "y": y,
        "x1": x - share * dx,
        "y1": y - share * dy,
        "flux1": flux * (1 - share),
        "x2": x + (1 - share) * dx,
        "y2": y + (1 - share) * dy,
        "flux2": flux * share,
        "member": (u_member * n_members).astype(np.int32),
        "snr": signal_to_noise(flux, noise),
    }
    return {name: columns[name] for name in COLUMNS}


def make_stamps(sources: Mapping[str, np.ndarray], renderer: Renderer, noise: Noise, seed: int) -> np.ndarray:
    """Background-subtracted stamps (n, 14, 14) float32 [electrons] with photon and Gaussian noise.

    The noise of a stamp depends on (seed, star_id) alone.
    """
    n = len(sources["star_id"])
    stamps = np.empty((n, SIZE, SIZE), np.float32)
    for first in range(0, n, _BATCH):
        part = {name: sources[name][first : first + _BATCH] for name in COLUMNS}
        mean = renderer.render_pairs(part)
        mean += noise.background
        counts = poisson(mean, part["star_id"], seed, _PHOTONS)
        readout = normals(part["star_id"], 1, SIZE * SIZE, seed, _READOUT).reshape(counts.shape)
        stamps[first : first + _BATCH] = counts - np.float32(noise.background) + np.float32(noise.sigma) * readout
    return stamps


def signal_to_noise(flux, noise: Noise, n_pixels: int = SIZE * SIZE):
    """Expected S/N of a star with `flux` [electrons in the stamp], Wu et al. (2023), eq. (1).

    S/N = ΣF_i / √(Σ(F_i + b + σ²)) over `n_pixels`, b the background, which eq. (1) leaves out. Taken literally
    eq. (1) adds σ² once for the whole stamp; then S/N would not depend on σ.
    """
    flux = np.asarray(flux, float)
    return flux / np.sqrt(flux + n_pixels * noise.variance)


def flux_of_snr(snr, noise: Noise, n_pixels: int = SIZE * SIZE):
    """The flux [electrons in the stamp] of stars at `snr`: the inverse of `signal_to_noise`."""
    square = np.asarray(snr, float) ** 2
    return 0.5 * (square + np.sqrt(square**2 + 4 * square * n_pixels * noise.variance))


def write_stamps(
    path: str | os.PathLike, stamps: np.ndarray, sources: Mapping[str, np.ndarray], settings=None, **origins
) -> None:
    """Write `stamps` (N, 14, 14) and `labels/<column>` (N,) as HDF5 with units and provenance, whole or not at all."""
    with atomic(path) as temporary, h5py.File(temporary, "w") as stream:
        stream.attrs["schema"] = SCHEMA
        stream.attrs["provenance"] = json.dumps(provenance(settings, **origins))
        stream.create_dataset("stamps", data=np.asarray(stamps, np.float32)).attrs["unit"] = "electron"
        for name, values in sources.items():
            dataset = stream.create_dataset(f"labels/{name}", data=np.asarray(values, _TYPES.get(name, np.float64)))
            dataset.attrs["unit"] = _unit(name)


def _unit(name: str) -> str:
    if name.startswith("flux") and name != "flux_ratio":
        return "electron"
    if name == "sep" or name.rstrip("12") in ("x", "y"):
        return "pixel"
    return "radian" if name == "position_angle" else ""


def read_stamps(path: str | os.PathLike) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Stamps (N, 14, 14) float32 and their labels, name → (N,)."""
    with open_shard(path, SCHEMA) as stream:
        return stream["stamps"][:], {name: dataset[:] for name, dataset in stream["labels"].items()}
