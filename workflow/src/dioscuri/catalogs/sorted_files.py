"""A catalogue written out of order and kept in order: rows go to their places in a FITS table, then to Parquet."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from astropy.table import Table

from dioscuri.catalogs.columns import Text
from dioscuri.catalogs.files import CHECKSUM, NULL, ROW_GROUP, Column, arrow_table, extension, primary_unit, table_of
from dioscuri.door import ascii_text

BLOCK = 2880  # bytes; every header and every data unit of a FITS file fills whole blocks
TYPES = {"J": ">i4", "K": ">i8", "I": ">i2", "D": ">f8", "E": ">f4", "L": "i1"}


class SortedFits:
    """A binary table of `total` rows whose parts come in any order. Memory: one part.

    `stream`: an empty file, open for writing and reading. `texts`: column → its text in the order of the catalogue
    (total,), which FITS needs the width of beforehand.
    """

    def __init__(
        self, stream: BinaryIO, name: str, columns: Sequence[Column], texts: Mapping[str, Text], settings: Any
    ):
        self.columns, self.texts = columns, texts
        self.total = len(next(iter(texts.values())))
        self.dtype = np.dtype([(c.name, *self._type(c)) for c in columns])
        empty = {c.name: np.zeros((0, c.width) if c.width > 1 else 0, self._plain(c)) for c in columns}
        primary, self.unit = primary_unit(settings), extension(name, table_of(columns, empty))
        primary.add_checksum(when=CHECKSUM)
        self.unit.add_checksum(when=CHECKSUM)
        self.unit.header["NAXIS2"] = self.total
        self.stream = stream
        self.stream.write(primary.header.tostring().encode("ascii"))
        self.header_at = self.stream.tell()
        self.start = self.header_at + len(self.unit.header.tostring())
        size = self.total * self.dtype.itemsize
        self.stream.truncate(self.start + size + -size % BLOCK)

    def _type(self, column: Column) -> tuple:
        if column.code == "A":
            return (f"S{_width(self.texts[column.name].names)}",)
        return (TYPES[column.code], (column.width,)) if column.width > 1 else (TYPES[column.code],)

    def _plain(self, column: Column) -> str:
        return "?" if column.code == "L" else self._type(column)[0].replace(">", "=")

    def put(self, positions: np.ndarray, values: Mapping[str, np.ndarray]) -> None:
        """Write rows (R,), `values` as `files.fill` gives them, texts aside, to their `positions`."""
        order = np.argsort(positions)
        at = positions[order]
        rows = np.zeros(len(at), self.dtype)
        for column in self.columns:
            if column.code == "A":
                text = self.texts[column.name]
                used, which = np.unique(text.codes[at], return_inverse=True)
                names = text.names.take(pa.array(used)).to_pylist()
                rows[column.name] = np.array([ascii_text(name).encode("ascii") for name in names])[which]
            elif column.code == "L":
                rows[column.name] = np.where(values[column.name][order], ord("T"), ord("F"))
            else:
                rows[column.name] = np.ma.filled(values[column.name], NULL)[order]
        ends = np.flatnonzero(np.diff(at) != 1) + 1
        for first, last in zip([0, *ends], [*ends, len(at)]):  # runs of neighbours
            if last > first:
                self.stream.seek(self.start + int(at[first]) * self.dtype.itemsize)
                self.stream.write(rows[first:last].tobytes())

    def finish(self) -> None:
        """Write the header with the checksums of all rows, which `parts` then gives."""
        datasum = 0
        self.stream.seek(self.start)
        while block := self.stream.read(BLOCK * 4096):
            datasum = int(self.unit._compute_checksum(np.frombuffer(block, np.ubyte), datasum))
        header = self.unit.header
        header["DATASUM"] = str(datasum)
        header["CHECKSUM"] = self.unit._calculate_checksum(datasum)
        self.stream.seek(self.header_at)
        self.stream.write(header.tostring().encode("ascii"))

    def parts(self) -> Iterator[Table]:
        """The rows in order, ROW_GROUP at once, with the texts as they were given."""
        self.stream.seek(self.start)
        for first in range(0, max(self.total, 1), ROW_GROUP):  # no row at all is an empty table
            n = min(ROW_GROUP, self.total - first)
            rows = np.frombuffer(self.stream.read(n * self.dtype.itemsize), self.dtype)
            yield table_of(self.columns, {c.name: self._values(c, rows, slice(first, first + n)) for c in self.columns})

    def _values(self, column: Column, rows: np.ndarray, where: slice) -> np.ndarray:
        if column.code == "A":
            return self.texts[column.name][where]
        values = rows[column.name]
        if column.code == "L":
            return values == ord("T")
        values = values.astype(values.dtype.newbyteorder("="))
        return np.ma.MaskedArray(values, mask=values == NULL) if column.code in "IJK" else values


def write_parts(path: str | os.PathLike, parts: Iterator[Table], settings: Any) -> None:
    """Write tables one after the other as row groups of one Parquet file."""
    writer = None
    for part in parts:
        table = arrow_table(part, settings)
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table, row_group_size=ROW_GROUP)
    if writer is not None:
        writer.close()


def _width(names: pa.StringArray) -> int:
    """Bytes of the longest text in ASCII, as `put` writes it."""
    odd = pc.match_substring_regex(names, r"[^ -~]")
    plain = pc.max(pc.binary_length(names.filter(pc.invert(odd)))).as_py() or 0
    return max([1, plain, *(len(ascii_text(name)) for name in names.filter(odd).to_pylist())])
