"""A user's own synthetic observations as a catalogue shard: FITS, RADMC-3D or HDF5 images joined to a table.

Every image has an `image_id`: the name of its file without suffix (of its folder for RADMC-3D, whose files are all
called image.out), or an entry of the dataset `image_id` in an HDF5 stack. The table has one row per image_id.
"""

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units
from astropy.table import Table

from dioscuri.analogues.catalogue import METADATA, TEXT, Frame, Pieces, write_catalogue
from dioscuri.analogues.observation.fits_maps import WINDOW_KMS, moment1_of_cube, read_fits
from dioscuri.analogues.observation.radmc import read_radmc
from dioscuri.io import open_hdf5
from dioscuri.seals import verified

log = logging.getLogger(__name__)

FITS = (".fits", ".fit", ".fz", ".gz")
HDF5 = (".h5", ".hdf5")
RADMC = (".out", ".bout")
BLOCK = 16  # images of an HDF5 stack that are in memory at once
TABLES = (".csv", ".ecsv", ".parquet")


@dataclass(frozen=True)
class Channel:
    """Where the images of one channel come from, and what to make of them.

    `files`: FITS, image.out / image.bout, or HDF5 stacks. `wavelength_um` picks the image of a multi-wavelength
    RADMC-3D file; `rest_wavelength_um` makes it a line cube. A cube becomes a moment-1 map about `systemic_kms`.
    `dataset` is the one to read in an HDF5 stack.
    """

    files: Sequence[str | os.PathLike]
    wavelength_um: float | None = None
    rest_wavelength_um: float | None = None
    systemic_kms: float = 0.0
    window_kms: float = WINDOW_KMS
    dataset: str = "images"


@dataclass(frozen=True)
class _Stack:
    """Images of one file in blocks (B, H, W), of which one is in memory, and what they share."""

    blocks: Iterator[np.ndarray]
    shape: tuple[int, int]
    unit: str
    pixel_au: float
    beam_au: tuple[float, float, float]


def load(
    out: str | os.PathLike,
    channels: Mapping[str, Channel],
    metadata: str | os.PathLike,
    *,
    column_units: Mapping[str, str] | None = None,
    distance_pc: float | None = None,
    separation_au: float = float("nan"),
    provenance: Mapping[str, Any] | None = None,
) -> int:
    """Write the shard `out` from the images of `channels` and the table `metadata`; how many images.

    Continuum is stored in Jy/sr, moment-1 maps in km/s, pixels and beams in AU (`distance_pc` turns angles into AU).
    The table is CSV, ECSV or Parquet. Units come from the file, from names such as `m1 [Msun]`, or from
    `column_units`; columns that the catalogue knows are converted to its units, others keep theirs. Columns with
    several numbers per row (an SED) become profiles; `tbol` [K] and the like are columns as any other.

    ValueError, naming file and key: an image without a row, a row given twice, channels with different images,
    shapes, pixels or beams that differ, a column without unit or with one that cannot be converted.
    """
    if not channels:
        raise ValueError(f"{out}: no channel was given")
    images: dict[str, Pieces] = {}
    image_units: dict[str, str] = {}
    order: list[str] = []
    first: _Stack | None = None
    for channel, source in channels.items():
        if not source.files:
            raise ValueError(f"channel '{channel}': no files")
        names = [_names(source, path) for path in source.files]
        together = [name for each in names for name in each]
        order = order or sorted(together)
        _rows(f"channel '{channel}'", together, order, "the first channel")
        stack = _read(channel, source, source.files[0], distance_pc)
        first, image_units[channel] = first or stack, stack.unit
        blocks = _blocks(channel, source, distance_pc, first, stack.unit, names, order)
        images[channel] = Pieces((len(order), *first.shape), blocks)
    columns, profiles, known = read_metadata_table(metadata, column_units or {})
    rows = _rows(str(metadata), [str(name) for name in columns["image_id"]], order, "the images", more_allowed=True)
    assert first is not None  # there is a channel, and it has a file
    frame = Frame(first.pixel_au, first.beam_au, separation_au, image_units | known)
    write_catalogue(
        out,
        images,
        {name: values[rows] for name, values in columns.items()},
        frame,
        profiles={name: values[rows] for name, values in profiles.items()},
        provenance={**(provenance or {}), "catalogue": "user", "metadata": Path(metadata).name},
    )
    log.info("%s: %d images in %d channels", out, len(order), len(images))
    return len(order)


# --- images -------------------------------------------------------------------------------------------------


def _names(source: Channel, path: str | os.PathLike) -> list[str]:
    """What the images of a file are called, in the order of `_read`."""
    name, suffix = Path(path).name, Path(path).suffix.lower()
    if suffix in HDF5:
        with open_hdf5(path) as stream:
            _must_have(path, stream, source.dataset)
            return [str(one) for one in stream["image_id"].asstr()[:]]
    if suffix in RADMC:
        return [Path(path).resolve().parent.name if Path(path).stem == "image" else Path(path).stem]
    if suffix in FITS:
        return [name[: name.lower().index(".fit")]]
    raise ValueError(f"{path}: unknown kind of image file; accepted are {', '.join((*FITS, *RADMC, *HDF5))}")


