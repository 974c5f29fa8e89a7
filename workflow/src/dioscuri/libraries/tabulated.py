"""Libraries from a table of spectra: labels and a file for each (BOSZ, PHOENIX, anyone's own grid)."""

import gzip
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dioscuri import __version__
from dioscuri.arms import air_to_vacuum
from dioscuri.libraries.build import assemble, node_number, onto_grid, sampled_resolution, with_progress
from dioscuri.libraries.grid import AXES, SpectralLibrary, log_grid
from dioscuri.reading import open_fits, reading, require_equal_rows
from dioscuri.seals import verified

SPECTRUM = "a spectrum as FITS, npz or text: wave, flux and perhaps continuum"
LABELS = {"teff": (1000.0, 2e5), "logg": (-2.0, 10.0), "feh": (-7.0, 2.0), "afe": (-2.0, 2.0)}
GAP = 8.0  # a step in wavelength of so many times both its neighbours is a hole in the spectrum


class SpectrumTableError(ValueError):
    """A table of spectra, or a spectrum in it, that cannot be used; the message names file and row."""


def read_table(
    table: str | os.PathLike,
    windows: Mapping[str, tuple[float, float]],
    *,
    resolution: float,
    air: bool = False,
    flux_scale: float = 1.0,
    step_kms: float = 4.0,
    wave_file: str | os.PathLike | None = None,
    progress: bool | None = None,
) -> SpectralLibrary:
    """A SpectralLibrary from a CSV, ECSV or Parquet table with columns teff, logg, feh, afe and path.

    Paths are relative to the table. Spectra are FITS (1-D image with CRVAL1/CDELT1, or a table with wave
    and flux), npz (wave, flux, optional continuum) or text, plain or gzip (columns wave, flux, optional
    continuum; with `wave_file`, as for BOSZ 2024, flux, optional continuum). `resolution` native λ/FWHM;
    `air`: wavelengths are in air; `flux_scale` makes F_λ [erg/s/cm²/Å] of the files' flux (4π where they
    hold H_λ). Label combinations that the table lacks are holes. SpectrumTableError where the table or a
    spectrum cannot be used.
    """
    table = Path(table)
    rows = _read_rows(table)
    labels = np.array([[row[name] for name in AXES] for row in rows], float)
    axes = {name: np.unique(labels[:, column]) for column, name in enumerate(AXES)}
    grids = {name: log_grid(low, high, step_kms) for name, (low, high) in windows.items()}
    stored = sampled_resolution(resolution, step_kms)
    shared_wave = None if wave_file is None else _read_wave(wave_file)

    def spectra() -> Iterator[tuple[int, dict[str, tuple[np.ndarray, np.ndarray | None]]]]:
        for number, (row, label) in enumerate(zip(rows, labels), 1):
            path = table.parent / str(row["path"])
            try:
                with reading(path, SPECTRUM):
                    wave, flux, continuum = read_spectrum(path, shared_wave)
                    vacuum = air_to_vacuum(wave) if air else wave
                    pieces = {
                        name: (
                            flux_scale * onto_grid(vacuum, flux, resolution, grid, stored),
                            None if continuum is None else flux_scale * np.interp(grid, vacuum, continuum),
                        )
                        for name, grid in grids.items()
                    }
                    for name, (values, level) in pieces.items():
                        _require_light(name, values, level)
            except ValueError as error:
                raise SpectrumTableError(f"{table}, row {number}: {error}") from error
            yield node_number(axes, label), pieces

    provenance = {
        "source": "table",
        "version": __version__,
        "table": table.name,
        "axes": {name: values.tolist() for name, values in axes.items()},
        "windows": {name: [float(low), float(high)] for name, (low, high) in windows.items()},
        "step_kms": step_kms,
        "resolution": stored,
        "air": air,
        "flux_scale": flux_scale,
        "wave_file": None if wave_file is None else Path(wave_file).name,
    }
    return assemble(axes, stored, grids, with_progress(spectra(), len(rows), "library", progress), provenance)


def _require_light(window: str, flux: np.ndarray, continuum: np.ndarray | None) -> None:
    for values, what in ((flux, "flux"), (continuum, "continuum")):
        if values is not None and not (np.isfinite(values).all() and (values > 0).all()):
            bad = int(np.sum(~(values > 0)))
            raise ValueError(f"{bad} of {len(values)} pixels of window {window} have no {what} above 0")


def _read_wave(path: str | os.PathLike) -> np.ndarray:
    """The wavelengths that all spectra share: one column of a text file, plain or gzip."""
    try:
        wave = np.loadtxt(path, ndmin=1)
    except OSError as error:
        raise SpectrumTableError(f"cannot read the wavelengths in {path}: {error}") from error
    except ValueError as error:
        raise SpectrumTableError(f"{path}: wavelengths must be one column of numbers ({error})") from error
    if wave.ndim != 1 or len(wave) < 10 or np.any(np.diff(wave) <= 0):
        raise SpectrumTableError(
            f"{path}: found shape {wave.shape}; accepted: one ascending column of wavelengths in Å"
        )
    return wave


