"""Libraries in the ASCII format of FERRE (Allende Prieto et al. 2006; the ATLAS9 grids of 2018)."""

import gzip
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO, cast

import numpy as np

from dioscuri import __version__
from dioscuri.arms import air_to_vacuum
from dioscuri.libraries.build import assemble, node_number, onto_grid, sampled_resolution, with_progress
from dioscuri.libraries.grid import AXES, SpectralLibrary, log_grid
from dioscuri.reading import reading

# What grids call our four labels, in lower case without blanks.
SYNONYMS = {
    "teff": {"teff", "t_eff", "effectivetemperature"},
    "logg": {"logg", "log(g)", "log_g", "surfacegravity"},
    "feh": {"[fe/h]", "feh", "fe/h", "metals", "[m/h]", "m/h", "metallicity", "[metals/h]"},
    "afe": {"[a/fe]", "[alpha/fe]", "alpha/fe", "afe", "alpha", "[a/m]", "[alpha/m]", "omgsiscati"},
}
MOST = 10_000_000  # spectra of a grid, or pixels of one
EDDINGTON = 4 * math.pi  # FERRE grids hold the Eddington flux H_λ; F_λ = 4π H_λ


class FerreError(ValueError):
    """A FERRE file that cannot be used; the message names the file, what was found, what is needed."""


@dataclass(frozen=True)
class FerreHeader:
    """The grid of a FERRE file: label and node values of every dimension, and wavelengths per segment."""

    labels: tuple[str, ...]
    nodes: tuple[np.ndarray, ...]
    segments: tuple[np.ndarray, ...]  # vacuum Å, one array per segment (MULTI), in the order of the columns
    resolution: float | None
    invalid_code: float | None

    @property
    def n_spectra(self) -> int:
        """Rows of the body, last dimension fastest."""
        return math.prod(len(values) for values in self.nodes)

    @property
    def n_pixels(self) -> int:
        """Values per row."""
        return sum(len(wave) for wave in self.segments)


def read_ferre(
    files: str | os.PathLike | Sequence[str | os.PathLike],
    windows: Mapping[str, tuple[float, float]],
    *,
    air: bool | None = None,
    resolution: float | None = None,
    flux_scale: float = EDDINGTON,
    step_kms: float = 4.0,
    fixed: Mapping[str, float] | None = None,
    progress: bool | None = None,
) -> SpectralLibrary:
    """A SpectralLibrary from one or several FERRE files, stitched along their axes (ATLAS9: along Teff).

    `windows[arm]` (from, to) vacuum Å; `air`: wavelengths are in air (None: as the header's VACUUM says,
    else air); `resolution` where no header states it; `fixed` chooses the node of a dimension that is none
    of teff, logg, feh, afe, by its label. `flux_scale` makes F_λ [erg/s/cm²/Å] of the files' flux: 4π, because
    they hold H_λ. Nodes that no file has, or that are marked invalid, are holes; where files overlap the first
    one counts. FerreError where a file cannot be used.
    """
    paths = [Path(f) for f in ([files] if isinstance(files, str | os.PathLike) else files)]
    if not paths:
        raise FerreError("no FERRE file was given; list at least one in library.files")
    headers = [_header_of(path, air) for path in paths]
    known = sorted({label for header in headers for label in header.labels})
    strangers = sorted(set(fixed or {}) - set(known))
    if strangers:
        raise FerreError(f"{paths[0]}: fixed names {strangers}, but the dimensions are {known}; spell them alike")
    axes = {
        name: np.unique(np.concatenate([_nodes_of(path, header, name) for path, header in zip(paths, headers)]))
        for name in AXES
    }
    native = _native_resolution(paths, headers, resolution)
    stored = sampled_resolution(native, step_kms)
    grids = {name: log_grid(low, high, step_kms) for name, (low, high) in windows.items()}

    def spectra() -> Iterator[tuple[int, dict[str, tuple[np.ndarray, None]]]]:
        seen: set[int] = set()
        for path, header in zip(paths, headers):
            segment = {name: _segment_for(path, header, grid) for name, grid in grids.items()}
            for labels, row in _rows(path, header, air, dict(fixed or {})):
                node = node_number(axes, [labels.get(name, 0.0) for name in AXES])
                if node in seen:
                    continue
                seen.add(node)
                pieces = np.split(row, np.cumsum([len(wave) for wave in header.segments])[:-1])
                yield (
                    node,
                    {
                        name: (flux_scale * onto_grid(wave, pieces[i], native, grids[name], stored), None)
                        for name, (i, wave) in segment.items()
                    },
                )

    provenance = {
        "source": "ferre",
        "version": __version__,
        "files": [path.name for path in paths],
        "axes": {name: values.tolist() for name, values in axes.items()},
        "windows": {name: [float(low), float(high)] for name, (low, high) in windows.items()},
        "step_kms": step_kms,
        "resolution": stored,
        "flux_scale": flux_scale,
        "air": air,
        "fixed": dict(fixed or {}),
    }
    total = sum(header.n_spectra for header in headers)
    return assemble(axes, stored, grids, with_progress(spectra(), total, "FERRE", progress), provenance)


