"""Unresolved pairs among stamps of single sources: a folder of FITS images, a FITS cube or an HDF5 stack."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import dioscuri
from dioscuri import door
from dioscuri.io import open_hdf5
from dioscuri.predict.images import LIKELIHOOD, OK, PAIR_ABOVE, check_likelihood, find_networks, likely, network_caption
from dioscuri.psf.effective import Psf
from dioscuri.psf.sources import read_any
from dioscuri.reading import open_fits, own_dataset, reading
from dioscuri.stamps import quality
from dioscuri.stamps.judge import QUALITY, Search, judge
from dioscuri.stamps.mocks import SIZE, Law, Noise, Renderer, signal_to_noise
from dioscuri.stamps.optimum import fit_single

COLUMNS = (
    "file", "stamp", "x", "y", "flux", "snr", "chi2", "p", "log_bf", "sep", "sep_err", "position_angle",
    "flux_ratio", "status",
)  # fmt: skip
# FITS knows no electrons: they are counts there.
UNITS = {"x": "pix", "y": "pix", "flux": "ct", "sep": "pix", "sep_err": "pix", "position_angle": "deg"}
DIGITS = {"x": 2, "y": 2, "flux": 0, "snr": 0, "chi2": 2, "log_bf": 1, "sep": 2, "sep_err": 2, "position_angle": 0,
          "flux_ratio": 2}  # fmt: skip
OPTIONS = ("psf", "psf_oversampling", "pixel_integrated", "noise", "background", "likelihood", "models")
LAW = Law(flux_ratio="uniform")
PIXEL_SCALE, SAME_SCALE = 0.075, 0.05  # arcsec, and how far a PSF's may be off it
FLUX_SLACK = 0.8  # fluxes are measured with an error, and a pair's is fitted as one star's
SUFFIXES, WHAT = (*door.FITS, *door.HDF5), "stamps"
ELECTRONS = ("", "ELECTRON", "ELECTRONS", "E", "E-")  # as BUNIT; where there is none they are believed to be
STAMPS = "a folder of FITS images, a FITS cube (N, H, W), or an HDF5 file with a dataset 'stamps' (N, H, W)"


def predict(
    paths: Sequence[Path],
    *,
    psf: Path | None = None,
    psf_oversampling: int | None = None,
    pixel_integrated: bool = True,
    noise: float | None = None,
    background: float = 0.0,
    likelihood: str = "needed",
    models: Path | Sequence[str] | None = None,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Every stamp with p and log_bf of being two stars; separations of those that may be.

    Stamps are background-subtracted electrons, of 14 px or more on a side; of larger ones the 14 × 14 px around
    the brightest pixel count. `psf` must be given: a file (.npz, or a FITS image with `psf_oversampling` samples
    a pixel, `pixel_integrated` or not). `noise` [e-]: rms of a pixel without star (None: that of the networks),
    `background` [e-]: what was subtracted. `likelihood` `needed` computes log_bf only where it can change the verdict.
    Position angles are from +x towards +y. Stamps that cannot be used are rows that say why; those that neither one
    star nor two explain, and all of a file whose χ² contradicts PSF, noise or gain, are doubtful.
    """
    if psf is None:
        raise ValueError("survey csst: the PSF is missing; give --psf, as .npz or as a FITS image of it")
    check_likelihood(likelihood)
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
    renderer = Renderer(_one_psf(psf, psf_oversampling, pixel_integrated))
    search = Search(law, classifier, PAIR_ABOVE, needed=likelihood == "needed")
    origin, found, refused = read_all(paths)
    table = pd.DataFrame(origin, columns=["file", "stamp"])
    notes: list[str] = []
    if len(found):
        scores, notes = _scored(np.stack(found), table["file"], known, renderer, search)
        table = table.join(scores)
    rows = [*table.to_dict("records"), *refused]
    table = pd.DataFrame(rows, columns=list(COLUMNS)).sort_values(["file", "stamp"], kind="stable", ignore_index=True)
    numbers = [name for name in COLUMNS if name not in ("file", "stamp", "status")]
    information = {
        "survey": "csst",
        "extension": "UNRESOLVED_PAIRS",
        "header": {"NOISE": noise, "BACKGRND": background, "NETWORKS": network_caption(classifier)},
        "software": f"dioscuri {dioscuri.__version__}",
        "networks": network_caption(classifier),
        "notes": notes,
    }
    return table.astype(dict.fromkeys(numbers, float)), information


