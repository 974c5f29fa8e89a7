"""Catalogues as files: FITS and Parquet with the unit and the meaning of every column, and what they come from."""

import io
import json
import os
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits
from astropy.table import Column as TableColumn
from astropy.table import MaskedColumn, Table

from dioscuri.door import ascii_text
from dioscuri.flags import Quality
from dioscuri.io import atomic
from dioscuri.job import provenance
from dioscuri.seals import verified

NULL = -9999  # TNULL of integer columns, as LAMOST itself writes unknown integers
ROW_GROUP = 1 << 16  # rows that are read and written together
NUMPY_TYPE = {"J": np.int32, "K": np.int64, "I": np.int16, "D": np.float64, "E": np.float32, "L": np.bool_}
CHECKSUM = "HDU checksum"  # a fixed comment: astropy's own carries the time of day
BITS = "bits of flags_B and flags_R: " + ", ".join(f"{bit.value} {bit.name}" for bit in Quality)


@dataclass(frozen=True)
class Column:
    """One column: FITS format letter (with a repeat count before it), FITS unit and meaning (ASCII)."""

    name: str
    format: str
    unit: str
    description: str

    @property
    def code(self) -> str:
        """The format letter without its repeat count."""
        return self.format[-1]

    @property
    def width(self) -> int:
        """Numbers per row."""
        return int(self.format[:-1] or 1)


def fill(column: Column, values: Any, size: int) -> np.ndarray:
    """Values in the column's type; unknown ones become NaN, a masked integer, False or an empty string."""
    if column.code == "A":
        return np.full(size, "") if values is None else np.asarray(values).astype(str)
    kind = NUMPY_TYPE[column.code]
    shape = (size, column.width) if column.width > 1 else (size,)
    if column.code in "DE":
        return np.full(shape, np.nan, kind) if values is None else np.asarray(values, kind).reshape(shape)
    if column.code == "L":
        return np.zeros(shape, kind) if values is None else np.asarray(values, kind)
    if values is None:
        return np.ma.MaskedArray(np.full(shape, NULL, kind), mask=True)
    values = np.ma.MaskedArray(values)
    unknown = np.ma.getmaskarray(values) | (values.data == NULL)
    if np.issubdtype(values.dtype, np.floating):
        unknown |= ~np.isfinite(values.data)
    return np.ma.MaskedArray(np.where(unknown, NULL, values.data).astype(kind), mask=unknown)


def table_of(columns: Sequence[Column], values: Mapping[str, np.ndarray]) -> Table:
    """An astropy table of columns (name → values, as `fill` gives them) that knows their units and meanings."""
    return Table([_column(column, values[column.name]) for column in columns])


def _column(column: Column, values: np.ndarray) -> TableColumn:
    about = {"name": column.name, "unit": column.unit or None, "description": column.description}
    if column.code in "IJK":
        return MaskedColumn(values, fill_value=NULL, **about)
    return TableColumn(values, **about)


def write_fits(
    path: str | os.PathLike, tables: Mapping[str, Table], settings: Any = None, remarks: Sequence[str] = ()
) -> None:
    """Write tables as FITS extensions, EXTNAME → table: the same bytes for the same content, no dates.

    Every column carries TUNIT and its meaning, as TCOMM and as astropy reads it back (`Table.read(path).info`);
    `meta` of a table goes to the header of its extension. In the primary header HISTORY holds the provenance, COMMENT
    the `remarks`. FITS text is ASCII: others are written alike (x, ...) or by code.
    """
    units = [primary_unit(settings, remarks), *(extension(name, table) for name, table in tables.items())]
    for unit in units:
        unit.add_checksum(when=CHECKSUM)
    with atomic(path) as temporary:
        fits.HDUList(units).writeto(temporary, overwrite=True)


def primary_unit(settings: Any, remarks: Sequence[str] = ()) -> fits.PrimaryHDU:
    """The first HDU of a catalogue: what wrote it, with which settings, and remarks."""
    origin = provenance(settings)
    primary = fits.PrimaryHDU()
    primary.header["SOFTWARE"] = (f"{origin['software']} {origin['version']}", "what wrote this file")
    primary.header["CFGDIGST"] = (origin["settings_digest"], "fingerprint of the settings")
    for line in textwrap.wrap(json.dumps(origin, sort_keys=True, default=str), 70, break_on_hyphens=False):
        primary.header.add_history(ascii_text(line))
    for remark in remarks:
        primary.header.add_comment(ascii_text(remark))
    return primary