# --- header -------------------------------------------------------------------------------------------------


def read_header(stream: TextIO, name: str, air: bool | None = None) -> FerreHeader:
    """Read the header block(s) of an open FERRE file; the stream is left at the first spectrum."""
    block = _block(stream, name)
    if block.get("TRANSPOSED", "0").strip() not in ("0", "F", ".FALSE."):
        raise FerreError(f"{name}: TRANSPOSED files are not supported; write the grid one spectrum per row")
    n_dimensions = _integers(block, "N_OF_DIM", name)[0]
    sizes = _integers(block, "N_P", name)
    lowest, steps = _floats(block, "LLIMITS", name), _floats(block, "STEPS", name)
    if not sizes or min(sizes) < 1 or math.prod(sizes) > MOST:
        raise FerreError(f"{name}: N_P = {sizes}; accepted: whole numbers from 1, up to {MOST} spectra")
    if not np.isfinite([*lowest, *steps]).all() or any(step <= 0 for step, n in zip(steps, sizes) if n > 1):
        raise FerreError(f"{name}: LLIMITS = {lowest}, STEPS = {steps}; accepted: numbers, steps above 0")
    for key, values in (("N_P", sizes), ("LLIMITS", lowest), ("STEPS", steps)):
        if len(values) != n_dimensions:
            raise FerreError(f"{name}: N_OF_DIM = {n_dimensions}, but {key} has {len(values)} values")
    missing = [i for i in range(1, n_dimensions + 1) if f"LABEL({i})" not in block]
    if missing:
        raise FerreError(f"{name}: no LABEL({missing[0]}) in the header, one is needed per dimension")
    labels = tuple(block[f"LABEL({i})"].strip().strip("'\"").strip() for i in range(1, n_dimensions + 1))
    n_segments = _integers(block, "MULTI", name)[0] if "MULTI" in block else 0
    blocks = [_block(stream, name) for _ in range(n_segments)] or [block]
    segments = tuple(_wavelengths(segment, {**block, **segment}, name, air) for segment in blocks)
    resolving = [_floats(b, "RESOLUTION", name)[0] for b in blocks if "RESOLUTION" in b]
    resolving = resolving or ([_floats(block, "RESOLUTION", name)[0]] if "RESOLUTION" in block else [])
    header = FerreHeader(
        labels,
        tuple(np.round(low + np.arange(n) * step, 6) for low, step, n in zip(lowest, steps, sizes)),
        segments,
        min((r for r in resolving if r > 0), default=None),
        _floats(block, "INVALID_CODE", name)[0] if "INVALID_CODE" in block else None,
    )
    declared = _integers(block, "NPIX", name)[0] if "NPIX" in block else header.n_pixels
    if declared != header.n_pixels:
        raise FerreError(f"{name}: NPIX = {declared}, but the {n_segments} segments add up to {header.n_pixels}")
    return header


