"""Lists of stars from other photometry, in place of our detection: tables of positions, hst1pass and DOLPHOT."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dioscuri.catalogs.read_table import read_table
from dioscuri.cluster.frames import Frame

ACCEPTED = (
    "a table (.csv, .fits, .parquet) with x, y (0-based px) or ra, dec (deg), and extension or chip where there are "
    "several; hst1pass's list (its suffix names the columns, as .xym); or DOLPHOT's output on the exposure itself"
)
CHIP_ROWS = 2048  # hst1pass counts y of the upper chip on from there
TABLES = (".csv", ".fits", ".fits.gz", ".fit", ".parquet")
DOLPHOT_COLUMNS = 11  # at least: extension, chip, x, y, χ, S/N, sharpness, roundness, axis, crowding, type
HST1PASS = re.compile(r"\.([A-Za-z]*[xX][yY][A-Za-z]*)$")  # letters of the columns, x, y raw and X, Y corrected


@dataclass(frozen=True)
class StarList:
    """The stars of one exposure: `table` with source (number in the file) and x, y [0-based px] or ra, dec [deg].

    `extension` or `chip` among its columns say of which chip a star is.
    """

    path: Path
    table: pd.DataFrame

    def on(self, frame: Frame) -> pd.DataFrame:
        """The stars of a frame: x, y [px], source; a ValueError where the list does not say which chip they are of."""
        table = self.table
        if "extension" in table:
            table = table[table["extension"] == frame.extension]
        elif "chip" in table:
            table = table[table["chip"] == frame.chip]
        if "x" not in table:
            known = np.isfinite(table[["ra", "dec"]]).all(axis=1)
            place = np.full((len(table), 2), np.nan)
            place[known] = np.stack(frame.wcs.all_world2pix(table["ra"][known], table["dec"][known], 0, quiet=True), 1)
            inside = (place > -0.5).all(1) & (place < np.array(frame.shape[::-1]) - 0.5).all(1) | ~known
            return table.assign(x=place[:, 0], y=place[:, 1])[inside][["x", "y", "source"]].reset_index(drop=True)
        if not len(table):
            raise ValueError(f"{self.path}: holds no star of SCI,{frame.extension} (chip {frame.chip})")
        return table[["x", "y", "source"]].reset_index(drop=True)


def lists_of(files: Sequence[Path], exposures: Sequence[Path]) -> Mapping[Path, StarList]:
    """The star list of each exposure that has one: the file whose name begins with the exposure's rootname.

    A single list is that of a single exposure, whatever its name. ValueError for lists without an exposure.
    """
    found: dict[Path, StarList] = {}
    for file in map(Path, files):
        matching = [path for path in exposures if file.name.startswith(path.name.split("_")[0].split(".")[0])]
        if len(files) == len(exposures) == 1:
            matching = list(exposures)
        if len(matching) != 1 or matching[0] in found:
            raise ValueError(
                f"--photometry {file}: belongs to {len(matching)} of the exposures; accepted: one for each exposure, "
                "whose name begins with its rootname"
            )
        found[matching[0]] = StarList(file, read_star_list(file))
    return found


def read_star_list(path: Path) -> pd.DataFrame:
    """A star list of any kind that is `ACCEPTED`: source and x, y or ra, dec; extension or chip if it has them."""
    if not path.is_file():
        raise ValueError(f"--photometry {path}: no such file; accepted: {ACCEPTED}")
    if path.name.lower().endswith(TABLES):
        table = _plain(path)
    elif letters := HST1PASS.search(path.name):
        table = _hst1pass(path, letters[1])
    else:
        table = _dolphot(path)
    if not len(table):
        raise ValueError(f"--photometry {path}: holds no star; accepted: {ACCEPTED}")
    return table.assign(source=np.arange(len(table)))


def _plain(path: Path) -> pd.DataFrame:
    raw = read_table(path)[0]
    raw.columns = [str(name).strip().lower() for name in raw.columns]
    place = next((names for names in (["x", "y"], ["ra", "dec"]) if set(names) <= set(raw.columns)), None)
    if place is None:
        raise ValueError(f"--photometry {path}: columns {', '.join(raw.columns)}; accepted: {ACCEPTED}")
    which = [name for name in ("extension", "chip") if name in raw.columns]
    return raw[[*place, *which]].apply(pd.to_numeric, errors="coerce")


def _hst1pass(path: Path, letters: str) -> pd.DataFrame:
    """Columns by the letters of the suffix; x, y are 1-based, and the upper chip stands on the lower one."""
    if "x" not in letters or "y" not in letters:
        raise ValueError(
            f"--photometry {path}: its columns '{letters}' have no x and y (raw pixels); ask hst1pass for them"
        )
    values = _numbers(path)
    x, y = (values[:, letters.index(name)] - 1.0 for name in "xy")
    upper = y >= CHIP_ROWS
    table = pd.DataFrame({"x": x, "y": np.where(upper, y - CHIP_ROWS, y)})
    # Without a star on the upper half the exposure may have one chip only.
    return table.assign(chip=np.where(upper, 1, 2)) if upper.any() else table


def _dolphot(path: Path) -> pd.DataFrame:
    """Columns 1 to 4: extension, chip (or z), x, y, where (0.5, 0.5) is the middle of the first pixel."""
    values = _numbers(path)
    if values.shape[1] < DOLPHOT_COLUMNS:
        raise ValueError(f"--photometry {path}: {values.shape[1]} columns of numbers; accepted: {ACCEPTED}")
    table = pd.DataFrame({"x": values[:, 2] - 0.5, "y": values[:, 3] - 0.5})
    split = re.search(r"chip(\d)", path.name)  # DOLPHOT works on chips that splitgroups has cut apart
    if split:
        return table.assign(extension=int(split[1]))
    return table.assign(extension=values[:, 1].astype(int)) if len(np.unique(values[:, 1])) > 1 else table


def _numbers(path: Path) -> np.ndarray:
    try:
        return np.loadtxt(path, comments="#", ndmin=2)
    except (ValueError, UnicodeDecodeError) as error:
        raise ValueError(f"--photometry {path}: no table of numbers ({error}); accepted: {ACCEPTED}") from error
