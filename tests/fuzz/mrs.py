"""LAMOST MRS files: a star of the released templates through the simulated spectrograph, scored by released models."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from astropy.io import fits
from damage import copied, edited, put
from runner import ANY, Kind, Mutation, Verdict

from dioscuri.arms import C_KMS
from dioscuri.lamost.exposures import Exposure
from dioscuri.lamost.files import ObservedFile
from dioscuri.lamost.mrs_writer import write_mrs_file
from dioscuri.lamost.telescope import DETECTORS, coadd, observe
from dioscuri.paths import models_folder
from dioscuri.predict import predict
from dioscuri.spectra.templates import load_templates

LMJM = 84_700_560
TOLERANCE = 0.1  # of p50: the noise draws of one exposure scatter by 0.036, those of a changed one are others


def sound(path: Path) -> bytes:
    """A file of two exposures and their co-adds."""
    templates = load_templates(models_folder() / "lamost_mrs/templates.h5", list(DETECTORS))
    singles, coadds = [], []
    for number, (arm, detector) in enumerate(DETECTORS.items()):
        template = templates[arm][1]
        best = int(np.argmin(np.abs(template.teff - 5800)))
        wave = detector.pixels(-11.0)
        model = detector.throughput() * np.interp(
            wave / (1 + 30.0 / C_KMS), template.wave, template.flux[best], left=1.0, right=1.0
        )
        parts = []
        for k in range(3):
            lmjm = LMJM + 24 * k
            flux, ivar, mask, _ = observe(model, detector, 60.0, np.random.default_rng([number, k]))
            mjd = lmjm / 1440 - 1 / 3 + 600 / 86400
            snr = float(np.median((flux * np.sqrt(ivar))[~mask]))
            parts.append(Exposure(f"{arm[0].upper()}-{lmjm}", arm, lmjm, mjd, 1200.0, snr, wave, flux, ivar, mask))
        singles += parts
        coadds.append(coadd(parts, [e.flux for e in parts]))
    file = ObservedFile(
        path=path, obsid=999_901_002, designation="LAMOST J192000.00+430000.0", object_name="x", gaia_id=0, ra=290.0,
        dec=43.0, planid="P", spid=1, fiberid=2, lmjd=58820, fiber_type="Obj", object_type="Star", data_version="DR7",
        helio_rv=-11.0, magnitudes={"Kp": 11.8}, exposures=(*singles, *coadds),
    )  # fmt: skip
    write_mrs_file(path, replace(file, path=path))
    return path.read_bytes()


# --- damage ----------------------------------------------------------------------------------------------------------


def any_unit(units: fits.HDUList, rng: np.random.Generator) -> fits.BinTableHDU:
    return units[int(rng.integers(1, len(units)))]


def rows(keep: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> Mutation:
    def edit(units: fits.HDUList, rng: np.random.Generator) -> None:
        unit = any_unit(units, rng)
        unit.data = unit.data[keep(np.arange(len(unit.data)), rng)]

    return edited(edit)


def column(name: str, change: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> Mutation:
    def edit(units: fits.HDUList, rng: np.random.Generator) -> None:
        data = any_unit(units, rng).data
        key = data.columns.names[-1] if name == "mask" else name
        data[key] = change(data[key].copy(), rng)

    return edited(edit)


def card(key: str, *values: object) -> Mutation:
    def edit(units: fits.HDUList, rng: np.random.Generator) -> None:
        units[0].header[key] = values[int(rng.integers(len(values)))]

    return edited(edit)


def own_card(key: str, *values: object) -> Mutation:
    def edit(units: fits.HDUList, rng: np.random.Generator) -> None:
        any_unit(units, rng).header[key] = values[int(rng.integers(len(values)))]

    return edited(edit)


def swapped(units: fits.HDUList, rng: np.random.Generator) -> None:
    """The arms of an exposure under each other's names."""
    blue, red = units[f"B-{LMJM}"], units[f"R-{LMJM}"]
    blue.header["EXTNAME"], red.header["EXTNAME"] = red.header["EXTNAME"], blue.header["EXTNAME"]