def _blocks(
    channel: str,
    source: Channel,
    distance_pc: float | None,
    first: _Stack,
    unit: str,
    names: list[list[str]],
    order: list[str],
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows in `order` and images of all files of a channel; each must match the first one."""
    place = {name: row for row, name in enumerate(order)}
    for path, each in zip(source.files, names):
        stack = _read(channel, source, path, distance_pc)
        _must_match(path, stack, first, unit)
        rows = iter(np.array([place[name] for name in each]))
        for block in stack.blocks:
            yield np.array([next(rows) for _ in block]), block.astype(np.float32)


def _read(channel: str, source: Channel, path: str | os.PathLike, distance_pc: float | None) -> _Stack:
    suffix = Path(path).suffix.lower()
    if suffix in HDF5:
        return _read_hdf5(path, source.dataset)
    if suffix in RADMC:
        return _read_radmc(channel, source, Path(path))
    if suffix in FITS:
        found = read_fits(path, distance_pc)
        data, unit = found.data, found.unit
        if data.ndim == 3:
            if found.velocity is None:
                raise ValueError(f"{path}: a cube without velocities (spectral axis and RESTFRQ) has no moment-1 map")
            data, unit = moment1_of_cube(data, found.velocity, source.systemic_kms, source.window_kms), "km/s"
        return _Stack(iter([data[None]]), data.shape, unit, found.pixel_au, found.beam_au)
    raise ValueError(f"{path}: unknown kind of image file; accepted are {', '.join((*FITS, *RADMC, *HDF5))}")


def _read_radmc(channel: str, source: Channel, path: Path) -> _Stack:
    found = read_radmc(path)
    unit = "Jy/sr"
    if source.rest_wavelength_um is not None:
        velocity = found.velocity(source.rest_wavelength_um)
        image = moment1_of_cube(found.intensity, velocity, source.systemic_kms, source.window_kms)
        unit = "km/s"
    elif source.wavelength_um is not None:
        image = found.at(source.wavelength_um)
    elif len(found.wavelength_um) == 1:
        image = found.intensity[0]
    else:
        have = ", ".join(f"{value:g}" for value in found.wavelength_um[:8])
        raise ValueError(
            f"{path}: {len(found.wavelength_um)} wavelengths ({have} µm …); channel '{channel}' must give "
            "wavelength_um, or rest_wavelength_um for a moment-1 map"
        )
    return _Stack(iter([image[None]]), image.shape, unit, found.pixel_au, (0.0, 0.0, 0.0))


def _read_hdf5(path: str | os.PathLike, dataset: str) -> _Stack:
    """A stack: dataset (N, H, W) with attribute `unit`, `image_id` (N,), and `pixel_au` (`beam_au`) of the file."""
    with open_hdf5(path) as stream:
        _must_have(path, stream, dataset)
        shape, n = stream[dataset].shape, len(stream["image_id"])
        lacking = [f"attribute 'unit' of {dataset}"] if "unit" not in stream[dataset].attrs else []
        lacking += ["attribute 'pixel_au'"] if "pixel_au" not in stream.attrs else []
        if lacking:
            raise ValueError(f"{path}: {' and '.join(lacking)} is missing")
        unit, pixel = str(stream[dataset].attrs["unit"]), float(stream.attrs["pixel_au"])
        beam = tuple(float(value) for value in stream.attrs.get("beam_au", (0.0, 0.0, 0.0)))
    if len(shape) != 3 or n != shape[0]:
        raise ValueError(f"{path}: {dataset} has shape {shape} for {n} image_id; expected (N, H, W)")
    kind = "km/s" if units.Unit(unit).is_equivalent("km/s") else "Jy/sr"
    blocks = _hdf5_blocks(path, dataset, units.Unit(unit).to(kind))
    return _Stack(blocks, shape[1:], kind, pixel, beam)  # type: ignore[arg-type]


def _hdf5_blocks(path: str | os.PathLike, dataset: str, factor: float) -> Iterator[np.ndarray]:
    with open_hdf5(path) as stream:
        for row in range(0, len(stream[dataset]), BLOCK):
            yield stream[dataset][row : row + BLOCK] * factor


def _must_have(path: str | os.PathLike, stream: Any, dataset: str) -> None:
    missing = [name for name in (dataset, "image_id") if name not in stream]
    if missing:
        raise ValueError(f"{path}: no dataset {', '.join(missing)}; there are {', '.join(stream)}")


def _must_match(path: str | os.PathLike, stack: _Stack, first: _Stack, unit: str) -> None:
    for what, found, wanted in (
        ("shape", tuple(stack.shape), tuple(first.shape)),
        ("unit", stack.unit, unit),
    ):
        if found != wanted:
            raise ValueError(f"{path}: {what} {found}, but the images before have {wanted}")
    for what, value, other in (("pixel", [stack.pixel_au], [first.pixel_au]), ("beam", stack.beam_au, first.beam_au)):
        if not np.allclose(value, other, rtol=1e-3):
            raise ValueError(
                f"{path}: {what} of {value} AU, but the images before have {other}; bring them to one scale"
            )


def _rows(where: str, names: list[str], wanted: list[str], reference: str, more_allowed: bool = False) -> np.ndarray:
    """For each wanted name its row; errors for missing, doubled or (unless allowed) unknown names."""
    place = {name: row for row, name in enumerate(names)}
    if len(place) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"{where}: image_id given twice: {_some(twice)}")
    missing = [name for name in wanted if name not in place]
    if missing:
        raise ValueError(f"{where}: no entry for {len(missing)} image_id of {reference}: {_some(missing)}")
    unknown = sorted(set(names) - set(wanted))
    if unknown and not more_allowed:
        raise ValueError(f"{where}: {len(unknown)} image_id that {reference} does not have: {_some(unknown)}")
    if unknown:
        log.info("%s: %d rows have no image and are left out", where, len(unknown))
    return np.array([place[name] for name in wanted])


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (" …" if len(names) > 5 else "")


# --- the table ----------------------------------------------------------------------------------------------


def read_metadata_table(
    path: str | os.PathLike, column_units: Mapping[str, str]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, str]]:
    """Columns (N,), columns with several numbers per row (N, …), and the unit of every one of both.

    Columns of `METADATA` are converted to its units.
    """
    table, found = _table(path)
    if "image_id" not in table.colnames:
        raise ValueError(f"{path}: no column image_id; there are {', '.join(table.colnames)}")
    columns: dict[str, np.ndarray] = {}
    profiles: dict[str, np.ndarray] = {}
    known: dict[str, str] = {}
    for name in table.colnames:
        values = _plain(table[name])
        if values.dtype.kind not in "fiub" or name in TEXT:
            columns[name], known[name] = values.astype(str).astype(object), ""
            continue
        unit = column_units.get(name, found.get(name))
        if unit is None and METADATA.get(name) == "":
            unit = ""
        if unit is None:
            expected = f", expected is one like {METADATA[name]}" if name in METADATA else ", '' if it has none"
            raise ValueError(
                f"{path}: no unit for column '{name}'{expected}; write '{name} [unit]' or give column_units"
            )
        factor, known[name] = _conversion(path, name, unit)
        (columns if values.ndim == 1 else profiles)[name] = values if factor == 1 else values * factor
    return columns, profiles, known


def _plain(column: Any) -> np.ndarray:
    """A column as an array; missing numbers become NaN."""
    if np.ma.is_masked(column) and column.dtype.kind in "fiu":
        return np.ma.filled(np.ma.asarray(column).astype(float), np.nan)
    return np.asarray(column)


def _conversion(path: str | os.PathLike, name: str, unit: str) -> tuple[float, str]:
    """Factor to the catalogue's unit of a known column, and the unit that results."""
    try:
        given = units.Unit(unit)
    except ValueError:
        raise ValueError(f"{path}: unit '{unit}' of column '{name}' is not known") from None
    if name not in METADATA:
        return 1.0, unit
    try:
        return float(given.to(units.Unit(METADATA[name]))), METADATA[name]
    except units.UnitConversionError:
        raise ValueError(
            f"{path}: column '{name}' is in '{unit}', which is no '{METADATA[name] or 'plain number'}'"
        ) from None


def _table(path: str | os.PathLike) -> tuple[Table, dict[str, str]]:
    """The table with plain column names, and the units that the file gives."""
    suffix = Path(path).suffix.lower()
    if suffix == ".parquet":
        table, found = _parquet(path)
    elif suffix == ".ecsv":
        table = Table.read(path, format="ascii.ecsv")
        found = {name: table[name].unit.to_string() for name in table.colnames if table[name].unit is not None}
    elif suffix == ".csv":
        table = Table.read(path, format="ascii.csv", converters={"image_id": str, "system": str})
        found = {}
    else:
        raise ValueError(f"{path}: unknown kind of table; accepted are {', '.join(TABLES)}")
    for name in list(table.colnames):
        if "[" in name and name.endswith("]"):
            plain, unit = name[:-1].split("[", 1)
            table.rename_column(name, plain.strip())
            found[plain.strip()] = unit.strip() if unit.strip() != "-" else ""
    for name in set(TEXT) & set(table.colnames):
        table[name] = table[name].astype(str)
    return table, found


def _parquet(path: str | os.PathLike) -> tuple[Table, dict[str, str]]:
    """Units lie in the field's metadata (`unit`) or, as JSON under `units`, in that of the schema."""
    import pyarrow.parquet as pq

    stored = pq.read_table(verified(path))
    found = json.loads((stored.schema.metadata or {}).get(b"units", b"{}"))
    columns = {}
    for field in stored.schema:
        if field.metadata and b"unit" in field.metadata:
            found[field.name] = field.metadata[b"unit"].decode()
        values = stored.column(field.name).to_pylist()
        columns[field.name] = np.array(values)
    return Table(columns), found
