"""Line lists: the embedded one, and readers of MOOG- and VALD-format files."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtri

from dioscuri.arms import air_to_vacuum
from dioscuri.reading import content, reading
from dioscuri.synthesis.equation_of_state import ELEMENTS
from dioscuri.synthesis.molecules import MGH, magnesium_hydride_lines

EV_PER_CM1 = 1.0 / 8065.544
COLUMNS = ("wave", "z", "ion", "excitation", "log_gf", "abo_sigma", "abo_alpha", "origin")


class LineListError(ValueError):
    """A line list that cannot be read: file, line number, what was found, what is accepted."""


@dataclass(frozen=True)
class LineList:
    """N atomic lines in order of wavelength. Hydrogen is not among them: the Balmer lines are built in."""

    wave: np.ndarray  # (N,) vacuum Å
    z: np.ndarray  # (N,) int, atomic number
    ion: np.ndarray  # (N,) int, 0 neutral, 1 once ionised
    excitation: np.ndarray  # (N,) eV, lower level
    log_gf: np.ndarray  # (N,)
    abo_sigma: np.ndarray  # (N,) collision cross-section with H at 10 km/s, a0²; 0 where unknown (Unsöld is used)
    abo_alpha: np.ndarray  # (N,) its velocity exponent (Anstee, Barklem & O'Mara)
    origin: np.ndarray  # (N,) str
    name: str  # file name or "embedded"

    def __len__(self) -> int:
        return len(self.wave)

    def select(self, keep: np.ndarray) -> "LineList":
        """The lines where `keep` (boolean mask or indices) says so."""
        return replace(self, **{column: getattr(self, column)[keep] for column in COLUMNS})

    def merged(self, other: "LineList") -> "LineList":
        """The lines of both lists, in order of wavelength; the name is this one's."""
        joined: dict[str, Any] = {
            column: np.concatenate([getattr(self, column), getattr(other, column)]) for column in COLUMNS
        }
        both = replace(self, **joined)
        return both.select(np.lexsort((both.excitation, both.ion, both.z, both.wave)))

    def window(self, wave_min: float, wave_max: float) -> "LineList":
        """The lines between two vacuum wavelengths [Å]."""
        first, last = np.searchsorted(self.wave, [wave_min, wave_max])
        return self.select(np.arange(first, last))

    def jittered(self, dex: float, seed: int) -> "LineList":
        """A copy with log gf + N(0, dex).

        The draw of a line depends on the line and `seed` only, not on which other lines are in the list.
        """
        if dex == 0.0:
            return self
        return replace(self, log_gf=self.log_gf + dex * ndtri(self._uniform(seed)))

    def _uniform(self, seed: int) -> np.ndarray:
        """One uniform number in (0, 1) per line, a hash (SplitMix64) of the line's identity and the seed."""
        state = np.full(len(self), np.uint64(seed % 2**64))
        identity = (
            np.rint(self.wave * 1000).astype(np.uint64),
            (self.z * 2 + self.ion).astype(np.uint64),
            np.rint(self.excitation * 1000).astype(np.uint64),
        )
        for part in identity:
            state = (state ^ part) + np.uint64(0x9E3779B97F4A7C15)
            state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state = state ^ (state >> np.uint64(31))
        return ((state >> np.uint64(11)).astype(float) + 0.5) / 2.0**53


def line_list(
    wave: Sequence[float] | np.ndarray,
    z: Sequence[int] | np.ndarray,
    ion: Sequence[int] | np.ndarray,
    excitation: Sequence[float] | np.ndarray,
    log_gf: Sequence[float] | np.ndarray,
    *,
    abo_sigma: Sequence[float] | np.ndarray | None = None,
    abo_alpha: Sequence[float] | np.ndarray | None = None,
    origin: Sequence[str] | np.ndarray | None = None,
    name: str = "given",
) -> LineList:
    """A `LineList` from columns (vacuum Å), sorted; elements and stages unknown to the atmosphere are left out."""
    wave, excitation, log_gf = (np.asarray(column, float) for column in (wave, excitation, log_gf))
    z, ion = np.asarray(z, int), np.asarray(ion, int)
    zeros = np.zeros(len(wave))
    sigma = zeros if abo_sigma is None else np.asarray(abo_sigma, float)
    alpha = zeros if abo_alpha is None else np.asarray(abo_alpha, float)
    source = np.full(len(wave), "file") if origin is None else np.asarray(origin, str)
    known = ((ion <= 1) & (z > 1) & np.isin(z, ELEMENTS.z)) | (z == MGH)
    order = np.lexsort((excitation, ion, z, wave))
    order = order[known[order]]
    columns = (wave, z, ion, excitation, log_gf, sigma, alpha, source)
    ordered: dict[str, Any] = {key: column[order] for key, column in zip(COLUMNS, columns)}
    return LineList(name=name, **ordered)


