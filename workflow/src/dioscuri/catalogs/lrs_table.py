"""The catalogue of LRS spectra (FITS, CSV, Parquet), its columns by our names, checked all at once."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from astropy import units as u

from dioscuri.catalogs.read_table import not_numbers, read_table, whole_numbers
from dioscuri.catalogs.user_table import Quantity

log = logging.getLogger(__name__)

UNKNOWN = (-9999.0, -999.0, 9999.0)
QUANTITIES: dict[str, Quantity] = {
    "ra": Quantity("deg", 0.0, 360.0),
    "dec": Quantity("deg", -90.0, 90.0),
    "teff": Quantity("K", 2000.0, 60000.0),
    "logg": Quantity("", -1.0, 9.0),
    "feh": Quantity("", -5.0, 1.5, ("fe_h", "[fe/h]")),
    "snrg": Quantity("", 0.0, 5000.0, ("snr_g", "sn_g")),
    "g": Quantity("mag", -3.0, 25.0, ("phot_g_mean_mag", "gmag")),
    "bp": Quantity("mag", -3.0, 26.0, ("phot_bp_mean_mag", "bpmag")),
    "rp": Quantity("mag", -3.0, 25.0, ("phot_rp_mean_mag", "rpmag")),
    "ks": Quantity("mag", -5.0, 20.0, ("k_m", "ksmag", "kmag", "k_msigcom")),
    "parallax": Quantity("mas", -1000.0, 1000.0, ("plx",)),
    "parallax_error": Quantity("mas", 0.0, 1000.0, ("e_plx", "parallax_err")),
    "ruwe": Quantity("", 0.0, 1000.0),
    "ebv": Quantity("mag", -0.5, 20.0, ("e_bv", "e(b-v)", "ebmv")),
    "rv": Quantity("km/s", -1500.0, 1500.0, ("radial_velocity",)),
    "distance": Quantity("pc", 0.0, 3e5, ("r_med_geo", "rgeo")),
}
KEYS = ("obsid", "file")  # what joins the table to spectra; one of them is needed
IDENTIFIERS = ("obsid", "source_id")


def read_catalogue(
    path: str | os.PathLike, columns: Mapping[str, str] | None = None, needed: Sequence[str] = ()
) -> pd.DataFrame:
    """The table by our names and in our units: QUANTITIES (NaN where absent), obsid, source_id (0: unknown), file.

    `columns`: our name → the table's, where ours or a usual one (case aside) does not do; `needed`: quantities that
    must be there. FITS units are converted. All mistakes come in one ValueError, a line each: column, found, accepted.
    Among them: no key, a key twice, values that make no sense in the unit.
    """
    path = Path(path)
    raw, units = read_table(path)
    names = {str(name).lower(): str(name) for name in raw.columns}
    mistakes: list[str] = []
    found: dict[str, str] = {}
    for ours in (*KEYS, "source_id", *QUANTITIES):
        aliases = (ours, *(QUANTITIES[ours].names if ours in QUANTITIES else ()))
        theirs = (columns or {}).get(ours) or next((names[a] for a in aliases if a in names), None)
        if theirs is not None and theirs not in raw.columns:
            mistakes.append(f"column '{theirs}' (for {ours}): not there; found {', '.join(map(str, raw.columns))}")
        elif theirs is not None:
            found[ours] = theirs
    for strange in sorted(set(columns or {}) - {*KEYS, *IDENTIFIERS, *QUANTITIES}):
        mistakes.append(f"'{strange}': no name of ours; accepted: {', '.join((*KEYS, 'source_id', *QUANTITIES))}")
    if not set(KEYS) & set(found):
        mistakes.append(f"no column obsid or file, which join rows to spectra; found {', '.join(names)}")
    mistakes += [
        f"no column {name}, which is needed here; found {', '.join(names)}" for name in needed if name not in found
    ]
    table = pd.DataFrame(index=raw.index)
    for ours, theirs in found.items():
        if ours in QUANTITIES:
            table[ours] = _quantity(raw[theirs], ours, units.get(theirs), mistakes, theirs)
        elif ours in IDENTIFIERS:
            table[ours] = _identifier(raw[theirs], mistakes, theirs)
        else:
            table[ours] = raw[theirs].fillna("").astype(str).map(lambda name: Path(name).name)
    for key in KEYS:
        if key in table:
            used = table[key][(table[key] != "") & (table[key] != 0)]
            twice = used[used.duplicated()].unique()
            if len(twice):
                mistakes.append(f"column '{found[key]}': {len(twice)} values stand in several rows, first {twice[0]}")
    if mistakes:
        raise ValueError("\n".join(f"{path}: {mistake}" for mistake in mistakes))
    for name in QUANTITIES:
        if name not in table:
            table[name] = np.nan
    return table


def match(table: pd.DataFrame, obsid: np.ndarray, files: Sequence[str]) -> pd.DataFrame:
    """Rows of the table for spectra (S,), by obsid where both have one, else by the file's name; NaN where none is."""
    row = np.full(len(obsid), -1)
    if "obsid" in table:
        known = table.index.to_numpy()[table["obsid"] > 0]
        place = pd.Series(known, index=table["obsid"][table["obsid"] > 0])
        row = place.reindex(obsid).fillna(-1).to_numpy(int)
    if "file" in table:
        place = pd.Series(table.index.to_numpy(), index=table["file"])
        by_name = place[~place.index.duplicated()].reindex([Path(name).name for name in files])
        row = np.where(row >= 0, row, by_name.fillna(-1).to_numpy(int))
    return table.reindex(np.where(row >= 0, row, -1)).reset_index(drop=True).assign(matched=row >= 0)


def _identifier(values: pd.Series, mistakes: list[str], where: str) -> pd.Series:
    if values.dtype.kind == "f" and (values.abs() > 2**53).any():
        mistakes.append(f"column '{where}': identifiers stored as floating point have lost digits; store integers")
    try:
        return whole_numbers(values)
    except ValueError as error:
        mistakes.append(f"column '{where}': {error}")
        return pd.Series(0, index=values.index)


def _quantity(values: pd.Series, name: str, unit: u.UnitBase | None, mistakes: list[str], where: str) -> pd.Series:
    quantity = QUANTITIES[name]
    numbers = pd.to_numeric(values, errors="coerce").astype(float)
    if len(strange := not_numbers(values, numbers)):
        mistakes.append(
            f"column '{where}' (for {name}): {len(strange)} of {len(values)} are no numbers, like '{strange.iloc[0]}'; "
            "unknown ones are left empty, or NaN"
        )
    if unit is not None and quantity.unit and unit != u.dimensionless_unscaled:
        try:
            numbers = numbers * u.Unit(unit).to(u.Unit(quantity.unit))
        except u.UnitConversionError:
            mistakes.append(f"column '{where}' (for {name}): found unit {unit}, accepted is {quantity.unit}")
    numbers = numbers.mask(numbers.isin(UNKNOWN) | np.isinf(numbers))
    wrong = numbers[(numbers < quantity.low) | (numbers > quantity.high)]
    if len(wrong):
        mistakes.append(
            f"column '{where}' (for {name}): {len(wrong)} of {len(numbers)} values like {wrong.iloc[0]:g}; "
            f"accepted: {quantity.low:g} to {quantity.high:g} {quantity.unit}".rstrip()
        )
    return numbers
