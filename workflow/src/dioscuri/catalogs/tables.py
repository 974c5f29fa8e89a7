"""The binary-probability catalogue: its columns (Table 4 of Zhang et al. 2022), as FITS and Parquet files."""

import json
import logging
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
from astropy.table import MaskedColumn, Table

from dioscuri.catalogs.scores import read_scores
from dioscuri.catalogs.sources import RADIUS, duplicates, group, name_sources, write_duplicates
from dioscuri.catalogs.stars import describe
from dioscuri.door import ascii_text
from dioscuri.flags import Quality
from dioscuri.io import atomic, read_exposures
from dioscuri.job import provenance
from dioscuri.paths import format_number

log = logging.getLogger(__name__)

SUFFIX = {"blue": "B", "red": "R"}  # arm → ending of its columns
NULL = -9999  # TNULL of integer columns, as LAMOST itself writes unknown integers
NUMPY_TYPE = {"J": np.int32, "K": np.int64, "I": np.int16, "D": np.float64, "E": np.float32, "L": np.bool_}


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


def probability_column(arm: str, penalty: float) -> str:
    """Name of the probability percentiles of an arm at penalty Λ: ('blue', 16) → 'pb_pct_B_16'."""
    return f"pb_pct_{SUFFIX[arm]}_{format_number(penalty)}"


def paper_columns(penalties: Sequence[float] = (8, 16, 32)) -> tuple[Column, ...]:
    """The columns of Table 4, in its order; 34 with the paper's three penalties. obsid, a 32-bit integer there, has
    outgrown it since: LAMOST numbers its observations beyond 2^31."""
    columns = [
        Column("obsid", "K", "", "LAMOST observational ID (unique for each .fits file)"),
        Column("lmjm", "J", "min", "Local Modified Julian Minute"),
        Column("bjdmid", "D", "", "Barycentric Julian Date (TDB) of the middle of exposure"),
        Column("lmjd", "J", "d", "Local Modified Julian Day (only used for spectral naming)"),
        Column("planid", "A", "", "Plan ID"),
        Column("spid", "I", "", "Spectrograph ID"),
        Column("fiberid", "I", "", "Fiber ID"),
        Column("ra", "D", "deg", "Right Ascension (J2000)"),
        Column("dec", "D", "deg", "Declination (J2000)"),
        Column("snr_B", "E", "", "S/N ratio of blue arm"),
        Column("snr_R", "E", "", "S/N ratio of red arm"),
    ]
    for arm, end in SUFFIX.items():
        columns += [
            Column(f"rv_obs_{end}", "E", "km s-1", f"RV measured from {arm} arm spectra"),
            Column(f"rv_obs_err_{end}", "E", "km s-1", "RV measurement error"),
            Column(f"rv_abs_{end}", "E", "km s-1", "RV with the zero point added"),
            Column(f"rv_abs_err_{end}", "E", "km s-1", "total error of absolute RV"),
            Column(f"rv_teff_{end}", "E", "K", "Teff of the best template"),
            Column(f"ccfmax_{end}", "E", "", "CCF max value"),
        ]
    for arm, end in SUFFIX.items():
        columns += [
            Column(
                probability_column(arm, penalty),
                "5E",
                "",
                f"p_q at Lambda={penalty:g}, q = 0, 16, 50, 84 and 100, {arm} arm",
            )
            for penalty in penalties
        ]
        columns += [
            Column(f"specflag_{end}", "L", "", "True for good spectra (S/N above the limit)"),
            Column(f"npixbad_{end}", "J", "", "number of bad pixels"),
        ]
    return (*columns, Column("bprp0", "E", "mag", "Intrinsic color (BP - RP)_0"))