def read_linelist(path: str | Path | None = None) -> LineList:
    """The embedded list (`path` None), or a MOOG- or VALD-format file (plain or gzip), told apart by content.

    MOOG: wavelength (air Å), species Z.i, excitation (eV), log gf, further columns ignored; title lines may come first.
    VALD: "extract all" or "extract stellar", short or long; units and medium are read from the column header.
    """
    if path is None:
        return _read_embedded()
    path = Path(path)
    if not path.is_file():
        raise LineListError(
            f"line list {path}: no such file; give a MOOG- or VALD-format list, or none for the embedded one"
        )
    with reading(path, "MOOG or VALD format", LineListError):
        text = content(path).decode("latin-1").splitlines()
        reader = _read_vald if any(line.lstrip().startswith("'") for line in text[:20]) else _read_moog
        lines = reader(path, text)
    if not all(np.isfinite(values).all() for values in (lines.wave, lines.excitation, lines.log_gf)):
        raise LineListError(f"line list {path}: some wavelengths, excitations or log gf are not finite numbers")
    if not len(lines):
        raise LineListError(f"line list {path}: no atomic line of a known element found in {len(text)} lines of text")
    return lines


def _read_embedded() -> LineList:
    text = files("dioscuri.synthesis").joinpath("data/lines.csv").read_text(encoding="utf-8").splitlines()
    rows = list(csv.DictReader(line for line in text if not line.startswith("#")))
    origin = {"A": "astrophysical", "L": "laboratory", "M": "molecular constants"}
    atoms = line_list(
        air_to_vacuum(np.array([float(row["wave_air"]) for row in rows])),
        [int(row["species"].split(".")[0]) for row in rows],
        [int(row["species"].split(".")[1]) for row in rows],
        [float(row["excitation"]) for row in rows],
        [float(row["log_gf"]) for row in rows],
        abo_sigma=[float(row["abo_sigma"] or 0) for row in rows],
        abo_alpha=[float(row["abo_alpha"] or 0) for row in rows],
        origin=[row["origin"].replace(row["origin"][0], origin[row["origin"][0]], 1) for row in rows],
        name="embedded",
    )
    wave, excitation, log_gf = magnesium_hydride_lines()
    n = len(wave)
    source = np.full(n, origin["M"])
    return atoms.merged(line_list(wave, np.full(n, MGH), np.zeros(n, int), excitation, log_gf, origin=source))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_moog(path: Path, text: list[str]) -> LineList:
    rows: list[tuple[float, int, int, float, float]] = []
    for number, line in enumerate(text, start=1):
        fields = line.split("#")[0].split()
        if not fields or (not rows and not _is_number(fields[0])):
            continue  # comments, and titles before the first line of numbers
        try:
            wave, species, excitation, log_gf = (float(field) for field in fields[:4])
        except ValueError:
            raise LineListError(
                f"line list {path}, line {number}: found {line.strip()[:60]!r}; "
                "accepted (MOOG): wavelength (air Å), species Z.i, excitation (eV), log gf"
            ) from None
        z = int(species)
        ion = round((species - z) * 10) if z < 100 else 0  # the decimals of a molecule are its isotopes
        rows.append((wave, z, ion, excitation, log_gf))
    if not rows:
        raise LineListError(f"line list {path}: no line of numbers found; accepted: MOOG or VALD format")
    wave, z, ion, excitation, log_gf = (np.array(column) for column in zip(*rows))
    wave = _checked_wavelengths(path, wave)
    return line_list(air_to_vacuum(wave), z, ion, excitation, log_gf, name=path.name)


def _read_vald(path: Path, text: list[str]) -> LineList:
    """VALD3 files. Quoted 'El ion' opens a transition; the order of columns is known from the header line."""
    header = " ".join(line for line in text[:20] if "Elm" in line or "Spec" in line)
    stellar = "Vmic" in header
    factor = 10.0 if "(nm)" in header else 1.0
    vacuum = "WL_vac" in header
    energy = EV_PER_CM1 if "cm^-1" in header or "cm-1" in header else 1.0
    # stellar short: species, wavelength, E_low, Vmic, log gf, ...; otherwise: species, wavelength, log gf, E_low, ...
    e_column, gf_column = (2, 4) if stellar else (3, 2)
    symbols = dict(zip(ELEMENTS.symbol, ELEMENTS.z))
    rows: list[tuple[float, int, int, float, float]] = []
    for number, line in enumerate(text, start=1):
        stripped = line.strip()
        fields = [field.strip() for field in stripped.split(",")]
        species = fields[0].strip("'").split()
        if not stripped.startswith("'") or len(fields) < 5 or len(species) != 2 or not species[1].isdigit():
            continue  # terms, references and abundances of the long format
        try:
            wave, excitation, log_gf = float(fields[1]), float(fields[e_column]), float(fields[gf_column])
        except ValueError:
            if fields[1].startswith("'"):
                continue
            raise LineListError(
                f"line list {path}, line {number}: found {stripped[:60]!r}; accepted: VALD3 'extract all' or "
                "'extract stellar' transitions ('El ion', wavelength, ...)"
            ) from None
        if species[0] in symbols:
            rows.append((wave * factor, int(symbols[species[0]]), int(species[1]) - 1, excitation * energy, log_gf))
    if not rows:
        raise LineListError(f"line list {path}: looks like VALD, but no transition of a known element was found")
    wave, z, ion, excitation, log_gf = (np.array(column) for column in zip(*rows))
    wave = _checked_wavelengths(path, wave)
    return line_list(wave if vacuum else air_to_vacuum(wave), z, ion, excitation, log_gf, name=path.name)


def _checked_wavelengths(path: Path, wave: np.ndarray) -> np.ndarray:
    if not (wave.min() >= 1000 and wave.max() <= 100_000):
        raise LineListError(
            f"line list {path}: wavelengths from {wave.min():g} to {wave.max():g}; accepted: 1000-100000 Å"
        )
    return wave
