"""Unresolved pairs among stamps of single sources: a folder of FITS images, a FITS cube or an HDF5 stack."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import dioscuri
from dioscuri import door
from dioscuri.io import open_hdf5
from dioscuri.predict.images import LIKELIHOOD, OK, PAIR_ABOVE, find_networks, likely, network_caption, read_any_psf
from dioscuri.reading import open_fits, own_dataset, reading
from dioscuri.stamps.channels import make_channels
from dioscuri.stamps.companions import fit_pair
from dioscuri.stamps.mocks import SIZE, Law, Noise, Renderer, signal_to_noise
from dioscuri.stamps.optimum import fit_single, log_bayes_factor

COLUMNS = (
    "file", "stamp", "x", "y", "flux", "snr", "chi2", "p", "log_bf", "sep", "sep_err", "position_angle",
    "flux_ratio", "status",
)  # fmt: skip
# FITS knows no electrons: they are counts there.
UNITS = {"x": "pix", "y": "pix", "flux": "ct", "sep": "pix", "sep_err": "pix", "position_angle": "deg"}
DIGITS = {"x": 2, "y": 2, "flux": 0, "snr": 0, "chi2": 2, "log_bf": 1, "sep": 2, "sep_err": 2, "position_angle": 0,
          "flux_ratio": 2}  # fmt: skip
OPTIONS = ("psf", "psf_oversampling", "noise", "background", "models")
LAW = Law(flux_ratio="uniform")
PIXEL_SCALE = 0.075  # arcsec
SUFFIXES, WHAT = (*door.FITS, *door.HDF5), "stamps"
STAMPS = "a folder of FITS images, a FITS cube (N, H, W), or an HDF5 file with a dataset 'stamps' (N, H, W)"


def predict(
    paths: Sequence[Path],
    *,
    psf: Path | None = None,
    psf_oversampling: int | None = None,
    noise: float | None = None,
    background: float = 0.0,
    models: Path | Sequence[str] | None = None,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Every stamp with p and log_bf of being two stars; separations of those that may be.

    Stamps are background-subtracted electrons, of 14 px or more on a side; of larger ones the 14 × 14 px around
    the brightest pixel count. `psf` must be given: a file (.npz, or a FITS image with `psf_oversampling` samples
    a pixel). `noise` [e-]: rms of a pixel without star (None: that of the networks), `background` [e-]: what was
    subtracted. Position angles are from +x towards +y. Stamps that cannot be used are rows that say why.
    """
    if psf is None:
        raise ValueError("survey csst: the PSF is missing; give --psf, as .npz or as a FITS image of it")
    classifier = find_networks("csst", models)
    law = Law(**classifier.context["law"]) if classifier else LAW
    door.at_least_zero(background, "--background", "electrons per pixel")
    if noise is not None:
        door.positive(noise, "--noise", "electrons rms")
    else:
        if classifier is None:
            raise ValueError(
                "survey csst: the noise is not known; give --noise, rms of a pixel without star [electrons]"
            )
        noise = float(classifier.context["noise"]["sigma"])
    known = Noise(noise, background)
    renderer = Renderer(read_any_psf(Path(psf), pixel_scale=PIXEL_SCALE, oversampling=psf_oversampling))
    origin, found, refused = read_all(paths)
    table = pd.DataFrame(origin, columns=["file", "stamp"])
    if len(found):
        stamps = np.stack(found)
        single = fit_single(stamps, known.variance, renderer)
        log_bf, _ = log_bayes_factor(stamps, known.variance, renderer, law)
        pixels = np.isfinite(stamps).sum((1, 2))
        table = table.assign(
            x=single.x, y=single.y, flux=single.flux, snr=signal_to_noise(single.flux, known),
            chi2=single.chi2 / np.maximum(pixels - 3, 1), log_bf=log_bf,
            status=OK if classifier else LIKELIHOOD,
        )  # fmt: skip
        if classifier:
            channels = make_channels(stamps, classifier.rendering, variance=known.variance, renderer=renderer)
            table["p"] = classifier.probability(channels, progress=True)
        rows = np.flatnonzero(log_bf > PAIR_ABOVE)
        if len(rows):
            pair = fit_pair(stamps[rows], known.variance, renderer)
            values = {
                "sep": pair.sep, "sep_err": 0.5 * (pair.sep_high - pair.sep_low), "flux_ratio": pair.flux_ratio,
                "position_angle": np.degrees(pair.position_angle) % 360.0,
            }  # fmt: skip
            table = table.join(pd.DataFrame(values, index=rows))
    rows = [*table.to_dict("records"), *refused]
    table = pd.DataFrame(rows, columns=list(COLUMNS)).sort_values(["file", "stamp"], kind="stable", ignore_index=True)
    numbers = [name for name in COLUMNS if name not in ("file", "stamp", "status")]
    information = {
        "survey": "csst",
        "extension": "UNRESOLVED_PAIRS",
        "header": {"NOISE": noise, "BACKGRND": background, "NETWORKS": network_caption(classifier)},
        "software": f"dioscuri {dioscuri.__version__}",
        "networks": network_caption(classifier),
    }
    return table.astype(dict.fromkeys(numbers, float)), information