EXTRA_COLUMNS = (
    Column("source_id", "A", "", "name of the source: LAMOST designation of its first observation"),
    Column("designation", "A", "", "LAMOST designation of this observation"),
    Column("gaia_id", "K", "", "Gaia source_id of the source where any input catalogue has it"),
    Column("file", "A", "", "name of the LAMOST file; a co-add has no lmjm"),
    Column("flags_B", "J", "", "quality bits of the blue arm, see COMMENT"),
    Column("flags_R", "J", "", "quality bits of the red arm, see COMMENT"),
)


def catalog_columns(penalties: Sequence[float] = (8, 16, 32)) -> tuple[Column, ...]:
    """All columns of our catalogue: Table 4, then our own."""
    return (*paper_columns(penalties), *EXTRA_COLUMNS)


STAR_COLUMNS = (
    Column("source_id", "A", "", "name of the source"),
    Column("gaia_id", "K", "", "Gaia source_id where any input catalogue has it"),
    Column("ra", "D", "deg", "Right Ascension (J2000) of its first observation"),
    Column("dec", "D", "deg", "Declination (J2000) of its first observation"),
    Column("n_exposures", "J", "", "spectra in the catalogue, co-adds too"),
    Column("matched_by", "A", "", "key that found the star in the user's table"),
    Column("g", "E", "mag", "apparent magnitude"),
    Column("bp_rp", "E", "mag", "apparent colour"),
    Column("parallax", "E", "mas", "parallax"),
    Column("parallax_error", "E", "mas", "its error"),
    Column("ruwe", "E", "", "renormalised unit weight error of Gaia"),
    Column("ebv", "E", "mag", "E(B-V)"),
    Column("a_g", "E", "mag", "extinction in G"),
    Column("period", "D", "d", "period of the eclipses"),
    Column("bjd0", "D", "d", "Barycentric Julian Date of a primary eclipse"),
    Column("g0", "E", "mag", "absolute magnitude (eq. 12)"),
    Column("bprp0", "E", "mag", "Intrinsic color (BP - RP)_0"),
)


# --- making the catalogue ---------------------------------------------------------------------------------


def make_catalog(
    spectra_shards: Sequence[str | os.PathLike],
    score_files: Mapping[str, Sequence[str | os.PathLike]],
    fits_path: str | os.PathLike,
    parquet_path: str | os.PathLike,
    *,
    penalties: Sequence[float],
    zero_point: Mapping[str, float],
    zero_point_error: Mapping[str, float],
    duplicates_path: str | os.PathLike | None = None,
    stars_path: str | os.PathLike | None = None,
    source_radius: float = RADIUS,
    table: Mapping[str, Any] | None = None,
    settings: Any = None,
) -> None:
    """Join observed shards and the score tables of each arm into the catalogue, as FITS and as Parquet.

    `score_files`: arm → score tables (catalogs.scores), one per shard in the shards' order. `zero_point`,
    `zero_point_error`: arm → km/s, added to rv_obs (in quadrature to its error). An exposure that several files
    hold is taken once; the others are listed in `duplicates_path` (Parquet). Rows within `source_radius`
    [arcsec] show one source (see `sources.group`). `table`: arguments of `stars.describe` for a user's table of
    stars; what it says goes to `stars_path` (Parquet, a row per source), its colours to bprp0. Rows are sorted by
    obsid and exposure: sharding leaves no trace.
    """
    exposures = _concatenate([read_exposures(path) for path in spectra_shards])
    scores = {arm: read_scores(paths, penalties) for arm, paths in score_files.items()}
    catalog, again = assemble(exposures, scores, penalties, zero_point, zero_point_error, source_radius)
    described = describe(catalog, **(table or {}))
    colour = described.set_index("source_id")["bprp0"].reindex(catalog["source_id"]).to_numpy(np.float32)
    catalog["bprp0"] = np.where(np.isfinite(colour), colour, catalog["bprp0"])
    columns = catalog_columns(penalties)
    write_fits([("SB2_PROBABILITY", columns, catalog)], fits_path, settings)
    write_parquet(columns, catalog, parquet_path, settings)
    if stars_path is not None:
        values = {c.name: _fill(c, described[c.name].to_numpy(), len(described)) for c in STAR_COLUMNS}
        values["gaia_id"] = np.ma.masked_equal(values["gaia_id"], 0)
        write_parquet(STAR_COLUMNS, values, stars_path, settings)
    if duplicates_path is not None:
        write_duplicates(again, duplicates_path)
    n_sources = len(np.unique(catalog["source_id"]))
    told = f"catalogue of {len(catalog['obsid'])} spectra of {n_sources} sources, {len(again)} duplicates left out"
    log.info("%s: %s", told, fits_path)


