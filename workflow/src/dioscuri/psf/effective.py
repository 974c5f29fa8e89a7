"""Effective PSFs: what they are, those of a telescope's optics, and banks of PSFs around one."""

import dataclasses
import json
import os
import zipfile
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.ndimage import map_coordinates

from dioscuri.io import atomic, digest
from dioscuri.reading import reading

PSF_SCHEMA = "dioscuri/psf/1"
DEFAULT_OVERSAMPLING = 4
DEFAULT_SIZE = 41  # px: what stars in a field are painted with; a 14×14 stamp needs less
N_ZERNIKES = 37  # Noll indices 4 (defocus) to 37 make a wavefront error


@dataclass(frozen=True)
class Psf:
    """K effective PSFs: optics, jitter and pixel in one.

    samples: (K, n, n), n odd, rows along y; the star is at sample n // 2. A value is the share of the star's
    flux that falls into a pixel whose centre has that offset from the star, so the samples of one PSF sum to
    about oversampling². oversampling: samples a pixel. pixel_scale: arcsec a pixel. parameters: name → (K,),
    as jitter [arcsec], wfe [nm rms], or x, y [px], the positions on the detector of a grid.
    """

    samples: np.ndarray
    oversampling: int
    pixel_scale: float
    parameters: dict[str, np.ndarray] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = self.samples.shape
        if len(shape) != 3 or shape[1] != shape[2] or shape[1] % 2 == 0 or not shape[0]:
            raise ValueError(f"PSF: samples have the shape {shape}; accepted: (members, n, n) with n odd")
        if not np.isfinite(self.samples).all():
            raise ValueError("PSF: some samples are not finite")
        if self.oversampling < 1 or not self.pixel_scale > 0:
            raise ValueError(
                f"PSF: oversampling {self.oversampling}, pixel scale {self.pixel_scale}; accepted: an integer of "
                "1 or more, and arcsec above 0"
            )
        for name, values in self.parameters.items():
            if np.shape(values) != shape[:1]:
                raise ValueError(f"PSF: parameter '{name}' has the shape {np.shape(values)}, expected {shape[:1]}")

    @property
    def n_members(self) -> int:
        """How many PSFs these are, K."""
        return len(self.samples)

    @property
    def centre(self) -> int:
        """The sample on which the star is, along both axes."""
        return self.samples.shape[1] // 2

    def member(self, k: int) -> "Psf":
        """The k-th PSF alone."""
        if not 0 <= k < self.n_members:
            raise ValueError(f"PSF: there is no member {k}; accepted: 0 to {self.n_members - 1}")
        chosen = {name: values[k : k + 1] for name, values in self.parameters.items()}
        return dataclasses.replace(self, samples=self.samples[k : k + 1], parameters=chosen)

    def at(self, x: float, y: float) -> "Psf":
        """The PSF at a position of the detector [px]: bilinear over the grid, that of the border beyond it.

        One PSF alone is the same everywhere. A bank of PSFs that knows no positions is a ValueError.
        """
        if self.n_members == 1:
            return self
        if not {"x", "y"} <= set(self.parameters):
            raise ValueError(f"PSF: the {self.n_members} members have no positions; choose one by member(k)")
        x_grid, y_grid = np.unique(self.parameters["x"]), np.unique(self.parameters["y"])
        if len(x_grid) * len(y_grid) != self.n_members:
            raise ValueError(f"PSF: {self.n_members} positions form no grid of {len(x_grid)} x {len(y_grid)}")
        weights = np.zeros((len(y_grid), len(x_grid)))
        for i, share_y in _neighbours(y_grid, y):
            for j, share_x in _neighbours(x_grid, x):
                weights[i, j] += share_y * share_x
        order = np.lexsort((self.parameters["x"], self.parameters["y"]))
        by_member = np.empty(self.n_members)
        by_member[order] = weights.ravel()
        mixed = {name: np.array([by_member @ values]) for name, values in self.parameters.items()}
        mixed |= {"x": np.array([float(x)]), "y": np.array([float(y)])}
        samples = np.tensordot(by_member, self.samples, 1)[None]
        return dataclasses.replace(self, samples=samples, parameters=mixed)

    def fwhm(self, k: int = 0) -> float:
        """Full width at half maximum of member k, pixel included: of the circle of equal area [arcsec]."""
        image = self.samples[k]
        half = image.max() / 2
        width = np.sqrt((image > half).sum())  # samples; one coarse look says how far to look closely
        offsets = np.linspace(-2 * width, 2 * width, 801)
        rows, columns = np.meshgrid(offsets + self.centre, offsets + self.centre, indexing="ij")
        close = map_coordinates(image, [rows, columns], order=3, mode="nearest")
        area = (close > close.max() / 2).sum() * (offsets[1] - offsets[0]) ** 2
        return float(2 * np.sqrt(area / np.pi) / self.oversampling * self.pixel_scale)

    def enclosed(self, size: int, k: int = 0) -> float:
        """Share of the flux of member k within size × size px around a star at their centre."""
        offsets = (np.arange(size) - (size - 1) / 2) * self.oversampling + self.centre
        if offsets[0] < 0:
            raise ValueError(f"PSF: {size} px are more than its {self.samples.shape[1] / self.oversampling:g} px")
        rows, columns = np.meshgrid(offsets, offsets, indexing="ij")
        return float(map_coordinates(self.samples[k], [rows, columns], order=3, mode="mirror").sum())

    def save(self, path: str | os.PathLike) -> None:
        """Write the PSFs as one .npz, whole or not at all."""
        about = {
            "schema": PSF_SCHEMA,
            "oversampling": int(self.oversampling),
            "pixel_scale": float(self.pixel_scale),
            "provenance": self.provenance,
        }
        arrays: dict[str, Any] = {f"parameters/{name}": values for name, values in self.parameters.items()}
        with atomic(path) as temporary, open(temporary, "wb") as stream:
            np.savez(stream, samples=self.samples, about=np.array(json.dumps(about)), **arrays)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Psf":
        """Read what `save` wrote; any other file is a ValueError."""
        with reading(path, f"PSFs ('{PSF_SCHEMA}') as .npz; make it again"):
            if not zipfile.is_zipfile(path):
                raise ValueError("not a .npz archive, or one cut short")
            return cls._load(path)

    @classmethod
    def _load(cls, path: str | os.PathLike) -> "Psf":
        with np.load(path, allow_pickle=False) as stored:
            about = json.loads(str(stored["about"]))
            if about.get("schema") != PSF_SCHEMA:
                raise ValueError(f"schema '{about.get('schema')}'")
            names = [name for name in stored.files if name.startswith("parameters/")]
            return cls(
                stored["samples"],
                about["oversampling"],
                about["pixel_scale"],
                {name.partition("/")[2]: stored[name] for name in names},
                about["provenance"],
            )


