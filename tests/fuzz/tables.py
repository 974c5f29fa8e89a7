"""Users' tables of stars (MRS and LRS), and libraries that are tables of spectra."""

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from astropy.table import Table
from others import FITS_ANY, a_line, cards, helper, lines, pixels, words
from runner import ANY, Kind, Mutation, bits_flipped

from dioscuri.catalogs.lrs_table import read_catalogue
from dioscuri.catalogs.user_table import read_stars
from dioscuri.libraries.tabulated import read_table

N = 40
# A row less in a text is a smaller table, which nobody can see; so is one that is cut between two rows.
UNSEEN = ("truncated", "block lost")


def stars() -> pd.DataFrame:
    rng = np.random.default_rng(4)
    return pd.DataFrame({
        "source_id": 2_100_000_000_000_000_000 + np.arange(N), "obsid": 100_000 + np.arange(N),
        "ra": np.round(rng.uniform(10, 350, N), 5), "dec": np.round(rng.uniform(-10, 80, N), 5),
        "teff": np.round(rng.uniform(4300, 5900, N), 1), "logg": np.round(rng.uniform(4.1, 4.7, N), 3),
        "feh": np.round(rng.uniform(-0.8, 0.3, N), 3), "g": np.round(rng.uniform(9, 15, N), 3),
        "period": np.round(rng.uniform(1, 9, N), 4), "parallax": np.round(rng.uniform(1, 9, N), 4),
        "parallax_error": np.full(N, 0.03),
    })  # fmt: skip


def field(name: str, *texts: bytes) -> Mutation:
    """One number of a column is replaced by what is none, or makes no sense."""

    def change(text: list[bytes], rng: np.random.Generator) -> list[bytes]:
        column = text[0].split(b",").index(name.encode())
        k = a_line(text, rng)
        fields = text[k].split(b",")
        fields[column] = texts[int(rng.integers(len(texts)))]
        return [*text[:k], b",".join(fields), *text[k + 1 :]]

    return lines(change)