def _block(stream: TextIO, name: str) -> dict[str, str]:
    """One `&SYNTH … /` block as key → text of its value; a value may run over several lines."""
    first = next((line for line in stream if line.strip()), "")
    if not first.strip().upper().startswith("&SYNTH"):
        raise FerreError(f"{name}: expected '&SYNTH' at the start of a FERRE header, found {first.strip()[:40]!r}")
    entries: dict[str, str] = {}
    key = ""
    for line in stream:
        text = line.strip()
        if text in ("/", "&END", "$END"):
            return entries
        match = re.match(r"([A-Za-z_]\w*(?:\(\d+\))?)\s*=\s*(.*)", text)
        if match:
            key = match.group(1).upper()
            entries[key] = match.group(2).rstrip(",")
        elif key:
            entries[key] += " " + text.rstrip(",")
    raise FerreError(f"{name}: the header does not end with '/'; the file is truncated or not a FERRE grid")


def _numbers(block: Mapping[str, str], key: str, name: str) -> list[str]:
    if key not in block:
        raise FerreError(f"{name}: no {key} in the header, which has {', '.join(sorted(block)) or 'nothing'}")
    return block[key].replace(",", " ").replace("D", "E").replace("d", "e").split()


def _floats(block: Mapping[str, str], key: str, name: str) -> list[float]:
    try:
        return [float(word) for word in _numbers(block, key, name)]
    except ValueError as error:
        raise FerreError(f"{name}: {key} = {block[key]!r}, expected numbers") from error


def _integers(block: Mapping[str, str], key: str, name: str) -> list[int]:
    values = _floats(block, key, name)
    if not values or any(value != int(value) or value < 0 for value in values):
        raise FerreError(f"{name}: {key} = {block[key]!r}, expected whole numbers")
    return [int(value) for value in values]


def _wavelengths(own: Mapping[str, str], block: Mapping[str, str], name: str, air: bool | None) -> np.ndarray:
    """Vacuum wavelengths [Å] of a segment: WAVE = x0 dx, in Å (LOGW 0), log10 Å (1) or ln Å (2)."""
    n_pixels = _integers(own, "NPIX", name)[0]
    if not 1 < n_pixels <= MOST:
        raise FerreError(f"{name}: NPIX = {n_pixels}; accepted: 2 to {MOST}")
    wave = _floats(block, "WAVE", name)
    scale = _integers(block, "LOGW", name)[0] if "LOGW" in block else 0
    if len(wave) != 2 or scale not in (0, 1, 2):
        raise FerreError(f"{name}: expected WAVE = x0 dx and LOGW = 0, 1 or 2, found WAVE = {wave}, LOGW = {scale}")
    values = wave[0] + wave[1] * np.arange(n_pixels)
    if scale > 0:
        values = 10.0**values if scale == 1 else np.exp(values)
    if wave[1] <= 0 or values[0] < 500:
        raise FerreError(f"{name}: WAVE = {wave} with LOGW = {scale} starts at {values[0]:g}, which is not in Å")
    vacuum = bool(_integers(block, "VACUUM", name)[0]) if "VACUUM" in block else False
    in_air = not vacuum if air is None else air
    return air_to_vacuum(values) if in_air else values


# --- body ---------------------------------------------------------------------------------------------------


def _open(path: Path) -> TextIO:
    try:
        with open(path, "rb") as stream:
            packed = stream.read(2) == b"\x1f\x8b"
    except OSError as error:
        raise FerreError(f"cannot read the FERRE file {path}: {error.strerror}") from error
    # Numbers are ASCII; names in comments may be in any code.
    opener = gzip.open if packed else open
    return cast(TextIO, opener(path, "rt", encoding="utf-8", errors="replace"))


def _header_of(path: Path, air: bool | None) -> FerreHeader:
    with reading(path, "a FERRE grid (' &SYNTH' … ' /', then a spectrum per row)", FerreError), _open(path) as stream:
        return read_header(stream, str(path), air)


