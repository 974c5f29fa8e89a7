"""The catalogue of a cluster: the units and meanings of its columns, as Parquet and FITS files."""

import os
from collections.abc import Mapping
from typing import Any

import pandas as pd
from astropy.table import Table

from dioscuri.catalogs.files import write_fits, write_parquet

# Column → FITS unit and meaning; columns of filters (mag_<filter>) are described by what precedes the filter.
COLUMNS = {
    "star_id": ("", "number in this catalogue"),
    "x": ("pix", "west of the reference exposure's centre"),
    "y": ("pix", "north of it"),
    "x_err": ("pix", ""),
    "y_err": ("pix", ""),
    "ra": ("deg", "J2000, as the reference exposure's WCS has it"),
    "dec": ("deg", ""),
    "n": ("", "exposures that show the star"),
    "flags": ("", "bits of dioscuri.flags.SourceFlag"),
    "mag_": ("mag", "instrumental, -2.5 log10(electrons)"),
    "mag_err_": ("mag", ""),
    "scatter_": ("mag", "standard deviation of the exposures"),
    "n_": ("", "exposures in the filter"),
    "chi2_": ("", "reduced chi2 of the photometry, median"),
    "qfit_": ("", "sum of absolute residuals over flux, median"),
    "region": ("", "of the colour-magnitude diagram: ms, binary or none"),
    "n_scored": ("", "exposures in which the shape was scored"),
    "flux": ("ct", "electrons, mean over the scored exposures"),
    "p": ("", "mean probability of two stars, by the networks"),
    "logit_p": ("", "mean logit of it"),
    "log_bf": ("", "ln of the Bayes factor of two stars, summed over exposures"),
    "glr": ("", "ln of the generalised likelihood ratio, summed"),
    "log_bf_true": ("", "log_bf with the true PSF (simulated fields)"),
    "chi2": ("", "reduced chi2 of one star, mean"),
    "chi2_pair": ("", "reduced chi2 of the fitted pair, mean"),
    "n_fitted": ("", "exposures in which a pair was fitted"),
    "sep": ("arcsec", "separation of the fitted pair"),
    "sep_err": ("arcsec", ""),
    "sep_au": ("AU", "projected, at the cluster's distance"),
    "sep_au_err": ("AU", ""),
    "sky_angle": ("deg", "position angle of the fainter star, east of north"),
    "sky_angle_err": ("deg", ""),
    "flux_ratio": ("", "fainter to brighter star"),
    "flux_ratio_err": ("", ""),
    "agreement": ("", "probability of separation vectors that differ as much between exposures"),
    "density": ("pix-2", "stars around"),
    "chance_probability": ("", "of being a blend of two unrelated stars"),
    "distance": ("arcsec", "from the cluster's centre"),
    "is_candidate": ("", ""),
}  # fmt: skip


def write_catalogue(outs: Mapping[str, str | os.PathLike], table: pd.DataFrame, settings: Any = None) -> None:
    """Write a catalogue with units, meanings and provenance: as Parquet and FITS, by the suffixes in `outs`."""
    output = Table()
    for name in table:
        values = table[name].to_numpy()
        output[name] = values.astype(str) if values.dtype == object else values
        unit, description = _described(name)
        output[name].unit, output[name].description = unit or None, description or None
    if "parquet" in outs:
        write_parquet(outs["parquet"], output, settings)
    if "fits" in outs:
        write_fits(outs["fits"], {os.path.basename(outs["fits"]).split(".")[0].upper(): output}, settings)


def _described(name: str) -> tuple[str, str]:
    """Unit and meaning of a column; those of a filter by what precedes its name."""
    if name in COLUMNS:
        return COLUMNS[name]
    stem, _, band = name.rpartition("_")
    unit, description = COLUMNS.get(f"{stem}_", ("", ""))
    return unit, f"{description} ({band})".strip() if f"{stem}_" in COLUMNS else ""
