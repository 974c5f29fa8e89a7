"""PSFs of a telescope's optics, over its field and its focus, and banks of PSFs around them or around others."""

import dataclasses
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from dioscuri.io import digest
from dioscuri.psf.effective import DEFAULT_OVERSAMPLING, DEFAULT_SIZE, Psf

N_ZERNIKES = 37  # Noll indices 4 (defocus) to 37 make a wavefront error
MODE_MEMBERS, N_MODES = 28, 20  # PSFs drawn, and modes taken, to say how the PSF may change
MODE_SIZE = 25  # px
MODE_PADDING = 1.0  # of the pupil: three times quicker than 2, for 0.5 % of what is a difference anyway
MODE_FOCUS = 15.0  # nm rms, as the telescope breathes
_FOCUS = 3  # where defocus stands among coefficients that begin with piston


@dataclass(frozen=True)
class Optics:
    """A telescope and its camera in one filter.

    diameter [m], wavelength [nm], pixel_scale [arcsec/px], jitter: rms of the Gaussian image motion and
    charge diffusion on either axis [arcsec]; obscuration: diameter of the central one, as a share of the
    pupil's; struts and their thickness, likewise a share; aberrations: Zernike coefficients of the nominal wavefront
    [nm], Noll index 4 (defocus) and on; wfe_nm: rms of a random wavefront that is added [nm].

    spread [nm]: rms of the same coefficients over the field and as the telescope breathes; jitter_spread: half the
    range of the jitter [arcsec].
    """

    diameter: float
    wavelength: float
    pixel_scale: float
    jitter: float
    obscuration: float = 0.0
    struts: int = 0
    strut_thickness: float = 0.0
    wfe_nm: float = 0.0
    aberrations: tuple[float, ...] = ()
    spread: tuple[float, ...] = ()
    jitter_spread: float = 0.0

    def told(self) -> dict[str, Any]:
        """The fields as provenance has them."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in dataclasses.asdict(self).items()}


# What the field may change is not known of CSST: 10 nm in each of the first eight coefficients is an assumption.
_CSST = Optics(2.0, 463.1, 0.075, 0.055, spread=(10.0,) * 8, jitter_spread=0.0055)
# Fitted to STScI's grid of F775W (docs/DEVIATIONS.md): at ten places on both chips the coefficients have these means
# and standard deviations, the jitter is 0.0131″ to 0.0156″. The wavefront is taken for the same in all filters.
_HST = Optics(
    2.4,
    764.7,
    0.03962,
    0.0144,
    obscuration=0.33,
    struts=4,
    strut_thickness=0.011,
    aberrations=(24.5, -16.4, 7.6, -0.3, -5.5, -2.6, 7.3, -3.2, -3.1, -1.9, 5.6, -0.1),
    spread=(3.2, 4.7, 7.2, 7.1, 6.5, 1.4, 1.3, 7.7, 2.8, 5.2, 3.2, 2.4),
    jitter_spread=0.0015,
)
# The paper's FWHM with the pixel, 0.08″, which is wider than what the telescope delivers.
_HST_LITERAL = Optics(2.4, 764.7, 0.03962, 0.019, obscuration=0.33, struts=4, strut_thickness=0.011, wfe_nm=30.0)
# Wavelengths: the paper's for CSST, the pivots for HST.
OPTICS = {
    "csst_u": _CSST,
    "hst_f775w": _HST,
    "hst_f467m": dataclasses.replace(_HST, wavelength=468.3),
    "hst_f775w_literal": _HST_LITERAL,
    "hst_f467m_literal": dataclasses.replace(_HST_LITERAL, wavelength=468.3),
}


def optics_of(filter_name: str, pixel_scale: float) -> Optics:
    """HST's optics in a filter; one that is not known by name is taken at the wavelength in it.

    F606W is at 606 nm; numbers below 200 are tens of nm, as the infrared channel's (F160W: 1600 nm).
    """
    known = OPTICS.get(f"hst_{filter_name.lower()}")
    if known is None:
        found = re.match(r"F(\d{3})", filter_name)
        if not found:
            raise ValueError(f"filter '{filter_name}' tells no wavelength; accepted: such as F606W, or a PSF file")
        number = float(found[1])
        known = dataclasses.replace(OPTICS["hst_f775w"], wavelength=number if number >= 200 else 10 * number)
    return dataclasses.replace(known, pixel_scale=pixel_scale)


def optical_psf(
    optics: Optics,
    *,
    jitter: float | None = None,
    wfe_nm: float | None = None,
    wfe_seed: int = 0,
    focus_nm: float = 0.0,
    wavelength: float | None = None,
    oversampling: int = DEFAULT_OVERSAMPLING,
    size: int = DEFAULT_SIZE,
) -> Psf:
    """The PSF of a telescope: diffraction, wavefront error, Gaussian jitter and the pixel (galsim).

    jitter [arcsec], wfe_nm [nm rms] and wavelength [nm] stand in for those of `optics`; the random wavefront is
    drawn from `wfe_seed`; focus_nm [nm rms] of defocus are added. size: px on a side, odd.
    """
    if wavelength is not None:
        optics = dataclasses.replace(optics, wavelength=wavelength)
    jitter = optics.jitter if jitter is None else jitter
    wfe_nm = optics.wfe_nm if wfe_nm is None else wfe_nm
    wavefront = _nominal(dataclasses.replace(optics, wfe_nm=wfe_nm), wfe_seed)
    wavefront[_FOCUS] += focus_nm
    samples = _draw(optics, jitter, wavefront, oversampling, size)[None]
    settings = {"optics": optics.told(), "jitter": jitter, "wfe_nm": wfe_nm, "wfe_seed": wfe_seed}
    settings |= {"focus_nm": focus_nm} if focus_nm else {}
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
    places: int = 1,
    jitter_fraction: float = 0.0,
    wfe_nm: float = 0.0,
    focus_nm: float = 0.0,
    exact: bool = False,
    seed: int = 0,
    wfe_seed: int = 0,
    oversampling: int = DEFAULT_OVERSAMPLING,
    size: int = DEFAULT_SIZE,
) -> Psf:
    """PSFs around the nominal one, which is member 0: what a model must not mistake for a second star.

    The first `places` are PSFs that the telescope has somewhere in its field and at some focus: their wavefronts
    and jitters scatter as `optics` says, and by a defocus of U(± focus_nm) [nm rms] beside. An observer knows them. The
    others are what he takes for one of these (parameter `assumed`, a member) and is not: they have its jitter
    times U(1 ± jitter_fraction), and an additional random wavefront error whose rms is U(0, wfe_nm) [nm]
    (parameter `wfe`). With `exact` they have the jitter times 1 + jitter_fraction, which may be negative, and an
    rms of wfe_nm. Member k depends on `seed` and k alone.
    """
    if (
        members < 1
        or not 1 <= places <= members
        or not (-1 if exact else 0) <= jitter_fraction < 1
        or min(wfe_nm, focus_nm) < 0
    ):
        raise ValueError(
            f"PSF bank: {members} members, {places} places, jitter_fraction {jitter_fraction}, wfe_nm {wfe_nm}, "
            f"focus_nm {focus_nm}; accepted: 1 or more members, from 1 to as many places, a fraction from 0 up to 1, a "
            "wavefront error and a defocus of 0 or more"
        )
    known = [_place(optics, _nominal(optics, wfe_seed), k, focus_nm, seed) for k in range(places)]
    jitters, added, samples = [], [], []
    for k in range(members):
        wavefront, jitter = known[k % places]
        error = 0.0
        if k >= places:
            rng = np.random.Generator(np.random.Philox(key=[seed, k]))
            shares = (1.0, 1.0) if exact else (rng.uniform(-1, 1), rng.uniform())
            jitter = jitter * (1 + jitter_fraction * shares[0])
            error = wfe_nm * shares[1]
            wavefront = wavefront + error * random_wavefront(rng)
        jitters.append(jitter)
        added.append(error)
        samples.append(_draw(optics, jitter, wavefront, oversampling, size))
    settings = {
        "optics": optics.told(),
        "members": members,
        "places": places,
        "jitter_fraction": jitter_fraction,
        "wfe_nm": wfe_nm,
        "focus_nm": focus_nm,
        "exact": exact,
        "seed": seed,
        "wfe_seed": wfe_seed,
    }
    return Psf(
        np.stack(samples),
        oversampling,
        optics.pixel_scale,
        {"jitter": np.array(jitters), "wfe": np.array(added), "assumed": np.arange(members) % places},
        {"source": "optical bank", **settings, "digest": digest(settings)},
    )


def _place(optics: Optics, wavefront: np.ndarray, k: int, focus_nm: float, seed: int) -> tuple[np.ndarray, float]:
    """Wavefront and jitter somewhere in the field; place 0 is the nominal one."""
    if k == 0:
        return wavefront, optics.jitter
    rng = np.random.Generator(np.random.Philox(key=[seed, 1_000_000 + k]))
    wavefront = wavefront.copy()
    here = slice(_FOCUS, _FOCUS + len(optics.spread))
    wavefront[here] += np.array(optics.spread) * rng.normal(size=len(optics.spread))
    wavefront[_FOCUS] += focus_nm * rng.uniform(-1, 1)
    return wavefront, optics.jitter + optics.jitter_spread * rng.uniform(-1, 1)


def perturbed(psf: Psf, optics: Optics, *, members: int, **errors) -> Psf:
    """A bank around PSFs of any origin, its first members: of a file, a grid's places, or from the stars of a frame.

    Each other member adds to one of them (parameter `assumed`) what jitter and wavefront error (`errors`, as in
    `psf_bank`) change in the optical PSF of `optics`: the difference is physical and band-limited, and needs no
    deconvolution of a measured PSF. Of one PSF alone the optics make the places too, where `errors` ask for more.
    """
    places = psf.n_members
    if members < places:
        raise ValueError(f"PSF bank: found {places} PSFs to perturb, {members} members; accepted: as many or more")
    optics = dataclasses.replace(optics, pixel_scale=psf.pixel_scale)
    n, step = psf.samples.shape[1], psf.oversampling
    size = 2 * -(-(n - 1) // (2 * step)) + 1  # the odd number of pixels that holds all samples
    bank = psf_bank(optics, members=members - places + 1, oversampling=step, size=size, **errors)
    if places == 1:
        assumed, which = bank.parameters["assumed"].astype(int), np.arange(members)
    else:
        assumed = np.arange(members) % places
        which = np.maximum(np.arange(members) - places + 1, 0)  # the first are as they are
    inner = slice(bank.centre - n // 2, bank.centre + n // 2 + 1)
    changes = bank.samples[:, inner, inner] - bank.samples[0, inner, inner]
    parameters = {name: values[which] for name, values in bank.parameters.items()} | {"assumed": assumed}
    provenance = {"source": "perturbed", "around": psf.provenance, "changes": bank.provenance}
    return Psf(psf.samples[assumed % places] + changes[which], step, psf.pixel_scale, parameters, provenance)


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


def _nominal(optics: Optics, wfe_seed: int) -> np.ndarray:
    """Zernike coefficients (Noll 1 to 37) of the nominal wavefront [nm]."""
    wavefront = optics.wfe_nm * random_wavefront(wfe_seed)
    wavefront[_FOCUS : _FOCUS + len(optics.aberrations)] += np.array(optics.aberrations)
    return wavefront


def _draw(
    optics: Optics, jitter: float, wavefront: np.ndarray, oversampling: int, size: int, padding: float = 2.0
) -> np.ndarray:
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
            pad_factor=padding,
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


@lru_cache(maxsize=8)
def optical_modes(optics: Optics, n_samples: int, oversampling: int, n_modes: int = N_MODES) -> Psf:
    """How the PSF changes over field and focus: principal components of a bank (M, n, n), one σ each, largest first.

    They go with a PSF of `n_samples` on a side, and are nothing beyond MODE_SIZE px. Over the chips of WFC3/UVIS
    20 of them hold 96 % of the variance of STScI's grid.
    """
    nominal = _nominal(optics, 0)
    places = [_place(optics, nominal, k, MODE_FOCUS, 0) for k in range(MODE_MEMBERS)]
    samples = np.stack(
        [_draw(optics, jitter, wavefront, oversampling, MODE_SIZE, MODE_PADDING) for wavefront, jitter in places]
    )
    deviations = (samples - samples.mean(0)).reshape(MODE_MEMBERS, -1) / np.sqrt(MODE_MEMBERS)
    _, scale, shapes = np.linalg.svd(deviations, full_matrices=False)
    modes = (scale[:, None] * shapes)[:n_modes].reshape(-1, *samples.shape[1:])
    return Psf(_resized(modes, n_samples), oversampling, optics.pixel_scale, provenance={"source": "optical modes"})


def _resized(samples: np.ndarray, n: int) -> np.ndarray:
    """Samples (K, m, m) cut, or filled up with zeros, to (K, n, n) around the star."""
    m = samples.shape[1]
    if m > n:
        cut = (m - n) // 2
        return samples[:, cut : cut + n, cut : cut + n]
    return np.pad(samples, ((0, 0), ((n - m) // 2,) * 2, ((n - m) // 2,) * 2))
