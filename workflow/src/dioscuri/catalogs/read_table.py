"""Reads a user's table of any accepted kind: FITS, CSV or Parquet, with the units that it states."""

from pathlib import Path

import pandas as pd
from astropy import units as u
from astropy.table import Table

from dioscuri.seals import verified


def read_table(path: Path) -> tuple[pd.DataFrame, dict[str, u.UnitBase]]:
    """The table as it is, and the units of its columns where the file has any; ValueError says what is accepted."""
    kind = path.name.removesuffix(".gz").rsplit(".", 1)[-1].lower()
    try:
        if kind == "parquet":
            return pd.read_parquet(verified(path)), {}
        if kind == "csv":
            return pd.read_csv(path, comment="#", skipinitialspace=True, index_col=False), {}
        if kind in ("fits", "fit"):
            table = Table.read(path, hdu=1, unit_parse_strict="silent")
            table.convert_bytestring_to_unicode()
            flat = [name for name in table.colnames if table[name].ndim == 1]
            known = {name: table[name].unit for name in flat if isinstance(table[name].unit, u.UnitBase)}
            return table[flat].to_pandas(), known
    except (OSError, ValueError, LookupError) as error:
        raise ValueError(f"{path}: not a table that can be read: {error}") from error
    raise ValueError(f"{path}: accepted are .fits, .csv and .parquet files")
