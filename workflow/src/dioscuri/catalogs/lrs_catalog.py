"""The catalogue of LRS spectra (Table 1 of Jing et al. 2025 and our columns), written row group by row group."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits

from dioscuri.catalogs.files import Column, extension, fill, table_of
from dioscuri.catalogs.read_table import read_table
from dioscuri.flags import LrsQuality
from dioscuri.io import atomic
from dioscuri.seals import verified

log = logging.getLogger(__name__)

PRINTED = 100_000  # lines that are written at once
BLOCK = 2880  # bytes of a FITS block
# Name, FITS format, unit, meaning. The first six are the paper's.
COLUMNS = tuple(Column(*facts) for facts in (
    ("obsid", "K", "", "LAMOST obsid"),
    ("source_id", "K", "", "Gaia DR3 source_id (0: unknown)"),
    ("ra_hms", "11A", "", "right ascension, hms"),
    ("dec_dms", "11A", "", "declination, dms"),
    ("p_b", "E", "", "probability of a second star, as many binaries as singles assumed"),
    ("snrg", "E", "", "S/N per pixel in g"),
    ("ra", "D", "deg", "right ascension (J2000)"),
    ("dec", "D", "deg", "declination (J2000)"),
    ("rv", "E", "km s-1", "radial velocity, own templates"),
    ("rv_err", "E", "km s-1", "its error"),
    ("teff", "E", "K", "of the fit"),
    ("logg", "E", "", "of the fit"),
    ("feh", "E", "", "of the fit"),
    ("q", "E", "", "mass ratio of the fit with two stars (NaN: none is told)"),
    ("q_err", "E", "", "its error"),
    ("dchi2", "E", "", "chi2 of one star less that of two"),
    ("chi2", "E", "", "of the better fit"),
    ("flags", "J", "", "quality bits, see COMMENT"),
    ("in_training", "L", "", "whether the star took part in the training"),
    ("n_obs", "J", "", "spectra of the star"),
    ("p_max", "E", "", "highest p_b of the star: it grows with n_obs"),
    ("p_median", "E", "", "median p_b of the star"),
    ("release", "20A", "", "DATA_V of the file"),
))  # fmt: skip
FORMATS = [(column.name, column.format) for column in COLUMNS]
TYPES = {"K": ">i8", "J": ">i4", "D": ">f8", "E": ">f4", "L": "S1"}


def write_catalog(
    shards: Sequence[str | os.PathLike],
    fits_path: str | os.PathLike,
    parquet_path: str | os.PathLike,
    trained: Sequence[int] = (),
) -> int:
    """Join scored shards (Parquet) into one catalogue as FITS and Parquet; returns its rows.

    Memory holds one shard and two numbers a row (for what is known of a star over its visits). `trained`: star keys.
    """
    stars = _stars(shards)
    total = sum(pq.read_metadata(verified(path)).num_rows for path in shards)
    with atomic(fits_path) as fits_file, atomic(parquet_path) as parquet_file:
        writer = None
        with open(fits_file, "wb") as stream:
            stream.write(_headers(total))
            for part in _parts(shards, stars, np.asarray(trained, np.int64)):
                stream.write(_binary(part).tobytes())
                table = pa.Table.from_pandas(part, preserve_index=False)
                writer = writer or pq.ParquetWriter(parquet_file, _described(table.schema), compression="zstd")
                writer.write_table(table.cast(writer.schema))
            stream.write(b"\0" * (-stream.tell() % BLOCK))
        if writer is None:
            raise ValueError("catalogue: no scored shard was given")
        writer.close()
    log.info("%s: %d rows", fits_path, total)
    return total


def _stars(shards: Sequence[str | os.PathLike]) -> pd.DataFrame:
    """n_obs, p_max and p_median by star: source_id, or the obsid where there is none."""
    parts = [pq.read_table(verified(path), columns=_keys(path)).to_pandas() for path in shards]
    rows = pd.concat(parts, ignore_index=True)
    rows["star"] = _star(rows)
    groups = rows.groupby("star")["p"]
    return pd.DataFrame({"n_obs": groups.size(), "p_max": groups.max(), "p_median": groups.median()})


def _keys(path: str | os.PathLike) -> list[str]:
    names = pq.read_schema(verified(path)).names
    return [name for name in ("obsid", "source_id", "p") if name in names]


def _star(rows: pd.DataFrame) -> pd.Series:
    """A key of the star (as `evaluation.lrs_labels.star_keys`); obsids are negative: none can be a source_id."""
    if "source_id" not in rows:
        return -rows["obsid"]
    return rows["source_id"].where(rows["source_id"] > 0, -rows["obsid"])


def _parts(shards: Sequence[str | os.PathLike], stars: pd.DataFrame, trained: np.ndarray) -> Iterator[pd.DataFrame]:
    for path in shards:
        rows = pd.read_parquet(verified(path))
        rows["p_b"] = rows["p"]
        if "source_id" not in rows:
            rows["source_id"] = 0
        known = stars.reindex(_star(rows))
        for name in stars:
            rows[name] = known[name].to_numpy()
        rows["in_training"] = _star(rows).isin(trained).to_numpy()
        rows["flags"] = rows["flags"] | np.where(rows["in_training"], int(LrsQuality.IN_TRAINING), 0)
        rows["ra_hms"], rows["dec_dms"] = sexagesimal(rows["ra"].to_numpy(), rows["dec"].to_numpy())
        yield rows[[name for name, _ in FORMATS]]


def sexagesimal(ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """hh:mm:ss.ss and ±dd:mm:ss.s as in Table 1, of degrees (S,)."""
    centiseconds = np.round(np.asarray(ra) / 15 * 360000).astype(np.int64) % (24 * 360000)
    tenths = np.round(np.abs(dec) * 36000).astype(np.int64)
    hours = [f"{c // 360000:02d}:{c // 6000 % 60:02d}:{c // 100 % 60:02d}.{c % 100:02d}" for c in centiseconds]
    degrees = [
        f"{'-' if d < 0 else '+'}{t // 36000:02d}:{t // 600 % 60:02d}:{t // 10 % 60:02d}.{t % 10}"
        for d, t in zip(dec, tenths)
    ]
    return np.array(hours, object), np.array(degrees, object)


def _dtype() -> np.dtype:
    return np.dtype([(n, f"S{form[:-1]}" if form.endswith("A") else TYPES[form]) for n, form in FORMATS])


def _binary(rows: pd.DataFrame) -> np.ndarray:
    out = np.zeros(len(rows), _dtype())
    for name, form in FORMATS:
        values = rows[name].to_numpy()
        if form == "L":
            out[name] = np.where(values.astype(bool), b"T", b"F")
        elif form.endswith("A"):
            out[name] = [str(value).encode("ascii", "replace") for value in values]
        else:
            out[name] = values
    return out


def _headers(total: int) -> bytes:
    """Headers as the other catalogues have them, of a table of one row, which is not written."""
    row = {c.name: np.array(["x" * c.width]) if c.code == "A" else fill(c, [0], 1) for c in COLUMNS}
    header = extension("BINARY_PROBABILITY", table_of(COLUMNS, row)).header
    header["NAXIS2"] = total
    bits = ", ".join(f"{bit.value} {bit.name.lower()}" for bit in LrsQuality if bit.name)
    for start in range(0, len(bits), 70):
        header.add_comment(bits[start : start + 70])
    return (fits.PrimaryHDU().header.tostring() + header.tostring()).encode("ascii")


def _described(schema: pa.Schema) -> pa.Schema:
    facts = {column.name: {"unit": column.unit, "description": column.description} for column in COLUMNS}
    return pa.schema([field.with_metadata(facts[field.name]) for field in schema])


def print_table(catalog: str | os.PathLike, path: str | os.PathLike, threshold: float = 0.5) -> None:
    """Table 1 as printed: obsid, source_id, RA and DEC in hms and dms, p_b to three digits, snrg (CSV)."""
    columns = ["obsid", "source_id", "ra_hms", "dec_dms", "p_b", "snrg"]
    chosen = pq.read_table(verified(catalog), columns=columns, filters=[("p_b", ">", threshold)]).sort_by("obsid")
    names = ["LAMOST-DR10-obsid", "Gaia-DR3-source_id", "RA", "DEC", "p_b", "snrg"]
    with atomic(path) as temporary, open(temporary, "w", encoding="utf-8") as stream:
        stream.write(",".join(names) + "\n")
        for batch in chosen.to_batches(max_chunksize=PRINTED):
            rows = batch.to_pandas()
            rows["p_b"] = rows["p_b"].map("{:.3f}".format)
            rows.to_csv(stream, index=False, header=False)


def print_hosts(
    catalog: str | os.PathLike,
    hosts: str | os.PathLike,
    path: str | os.PathLike,
    columns: Mapping[str, str] | None = None,
    threshold: float = 0.5,
) -> None:
    """Table 2: known planet hosts (hostname, source_id, by `columns` where named otherwise) with p_b above `threshold`.

    As printed, and sy_snum, the stars that the Archive knows of, where the table has it (CSV).
    """
    known, _ = read_table(Path(hosts))
    names = {ours: (columns or {}).get(ours, ours) for ours in ("hostname", "source_id", "sy_snum")}
    missing = [names[ours] for ours in ("hostname", "source_id") if names[ours] not in known]
    if missing:
        raise ValueError(f"{hosts}: no column {', '.join(missing)}; found {', '.join(map(str, known.columns))}")
    known = known.rename(columns={theirs: ours for ours, theirs in names.items()})
    kept = [name for name in names if name in known]
    columns_read = ["obsid", "source_id", "ra_hms", "dec_dms", "p_b", "snrg"]
    chosen = [("p_b", ">", threshold), ("source_id", "in", known["source_id"].tolist())]
    found = pq.read_table(verified(catalog), columns=columns_read, filters=chosen).to_pandas()
    rows = known[kept].drop_duplicates("source_id").merge(found, on="source_id")
    log.info("%d of %d planet hosts are above %g", rows["source_id"].nunique(), len(known), threshold)
    printed = ["hostname", "obsid", "source_id", "ra_hms", "dec_dms", "p_b", "snrg", *kept[2:]]
    heads = ["hostname", "LAMOST-DR10-obsid", "Gaia-DR3-source_id", "RA", "DEC", "p_b", "snrg", *kept[2:]]
    rows = rows.sort_values(["hostname", "obsid"])[printed].set_axis(heads, axis=1)
    with atomic(path) as temporary:
        text = rows.assign(p_b=rows["p_b"].map("{:.3f}".format)).to_csv(index=False)
        Path(temporary).write_text(text, encoding="utf-8")