def extension(name: str, table: Table) -> fits.BinTableHDU:
    """A table as astropy writes it, which is where it looks for descriptions, with TCOMM for all other readers."""
    table = table.copy(copy_data=False)
    for column in list(table.colnames):
        if table[column].dtype.kind in "OU":
            about = {"name": column, "unit": table[column].unit, "description": table[column].description}
            text = np.array([ascii_text(str(value)) for value in table[column]], dtype=bytes)
            table[column] = TableColumn(text if len(text) else text.astype("S1"), **about)
    table.meta["EXTNAME"] = name
    if any(column.startswith("flags_") for column in table.colnames):
        table.meta["comments"] = [*table.meta.get("comments", []), *textwrap.wrap(BITS, 70)]
    stream = io.BytesIO()
    table.write(stream, format="fits")
    stream.seek(0)
    unit = fits.open(stream)[1]
    for number, column in enumerate(table.colnames, start=1):
        if meaning := table[column].description:
            unit.header.set(f"TCOMM{number}", ascii_text(meaning), after=f"TFORM{number}")
    return unit


def write_parquet(path: str | os.PathLike, table: Table, settings: Any = None) -> None:
    """Write a table as Parquet: same names, unit and meaning on every field, vectors as fixed-size lists."""
    with atomic(path) as temporary:
        pq.write_table(arrow_table(table, settings), temporary, compression="zstd", row_group_size=ROW_GROUP)


def arrow_table(table: Table, settings: Any = None) -> pa.Table:
    """A table as `write_parquet` writes it."""
    fields, arrays = [], []
    for column in table.itercols():
        array = _arrow(column)
        described = {
            "unit": column.unit.to_string("fits") if column.unit else "",
            "description": column.description or "",
        }
        fields.append(pa.field(column.name, array.type, metadata=described))
        arrays.append(array)
    metadata = {"provenance": json.dumps(provenance(settings), sort_keys=True, default=str)}
    metadata["flags"] = json.dumps({bit.name: bit.value for bit in Quality})
    return pa.table(arrays, schema=pa.schema(fields, metadata=metadata))


def _arrow(values: TableColumn) -> pa.Array:
    if values.dtype.kind in "OUS":
        return pa.array(np.asarray(values, dtype=object), pa.string())
    if values.ndim > 1:
        return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values).ravel()), values.shape[1])
    if isinstance(values, MaskedColumn):
        return pa.array(np.asarray(values.data.data), mask=np.ma.getmaskarray(values))
    return pa.array(np.asarray(values))


def read_catalog(path: str | os.PathLike, extension: str | int = 1) -> Table:
    """Read a catalogue (FITS or Parquet, by suffix) as an astropy Table with units and descriptions.

    Unknown integers are masked, unknown numbers NaN, text is str, percentile columns are (S, 5).
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".parquet":
        return _read_parquet(path)
    if suffix not in (".fits", ".fit", ".gz"):
        raise ValueError(f"{path}: a catalogue is a .fits or .parquet file")
    table = Table.read(path, hdu=extension, format="fits", mask_invalid=False, unit_parse_strict="silent")
    table.convert_bytestring_to_unicode()
    for number, name in enumerate(table.colnames, start=1):
        table[name].description = table.meta.pop(f"TCOMM{number}", None)
    return table


def _read_parquet(path: str | os.PathLike) -> Table:
    return astropy_table(pq.read_table(verified(path)))


def astropy_table(stored: pa.Table) -> Table:
    """What `arrow_table` made, or rows of it, as astropy has it."""
    table = Table()
    for field in stored.schema:
        array = stored[field.name].combine_chunks()
        if isinstance(array, pa.ChunkedArray):
            array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], field.type)
        described = {key.decode(): text.decode() for key, text in (field.metadata or {}).items()}
        options = {"unit": described.get("unit") or None, "description": described.get("description")}
        if pa.types.is_fixed_size_list(field.type):
            table[field.name] = array.flatten().to_numpy(zero_copy_only=False).reshape(-1, field.type.list_size)
        elif pa.types.is_string(field.type):
            table[field.name] = np.asarray(array.to_pylist(), dtype=str)
        elif pa.types.is_integer(field.type):
            unknown = array.is_null().to_numpy(zero_copy_only=False)
            table[field.name] = MaskedColumn(
                array.fill_null(NULL).to_numpy(zero_copy_only=False), mask=unknown, fill_value=NULL
            )
        else:
            table[field.name] = array.to_numpy(zero_copy_only=False)
        table[field.name].unit, table[field.name].description = options["unit"], options["description"]
    return table