def _rows(
    path: Path, header: FerreHeader, air: bool | None, fixed: dict[str, float]
) -> Iterator[tuple[dict[str, float], np.ndarray]]:
    """Labels and fluxes of every valid spectrum of a file, in the file's order."""
    columns = {name: _column_of(path, header, name) for name in AXES}
    wanted = _other_dimensions(path, header, set(columns.values()), fixed)
    sizes = [len(values) for values in header.nodes]
    accepted = "a FERRE grid (' &SYNTH' … ' /', then a spectrum per row)"
    with reading(path, accepted, FerreError), _open(path) as stream:
        read_header(stream, str(path), air)
        for number in range(header.n_spectra):
            line = stream.readline()
            if not line.strip():
                raise FerreError(f"{path}: the file ends after {number} of {header.n_spectra} spectra; it is truncated")
            index = np.unravel_index(number, sizes)
            if any(index[dimension] != node for dimension, node in wanted.items()):
                continue
            try:
                row = np.array(line.split(), float)
            except ValueError as error:
                raise FerreError(f"{path}: spectrum {number + 1} is not made of numbers") from error
            if len(row) != header.n_pixels:
                raise FerreError(
                    f"{path}: spectrum {number + 1} has {len(row)} values, expected are "
                    f"NPIX = {header.n_pixels}; the file is truncated or wrapped"
                )
            if header.invalid_code is None or row[0] != header.invalid_code:
                if not np.isfinite(row).all():
                    raise FerreError(f"{path}: spectrum {number + 1} has fluxes that are not finite")
                yield {name: header.nodes[d][index[d]] for name, d in columns.items() if d is not None}, row
        if any(line.strip() for line in stream):  # a row too many in the middle would shift all later spectra
            raise FerreError(f"{path}: rows follow after the {header.n_spectra} spectra that the header announces")


def _column_of(path: Path, header: FerreHeader, name: str) -> int | None:
    """The dimension that holds one of our labels; only afe may be absent (a grid of one [α/Fe] = 0)."""
    found = [i for i, label in enumerate(header.labels) if label.lower().replace(" ", "") in SYNONYMS[name]]
    if len(found) > 1 or (not found and name != "afe"):
        number = "more than one" if found else "no"
        raise FerreError(f"{path}: {number} dimension is {name}; the labels are {header.labels}")
    return found[0] if found else None


def _nodes_of(path: Path, header: FerreHeader, name: str) -> np.ndarray:
    column = _column_of(path, header, name)
    return np.zeros(1) if column is None else header.nodes[column]


def _other_dimensions(
    path: Path, header: FerreHeader, ours: set[int | None], fixed: dict[str, float]
) -> dict[int, int]:
    """Dimension → node for those that are none of our labels (microturbulence, [C/M], …)."""
    wanted = {}
    for dimension, (label, nodes) in enumerate(zip(header.labels, header.nodes)):
        if dimension in ours or len(nodes) == 1:
            continue
        if label not in fixed:
            raise FerreError(
                f"{path}: dimension '{label}' is none of {', '.join(AXES)}; choose one of its nodes "
                f"{nodes.tolist()}, as in fixed={{'{label}': {nodes[0]:g}}}"
            )
        nearest = int(np.argmin(np.abs(nodes - fixed[label])))
        if abs(nodes[nearest] - fixed[label]) > 1e-6:
            raise FerreError(f"{path}: '{label}' = {fixed[label]:g} is not a node; the nodes are {nodes.tolist()}")
        wanted[dimension] = nearest
    return wanted


def _segment_for(path: Path, header: FerreHeader, grid: np.ndarray) -> tuple[int, np.ndarray]:
    """Number and wavelengths of the segment that covers a window."""
    for number, wave in enumerate(header.segments):
        if wave[0] <= grid[0] and grid[-1] <= wave[-1]:
            return number, wave
    spans = ", ".join(f"{wave[0]:.1f} to {wave[-1]:.1f}" for wave in header.segments)
    raise FerreError(f"{path}: covers {spans} Å (vacuum), a window needs {grid[0]:.1f} to {grid[-1]:.1f} Å")


def _native_resolution(paths: list[Path], headers: list[FerreHeader], stated: float | None) -> float:
    values = [header.resolution or stated for header in headers]
    if any(value is None for value in values):
        missing = paths[values.index(None)]
        raise FerreError(f"{missing}: no RESOLUTION in the header; state the resolving power in the configuration")
    return float(min(value for value in values if value is not None))
