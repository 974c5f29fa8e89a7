"""LAMOST LRS files in their three layouts: a synthetic dwarf, scored by the released models."""

from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
from astropy.io import fits
from damage import Change, copied, edited, put
from runner import ANY, Kind, Mutation, Verdict

from dioscuri.arms import C_KMS
from dioscuri.lamost.lrs_files import LRSFile
from dioscuri.lamost.lrs_writer import WAVE, write_lrs_file
from dioscuri.mocks.pairs import one_spectrum
from dioscuri.predict import predict

NAME = "spec-58820-P_sp04-101.fits"
SNRG = 60.0
# How far a number may move without a word. Those that are not told (NaN) on either side do not count.
TOLERANCES = {"p": 0.1, "obsid": 0.5, "snrg": 1.0, "rv": 10.0, "teff": 100.0, "logg": 0.1, "feh": 0.15, "q": 0.15}
IMAGE_ROWS = {"FLUX": 0, "IVAR": 1, "WAVELENGTH": 2, "ANDMASK": 3}


@cache
def dwarf() -> np.ndarray:
    """Counts of a dwarf of 5200 K on LAMOST's pixels, without noise."""
    wave, flux, _ = one_spectrum(
        5200.0, 4.55, -0.1, 0.0, vsini=3.0, rv=20.0, resolution=1650.0, wave_min=3690.0, wave_max=9110.0
    )
    return 1000.0 * np.interp(WAVE, wave, flux) / np.median(flux)


def sound(path: Path, layout: str) -> bytes:
    level = dwarf()
    noise = np.median(level) / SNRG * np.sqrt(level / np.median(level[(WAVE > 4000) & (WAVE < 5500)]))
    flux = level + noise * np.random.default_rng(3).standard_normal(len(WAVE))
    green = (WAVE > 4000) & (WAVE < 5500)
    file = LRSFile(
        path, 123404101, "LAMOST J192000.00+430000.0", "LAMOST DR10", 290.0, 43.0, 58820, "STAR", "G8", 20.0,
        float(np.median((flux / noise)[green])), WAVE, flux, noise**-2, np.zeros(len(WAVE), bool),
    )  # fmt: skip
    write_lrs_file(path, file, layout)
    return path.read_bytes()


# --- damage ----------------------------------------------------------------------------------------------------------


def pixels(name: str, change: Change) -> Mutation:
    """One row of the image, or one column of the table, is changed."""

    def edit(units: fits.HDUList, rng: np.random.Generator) -> None:
        if len(units) > 1:
            units[1].data = units[1].data.copy()
            units[1].data[name][0] = change(units[1].data[name][0].copy(), rng)
        else:
            units[0].data = units[0].data.copy()
            units[0].data[IMAGE_ROWS[name]] = change(units[0].data[IMAGE_ROWS[name]].copy(), rng)

    return edited(edit)


def card(key: str, *values: object) -> Mutation:
    def edit(units: fits.HDUList, rng: np.random.Generator) -> None:
        value = values[int(rng.integers(len(values)))]
        if value is None:
            units[0].header.remove(key, ignore_missing=True)
        else:
            units[0].header[key] = value

    return edited(edit)


def narrower(units: fits.HDUList, rng: np.random.Generator) -> None:
    """Pixels are missing inside."""
    start = int(rng.integers(500, 2000))
    keep = np.r_[0:start, start + int(rng.integers(200, 1500)) : len(WAVE)]
    if len(units) == 1:
        units[0].data = units[0].data[:, keep]
        return
    columns = [
        fits.Column(c.name, f"{len(keep)}{c.format[-1]}", array=units[1].data[c.name][:, keep])
        for c in units[1].columns
    ]
    units[1] = fits.BinTableHDU.from_columns(columns, name="COADD")


def one_lost(units: fits.HDUList, rng: np.random.Generator) -> None:
    """A row of the image or a column of the table."""
    if len(units) == 1:
        units[0].data = np.delete(units[0].data, int(rng.integers(5)), axis=0)
    else:
        units[1] = fits.BinTableHDU.from_columns(list(units[1].columns)[int(rng.integers(1, 4)) :], name="COADD")


def two_rows(units: fits.HDUList, rng: np.random.Generator) -> None:
    """Two spectra in one table; an image has a sixth row."""
    if len(units) == 1:
        units[0].data = np.concatenate([units[0].data, units[0].data[:1]])
    else:
        units[1].data = np.concatenate([units[1].data, units[1].data])


def header_bytes(content: bytes, rng: np.random.Generator) -> bytes:
    damaged = bytearray(content)
    starts = [i for i in range(0, len(content), 2880) if content[i : i + 8] in (b"SIMPLE  ", b"XTENSION")]
    start = int(rng.choice(starts))
    for place in rng.integers(0, 2880, int(rng.integers(1, 6))):
        damaged[start + int(place)] = int(rng.integers(32, 127))
    return bytes(damaged)


