"""A user's table of stars (FITS, CSV, Parquet), its columns by our names, checked before anything is joined."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from astropy import units as u

from dioscuri.catalogs.read_table import not_numbers, read_table, whole_numbers

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Quantity:
    """A column that we know: its unit, the range in which values make sense, and what others call it."""

    unit: str
    low: float
    high: float
    names: tuple[str, ...] = ()
    positive: bool = False  # zero or less means that it is not known


QUANTITIES: dict[str, Quantity] = {
    "ra": Quantity("deg", 0.0, 360.0, ("raj2000", "ra_icrs", "_ra")),
    "dec": Quantity("deg", -90.0, 90.0, ("dej2000", "decj2000", "de_icrs", "_de")),
    "g": Quantity("mag", -3.0, 25.0, ("phot_g_mean_mag", "gmag")),
    "bp_rp": Quantity("mag", -2.0, 9.0, ("bprp", "bp-rp")),
    "parallax": Quantity("mas", -1000.0, 1000.0, ("plx",)),
    "parallax_error": Quantity("mas", 0.0, 1000.0, ("e_plx", "parallax_err")),
    "ruwe": Quantity("", 0.0, 1000.0),
    "a_g": Quantity("mag", -0.5, 50.0, ("ag_gspphot", "ag")),
    "ebv": Quantity("mag", -0.5, 20.0, ("e_bv", "e(b-v)", "ebmv")),
    "period": Quantity("d", 0.0, 1e7, ("per", "porb"), positive=True),
    "bjd0": Quantity("d", 2.3e6, 2.6e6, ("t0", "bjd_0", "epoch")),
}
IDENTIFIERS: dict[str, tuple[str, ...]] = {
    "gaia_id": ("source_id", "gaia_source_id", "dr3_source_id", "dr2_source_id", "gaiaedr3"),
    "designation": ("desig", "lamost"),
    "obsid": (),
}
KEYS = (*IDENTIFIERS, "position")  # in the order in which they are tried
REDUCED = (-1e5, 1e5)  # BJD − 2,400,000, as Kepler's catalogues print it
OFFSET = 2_400_000.0


def read_stars(path: str | os.PathLike, columns: Mapping[str, str] | None = None) -> pd.DataFrame:
    """The table by our names: those of IDENTIFIERS and QUANTITIES that it has, in our units; the rest is dropped.

    `columns`: our name → the table's, where ours or a usual one (case aside) does not do. Units of FITS columns
    are converted. Values out of all sense and texts in place of numbers are an error that says how many; periods that
    are zero or negative are taken as unknown and counted in the log. ValueError too for a
    table without any key (gaia_id, designation, obsid, or ra and dec), for mapped columns that are not there and
    for keys that two different rows share.
    """
    path = Path(path)
    raw, units = _read(path)
    found = _columns(raw, columns or {}, path)
    if not (set(found) & set(IDENTIFIERS) or {"ra", "dec"} <= set(found)):
        raise ValueError(
            f"{path}: no key column among {', '.join(map(str, raw.columns))}; needed is source_id (Gaia), designation, "
            "obsid, or ra and dec: name yours in lamost_mrs.table.columns, for example {gaia_id: my_column}"
        )
    table = pd.DataFrame(index=raw.index)
    for name, theirs in found.items():
        if name in QUANTITIES:
            table[name] = _quantity(raw[theirs], name, units.get(theirs), f"{path}: column {theirs}")
        elif name == "designation":
            table[name] = raw[theirs].fillna("").astype(str).map(plain_designation)
        else:
            table[name] = _identifier(raw[theirs], f"{path}: column {theirs}")
    table = table.drop_duplicates(ignore_index=True)
    for name in IDENTIFIERS:
        if name in table:
            _check_unique(table[name], name, path)
    return table


def plain_designation(text: str) -> str:
    """A designation without the survey's name before it: 'LAMOST J192102.46+424113.0' → 'J192102.46+424113.0'."""
    return text.strip().split(" ")[-1] if text.strip() else ""