def assemble(
    exposures: Mapping[str, np.ndarray],
    scores: Mapping[str, Mapping[str, np.ndarray]],
    penalties: Sequence[float],
    zero_point: Mapping[str, float],
    zero_point_error: Mapping[str, float],
    source_radius: float = RADIUS,
) -> tuple[dict[str, np.ndarray], list[dict]]:
    """Catalogue columns, name → (S,) or (S, 5), masked where the inputs do not say; and the duplicates left out.

    `exposures`: columns of observed shards (N,), as ingest names them. `scores`: arm → {"key": (N,), "file": (N,),
    <pb_pct_Λ>: (N, 5)} of the same rows in the same order, as `read_scores` gives them.
    """
    known = dict(exposures)
    for arm, score in scores.items():
        _check_rows(known, score, arm)
        known |= {probability_column(arm, value): score[f"pb_pct_{format_number(value)}"] for value in penalties}
    kept, again = duplicates(known)
    known = {name: np.asarray(values)[kept] for name, values in known.items()}
    exposure = known["exposure"]
    known["lmjm"] = np.ma.masked_less(exposure, 0)  # a co-add has none
    known["designation"] = known["source_id"]
    gaia_id = known.get("gaia_id", np.zeros(len(exposure), np.int64))
    number = group(gaia_id, known["designation"], known["ra"], known["dec"], source_radius)
    known["source_id"], gaia_id = name_sources(known["designation"], gaia_id, known["obsid"], number)
    known["gaia_id"] = np.ma.masked_equal(gaia_id, 0)
    for arm, end in SUFFIX.items():
        if f"rv_obs_{end}" not in known:  # an arm that this run leaves out
            known[f"flags_{end}"] = np.full(len(exposure), Quality.MISSING_ARM)
            continue
        velocity = known[f"rv_obs_{end}"]
        known[f"rv_abs_{end}"] = velocity + zero_point.get(arm, 0.0)
        known[f"rv_abs_err_{end}"] = np.hypot(known[f"rv_obs_err_{end}"], zero_point_error.get(arm, 0.0))
        # Pixels of an arm that was never processed have not been counted.
        known[f"npixbad_{end}"] = np.ma.MaskedArray(known[f"npixbad_{end}"], mask=~np.isfinite(velocity))
    order = np.lexsort((np.asarray(known["file"]).astype(str), exposure, exposure < 0, known["obsid"]))
    columns = catalog_columns(penalties)
    return {c.name: _fill(c, known.get(c.name), len(exposure))[order] for c in columns}, again


def _check_rows(exposures: Mapping[str, np.ndarray], scores: Mapping[str, np.ndarray], arm: str) -> None:
    """Raise ValueError unless scores are those of the exposures, row by row: a key alone may be two files'."""
    wanted, keys = np.asarray(exposures["key"]), np.asarray(scores["key"])
    missing = int(np.count_nonzero(~np.isin(wanted, keys)))
    if missing:
        raise ValueError(
            f"{missing} of {len(wanted)} exposures have no score in the {arm} arm: score all shards that are catalogued"
        )
    files = np.asarray(exposures["file"]).astype(str)
    if not (np.array_equal(wanted, keys) and np.array_equal(files, np.asarray(scores["file"]).astype(str))):
        raise ValueError(f"the score tables of the {arm} arm are not those of the shards, in the shards' order")


