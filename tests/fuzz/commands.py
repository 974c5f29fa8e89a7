"""Images and maps through the whole command line: `dioscuri predict` ends in rows and lines of its own words."""

import contextlib
import io
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
from others import frames, maps, stamps
from runner import Kind, Verdict

from dioscuri.cli import main
from dioscuri.predict import protostar
from dioscuri.psf.effective import Psf

# What Python and the libraries below us say; none of it tells a user anything.
LIBRARY = re.compile(
    r"Traceback|HDF5 error|h5py|astropy|numpy|Errno|eof = |unable to|object has no attribute|NoneType|out of bounds|"
    r"broadcast|invalid literal|cannot reshape|could not convert|unsupported operand|Header missing|buffer|codec|<class"
)
MOVED = 1e-3  # relative to the spread of a column


def run(arguments: list[str]) -> tuple[int, str]:
    """Status and all that is printed."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(["predict", *arguments])
    return status, out.getvalue() + err.getvalue()


def judge_all(name: str, options: list[str], folder: Path, contents: Mapping[str, bytes], sound: bytes) -> dict:
    """Each damaged file in a call of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    path, table = folder / name, folder / "table.csv"

    def answer(content: bytes) -> tuple[int, str, pd.DataFrame | None]:
        path.write_bytes(content)
        table.unlink(missing_ok=True)
        status, text = run([str(path), *options, "-o", str(table)])
        return status, text, pd.read_csv(table) if table.exists() else None

    status, text, reference = answer(sound)
    assert status == 0 and reference is not None, text
    return {title: _verdict(partial(answer, content), name, reference) for title, content in contents.items()}


def _verdict(answer: Callable, name: str, reference: pd.DataFrame) -> Verdict:
    try:
        status, text, found = answer()
    except Exception as error:
        return Verdict("CRASH", detail=repr(error)[:200])
    told = text + ("" if found is None else " ".join(found["status"].astype(str)))
    if foreign := LIBRARY.search(told):
        start = max(0, foreign.start() - 80)
        return Verdict("NAMELESS", detail="a library's words: " + " ".join(told[start : foreign.end() + 80].split()))
    if found is None or found["status"].str.startswith("refused").all():
        return Verdict("refused") if name in text and status else Verdict("NAMELESS", detail=text[:200])
    if set(found["status"]) - set(reference["status"]):
        return Verdict("flagged")
    if len(found) != len(reference):
        return Verdict("SILENT", np.inf, f"{len(found)} rows instead of {len(reference)}")
    moved = 0.0
    for column in reference.select_dtypes("number"):
        here, there = found[column].to_numpy(float), reference[column].to_numpy(float)
        if not (np.isfinite(here) == np.isfinite(there)).all():
            return Verdict("SILENT", np.inf, f"{column}: other gaps")
        spread = np.nanmax(np.abs(there)) if np.isfinite(there).any() else 1.0
        moved = max(moved, float(np.nanmax(np.abs(here - there), initial=0.0)) / (spread or 1.0))
    return Verdict("same", moved) if moved < MOVED else Verdict("SILENT", moved, "numbers")


def through_predict(kind: Kind, title: str, survey: str, *options: str) -> Kind:
    judge = partial(judge_all, kind.name, ["--survey", survey, *options], sound=kind.content)
    return Kind(title, kind.name, kind.content, kind.mutations, kind.read, judge_all=judge, share=0.5)


def _psf(folder: Path, pixel_scale: float) -> str:
    from others import helper

    path = folder / f"star{pixel_scale:g}.npz"
    Psf(helper("cluster_frames").gaussian()[None], 4, pixel_scale, provenance={"source": "x"}).save(path)
    return str(path)


def predict_hst(folder: Path) -> Kind:
    return through_predict(frames(folder), "predict hst", "hst", "--psf", _psf(folder, 0.04))


def predict_csst(folder: Path) -> Kind:
    return through_predict(stamps(folder), "predict csst", "csst", "--psf", _psf(folder, 0.075), "--noise", "3")


def predict_protostar(folder: Path) -> Kind:
    small = {"n_systems": 2, "n_particles": 500, "n_snapshots": 6, "duration": 20.0, "n_pixels": 40, "field": 1600.0}
    with mock.patch.dict(protostar.TOY, small):
        shards = protostar.embedded_catalogue(200.0, protostar.CHANNEL, folder / "catalogue")
    catalogue = ("--catalogue", *map(str, shards))
    return through_predict(maps(folder), "predict protostar", "protostar", "--distance", "900", *catalogue)


COMMANDS = (predict_hst, predict_csst, predict_protostar)
