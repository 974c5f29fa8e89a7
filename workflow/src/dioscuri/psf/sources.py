"""PSFs by name and from any file; banks to train on, and PSFs that differ from the one assumed by a known amount."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dioscuri.psf.effective import Psf
from dioscuri.psf.files import read_psf
from dioscuri.psf.grids import is_stdpsf, is_stpsf, opened, read_stdpsf, read_stpsf
from dioscuri.psf.optics import OPTICS, optical_psf, perturbed, psf_bank
from dioscuri.reading import reading

# Stamps are 14 px, a star in them may lie a pixel or two off their centre.
STAMP_PSF_SIZE = 25  # px
ANY = "PSFs of ours (.npz), a STDPSF or STPSF grid, or a FITS image of one PSF"
WAVEFRONTS = 32  # wavefronts of one rms in a cell of the test grid: at one rms their false positives differ tenfold


def read_any(
    path: str | os.PathLike,
    *,
    pixel_scale: float | None = None,
    oversampling: int | None = None,
    pixel_integrated: bool = True,
) -> Psf:
    """The PSF or grid of PSFs in a file, whatever its kind: `ANY`.

    `pixel_scale` [arcsec a pixel of the detector] (None: the file's or its camera's own). An image needs
    `oversampling`, its samples a pixel, and is taken as it is unless its pixel is not in it (`pixel_integrated`);
    these two are not for grids, which hold effective PSFs.
    """
    path = Path(path)
    with reading(path, ANY):
        if path.suffix == ".npz":
            return Psf.load(path)
        with opened(path) as hdu:
            header = hdu.header.copy()
    grid = is_stdpsf(header) or is_stpsf(header)
    if grid and not pixel_integrated:
        raise ValueError(
            f"{path}: a grid of effective PSFs, with the pixel in them; --no-pixel-integrated is wrong here"
        )
    if is_stdpsf(header):
        return read_stdpsf(path, pixel_scale=pixel_scale)
    if is_stpsf(header):
        return read_stpsf(path, pixel_scale=pixel_scale)
    if oversampling is None:
        raise ValueError(f"{path}: how many samples has the PSF a pixel of the detector? Give --psf-oversampling")
    if pixel_scale is None:
        raise ValueError(f"{path}: an image of a PSF does not tell the pixel scale of the detector; give pixel_scale")
    return read_psf(path, oversampling=oversampling, pixel_scale=pixel_scale, pixel_integrated=pixel_integrated)


def make_bank(
    path: str | os.PathLike, source: Mapping[str, Any], bank: Mapping[str, Any], seed: int, fitted: str | None = None
) -> None:
    """Write a bank of PSFs, member 0 the nominal one, as .npz.

    source: settings of `nominal_psf`. bank: members, jitter_fraction, wfe_nm (see `psf_bank`). fitted: the PSF
    from the stars of the frames, for source `stars`.
    """
    _around(source, fitted, seed=seed, **bank).save(path)


def make_mismatch(
    path: str | os.PathLike, source: Mapping[str, Any], axis: str, value: float, seed: int, fitted: str | None = None
) -> None:
    """Write the PSFs of one test cell, which are not the nominal one.

    axis `jitter`: one PSF with the jitter times 1 + `value`; `wfe`: `WAVEFRONTS` PSFs with random additional
    wavefront errors of `value` nm rms each.
    """
    if axis == "jitter":
        both = _around(source, fitted, members=2, jitter_fraction=value, exact=True, seed=seed)
    elif axis == "wfe":
        both = _around(source, fitted, members=1 + WAVEFRONTS, wfe_nm=value, exact=True, seed=seed)
    else:
        raise ValueError(f"PSFs cannot differ in '{axis}'; accepted: jitter, wfe")
    rest = {name: values[1:] for name, values in both.parameters.items() if name != "assumed"}
    dataclasses.replace(both, samples=both.samples[1:], parameters=rest).save(path)


def nominal_psf(source: Mapping[str, Any], fitted: str | None = None) -> Psf:
    """The PSF that fits and networks take for the true one.

    source: `source` (optical | file | stdpsf | stars), `optics` (a name of `OPTICS`), `file`, `oversampling`,
    `pixel_integrated`, `position` (x, y) and `chip` as the settings have them.
    """
    optics = OPTICS[source["optics"]]
    if source["source"] == "optical":
        return optical_psf(optics, oversampling=source["oversampling"], size=STAMP_PSF_SIZE)
    if source["source"] == "file":
        form = {name: source[name] for name in ("oversampling", "pixel_integrated")}
        return read_psf(source["file"], pixel_scale=optics.pixel_scale, **form)
    if source["source"] == "stdpsf":
        return read_stdpsf(source["file"], chip=source["chip"]).at(*source["position"])
    if fitted is None:
        raise ValueError("PSF source 'stars': no PSF was fitted in the frames; run the photometry first")
    return Psf.load(fitted).member(0)


def _around(source: Mapping[str, Any], fitted: str | None, **bank: Any) -> Psf:
    optics = OPTICS[source["optics"]]
    if source["source"] == "optical":
        return psf_bank(optics, oversampling=source["oversampling"], size=STAMP_PSF_SIZE, **bank)
    nominal = nominal_psf(source, fitted)
    if source["source"] == "stdpsf" and bank.get("places", 1) > 1:
        return perturbed(_of_grid(source, nominal, bank.pop("places"), bank["seed"]), optics, **bank)
    return nominal if bank["members"] == 1 else perturbed(nominal, optics, **bank)


def _of_grid(source: Mapping[str, Any], nominal: Psf, places: int, seed: int) -> Psf:
    """PSFs of a grid at the nominal place and at others, anywhere on its chip."""
    grid = read_stdpsf(source["file"], chip=source["chip"])
    x, y = (grid.parameters[name] for name in ("x", "y"))
    drawn = np.random.default_rng(seed).uniform((x.min(), y.min()), (x.max(), y.max()), (places - 1, 2))
    samples = np.concatenate([nominal.samples, *(grid.at(*place).samples for place in drawn)])
    return dataclasses.replace(nominal, samples=samples, parameters={})