def _neighbours(grid: np.ndarray, value: float) -> list[tuple[int, float]]:
    """The nodes around a value, each with its weight in linear interpolation."""
    if len(grid) == 1:
        return [(0, 1.0)]
    value = min(max(value, grid[0]), grid[-1])
    low = min(int(np.searchsorted(grid, value, side="right")) - 1, len(grid) - 2)
    share = (value - grid[low]) / (grid[low + 1] - grid[low])
    return [(low, 1 - share), (low + 1, share)]


# --- from the optics ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Optics:
    """A telescope and its camera in one filter.

    diameter [m], wavelength [nm], pixel_scale [arcsec/px], jitter: rms of the Gaussian image motion and
    charge diffusion on either axis [arcsec]; obscuration: diameter of the central one, as a share of the
    pupil's; struts and their thickness, likewise a share; wfe_nm: rms of the nominal wavefront error [nm].
    """

    diameter: float
    wavelength: float
    pixel_scale: float
    jitter: float
    obscuration: float = 0.0
    struts: int = 0
    strut_thickness: float = 0.0
    wfe_nm: float = 0.0


_HST = Optics(2.4, 764.7, 0.03962, 0.019, obscuration=0.33, struts=4, strut_thickness=0.011, wfe_nm=30.0)
# Wavelengths: the paper's for CSST, the pivots for HST. The jitters are those that give the paper's FWHM with the
# pixel, 0.15″ and 0.08″.
OPTICS = {
    "csst_u": Optics(2.0, 463.1, 0.075, 0.055),
    "hst_f775w": _HST,
    "hst_f467m": dataclasses.replace(_HST, wavelength=468.3),
}