MUTATIONS: dict[str, Mutation] = {
    **ANY, "header bytes": header_bytes, "pixels gone": edited(narrower), "row lost": edited(one_lost),
    "row doubled": edited(two_rows),
    "ivar × 100": pixels("IVAR", lambda v, rng: v * 100), "ivar / 100": pixels("IVAR", lambda v, rng: v / 100),
    "ivar × 4": pixels("IVAR", lambda v, rng: v * 4), "ivar zero": pixels("IVAR", put(0, 2500, 300)),
    "ivar negative": pixels("IVAR", lambda v, rng: -v), "ivar NaN": pixels("IVAR", put(np.nan, 600, 300)),
    "flux constant": pixels("FLUX", put(None, 200, 300)), "flux zero": pixels("FLUX", lambda v, rng: v * 0),
    "flux zero block": pixels("FLUX", put(0, 200, 300)), "flux copied": pixels("FLUX", copied),
    "flux NaN": pixels("FLUX", put(np.nan, 500, 300)), "flux infinite": pixels("FLUX", put(np.inf, 3, 300)),
    "flux spike": pixels("FLUX", put(1e9, 2, 300)), "flux negative": pixels("FLUX", lambda v, rng: -v),
    "flux × 1e30": pixels("FLUX", lambda v, rng: v * np.float32(1e30)),
    "flux reversed": pixels("FLUX", lambda v, rng: v[::-1]),
    "flux offset": pixels("FLUX", lambda v, rng: v + np.float32(3 * np.median(v))),
    "wave back": pixels("WAVELENGTH", lambda v, rng: np.r_[v[:2000], v[1990:2000], v[2010:]]),
    "wave stretched": pixels("WAVELENGTH", lambda v, rng: v[0] + (v - v[0]) * np.float32(1.01)),
    "wave shifted": pixels("WAVELENGTH", lambda v, rng: v * np.float32(1 + rng.uniform(30, 900) / C_KMS)),
    "wave NaN": pixels("WAVELENGTH", put(np.nan, 5, 300)), "mask set": pixels("ANDMASK", put(1, 500, 300)),
    "RA": card("RA", True, "x", 400.0, 291.0, -1.0), "DEC": card("DEC", 91.0, 42.0, "43d"),
    "OBSID": card("OBSID", 12.7, -5, "x", 2**63), "LMJD": card("LMJD", 58000, "x", 1.5),
    "TELESCOP": card("TELESCOP", "ALMA", "", 7), "CLASS": card("CLASS", "GALAXY", "", None),
    "SNRG": card("SNRG", 600.0, 2.0, -1.0, "x", None), "SN_G": card("SN_G", 600.0, "x"),
    "COEFF0": card("COEFF0", 3.5692, 3.56825, "x", 0.0), "COEFF1": card("COEFF1", 1.01e-4, "x", -1e-4),
    "DESIG": card("DESIG", "LAMOST J192100.00+430000.0"), "HELIO": card("HELIO", False),
    "FILENAME": card("FILENAME", "spec-58821-P_sp04-101.fits"),
}  # fmt: skip


# --- judgement -------------------------------------------------------------------------------------------------------


def table_of(paths: list[str]) -> pd.DataFrame:
    found, _ = predict("lamost_lrs", paths)
    numbers = {name: found[name].astype(object).where(found[name].notna(), np.nan).astype(float) for name in TOLERANCES}
    return found.assign(**numbers)


def judge_all(layout: str, folder: Path, contents: Mapping[str, bytes]) -> dict[str, Verdict]:
    """All damaged files in one call, as a user has them: none may stop the others, each has its row."""
    (folder / "sound").mkdir(parents=True)
    sound(whole := folder / "sound" / NAME, layout)
    reference = table_of([str(whole)]).iloc[0]
    assert reference["status"] == "ok", reference["status"]
    paths = {}
    for k, (title, content) in enumerate(contents.items()):
        paths[title] = folder / f"damaged/case{k:04d}.fits"
        paths[title].parent.mkdir(exist_ok=True)
        paths[title].write_bytes(content)
    try:
        found = table_of([str(path) for path in paths.values()]).set_index("file")
    except Exception as error:
        return dict.fromkeys(contents, Verdict("CRASH", detail=repr(error)[:300]))
    return {title: verdict(found, str(path), reference) for title, path in paths.items()}


def verdict(found: pd.DataFrame, path: str, reference: pd.Series) -> Verdict:
    if path not in found.index:
        return Verdict("LOST", detail="no row")
    row = found.loc[path]
    if row["status"] != "ok":
        return Verdict("refused" if row["status"].startswith("refused: ") else "NAMELESS", detail=row["status"])
    told = set(row["flags"].split(",")) - set(reference["flags"].split(",")) - {""}
    moved = {}
    for name, tolerance in TOLERANCES.items():
        gap = abs(row[name] - reference[name])
        if np.isfinite(gap) and gap > tolerance:
            moved[name] = gap
    if moved and not told:
        return Verdict("SILENT", max(moved.values()), str({name: float(row[name]) for name in moved}))
    return Verdict("flagged" if told else "same", 0.0 if told else float(abs(row["p"] - reference["p"])))


def _kind(layout: str, name: str, folder: Path) -> Kind:
    return Kind(
        name, NAME, sound(folder / NAME, layout), MUTATIONS, read=lambda path: {}, judge_all=partial(judge_all, layout)
    )


def lrs_dr1(folder: Path) -> Kind:
    return _kind("subcontinuum", "LRS DR1", folder)


def lrs_image(folder: Path) -> Kind:
    return _kind("image", "LRS DR2-DR8", folder)


def lrs_table(folder: Path) -> Kind:
    return _kind("table", "LRS DR9-DR10", folder)


LRS = (lrs_dr1, lrs_image, lrs_table)