def _one_psf(path: Path, oversampling: int | None, pixel_integrated: bool) -> Psf:
    """The PSF of all stamps, which know no place on a detector; of a bank its nominal one."""
    psf = read_any(path, pixel_scale=PIXEL_SCALE, oversampling=oversampling, pixel_integrated=pixel_integrated)
    if psf.n_members > 1 and "x" in psf.parameters:
        raise ValueError(f"{path}: {psf.n_members} PSFs over a detector, and stamps tell no place; give one of them")
    if abs(psf.pixel_scale / PIXEL_SCALE - 1) > SAME_SCALE:
        raise ValueError(f"{path}: a PSF for pixels of {psf.pixel_scale:g} arcsec; those of CSST have {PIXEL_SCALE:g}")
    return psf.member(0)


def _scored(
    stamps: np.ndarray, files: pd.Series, noise: Noise, renderer: Renderer, search: Search
) -> tuple[pd.DataFrame, list[str]]:
    """The columns of stamps that could be read, and lines about the files they are from."""
    variance = np.where(np.isfinite(stamps), noise.variance, np.inf)
    single = fit_single(stamps, variance, renderer)
    scores = judge(stamps, variance, renderer, search)
    table = pd.DataFrame(scores).assign(
        x=single.x, y=single.y, flux=single.flux, snr=signal_to_noise(single.flux, noise)
    )
    table["chi2"] = table["chi2_best"]
    if "sep" in table:
        table["sep_err"] = 0.5 * (table["sep_high"] - table["sep_low"])
        table["position_angle"] = np.degrees(table["position_angle"]) % 360.0
    called = scores["p"] > 0.5 if "p" in scores else scores["log_bf"] > PAIR_ABOVE
    found = quality.Quality(**{field: scores[column] for column, field in QUALITY.items()})
    reasons = np.array(quality.doubts(found, single.flux), object)
    low, high = search.law.flux_min, search.law.flux_max
    beyond = (single.flux < low * FLUX_SLACK) | (single.flux > high / FLUX_SLACK)
    reasons[beyond & (reasons == "")] = f"flux beyond the {low:g} to {high:g} electrons that are known"
    notes = []
    # A folder of single images is one file, as far as PSF and noise go.
    groups = [np.arange(len(files))] if files.nunique() == len(files) else files.groupby(files).indices.values()
    for rows in groups:
        kept = rows[reasons[rows] == ""] if (reasons[rows] == "").any() else rows
        some = quality.Quality(*(getattr(found, name)[kept] for name in quality.Quality.__dataclass_fields__))
        why, lines = quality.population(some, single.flux[kept], called[kept])
        reasons[rows[reasons[rows] == ""]] = why
        name = Path(files.iloc[rows[0]]).name if len(groups) > 1 else "all stamps"
        notes += [f"{name}: {line}" for line in (*lines, *quality.advice(why))]
    quality.faint_rays(found, reasons)
    good = OK if search.classifier else LIKELIHOOD
    return table.assign(status=[f"doubtful: {reason}" if reason else good for reason in reasons]), notes


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
            found = next((hdu for hdu in hdus if hdu.is_image and hdu.header.get("NAXIS") in (2, 3)), None)
            images = np.empty(0) if found is None else np.asarray(found.data, float)
            unit = "" if found is None else str(found.header.get("BUNIT", "")).strip()
            if unit.upper() not in ELECTRONS:
                raise ValueError(f"BUNIT is '{unit}'; stamps are in electrons, with the sky subtracted")
    images = images[None] if images.ndim == 2 else images
    if images.ndim != 3 or not len(images):
        raise ValueError("no image of two or three dimensions")
    n, height, width = images.shape
    if n == height != width:
        raise ValueError(
            f"a cube of {n} × {height} × {width}: {n} images of {height} × {width}, or {width} of {n} × {height}? "
            "Transposed, perhaps: the number of the stamp is the first axis of the array, in FITS the last (NAXIS3)"
        )
    return images


def style(table: pd.DataFrame, information: dict[str, Any]) -> tuple[str, pd.Series]:
    """What stands below the printed table, and which rows stand out."""
    found = likely(table["p"], table["log_bf"]) & table["status"].str.startswith("ok").to_numpy()
    return "\n".join([information["networks"], *information.get("notes", [])]), pd.Series(found, index=table.index)


def plot(table: pd.DataFrame, path: Path, information: dict[str, Any]) -> None:
    """Draw scores against flux, and separations of the likely pairs."""
    from dioscuri.plots.images_prediction import sources

    sources(table, path)
