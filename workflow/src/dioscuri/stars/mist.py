"""MIST v1.2 evolutionary tracks, read from their published files through `isochrones`."""

import logging
import os
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from dioscuri.io import digest

log = logging.getLogger(__name__)

# The MIST project's site (Choi et al. 2016, Dotter 2016); until 2025 at https://waps.cfa.harvard.edu/MIST.
BASE_URL = "https://mist.science/data/tarballs_v1.2"
LAST_EEP = 605  # tip of the red giant branch: nothing later is wanted
_TREE = Path("mist", "tracks")  # where isochrones keeps them, below $ISOCHRONES
_FOLDER = re.compile(r"MIST_v1\.2_feh_([mp])(\d\.\d\d)_afe_p0\.0_vvcrit0\.4_EEPS")
_TRACK = re.compile(r"(\d{5})M\.track\.eep")
_HEADER_LINES = 12
# What is read of the 77 columns: what we keep, and what isochrones wants for its own.
_NEEDED = (
    "star_age", "star_mass", "log_L", "log_Teff", "log_R", "log_g",
    "log_surf_z", "surface_h1", "delta_nu", "nu_max", "phase",
)  # fmt: skip


class MistError(ValueError):
    """MIST tracks are missing or broken; the message says which, and where to get them."""


def tracks_folder(mist_dir: str | os.PathLike | None = None) -> Path:
    """The folder that holds `MIST_v1.2_feh_*_EEPS`: `mist_dir` or its `mist/tracks`.

    Without `mist_dir`, `mist/tracks` under $ISOCHRONES or ~/.isochrones. MistError where there is none.
    """
    if mist_dir is not None:
        given = Path(mist_dir).expanduser()
    else:
        given = Path(os.environ.get("ISOCHRONES", "~/.isochrones")).expanduser()
    for folder in (given, given / _TREE):
        if _metallicities(folder):
            return folder
    found = "a folder without any" if given.is_dir() else "a file" if given.exists() else "no such folder"
    named_by = "mist_dir" if mist_dir is not None else "$ISOCHRONES (or its default)"
    raise MistError(
        f"MIST tracks: {named_by} is {given}: found {found}; expected folders as {folder_name(0.0)} in it, or in "
        f"its {_TREE}. {_command(given)} fetches them from {BASE_URL}; or set tracks.source to embedded"
    )


def folder_name(feh: float) -> str:
    """The published name of the folder (and archive) of one [Fe/H]: v/vcrit = 0.4, [α/Fe] = 0."""
    return f"MIST_v1.2_feh_{'m' if feh < 0 else 'p'}{abs(feh):.2f}_afe_p0.0_vvcrit0.4_EEPS"


def _command(folder: Path, feh: float | None = None) -> str:
    """What fetches the tracks of one [Fe/H] (None: all) into `folder`."""
    return f"`dioscuri download-mist --folder {folder}{'' if feh is None else f' --feh {feh:g}'}`"


def fingerprint(folder: Path, feh: Sequence[float] | None = None, mass_max: float = 2.2) -> str:
    """A digest of the names and sizes of the files that `build` would read."""
    files = [f for f_nodes in _selection(folder, feh, mass_max).values() for f in f_nodes]
    return digest([[f"{f.parent.name}/{f.name}", f.stat().st_size] for f in files])