def halved(text: list[bytes], rng: np.random.Generator) -> list[bytes]:
    k = a_line(text, rng)
    return [*text[:k], text[k][: len(text[k]) // 2], *text[k + 1 :]]


def one_more(text: list[bytes], rng: np.random.Generator) -> list[bytes]:
    k = a_line(text, rng)
    return [*text[:k], text[k].replace(b".", b",", 1), *text[k + 1 :]]


def joined(text: list[bytes], rng: np.random.Generator) -> list[bytes]:
    k = a_line(text, rng)
    return [*text[:k], text[k] + text[k + 1], *text[k + 2 :]]


def twice(text: list[bytes], rng: np.random.Generator) -> list[bytes]:
    """Another star under the identifiers of the one before."""
    k = a_line(text, rng)
    names, values = text[k - 1].split(b","), text[k].split(b",")
    return [*text[:k], b",".join(names[:2] + values[2:]), *text[k + 1 :]] if k > 1 else text[1:]


CSV: dict[str, Mutation] = {
    **{name: m for name, m in ANY.items() if name not in UNSEEN},
    "row cut": lines(halved), "decimal comma": lines(one_more), "rows joined": lines(joined), "key twice": lines(twice),
    "ra": field("ra", b"x", b"400", b"12h", b"T"), "dec": field("dec", b"91", b"4?2", b"1.2.3"),
    "obsid": field("obsid", b"12.7", b"-4", b"x", b"99999999999999999999"), "source_id": field("source_id", b"2.1e18"),
    "teff": field("teff", b"12", b"5?00"), "feh": field("feh", b"17", b"a"), "g": field("g", b"140", b"odd"),
    "header": words((b"obsid", b"obsie"), (b"ra,", b"dec,"), (b"source_id,obsid,ra", b"sid,oid,r_a")),
    "no header": lambda content, rng: content.split(b"\n", 1)[1],
    "tabs": lambda content, rng: content.replace(b",", b"\t"),
    "latin": lambda content, rng: content.replace(b"source_id", b"source_\xe9", 1).replace(b"obsid", b"o\xe9", 1),
}  # fmt: skip
COLUMNS = ("obsid", "source_id", "gaia_id", "ra", "dec", "teff", "feh", "g", "period", "parallax")


def _read(reader: Callable[[Path], pd.DataFrame], path: Path) -> dict[str, np.ndarray]:
    """Numbers by our names; a column that is not found is told by its absence."""
    found = reader(path)
    return {name: found[name].to_numpy(float) for name in COLUMNS if name in found}


def _told(needed: tuple[str, ...], result: dict) -> bool:
    """A table without a key column of the sound one is another table, and seen to be so."""
    return any(name not in result for name in needed)


def user_csv(folder: Path, reader: Callable, name: str) -> Kind:
    stars().to_csv(path := folder / "mine.csv", index=False)
    return Kind(
        name, path.name, path.read_bytes(), CSV, partial(_read, reader), flagged=partial(_told, ("ra", "obsid"))
    )


def user_fits(folder: Path, reader: Callable, name: str) -> Kind:
    Table.from_pandas(stars()).write(path := folder / "mine.fits")

    def column(key: str, change: Callable[[np.ndarray], np.ndarray]) -> Mutation:
        return pixels(1, lambda data: _changed(data, key, change))

    mutations = {
        **FITS_ANY,
        "ra": column("ra", lambda v: v + 300),
        "obsid": column("obsid", lambda v: -v - 5),
        "teff": column("teff", lambda v: v / 100),
        "infinite": column("dec", lambda v: np.where(v > 60, 1e300, v)),
        "header": cards(
            (1, "TFORM3", "E"),
            (1, "TFORM3", "x"),
            (1, "TTYPE2", "o"),
            (1, "NAXIS2", 4000),
            (1, "TFIELDS", 99),
            (1, "XTENSION", "IMAGE"),
            (1, "TUNIT3", "m"),
            (1, "NAXIS1", 0),
            (1, "TFORM1", "20A"),
        ),
    }
    return Kind(
        name, path.name, path.read_bytes(), mutations, partial(_read, reader), flagged=partial(_told, ("ra", "obsid"))
    )


def _changed(data: np.ndarray, key: str, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    data[key] = change(data[key].copy())
    return data


def user_parquet(folder: Path, reader: Callable, name: str) -> Kind:
    stars().to_parquet(path := folder / "mine.parquet", index=False)

    def rewritten(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Mutation:
        def mutation(content: bytes, rng: np.random.Generator) -> bytes:
            change(pd.read_parquet(io.BytesIO(content))).to_parquet(out := io.BytesIO(), index=False)
            return out.getvalue()

        return mutation

    mutations = {
        **ANY,
        "text": rewritten(lambda t: t.assign(ra=["x"] * N)),
        "true": rewritten(lambda t: t.assign(ra=[True] * N)),
        "float keys": rewritten(lambda t: t.assign(source_id=t["source_id"].astype(float))),
        "broken keys": rewritten(lambda t: t.assign(obsid=t["obsid"] + 0.5)),
        "far": rewritten(lambda t: t.assign(ra=t["ra"] * 10)),
        "lists": rewritten(lambda t: t.assign(ra=[[1.0]] * N)),
        "key twice": rewritten(lambda t: t.assign(obsid=7, source_id=9)),
        "dates": rewritten(lambda t: t.assign(ra=pd.Timestamp("2020-01-01"))),
    }
    return Kind(name, path.name, path.read_bytes(), mutations, partial(_read, reader))


def mrs_csv(folder: Path) -> Kind:
    return user_csv(folder, read_stars, "MRS tables, CSV")


def mrs_fits(folder: Path) -> Kind:
    return user_fits(folder, read_stars, "MRS tables, FITS")


def mrs_parquet(folder: Path) -> Kind:
    return user_parquet(folder, read_stars, "MRS tables, Parquet")


def lrs_csv(folder: Path) -> Kind:
    return user_csv(folder, read_catalogue, "LRS tables, CSV")


def lrs_fits(folder: Path) -> Kind:
    return user_fits(folder, read_catalogue, "LRS tables, FITS")


def lrs_parquet(folder: Path) -> Kind:
    return user_parquet(folder, read_catalogue, "LRS tables, Parquet")


# --- libraries -------------------------------------------------------------------------------------------------------


def _library(table: Path) -> dict[str, np.ndarray]:
    library = read_table(table, helper("test_tabulated").WINDOW, resolution=1e4, progress=False)
    labels = np.array([[5500.0, 4.5, -0.25, 0.0], [6000.0, 4.5, 0.0, 0.0]])
    return {"flux": library.flux("blue", labels)}


def library_table(folder: Path) -> Kind:
    path = helper("test_tabulated").write_table(folder, ".txt.gz")

    def read(damaged: Path) -> dict[str, np.ndarray]:
        (copy := folder / "damaged.csv").write_bytes(damaged.read_bytes())
        try:
            return _library(copy)
        except ValueError as error:
            raise ValueError(str(error).replace(str(copy), str(damaged))) from error

    mutations = {
        **{name: m for name, m in ANY.items() if name not in UNSEEN},
        "row cut": lines(halved),
        "rows joined": lines(joined),
        "decimal comma": lines(one_more),
        "teff": field("teff", b"x", b"", b"-5", b"nan"),
        "path": field("path", b"", b"nowhere.txt", b"/etc", b"../x"),
        "header": words((b"teff", b"tefg"), (b"path", b"file"), (b"feh,afe", b"afe,feh,")),
        "row doubled": lines(doubled),
    }
    return Kind("libraries: table", path.name, path.read_bytes(), mutations, read)


def doubled(text: list[bytes], rng: np.random.Generator) -> list[bytes]:
    k = a_line(text, rng)
    return [*text[:k], text[k - 1] if k > 1 else text[k], *text[k:]]


def _spectra(folder: Path, suffix: str, name: str, mutations: dict[str, Mutation]) -> Kind:
    table = helper("test_tabulated").write_table(folder, suffix)
    spectrum = folder / f"s2{suffix}"
    content = spectrum.read_bytes()

    def read(damaged: Path) -> dict[str, np.ndarray]:
        spectrum.write_bytes(damaged.read_bytes())
        return _library(table)

    return Kind(name, spectrum.name, content, mutations, read)


def library_fits(folder: Path) -> Kind:
    mutations = {
        **FITS_ANY,
        "negative": pixels(0, lambda d: -d),
        "NaN": pixels(0, lambda d: np.where(d < np.median(d), np.nan, d)),
        "zero": pixels(0, lambda d: d * 0),
        "square": pixels(0, lambda d: d[:2500].reshape(50, 50)),
        "half": pixels(0, lambda d: d[:1500]),
        "header": cards(
            (0, "CRVAL1", "x"),
            (0, "CRVAL1", None),
            (0, "CDELT1", 0.0),
            (0, "CDELT1", -0.02),
            (0, "CDELT1", None),
            (0, "CRVAL1", 9000.0),
            (0, "CDELT1", "x"),
        ),
    }
    return _spectra(folder, ".image.fits", "libraries: FITS", mutations)


def library_npz(folder: Path) -> Kind:
    def rewritten(**changed: object) -> Mutation:
        def mutation(content: bytes, rng: np.random.Generator) -> bytes:
            with np.load(io.BytesIO(content)) as arrays:
                found = {key: arrays[key] for key in arrays.files}
            for key, change in changed.items():
                found[key] = change(found[key])  # type: ignore[operator]
            np.savez(out := io.BytesIO(), **found)
            return out.getvalue()

        return mutation

    mutations = {
        **ANY,
        "bits": bits_flipped,
        "shorter": rewritten(flux=lambda v: v[:-5]),
        "NaN": rewritten(flux=lambda v: v * np.nan),
        "text": rewritten(flux=lambda v: v.astype(str)),
        "reversed": rewritten(wave=lambda v: v[::-1]),
        "gap": rewritten(
            wave=lambda v: np.delete(v, slice(1000, 1900)),
            flux=lambda v: np.delete(v, slice(1000, 1900)),
            continuum=lambda v: np.delete(v, slice(1000, 1900)),
        ),
        "continuum shorter": rewritten(continuum=lambda v: v[:7]),
        "objects": rewritten(flux=lambda v: v.astype(object)),
        "continuum zero": rewritten(continuum=lambda v: v * 0),
        "square": rewritten(flux=lambda v: v.reshape(2, -1)),
    }
    return _spectra(folder, ".npz", "libraries: npz", mutations)


TABLES = (
    mrs_csv, mrs_fits, mrs_parquet, lrs_csv, lrs_fits, lrs_parquet, library_table, library_fits, library_npz,
)  # fmt: skip