def _read_rows(table: Path) -> list[dict[str, Any]]:
    """The table's rows as dictionaries, with the columns that are needed and numbers where labels stand."""
    if not table.is_file():
        raise SpectrumTableError(f"no table of spectra at {table}")
    kind = table.suffix.lower()
    if kind not in (".csv", ".ecsv", ".parquet"):
        raise SpectrumTableError(f"{table}: a table of spectra is .csv, .ecsv or .parquet, not '{kind}'")
    with reading(table, "a table of spectra with columns teff, logg, feh, afe and path", SpectrumTableError):
        frame = _frame(table, kind)
    missing = [name for name in (*AXES, "path") if name not in frame.columns]
    if missing:
        raise SpectrumTableError(f"{table}: no column {missing}; it has {list(frame.columns)}")
    if not len(frame):
        raise SpectrumTableError(f"{table}: the table is empty")
    for name in AXES:
        values = np.asarray(frame[name])
        if values.dtype.kind not in "fiu" or not np.all(np.isfinite(values)):
            raise SpectrumTableError(f"{table}: column {name} must hold finite numbers")
        low, high = LABELS[name]
        if not (values.min() >= low and values.max() <= high):
            found = f"{values.min():g} to {values.max():g}"
            raise SpectrumTableError(f"{table}: column {name} holds {found}, accepted is {low:g} to {high:g}")
    return frame.to_dict("records")


def _frame(table: Path, kind: str) -> Any:
    """The table as pandas has it."""
    if kind == ".ecsv":
        from astropy.table import Table

        return Table.read(table, format="ascii.ecsv").to_pandas()
    import pandas

    if kind == ".parquet":
        return pandas.read_parquet(verified(table))
    require_equal_rows(table)
    return pandas.read_csv(table, comment="#", index_col=False)


def read_spectrum(
    path: str | os.PathLike, shared_wave: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Wavelengths [Å, as in the file], flux and continuum (or None) of one spectrum, each (L,)."""
    path = Path(path)
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if ".fits" in suffixes or ".fit" in suffixes:
        wave, flux, continuum = _from_fits(path)
    elif suffixes[-1:] == [".npz"]:
        with np.load(path) as arrays:
            wave, flux = arrays["wave"], arrays["flux"]
            continuum = arrays.get("continuum")
    else:
        opener = gzip.open if suffixes[-1:] == [".gz"] else open
        with opener(path, "rt", encoding="utf-8", errors="replace") as stream:
            columns = list(np.loadtxt(stream, ndmin=2).T)
        if shared_wave is not None:
            columns.insert(0, shared_wave)
        if len(columns) < 2:
            raise ValueError("expected at least two columns, wavelength and flux, found one")
        wave, flux = columns[:2]
        continuum = columns[2] if len(columns) > 2 else None
    wave, flux = np.asarray(wave, float), np.asarray(flux, float)
    if wave.shape != flux.shape or len(wave) < 10:
        raise ValueError(f"{wave.size} wavelengths for {flux.size} fluxes")
    if not np.all(np.isfinite(wave)) or np.any(np.diff(wave) <= 0):
        raise ValueError("wavelengths do not ascend")
    steps = np.diff(np.log(wave))
    gaps = np.flatnonzero(steps[1:-1] > GAP * np.maximum(steps[:-2], steps[2:])) + 1
    if len(gaps):
        raise ValueError(f"nothing between {wave[gaps[0]]:.2f} and {wave[gaps[0] + 1]:.2f} Å: pixels are missing")
    return wave, flux, None if continuum is None else np.asarray(continuum, float)


def _from_fits(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    from astropy.io import fits

    with open_fits(path) as hdus:
        for hdu in hdus:
            if hdu.data is None:
                continue
            if isinstance(hdu, fits.BinTableHDU):
                names = {name.lower(): name for name in hdu.columns.names}
                wave = next((names[key] for key in ("wave", "wavelength", "lambda") if key in names), None)
                if wave is None or "flux" not in names:
                    raise ValueError(f"no columns wave and flux, found {hdu.columns.names}")
                level = hdu.data[names["continuum"]] if "continuum" in names else None
                return np.ravel(hdu.data[wave]), np.ravel(hdu.data[names["flux"]]), level
            if hdu.data.ndim == 1:
                header = hdu.header
                if "CRVAL1" not in header:
                    raise ValueError("a 1-D image without CRVAL1 and CDELT1 has no wavelengths")
                step = header.get("CDELT1", header.get("CD1_1"))
                if not isinstance(step, int | float) or not step > 0:
                    raise ValueError(f"CDELT1 = {step}, accepted is a step above 0")
                axis = header["CRVAL1"] + step * (np.arange(hdu.data.size) + 1 - header.get("CRPIX1", 1))
                return _from_logarithm(axis), np.asarray(hdu.data, float), None
    raise ValueError("no spectrum found: expected a 1-D image or a table with wave and flux")


def _from_logarithm(axis: np.ndarray) -> np.ndarray:
    """Wavelengths of an axis that may be log10 (below 6) or ln (below 20) of them, whatever CTYPE1 claims."""
    if axis[0] < 6:
        return 10.0**axis
    return np.exp(axis) if axis[0] < 20 else axis