def _fill(column: Column, values: Any, size: int) -> np.ndarray:
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


def _concatenate(parts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    if not parts:
        raise ValueError("no spectra shard was given: ingest some LAMOST files first")
    return {name: np.concatenate([np.asarray(part[name]) for part in parts]) for name in parts[0]}


# --- files ------------------------------------------------------------------------------------------------

Extension = tuple[str, Sequence[Column], Mapping[str, np.ndarray]]


def write_fits(
    extensions: Sequence[Extension],
    path: str | os.PathLike,
    settings: Any = None,
    remarks: Sequence[str] = (),
) -> None:
    """Write tables as FITS extensions (name, columns, values): the same bytes for the same content, no dates.

    Every column carries TUNIT and TCOMM; HISTORY holds the provenance, COMMENT the meaning of the flag bits.
    """
    origin = provenance(settings)
    primary = fits.PrimaryHDU()
    primary.header["SOFTWARE"] = (f"{origin['software']} {origin['version']}", "what wrote this file")
    primary.header["CFGDIGST"] = (origin["settings_digest"], "fingerprint of the settings")
    for line in textwrap.wrap(json.dumps(origin, sort_keys=True, default=str), 70, break_on_hyphens=False):
        primary.header.add_history(line)
    for remark in remarks:
        primary.header.add_comment(remark)
    units: list[fits.PrimaryHDU | fits.BinTableHDU] = [primary]
    for name, columns, values in extensions:
        table = fits.BinTableHDU.from_columns(
            [_fits_column(column, values[column.name]) for column in columns], name=name
        )
        for number, column in enumerate(columns, start=1):
            table.header.set(f"TCOMM{number}", column.description, after=f"TFORM{number}")
        if any(column.name.startswith("flags_") for column in columns):
            bits = "bits of flags_B and flags_R: " + ", ".join(f"{bit.value} {bit.name}" for bit in Quality)
            for line in textwrap.wrap(bits, 70):
                table.header.add_comment(line)
        units.append(table)
    for unit in units:
        unit.add_checksum(when="HDU checksum")  # a fixed comment: astropy's own carries the time of day
    with atomic(path) as temporary:
        fits.HDUList(units).writeto(temporary, overwrite=True)


def _fits_column(column: Column, values: np.ndarray) -> fits.Column:
    integer = column.code in "IJK"
    form = column.format
    if column.code == "A":
        values = np.array([ascii_text(text) for text in np.asarray(values, dtype=str)], dtype=bytes)
        form = f"{max(values.dtype.itemsize, 1)}A"
    elif integer:
        values = np.ma.filled(values, NULL)
    return fits.Column(column.name, form, unit=column.unit or None, null=NULL if integer else None, array=values)


def write_parquet(
    columns: Sequence[Column], values: Mapping[str, np.ndarray], path: str | os.PathLike, settings: Any = None
) -> None:
    """Write a table as Parquet: same names, unit and meaning on every field, vectors as fixed-size lists."""
    fields, arrays = [], []
    for column in columns:
        array = _arrow(column, values[column.name])
        described = {"unit": column.unit, "description": column.description}
        fields.append(pa.field(column.name, array.type, metadata=described))
        arrays.append(array)
    metadata = {"provenance": json.dumps(provenance(settings), sort_keys=True, default=str)}
    metadata["flags"] = json.dumps({bit.name: bit.value for bit in Quality})
    with atomic(path) as temporary:
        pq.write_table(pa.table(arrays, schema=pa.schema(fields, metadata=metadata)), temporary, compression="zstd")


def _arrow(column: Column, values: np.ndarray) -> pa.Array:
    if column.code == "A":
        return pa.array(np.asarray(values, dtype=object), pa.string())
    if column.width > 1:
        return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values).ravel()), column.width)
    if isinstance(values, np.ma.MaskedArray):
        return pa.array(values.data, mask=np.ma.getmaskarray(values))
    return pa.array(values)


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
    stored = pq.read_table(path)
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
