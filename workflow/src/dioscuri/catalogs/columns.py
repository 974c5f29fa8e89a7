"""Columns of catalogues that are larger than memory: some of them whole, or row group by row group (Parquet)."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dioscuri.catalogs.files import NULL
from dioscuri.seals import verified

Name: TypeAlias = "str | tuple[str, int]"  # a column, or one position of a column of vectors


@dataclass(frozen=True)
class Text:
    """Text of rows (S,): `codes` (S,) int32 of the distinct, sorted `names`, so that codes compare as text does."""

    codes: np.ndarray
    names: pa.StringArray

    @classmethod
    def of(cls, parts: Iterable[pa.Array | pa.ChunkedArray | np.ndarray]) -> "Text":
        """Parts, one after the other; 4 bytes a row and each distinct text once."""
        chunks = [_encoded(part) for part in parts]
        together = pa.chunked_array(chunks, pa.dictionary(pa.int32(), pa.string())).unify_dictionaries()
        codes = np.concatenate([chunk.indices.to_numpy(zero_copy_only=False) for chunk in together.chunks] or [[]])
        names = together.chunk(together.num_chunks - 1).dictionary if together.num_chunks else pa.array([], pa.string())
        order = pc.array_sort_indices(names)
        rank = np.empty(len(names), np.int32)
        rank[order.to_numpy()] = np.arange(len(names), dtype=np.int32)
        return cls(rank[codes.astype(np.int64)], names.take(order))

    def __len__(self) -> int:
        return len(self.codes)

    def arrow(self, rows: np.ndarray | slice = slice(None)) -> pa.StringArray:
        """The text of some rows, as Arrow has it."""
        return self.names.take(pa.array(self.codes[rows]))

    def __getitem__(self, rows: np.ndarray | slice) -> np.ndarray:
        """The text of some rows, (R,) of str."""
        return self.arrow(rows).to_numpy(zero_copy_only=False)

    def index(self, wanted: Iterable[str]) -> np.ndarray:
        """Codes of the texts that are among the names, sorted."""
        found = pc.index_in(pa.array(list(wanted), pa.string()), value_set=self.names).drop_null()
        return np.unique(found.to_numpy(zero_copy_only=False)).astype(np.int64)


def _encoded(part: pa.Array | pa.ChunkedArray | np.ndarray) -> pa.DictionaryArray:
    array = part.combine_chunks() if isinstance(part, pa.ChunkedArray) else part
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    if not isinstance(array, pa.Array):
        array = pa.array(np.asarray(part, dtype=object), pa.string())
    return array if pa.types.is_dictionary(array.type) else array.dictionary_encode()


def read_groups(path: str | os.PathLike, names: Sequence[Name]) -> Iterator[dict[Any, np.ndarray]]:
    """Columns of numbers of one row group after the other: name → (R,) or (R, 5), (name, k) → (R,) position k.

    Whole numbers that are unknown are NULL. ValueError for what the catalogue has not.
    """
    with pq.ParquetFile(verified(path)) as stored:
        wanted = _stored(path, stored, names)
        for group in range(stored.num_row_groups):
            table = stored.read_row_group(group, wanted)
            yield {name: _numbers(table, name) for name in names}


def read_columns(path: str | os.PathLike, names: Sequence[Name]) -> dict[Any, Any]:
    """Whole columns, as `read_groups` gives them; text as `Text`. Memory: the columns and one row group."""
    with pq.ParquetFile(verified(path)) as stored:
        wanted = _stored(path, stored, names)
        total, schema = stored.metadata.num_rows, stored.schema_arrow
        texts = [name for name in names if not isinstance(name, tuple) and pa.types.is_string(schema.field(name).type)]
        found: dict[Name, Any] = {}
        parts: dict[Name, list] = {name: [] for name in texts}
        start = 0
        for group in range(stored.num_row_groups):
            table = stored.read_row_group(group, wanted)
            rows = slice(start, start := start + len(table))
            for name in names:
                if name in parts:
                    parts[name].append(_encoded(table[name]))
                    continue
                values = _numbers(table, name)
                if name not in found:
                    found[name] = np.empty((total, *values.shape[1:]), values.dtype)
                found[name][rows] = values
        for name in names:
            if name in parts:
                found[name] = Text.of(parts[name])
            elif name not in found:
                found[name] = np.empty(0)
    return found


def select_rows(path: str | os.PathLike, rows: np.ndarray) -> pa.Table:
    """Some whole rows, `rows` (S,) bool, in the order of the file."""
    parts, start = [], 0
    with pq.ParquetFile(verified(path)) as stored:
        for group in range(stored.num_row_groups):
            mine = rows[start : (start := start + stored.metadata.row_group(group).num_rows)]
            if mine.any():
                parts.append(stored.read_row_group(group).filter(pa.array(mine)))
        return pa.concat_tables(parts) if parts else stored.schema_arrow.empty_table()


def _stored(path: str | os.PathLike, stored: pq.ParquetFile, names: Sequence[Name]) -> list[str]:
    wanted = [name[0] if isinstance(name, tuple) else name for name in names]
    if missing := [name for name in wanted if name not in stored.schema_arrow.names]:
        raise ValueError(f"{path}: no column {', '.join(missing)}; found {', '.join(stored.schema_arrow.names)}")
    return list(dict.fromkeys(wanted))


def _numbers(table: pa.Table, name: Name) -> np.ndarray:
    column = table[name[0] if isinstance(name, tuple) else name].combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    if pa.types.is_fixed_size_list(column.type):
        values = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)
        return values[:, name[1]] if isinstance(name, tuple) else values
    if pa.types.is_integer(column.type) and column.null_count:
        column = column.fill_null(NULL)
    return column.to_numpy(zero_copy_only=False)


def read_whole(paths: Sequence[str | os.PathLike], schema: str, remedy: str) -> dict[str, np.ndarray]:
    """All columns of Parquet tables, one table after the other; one of another schema is a ValueError with `remedy`."""
    tables = []
    for path in paths:
        table = pq.read_table(verified(path))
        found = (table.schema.metadata or {}).get(b"schema", b"none").decode()
        if found != schema:
            raise ValueError(f"{path}: expected schema '{schema}', found '{found}'; {remedy}")
        tables.append(table)
    return {name: np.concatenate([table[name].to_numpy() for table in tables]) for name in tables[0].column_names}