def build(
    folder: Path, feh: Sequence[float] | None = None, mass_max: float = 2.2
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
    """Read tracks to the red giants' tip, of the given [Fe/H] (None: all there) and up to `mass_max` M☉.

    Returns (feh (F,), mass (M,), eep (E,), values (F, M, E, 6) in the order of `tracks.COLUMNS`,
    provenance); NaN where a file is missing or a track ends early (as those of low mass do).
    """
    selection = _selection(folder, feh, mass_max)
    log.info(
        "MIST: reading %d tracks of %d [Fe/H] from %s",
        sum(map(len, selection.values())),
        len(selection),
        folder,
    )
    table = _loader()(folder, selection).df
    nodes = np.array(sorted(selection))
    mass = np.unique(table["initial_mass"].to_numpy())
    eep = np.arange(int(table["eep"].min()), LAST_EEP + 1)
    columns = np.column_stack(
        [
            np.log10(table["star_age"]),
            table["logTeff"],
            table["logg"],
            np.log10(table["radius"]),
            table["logL"],
            table["mass"],
        ]
    )
    index_feh, index_mass, index_eep = (table.index.get_level_values(level).to_numpy(float) for level in range(3))
    values = np.full((nodes.size, mass.size, eep.size, columns.shape[1]), np.nan)
    rows = (
        np.searchsorted(nodes, index_feh),
        np.searchsorted(mass, index_mass),
        (index_eep - eep[0]).astype(int),
    )
    values[rows] = columns
    absent = [[float(nodes[i]), float(mass[j])] for i, j in np.argwhere(np.isnan(values[:, :, 0, 0]))]
    if absent:
        log.warning(
            "MIST: no file for %d pairs of [Fe/H] and mass, the first %s: nothing is drawn there",
            len(absent),
            absent[0],
        )
    provenance = {
        "source": "mist",
        "physics": "MIST v1.2, v/vcrit = 0.4, [alpha/Fe] = 0 (Dotter 2016; Choi et al. 2016)",
        "folder": str(folder),
        "n_tracks": sum(map(len, selection.values())),
        "absent": absent,
    }
    return nodes, mass, eep.astype(float), values, provenance


def _metallicities(folder: Path) -> dict[float, Path]:
    """[Fe/H] → folder, of those that are there."""
    if not folder.is_dir():
        return {}
    nodes = {path: _node(path) for path in sorted(folder.iterdir()) if path.is_dir()}
    return {node: path for path, node in nodes.items() if node is not None}


def _node(folder: Path) -> float | None:
    """[Fe/H] from a folder's name; None for other folders."""
    match = _FOLDER.fullmatch(folder.name)
    return (-1 if match[1] == "m" else 1) * float(match[2]) if match else None


def _selection(folder: Path, feh: Sequence[float] | None, mass_max: float) -> dict[float, list[Path]]:
    """[Fe/H] → the track files to read, by mass."""
    there = _metallicities(folder)
    wanted = sorted(there if feh is None else {float(f) for f in feh})
    for node in wanted:
        if node not in there:
            raise MistError(
                f"MIST tracks: [Fe/H] = {node:g} is not in {folder}: found {_listed(there)}; "
                f"expected {folder_name(node)}. {_command(folder, node)} fetches it, where MIST has it "
                "(nodes: −4 … −2 by 0.5 and −2 … +0.5 by 0.25)"
            )
    if len(wanted) < 2:
        raise MistError(
            f"MIST tracks: {len(wanted)} [Fe/H] selected in {folder} (there: {_listed(there)}); "
            f"a grid needs two or more. {_command(folder)} fetches those from −2 to +0.5"
        )
    selection = {}
    for node in wanted:
        files = [path for path in sorted(there[node].iterdir()) if _mass(path) <= mass_max + 1e-9]
        if not files:
            raise MistError(
                f"MIST tracks: {there[node]} has no track of {mass_max:g} M☉ or less; expected files as "
                f"00100M.track.eep. Delete the folder, and {_command(folder, node)} unpacks it again"
            )
        selection[node] = files
    return selection


def _listed(nodes: dict[float, Path]) -> str:
    return ", ".join(f"{node:+.2f}" for node in sorted(nodes)) or "none"


def _mass(path: Path) -> float:
    """Initial mass [M☉] from a track's name, 00100M.track.eep → 1.00; infinite for other files."""
    match = _TRACK.fullmatch(path.name)
    return int(match[1]) / 100.0 if match else np.inf


def _read_track(path: Path) -> Any:
    """One file to EEP 605 as a data frame: needed columns, `initial_mass`, `EEP`. MistError if broken."""
    import pandas as pd

    def broken(what: str) -> MistError:
        command = _command(path.parent.parent, _node(path.parent))
        return MistError(f"{path}: {what}. Delete its folder, and {command} unpacks it again")

    with open(path, encoding="latin-1") as stream:
        header = [stream.readline() for _ in range(_HEADER_LINES)]
        n_found = sum(1 for line in stream if line.strip() and not line.startswith("#"))
    if not header[0].startswith("# MIST version number"):
        raise broken(f"expected a MIST track, found a first line of {header[0][:60].rstrip()!r}")
    if not header[-1].startswith("#"):
        raise broken(f"expected a header of {_HEADER_LINES} lines, found it broken off")
    names = header[-1].lstrip("#").split()
    lacking = [name for name in _NEEDED if name not in names]
    if lacking:
        raise broken(f"expected columns {', '.join(lacking)}, found {', '.join(names) or 'none'}")
    try:
        n_rows, first = int(header[7].split()[2]), int(header[8].split()[2])
    except (IndexError, ValueError) as error:
        raise broken(f"expected N_pts and EEPs in lines 8 and 9 of the header, found neither ({error})") from error
    expected = min(n_rows, LAST_EEP - first + 1)
    try:
        frame = pd.read_csv(
            path,
            comment="#",
            sep=r"\s+",
            names=names,
            usecols=list(_NEEDED),
            nrows=expected,
            encoding="latin-1",
        )
    except pd.errors.ParserError as error:
        raise broken(f"expected a table of numbers, found {error}") from error
    if n_found != n_rows:  # a line lost in the middle would shift all later EEPs
        raise broken(f"truncated or corrupt: its header promises {n_rows} rows, found {n_found}")
    whole = np.isfinite(frame.apply(pd.to_numeric, errors="coerce").to_numpy(float)).all(axis=1)
    if len(frame) < expected or not whole.all():
        raise broken(
            f"truncated or corrupt: expected {expected} whole rows (its header promises {n_rows}), found {whole.sum()}"
        )
    frame["initial_mass"] = _mass(path)
    frame["EEP"] = np.arange(first, first + expected)
    return frame


@cache
def _loader() -> type:
    """isochrones' own track grid, told which files to read, and to fill and cache nothing.

    isochrones takes $ISOCHRONES at import and imports slowly and noisily, hence here and not above; the
    folder is handed over instead of the variable. Its tail filling and HDF caches are left out: they break
    on genuine files of 0.60–0.70 M☉, and TrackGrid knows where a track ends.
    """
    logging.getLogger("isochrones").setLevel(logging.ERROR)  # it warns of optional packages that we do not use
    import pandas as pd
    from isochrones.mist.models import MISTEvolutionTrackGrid

    class SelectedTracks(MISTEvolutionTrackGrid):
        def __init__(self, folder: Path, selection: dict[float, list[Path]]) -> None:
            super().__init__()
            self.folder, self.selection = folder, selection
            self.fehs, self.n_fehs = np.array(sorted(selection)), len(selection)

        @property
        def datadir(self) -> str:
            return str(self.folder)

        @property
        def df(self):
            if self._df is None:
                self._df = self.get_df()
            return self._df

        def get_feh_filenames(self, feh: float) -> list[str]:
            return [str(path) for path in self.selection[feh]]

        @classmethod
        def to_df(cls, filename: str):
            return _read_track(Path(filename))

        def df_all_feh_interpolated(self, feh: float):
            frame = pd.concat([self.to_df(name) for name in self.get_feh_filenames(feh)])
            frame = frame.assign(initial_feh=feh, interpolated=False)
            return frame.set_index(list(self.index_cols), drop=False).sort_index()

    return SelectedTracks