def read_all(paths: Sequence[Path]) -> tuple[list[dict[str, Any]], list[np.ndarray], list[dict[str, Any]]]:
    """Where each stamp is from (file, stamp), the stamps (14, 14), and rows for what could not be used."""
    origin, found, refused = [], [], []
    for path in paths:
        try:
            with reading(path, STAMPS):
                stack = _read(path)
        except ValueError as error:
            refused.append({"file": str(path), "stamp": -1, "status": f"refused: {error}"})
            continue
        for number, image in enumerate(stack):
            stamp = cropped(image)
            if stamp is None:
                reason = f"{image.shape[0]} × {image.shape[1]} px without a star that has {SIZE} × {SIZE} px around it"
                refused.append({"file": str(path), "stamp": number, "status": f"refused: {reason}"})
            else:
                origin.append({"file": str(path), "stamp": number})
                found.append(stamp)
    return origin, found, refused


def cropped(image: np.ndarray) -> np.ndarray | None:
    """The 14 × 14 px of an image (H, W) around its brightest pixel, None where they reach beyond it."""
    if min(image.shape) < SIZE or not np.isfinite(image).any():
        return None
    if image.shape == (SIZE, SIZE):
        return image
    row, column = np.unravel_index(int(np.nanargmax(image)), image.shape)
    bottom, left = int(row) - SIZE // 2 + 1, int(column) - SIZE // 2 + 1
    if bottom < 0 or left < 0:
        return None
    stamp = image[bottom : bottom + SIZE, left : left + SIZE]
    return stamp if stamp.shape == (SIZE, SIZE) else None


def _read(path: Path) -> np.ndarray:
    """All images of a file, (N, H, W) float64."""
    if path.name.endswith(door.HDF5):
        with open_hdf5(path) as stream:
            images = np.asarray(own_dataset(stream, "stamps")[:], float)
    else:
        with open_fits(path) as hdus:
            images = next(
                (np.asarray(hdu.data, float) for hdu in hdus
                 if hdu.is_image and hdu.data is not None and hdu.data.ndim in (2, 3)), np.empty(0)
            )  # fmt: skip
    images = images[None] if images.ndim == 2 else images
    if images.ndim != 3 or not len(images):
        raise ValueError("no image of two or three dimensions")
    return images


def style(table: pd.DataFrame, information: dict[str, Any]) -> tuple[str, pd.Series]:
    """What stands below the printed table, and which rows stand out."""
    return information["networks"], pd.Series(likely(table["p"], table["log_bf"]), index=table.index)


def plot(table: pd.DataFrame, path: Path, information: dict[str, Any]) -> None:
    """Draw scores against flux, and separations of the likely pairs."""
    from dioscuri.plots.images_prediction import sources

    sources(table, path)
