"""Stellar tracks on a regular grid of [Fe/H], mass and EEP: evaluation, exact ages, pairs of equal age."""

import json
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import ArrayLike

from dioscuri.io import atomic
from dioscuri.stars import analytic, lookup

log = logging.getLogger(__name__)

# yr, K, cgs, R☉, L☉ (all log10), and the present mass in M☉
COLUMNS = ("log_age", "log_teff", "logg", "log_radius", "log_luminosity", "mass")
LOG_AGE, LOG_TEFF, LOGG, LOG_RADIUS, LOG_LUMINOSITY, MASS = range(6)
SOURCES = ("embedded", "mist", "auto")
# Raise when the numbers that a source puts on the grid change: caches of earlier recipes are then rebuilt.
_RECIPE = 2


class PairStatus(IntEnum):
    """What became of one pair.

    OFF_GRID: a star beyond the grid in [Fe/H] or mass, or an EEP that the primary's track does not reach.
    UNREACHABLE_AGE: at the primary's age the secondary's track has not begun, or has ended.
    TOO_OLD: older than `max_age_gyr`.
    """

    OK = lookup.OK
    OFF_GRID = lookup.OFF_GRID
    UNREACHABLE_AGE = lookup.UNREACHABLE_AGE
    TOO_OLD = lookup.TOO_OLD


@dataclass(frozen=True)
class Pairs:
    """`primary`, `secondary`: (N, 7), `COLUMNS` + EEP, NaN where unknown; `status` (N,) `PairStatus`."""

    primary: np.ndarray
    secondary: np.ndarray
    status: np.ndarray

    @property
    def star_status(self) -> np.ndarray:
        """`PairStatus` of the primary and of the secondary, (N, 2).

        Where the primary is off the grid there is no age, and its secondary's is UNREACHABLE_AGE.
        """
        gone = np.isnan(self.primary[:, LOG_AGE])
        too_old = self.status == PairStatus.TOO_OLD
        primary = np.where(gone, PairStatus.OFF_GRID, np.where(too_old, PairStatus.TOO_OLD, PairStatus.OK))
        return np.stack([primary, np.where(gone, PairStatus.UNREACHABLE_AGE, self.status)], axis=1)