def _read(path: Path) -> tuple[pd.DataFrame, dict[str, u.UnitBase]]:
    if not path.is_file():
        raise ValueError(f"lamost_mrs.table: {path}: no such file; paths are relative to {Path.cwd()}")
    try:
        return read_table(path)
    except ValueError as error:
        raise ValueError(f"lamost_mrs.table: {error}") from error


def _columns(raw: pd.DataFrame, mapping: Mapping[str, str], path: Path) -> dict[str, str]:
    """Our name → the table's."""
    ours = [*IDENTIFIERS, *QUANTITIES]
    strange = [name for name in mapping if name not in ours]
    absent = [theirs for theirs in mapping.values() if theirs not in raw.columns]
    if strange or absent:
        trouble = [f"no quantity '{name}' is known here (accepted: {', '.join(ours)})" for name in strange]
        trouble += [f"no column '{name}' (found: {', '.join(map(str, raw.columns))})" for name in absent]
        raise ValueError(f"lamost_mrs.table.columns: {path}: " + "; ".join(trouble))
    lower = {str(name).lower(): name for name in reversed(raw.columns)}
    found = dict(mapping)
    for name in ours:
        usual = (name, *(IDENTIFIERS.get(name) or (QUANTITIES[name].names if name in QUANTITIES else ())))
        theirs = next((lower[alias] for alias in usual if alias in lower), None)
        if name not in found and theirs is not None:
            found[name] = theirs
    return found


def _identifier(values: pd.Series, where: str) -> pd.Series:
    """Whole numbers, 0 where there is none. A Gaia identifier that went through a float has lost its last digits."""
    if values.dtype.kind == "f":
        if (values.abs() > 2**53).any():
            raise ValueError(f"{where}: 64-bit identifiers stored as floating point have lost digits; store integers")
        values = values.fillna(0)
    try:
        return whole_numbers(values)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _quantity(values: pd.Series, name: str, unit: u.UnitBase | None, where: str) -> pd.Series:
    """Values in our unit; unknown ones are NaN."""
    quantity = QUANTITIES[name]
    numbers = pd.to_numeric(values, errors="coerce").astype(float)
    if len(strange := not_numbers(values, numbers)):
        raise ValueError(
            f"{where}: {len(strange)} of {len(values)} are no numbers (first: '{strange.iloc[0]}'); unknown ones are "
            "left empty, or NaN"
        )
    if unit is not None and quantity.unit and unit != u.dimensionless_unscaled:
        try:
            numbers = numbers * u.Unit(unit).to(u.Unit(quantity.unit))
        except u.UnitConversionError:
            raise ValueError(f"{where}: its unit is '{unit}', which is not convertible to {quantity.unit}") from None
    numbers[numbers.isin([-9999.0, 9999.0, -999.0]) | np.isinf(numbers)] = np.nan
    if name == "bjd0":
        numbers = numbers.where((numbers < REDUCED[0]) | (numbers > REDUCED[1]), numbers + OFFSET)
    if quantity.positive:
        useless = int((~(numbers > 0)).sum())
        numbers = numbers.where(numbers > 0)
        if useless:
            log.warning("%s: %d of %d are zero, negative or not known", where, useless, len(numbers))
    wrong = numbers[(numbers < quantity.low) | (numbers > quantity.high)]
    if len(wrong):
        raise ValueError(
            f"{where}: {len(wrong)} of {len(numbers)} values lie outside {quantity.low:g} to {quantity.high:g} "
            f"{quantity.unit} (first: {wrong.iloc[0]:g}): is {name} in {quantity.unit or 'the right unit'}?"
        )
    return numbers


def _check_unique(values: pd.Series, name: str, path: Path) -> None:
    used = values[(values != 0) & (values != "")]
    again = used[used.duplicated()].unique()
    if len(again):
        shown = ", ".join(map(str, again[:3]))
        raise ValueError(
            f"{path}: {len(again)} values of the key {name} stand in several, different rows (first: {shown}); "
            "one row per star is needed"
        )