def optical_psf(
    optics: Optics,
    *,
    jitter: float | None = None,
    wfe_nm: float | None = None,
    wfe_seed: int = 0,
    wavelength: float | None = None,
    oversampling: int = DEFAULT_OVERSAMPLING,
    size: int = DEFAULT_SIZE,
) -> Psf:
    """The PSF of a telescope: diffraction, wavefront error, Gaussian jitter and the pixel (galsim).

    jitter [arcsec], wfe_nm [nm rms] and wavelength [nm] stand in for those of `optics`; the wavefront is drawn
    from `wfe_seed`. size: px on a side, odd.
    """
    if wavelength is not None:
        optics = dataclasses.replace(optics, wavelength=wavelength)
    jitter = optics.jitter if jitter is None else jitter
    wfe_nm = optics.wfe_nm if wfe_nm is None else wfe_nm
    wavefront = wfe_nm * random_wavefront(wfe_seed)
    samples = _draw(optics, jitter, wavefront, oversampling, size)[None]
    settings = {"optics": dataclasses.asdict(optics), "jitter": jitter, "wfe_nm": wfe_nm, "wfe_seed": wfe_seed}
    return Psf(
        samples,
        oversampling,
        optics.pixel_scale,
        {"jitter": np.array([jitter]), "wfe": np.array([wfe_nm])},
        {"source": "optical", **settings, "digest": digest(settings)},
    )


def psf_bank(
    optics: Optics,
    *,
    members: int,
    jitter_fraction: float = 0.0,
    wfe_nm: float = 0.0,
    exact: bool = False,
    seed: int = 0,
    wfe_seed: int = 0,
    oversampling: int = DEFAULT_OVERSAMPLING,
    size: int = DEFAULT_SIZE,
) -> Psf:
    """PSFs around the nominal one, which is member 0: what a model must not mistake for a second star.

    The others have the jitter times U(1 ± jitter_fraction), and an additional random wavefront error whose
    rms is U(0, wfe_nm) [nm] (parameter `wfe`; the nominal wavefront, drawn from `wfe_seed`, is in all). With
    `exact` they have the jitter times 1 + jitter_fraction, which may be negative, and an rms of wfe_nm. Member
    k depends on `seed` and k alone.
    """
    if members < 1 or not (-1 if exact else 0) <= jitter_fraction < 1 or wfe_nm < 0:
        raise ValueError(
            f"PSF bank: {members} members, jitter_fraction {jitter_fraction}, wfe_nm {wfe_nm}; accepted: 1 or "
            "more members, a fraction from 0 up to 1, a wavefront error of 0 or more"
        )
    nominal = optics.wfe_nm * random_wavefront(wfe_seed)
    jitters, added, samples = [optics.jitter], [0.0], [_draw(optics, optics.jitter, nominal, oversampling, size)]
    for k in range(1, members):
        rng = np.random.Generator(np.random.Philox(key=[seed, k]))
        shares = (1.0, 1.0) if exact else (rng.uniform(-1, 1), rng.uniform())
        jitters.append(optics.jitter * (1 + jitter_fraction * shares[0]))
        added.append(wfe_nm * shares[1])
        wavefront = nominal + added[k] * random_wavefront(rng)
        samples.append(_draw(optics, jitters[k], wavefront, oversampling, size))
    settings = {
        "optics": dataclasses.asdict(optics),
        "members": members,
        "jitter_fraction": jitter_fraction,
        "wfe_nm": wfe_nm,
        "exact": exact,
        "seed": seed,
        "wfe_seed": wfe_seed,
    }
    return Psf(
        np.stack(samples),
        oversampling,
        optics.pixel_scale,
        {"jitter": np.array(jitters), "wfe": np.array(added)},
        {"source": "optical bank", **settings, "digest": digest(settings)},
    )