class TrackGrid:
    """Tracks on a regular grid; between nodes everything is linear in [Fe/H], mass and EEP.

    `feh` (F,), `mass` (M,) initial M☉ and `eep` (E,), each ascending, EEPs in steps of one; `values` (F, M,
    E, 6) float64 in the order of `COLUMNS`, NaN after the end of a track; `provenance` plain settings and
    sources. A value is given only where every surrounding node of non-zero weight has one: never
    extrapolated.
    """

    def __init__(
        self,
        feh: np.ndarray,
        mass: np.ndarray,
        eep: np.ndarray,
        values: np.ndarray,
        provenance: dict[str, Any] | None = None,
    ) -> None:
        self.feh, self.mass, self.eep = (np.ascontiguousarray(x, np.float64) for x in (feh, mass, eep))
        self.values = np.ascontiguousarray(values, np.float64)
        self.provenance = dict(provenance or {})
        shape = (self.feh.size, self.mass.size, self.eep.size, len(COLUMNS))
        if self.values.shape != shape:
            raise ValueError(f"track grid: values have shape {self.values.shape}, the axes ask for {shape}")
        for name in ("feh", "mass", "eep"):
            axis = getattr(self, name)
            if axis.size < 2 or not (np.diff(axis) > 0).all():
                raise ValueError(f"track grid: {name} needs two or more ascending nodes, found {axis.tolist()}")
        if not (np.diff(self.eep) == 1).all():
            raise ValueError("track grid: EEPs must come in steps of one")
        # Ages on their own, densely packed: the search for an age touches nothing else.
        self._log_age = np.ascontiguousarray(self.values[..., LOG_AGE])
        self._length = self._track_lengths()

    def _track_lengths(self) -> np.ndarray:
        """EEPs that each track reaches, (F, M); a hole inside a track or an age that falls is an error."""
        known = np.isfinite(self.values).all(axis=-1)
        length = known.sum(axis=-1)
        holes = (np.arange(self.eep.size) < length[..., None]) != known
        with np.errstate(invalid="ignore"):
            falls = np.diff(self._log_age, axis=-1) < 0
        for bad, what in ((holes, "has a hole"), (falls, "has an age that falls")):
            if bad.any():
                i, j, k = (int(x[0]) for x in np.nonzero(bad))
                star = f"[Fe/H] = {self.feh[i]:g}, {self.mass[j]:g} M☉"
                raise ValueError(f"track grid: the track of {star} {what} at EEP {self.eep[k]:.0f}")
        return length.astype(np.int64)

    @property
    def _arrays(self) -> tuple[np.ndarray, ...]:
        return self.feh, self.mass, self.eep, self.values, self._log_age, self._length

    def evaluate(self, mass: ArrayLike, eep: ArrayLike, feh: ArrayLike) -> np.ndarray:
        """`COLUMNS` (N, 6) at initial mass [M☉], EEP and [Fe/H] (broadcast to (N,)); NaN off the grid."""
        return lookup.evaluate(*self._arrays, *_flat(mass, eep, feh))

    def eep_at_age(self, mass: ArrayLike, log_age: ArrayLike, feh: ArrayLike) -> np.ndarray:
        """EEPs (N,) at initial mass [M☉], log10 age [yr] and [Fe/H]; NaN where the track is not.

        Exact: the inverse of the age that `evaluate` gives, by binary search on the interpolated track.
        """
        return lookup.eep_at_age(*self._arrays, *_flat(mass, log_age, feh))

    def pairs(
        self,
        m1: ArrayLike,
        q: ArrayLike,
        feh: ArrayLike,
        eep1: ArrayLike,
        max_age_gyr: float | None = None,
    ) -> Pairs:
        """Binaries of one age and [Fe/H]: primaries of mass `m1` [M☉] at `eep1`, secondaries of mass q·m1.

        Arguments broadcast to (N,). The secondary's EEP is that of the primary's age (Zhang et al. 2022,
        eqs. 2–3). Without `max_age_gyr` stars may be older than the Universe.
        """
        oldest = np.inf if max_age_gyr is None else np.log10(max_age_gyr) + 9.0
        stars: tuple[Any, ...] = (*_flat(m1, q, feh, eep1), oldest)
        return Pairs(*lookup.pairs(*self._arrays, *stars))

    def save(self, path: str | os.PathLike) -> None:
        """Write one npz file, whole or not at all."""
        with atomic(path) as temporary, open(temporary, "wb") as stream:
            np.savez(
                stream,
                feh=self.feh,
                mass=self.mass,
                eep=self.eep,
                values=self.values,
                provenance=np.array(json.dumps(self.provenance)),
            )

    @classmethod
    def load(cls, path: str | os.PathLike) -> "TrackGrid":
        """Read a file written by `save`; anything else is a ValueError that names it."""
        try:
            with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as stored:
                feh, mass, eep, values = (stored[name] for name in ("feh", "mass", "eep", "values"))
                return cls(feh, mass, eep, values, json.loads(str(stored["provenance"])))
        except (KeyError, ValueError, EOFError, BadZipFile) as error:
            raise ValueError(
                f"{path}: not a track grid of dioscuri ({error}); delete it, and it is made again"
            ) from error


def load_tracks(
    source: str = "embedded",
    mist_dir: str | os.PathLike | None = None,
    feh: Sequence[float] | None = None,
    mass_max: float = 2.2,
    cache: str | os.PathLike | None = None,
) -> TrackGrid:
    """The tracks that a configuration asks for.

    `source`: "embedded" (analytic), "mist" (MIST v1.2 EEP tracks under `mist_dir`, or an error), or "auto"
    (MIST where it is complete, else embedded, with the reason in `provenance["fallback"]`). `feh`: nodes of
    [Fe/H] to use (None: all that the source has); `mass_max` [M☉]. `cache`: a file to keep the grid in; it
    is used only if it was made from the same source, files and selection, and is made again otherwise.
    """
    if source not in SOURCES:
        raise ValueError(f"tracks.source: found '{source}'; accepted: {', '.join(SOURCES)}")
    if source != "embedded":
        from dioscuri.stars import mist

        try:
            folder = mist.tracks_folder(mist_dir)
            request = {
                "source": "mist",
                "files": mist.fingerprint(folder, feh, mass_max),
                "mass_max": mass_max,
            }
            return _cached(cache, request, lambda: mist.build(folder, feh, mass_max), {})
        except mist.MistError as error:
            if source == "mist":
                raise
            log.warning("tracks: falling back on the embedded analytic tracks, because %s", error)
            note = {"requested": "auto", "fallback": str(error)}
    else:
        note = {}
    nodes = None if feh is None else [float(f) for f in sorted(feh)]
    request = {"source": "embedded", "feh": nodes, "mass_max": mass_max}
    return _cached(cache, request, lambda: analytic.build(feh, mass_max), note)