def fluxes_swapped(units: fits.HDUList, rng: np.random.Generator) -> None:
    blue, red = units[f"B-{LMJM}"], units[f"R-{LMJM}"]
    blue.data["FLUX"], red.data["FLUX"] = red.data["FLUX"].copy(), blue.data["FLUX"].copy()


def one_name_twice(units: fits.HDUList, rng: np.random.Generator) -> None:
    units[f"B-{LMJM}"].header["EXTNAME"] = f"B-{LMJM + 24}"


def same_exposure_twice(units: fits.HDUList, rng: np.random.Generator) -> None:
    units[f"B-{LMJM}"].data = units[f"B-{LMJM + 24}"].data.copy()


def unit_lost(units: fits.HDUList, rng: np.random.Generator) -> None:
    del units[int(rng.integers(1, len(units)))]


def header_bytes(content: bytes, rng: np.random.Generator) -> bytes:
    """Some characters of a header overwritten."""
    damaged = bytearray(content)
    starts = [i for i in range(0, len(content), 2880) if content[i : i + 8] in (b"SIMPLE  ", b"XTENSION")]
    start = int(rng.choice(starts))
    for place in rng.integers(0, 2880, int(rng.integers(1, 6))):
        damaged[start + int(place)] = int(rng.integers(32, 127))
    return bytes(damaged)