def perturbed(
    psf: Psf,
    optics: Optics,
    *,
    members: int,
    jitter_fraction: float = 0.0,
    wfe_nm: float = 0.0,
    exact: bool = False,
    seed: int = 0,
) -> Psf:
    """A bank around one PSF of any origin, which is member 0: from a file, or from the stars of a frame.

    Each member adds to it what jitter and wavefront error (as in `psf_bank`) change in the optical PSF of
    `optics`: the difference is physical and band-limited, and needs no deconvolution of a measured PSF.
    """
    if psf.n_members != 1:
        raise ValueError(f"PSF bank: found {psf.n_members} PSFs to perturb; accepted: one, as from at(x, y)")
    optics = dataclasses.replace(optics, pixel_scale=psf.pixel_scale)
    n, step = psf.samples.shape[1], psf.oversampling
    size = 2 * -(-(n - 1) // (2 * step)) + 1  # the odd number of pixels that holds all samples
    bank = psf_bank(
        optics,
        members=members,
        jitter_fraction=jitter_fraction,
        wfe_nm=wfe_nm,
        exact=exact,
        seed=seed,
        oversampling=step,
        size=size,
    )
    inner = slice(bank.centre - n // 2, bank.centre + n // 2 + 1)
    changes = bank.samples[:, inner, inner] - bank.samples[0, inner, inner]
    provenance = {"source": "perturbed", "around": psf.provenance, "changes": bank.provenance}
    return Psf(psf.samples + changes, step, psf.pixel_scale, bank.parameters, provenance)


def random_wavefront(seed: int | np.random.Generator) -> np.ndarray:
    """Zernike coefficients (Noll 1 to 37; piston and tilts 0) of a random wavefront of unit rms.

    The amplitudes fall as (radial order)^−1.5, as polishing errors and misalignments do.
    """
    rng = seed if isinstance(seed, np.random.Generator) else np.random.default_rng(seed)
    noll = np.arange(4, N_ZERNIKES + 1)
    order = np.ceil((np.sqrt(8 * noll + 1) - 3) / 2)
    coefficients = np.zeros(N_ZERNIKES)
    coefficients[noll - 1] = rng.normal(size=noll.size) * order**-1.5
    return coefficients / np.sqrt((coefficients**2).sum())


def _draw(optics: Optics, jitter: float, wavefront: np.ndarray, oversampling: int, size: int) -> np.ndarray:
    """Samples (n, n) of one PSF; `wavefront`: Zernike coefficients [nm]; size: px on a side."""
    import galsim

    if size < 3 or size % 2 == 0 or oversampling < 1:
        raise ValueError(f"PSF: size {size}, oversampling {oversampling}; accepted: odd sizes from 3 px, 1 or more")
    parts = [
        galsim.OpticalPSF(
            lam=optics.wavelength,
            diam=optics.diameter,
            aberrations=[0.0, *(wavefront / optics.wavelength)],
            annular_zernike=True,
            obscuration=optics.obscuration,
            nstruts=optics.struts,
            strut_thick=optics.strut_thickness,
            strut_angle=45.0 * galsim.degrees,
            pad_factor=2.0,
        ),
        galsim.Pixel(optics.pixel_scale),
    ]
    if jitter > 0:
        parts.append(galsim.Gaussian(sigma=jitter))
    n = (size - 1) * oversampling + 1
    image = galsim.Convolve(parts, gsparams=galsim.GSParams(maximum_fft_size=16384)).drawImage(
        nx=n, ny=n, scale=optics.pixel_scale / oversampling, method="no_pixel", dtype=float
    )
    return image.array * oversampling**2
