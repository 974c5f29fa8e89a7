"""Reads a user's table of any accepted kind: FITS, CSV or Parquet, with the units that it states."""

from pathlib import Path

import numpy as np
import pandas as pd
from astropy import units as u
from astropy.table import Table

from dioscuri.reading import open_fits, reading, require_equal_rows
from dioscuri.seals import verified

ACCEPTED = "a table of stars as .fits, .csv or .parquet"
# What stands for an unknown number in a text table, beside nothing at all.
UNKNOWN_TEXTS = {"", "nan", "null", "none", "n/a", "na", "-", "--", "---", "...", "\\n", "inf", "-inf"}


def read_table(path: Path) -> tuple[pd.DataFrame, dict[str, u.UnitBase]]:
    """The table as it is, and the units of its columns where the file has any; ValueError says what is accepted."""
    kind = path.name.removesuffix(".gz").rsplit(".", 1)[-1].lower()
    with reading(path, ACCEPTED):
        if kind == "parquet":
            return pd.read_parquet(verified(path)), {}
        if kind == "csv":
            require_equal_rows(path)
            return pd.read_csv(path, comment="#", skipinitialspace=True, index_col=False), {}
        if kind in ("fits", "fit"):
            with open_fits(path) as units:
                table = Table.read(units, hdu=1, unit_parse_strict="silent")
            table.convert_bytestring_to_unicode()
            flat = [name for name in table.colnames if table[name].ndim == 1]
            known = {name: table[name].unit for name in flat if isinstance(table[name].unit, u.UnitBase)}
            return table[flat].to_pandas(), known
        raise ValueError("another suffix")


def not_numbers(values: pd.Series, numbers: pd.Series) -> pd.Series:
    """Those of `values` that are neither numbers nor one of the usual words for an unknown one."""
    if values.dtype == bool:
        return values.astype(str)
    texts = values[numbers.isna() & values.notna()].astype(str).str.strip()
    return texts[~texts.str.lower().isin(UNKNOWN_TEXTS)]


def whole_numbers(values: pd.Series) -> pd.Series:
    """Identifiers as int64, 0 where there is none; ValueError for anything that is no whole number."""
    if values.dtype == bool:
        raise ValueError("whole numbers expected, found true and false")
    if values.dtype.kind in "iu":
        numbers = values
    else:
        filled = values.fillna(0)
        numbers = pd.to_numeric(filled, errors="coerce")
        wrong = filled[numbers.isna() | (numbers % 1 != 0)]
        if len(wrong):
            raise ValueError(f"whole numbers expected, found {len(wrong)} others (first: '{wrong.iloc[0]}')")
    if len(numbers) and not (numbers.min() >= 0 and numbers.max() < 2**63):
        raise ValueError(f"identifiers from 0 to 2^63 - 1 expected, found {numbers.min()} to {numbers.max()}")
    return numbers.astype(np.int64)