def shifted(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return values + np.log10(1 + rng.uniform(60, 900) / C_KMS)


MUTATIONS: dict[str, Mutation] = {
    **ANY,
    "header bytes": header_bytes,
    "rows gone": rows(lambda n, rng: (n < (a := rng.integers(100, 2000))) | (n > a + rng.integers(200, 1500))),
    "rows sampled": rows(lambda n, rng: n % int(rng.integers(2, 30)) == 0),
    "rows shuffled": rows(lambda n, rng: rng.permutation(n)),
    "rows doubled": rows(lambda n, rng: np.sort(np.concatenate([n, n[1000:1400]]))),
    "ivar × 100": column("IVAR", lambda v, rng: v * 100), "ivar / 100": column("IVAR", lambda v, rng: v / 100),
    "ivar × 4": column("IVAR", lambda v, rng: v * 4), "ivar zero": column("IVAR", put(0, 3000)),
    "ivar negative": column("IVAR", lambda v, rng: -v), "ivar NaN": column("IVAR", put(np.nan, 600)),
    "flux constant": column("FLUX", put(None, 200)), "flux zero": column("FLUX", lambda v, rng: v * 0),
    "flux zero block": column("FLUX", put(0, 200)), "flux copied": column("FLUX", copied),
    "flux NaN": column("FLUX", put(np.nan, 500)), "flux infinite": column("FLUX", put(np.inf, 3)),
    "flux spike": column("FLUX", put(1e9, 2)), "flux negative": column("FLUX", lambda v, rng: -v),
    "flux × 1e30": column("FLUX", lambda v, rng: v * np.float32(1e30)),
    "flux reversed": column("FLUX", lambda v, rng: v[::-1]),
    "flux offset": column("FLUX", lambda v, rng: v + np.float32(3 * np.median(v))),
    "wave back": column("LOGLAM", lambda v, rng: np.concatenate([v[:2000], v[1990:2000], v[2010:]])),
    "wave stretched": column("LOGLAM", lambda v, rng: v[0] + (v - v[0]) * np.float32(1.02)),
    "wave shifted": column("LOGLAM", shifted), "wave NaN": column("LOGLAM", put(np.nan, 5)),
    "wave linear Å": column("LOGLAM", lambda v, rng: 10**v), "mask set": column("mask", put(1, 500)),
    "arms swapped": edited(swapped), "fluxes swapped": edited(fluxes_swapped), "one name twice": edited(one_name_twice),
    "same exposure twice": edited(same_exposure_twice), "unit lost": edited(unit_lost),
    "RA": card("RA", True, "x", 400.0, 291.0, -1.0), "DEC": card("DEC", 91.0, 42.0, "43d"),
    "OBSID": card("OBSID", 12.7, -5, "x", 999_901_003, 2**63), "SPID": card("SPID", 9, 1000, "x"),
    "LMJD": card("LMJD", 58000, "x", -1), "TELESCOP": card("TELESCOP", "ALMA", "", 7),
    "MAG1": card("MAG1", "odd", True, -1e30), "FIBERTYP": card("FIBERTYP", "Sky", "Dead"),
    "N_EXTEN": card("N_EXTEN", 20, "x", 3), "NEXP_B": card("NEXP_B", 4, 1), "HELIO": card("HELIO", False),
    "SNR": own_card("SNR", 600.0, 2.0, "x", -1.0), "EXPTIME": own_card("EXPTIME", "x", -5, 1e9),
    "LMJM": own_card("LMJM", "84700561", 7), "EXTNAME": own_card("EXTNAME", "B-99999999", "X", "COADD_B", 3),
}  # fmt: skip


# --- judgement -------------------------------------------------------------------------------------------------------


def table_of(paths: list[str]) -> pd.DataFrame:
    found, _ = predict("lamost_mrs", paths, draws=6, coadds=True)
    return found


def judge_all(folder: Path, contents: Mapping[str, bytes]) -> dict[str, Verdict]:
    """All damaged files in one call, as a user has them: none may stop the others."""
    whole = folder / "sound/med-58820-P_sp01-002.fits"
    whole.parent.mkdir(parents=True)
    reference = table_of([str(folder / "sound")]) if not sound(whole) else table_of([str(whole)])
    paths = {}
    for k, (title, content) in enumerate(contents.items()):
        paths[title] = folder / f"damaged/case{k:04d}.fits"
        paths[title].parent.mkdir(exist_ok=True)
        paths[title].write_bytes(content)
    try:
        found = table_of([str(path) for path in paths.values()])
    except Exception as error:
        return dict.fromkeys(contents, Verdict("CRASH", detail=repr(error)[:300]))
    by_file = dict(iter(found.groupby("file")))
    return {title: verdict(by_file, path, reference) for title, path in paths.items()}


def verdict(by_file: Mapping[str, pd.DataFrame], path: Path, reference: pd.DataFrame) -> Verdict:
    """Every exposure of the sound file has a row of its own, or one of the whole file speaks for it."""
    rows = by_file.get(path.name)
    if rows is None:
        return Verdict("LOST", detail="no row at all")
    ok = rows[rows["status"].str.startswith("ok")].set_index(["exposure", "arm"])
    refused = rows[~rows["status"].str.startswith("ok")]
    told = set(zip(refused["exposure"], refused["arm"])) | set(refused["exposure"])
    moved, worst = 0.0, ""
    for row in reference.itertuples():
        key = (row.exposure, row.arm)
        if key not in ok.index:
            if not (
                {key, row.exposure, 0} & told
                or any(row.arm in str(arm) for e, arm in zip(refused["exposure"], refused["arm"]) if e == row.exposure)
            ):
                return Verdict("LOST", detail=f"{key} has no row")
            continue
        here = ok.loc[[key]].iloc[0]
        if here["flags"] not in ("", "coadd"):
            continue
        if abs(here["p50"] - row.p50) > moved:
            moved, worst = abs(here["p50"] - row.p50), f"p50 of {key}: {row.p50:.2f} → {here['p50']:.2f}"
        for name, tolerance in (("obsid", 0.5), ("ra", 1e-3), ("dec", 1e-3), ("bjdmid", 0.01)):
            if abs(here[name] - getattr(row, name)) > tolerance:
                return Verdict("SILENT", np.inf, f"{name} of {key}: {here[name]}")
    if moved > TOLERANCE:
        return Verdict("SILENT", moved, worst)
    if len(refused):
        return Verdict("refused", moved)
    return Verdict("flagged" if (ok["flags"].isin(["", "coadd"]) == False).any() else "same", moved)  # noqa: E712


def mrs(folder: Path) -> Kind:
    content = sound(folder / "med-58820-P_sp01-002.fits")
    return Kind("LAMOST MRS", "med.fits", content, MUTATIONS, read=lambda path: {}, judge_all=judge_all)