def _cached(
    cache: str | os.PathLike | None,
    request: dict[str, Any],
    build: Callable[[], tuple[Any, ...]],
    note: dict[str, Any],
) -> TrackGrid:
    """The grid kept at `cache` if made for this request, else one built and kept; `note` for provenance."""
    request = {"recipe": _RECIPE, **request}
    if cache is not None and Path(cache).is_file():
        try:
            grid = TrackGrid.load(cache)
        except ValueError as error:
            log.warning("tracks: %s", error)
        else:
            if grid.provenance.get("request") == request:
                grid.provenance.update(note)
                return grid
            log.info("tracks: %s was made for other settings or files: making it again", cache)
    feh, mass, eep, values, provenance = build()
    grid = TrackGrid(feh, mass, eep, values, {**provenance, **note, "request": request})
    if cache is not None:
        grid.save(cache)
    return grid


def describe_star(
    tracks: TrackGrid, mass: float, feh: float, eep: float | None = None, age_gyr: float | None = None
) -> dict[str, float]:
    """One star of initial `mass` [M☉] and [Fe/H] at an EEP or at an age [Gyr] (exactly one of the two).

    Keys: mass_initial, feh, eep, age_gyr, teff [K], logg [cgs], radius [R☉], luminosity [L☉], mass [M☉].
    ValueError, saying what the grid covers, where it has no such star.
    """
    if (eep is None) == (age_gyr is None):
        found = "neither" if eep is None else "both"
        raise ValueError(f"a star needs an EEP or an age in Gyr, exactly one of the two; found {found}")
    for name, value, axis, unit in (
        ("mass", mass, tracks.mass, " M☉"),
        ("[Fe/H]", feh, tracks.feh, ""),
        ("EEP", eep, tracks.eep, ""),
    ):
        if value is not None and not axis[0] <= value <= axis[-1]:
            raise ValueError(f"{name} = {value:g}{unit} is off the grid: {axis[0]:g} to {axis[-1]:g}{unit}")
    if age_gyr is not None and not age_gyr > 0:
        raise ValueError(f"age = {age_gyr:g} Gyr: ages are positive")
    if age_gyr is not None:
        given = f"age = {age_gyr:g} Gyr"
        eep = float(tracks.eep_at_age(mass, np.log10(age_gyr) + 9.0, feh)[0])
    else:
        given = f"EEP = {eep:g}"
    star = tracks.evaluate(mass, np.asarray(eep), feh)[0]
    if not np.isfinite(star[LOG_AGE]):
        track = tracks.evaluate(mass, tracks.eep, feh)[:, LOG_AGE]
        reached = np.flatnonzero(np.isfinite(track))
        if reached.size == 0:
            raise ValueError(f"no track near {mass:g} M☉ and [Fe/H] = {feh:g}: the grid has a hole there")
        ends = (f"EEP {tracks.eep[k]:.0f} ({10 ** (track[k] - 9):.4g} Gyr)" for k in reached[[0, -1]])
        raise ValueError(
            f"no star of {mass:g} M☉ and [Fe/H] = {feh:g} at {given}: its track runs from {' to '.join(ends)}"
        )
    return {
        "mass_initial": float(mass),
        "feh": float(feh),
        "eep": float(np.asarray(eep)),
        "age_gyr": float(10 ** (star[LOG_AGE] - 9.0)),
        "teff": float(10 ** star[LOG_TEFF]),
        "logg": float(star[LOGG]),
        "radius": float(10 ** star[LOG_RADIUS]),
        "luminosity": float(10 ** star[LOG_LUMINOSITY]),
        "mass": float(star[MASS]),
    }


def _flat(*arrays: ArrayLike) -> tuple[np.ndarray, ...]:
    """Arguments broadcast against each other, as contiguous float64 (N,)."""
    broadcast = np.broadcast_arrays(*(np.asarray(x, np.float64) for x in arrays))
    return tuple(np.ascontiguousarray(x).reshape(-1) for x in broadcast)
