"""Score observations without a workflow: one module per survey, one table, one way to show and to write it."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from dioscuri.io import atomic

SURVEYS = ("csst", "hst", "lamost_mrs", "protostar")
LONGEST = 60  # rows that people read


def module_of(survey: str) -> ModuleType:
    """The module of a survey: `predict`, `style`, `plot`, and what its columns and OPTIONS are."""
    if survey not in SURVEYS:
        raise ValueError(f"unknown survey '{survey}'; accepted: {', '.join(SURVEYS)}")
    return importlib.import_module(f"dioscuri.predict.{survey}")


def predict(survey: str, files: Sequence[str], **options: Any) -> tuple[pd.DataFrame, dict]:
    """Score `files` of `survey`; returns the table (columns COLUMNS of its module) and what was used to make it."""
    module = module_of(survey)
    strange = [name for name in options if name not in module.OPTIONS]
    if strange:
        raise ValueError(f"survey {survey} has no option {', '.join(strange)}; accepted: {', '.join(module.OPTIONS)}")
    return module.predict(files, **options)


def show(table: pd.DataFrame, information: dict) -> None:
    """Print the table for people; what was found stands out. Of a long table it alone is printed, or the first rows."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    module = module_of(information["survey"])
    caption, found = module.style(table, information)
    found = np.asarray(found, bool)
    if len(table) > LONGEST:
        rows = (np.flatnonzero(found) if found.sum() > 1 else np.arange(len(table)))[:LONGEST]
        caption = f"{len(rows)} of {len(table)} rows are shown; {caption}"
        table, found = table.iloc[rows], found[rows]
    view = Table(caption=caption, box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    shown = list(getattr(module, "SHOWN", module.COLUMNS))
    for name in shown:
        number = pd.api.types.is_numeric_dtype(table[name])
        view.add_column(name, justify="right" if number else "left", overflow="fold", no_wrap=number)
    for row, strong in zip(table[shown].itertuples(index=False), found):
        cells = [_cell(name, value, module.DIGITS) for name, value in zip(shown, row)]
        view.add_row(*cells, style="bold" if strong else None)
    # A pipe or a log has no width: lines stay whole there, so that they can be searched.
    console = Console()
    Console(width=console.width if console.is_terminal else 160).print(view)


def _cell(name: str, value: Any, digits: dict[str, int]) -> str:
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:.{digits.get(name, 3)}f}"
    return Path(value).name if name == "file" else str(value)


def write(table: pd.DataFrame, path: Path, information: dict) -> None:
    """Write the table as CSV, FITS or Parquet, by suffix; whole or not at all."""
    with atomic(path) as temporary:
        if path.suffix == ".csv":
            table.to_csv(temporary, index=False)
        elif path.suffix == ".parquet":
            table.to_parquet(temporary, index=False)
        elif path.suffix == ".fits":
            _write_fits(table, temporary, information)
        else:
            raise ValueError(f"{path}: found suffix '{path.suffix}'; accepted: .csv, .fits, .parquet")


def _write_fits(table: pd.DataFrame, path: Path, information: dict) -> None:
    from astropy.table import Table

    output = Table.from_pandas(table)
    for name, unit in module_of(information["survey"]).UNITS.items():
        if name in output.colnames:
            output[name].unit = unit
    output.meta.update({"EXTNAME": information["extension"], "SURVEY": information["survey"], **information["header"]})
    output.write(path, format="fits", overwrite=True)


def plot(table: pd.DataFrame, path: Path, information: dict) -> None:
    """Draw what was found, in the way of its survey."""
    module_of(information["survey"]).plot(table, path, information)
