"""Score observations without a workflow: one module per survey, one table, one way to write it and to show it.

A survey's module has `predict(paths, **options)` and `style`, `plot`; what its COLUMNS, UNITS, DIGITS and OPTIONS
are; SUFFIXES, how its files end in a folder, and WHAT they are.
"""

import importlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from dioscuri import door
from dioscuri.io import atomic

SURVEYS = ("csst", "hst", "lamost_mrs", "lamost_lrs", "protostar")
LONGEST = 60  # rows that people read
FILES = ("psf", "calibration", "uv", "antennas")  # options that name one file
LISTS = ("photometry",)  # that name several
FOLDERS = ("models",)


def module_of(survey: str) -> ModuleType:
    """The module of a survey: `predict`, `style`, `plot`, and what its columns and OPTIONS are."""
    if survey not in SURVEYS:
        raise ValueError(f"unknown survey '{survey}'; accepted: {', '.join(SURVEYS)}")
    return importlib.import_module(f"dioscuri.predict.{survey}")


def run(
    survey: str,
    files: Sequence[str | Path],
    output: Path | None = None,
    figure: Path | None = None,
    **options: Any,
) -> tuple[pd.DataFrame, dict]:
    """`predict`, then write the table to `output` and the plot to `figure`: where they may go is checked first."""
    module = module_of(survey)
    paths = door.expand_inputs(files, module.SUFFIXES, module.WHAT)
    kept = [*paths, *(Path(value) for name, value in options.items() if name in FILES and value)]
    kept += [Path(value) for name, values in options.items() if name in LISTS and values for value in values]
    if output:
        output = door.check_output(output, "--output", door.TABLES, kept)
    if figure:
        figure = door.check_output(figure, "--plot", door.FIGURES, kept)
    table, information = predict(survey, paths, **options)
    try:
        if output:
            write(table, output, information)
        if figure:
            plot(table, figure, information)
    except OSError:  # a disk that has filled up meanwhile: what has been found is not lost with it
        show(table, information)
        raise
    return table, information


def predict(survey: str, files: Sequence[str | Path], **options: Any) -> tuple[pd.DataFrame, dict]:
    """Score `files` of `survey`; returns the table (columns COLUMNS of its module) and what was used to make it.

    Files, globs and folders are taken; each file and each thing in it is a row, scored or refused with the reason.
    Raises ValueError, before any work, for what cannot be used: files that are not there, wrong options.
    """
    module = module_of(survey)
    strange = [name for name in options if name not in module.OPTIONS]
    if strange:
        raise ValueError(f"survey {survey} has no option {', '.join(strange)}; accepted: {', '.join(module.OPTIONS)}")
    paths = door.expand_inputs(files, module.SUFFIXES, module.WHAT)
    for name, value in options.items():
        if value is not None and name in FILES:
            options[name] = door.one_file(value, f"--{name}", "a file (dioscuri predict --help says of what kind)")
        if value is not None and name in FOLDERS:
            options[name] = door.one_folder(value, f"--{name}", "a folder of models")
    return module.predict(paths, **options)


def show(table: pd.DataFrame, information: dict) -> None:
    """Print the table for people; what was found stands out. Of a long table it alone is printed, or the first rows."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    module = module_of(information["survey"])
    caption, found = module.style(table, information)
    found = np.asarray(found, bool)
    if len(table) > LONGEST:
        rows = (np.flatnonzero(found) if found.sum() > 1 else np.arange(len(table)))[:LONGEST]
        caption = f"{len(rows)} of {len(table)} rows are shown; {caption}"
        table, found = table.iloc[rows], found[rows]
    view = Table(caption=Text(caption), box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    shown = list(getattr(module, "SHOWN", module.COLUMNS))
    for name in shown:
        number = pd.api.types.is_numeric_dtype(table[name])
        view.add_column(name, justify="right" if number else "left", overflow="fold", no_wrap=number)
    for row, strong in zip(table[shown].itertuples(index=False), found):
        # Text, not str: brackets in names are no markup.
        cells = [Text(_cell(name, value, module.DIGITS)) for name, value in zip(shown, row)]
        view.add_row(*cells, style="bold" if strong else None)
    # A pipe or a log has no width: lines stay whole there, so that they can be searched.
    console = Console()
    Console(width=console.width if console.is_terminal else 200).print(view)


def _cell(name: str, value: Any, digits: dict[str, int]) -> str:
    if value is pd.NA:
        return ""
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:.{digits.get(name, 3)}f}"
    return door.printable(Path(value).name if name == "file" else str(value))


def write(table: pd.DataFrame, path: str | Path, information: dict) -> None:
    """Write the table as CSV, FITS or Parquet, by suffix; whole or not at all, whatever its texts are."""
    path = Path(path)
    text = [name for name in table if table[name].dtype == object]
    table = table.assign(**{name: table[name].fillna("").astype(str).map(door.printable) for name in text})
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".parquet"):
        _write_fits(table, path, information)
        return
    with atomic(path) as temporary:
        if suffix == ".csv":
            table.to_csv(temporary, index=False, encoding="utf-8")
        else:
            table.to_parquet(temporary, index=False)


def _write_fits(table: pd.DataFrame, path: Path, information: dict) -> None:
    from astropy.table import Table

    from dioscuri.catalogs.files import write_fits

    output = Table({name: _values(table[name]) for name in table})
    for name in table:
        output[name].unit = module_of(information["survey"]).UNITS.get(name)
    about = {"SURVEY": information["survey"], **information["header"]}
    output.meta.update(about, comments=["FITS text is ASCII: others are written alike (x, ...) or by code"])
    write_fits(path, {information["extension"]: output}, about)


def _values(column: pd.Series) -> Any:
    """A column as astropy takes it: of whole numbers some of which are unknown, a masked one."""
    if not isinstance(column.dtype, pd.Int64Dtype):
        return column.to_numpy()
    from astropy.table import MaskedColumn

    from dioscuri.catalogs.files import NULL

    return MaskedColumn(column.fillna(NULL).to_numpy("int64"), mask=column.isna().to_numpy(), fill_value=NULL)


def plot(table: pd.DataFrame, path: str | Path, information: dict) -> None:
    """Draw what was found, in the way of its survey."""
    module_of(information["survey"]).plot(table, Path(path), information)
