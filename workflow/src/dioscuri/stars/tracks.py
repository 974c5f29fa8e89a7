"""Stellar tracks on a regular grid of [Fe/H], mass and EEP: evaluation, exact ages, and pairs of equal age."""

import json
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from dioscuri.io import atomic
from dioscuri.stars import analytic

log = logging.getLogger(__name__)

# yr, K, cgs, R☉, L☉ (all log10), and the present mass in M☉
COLUMNS = ("log_age", "log_teff", "logg", "log_radius", "log_luminosity", "mass")
LOG_AGE, LOG_TEFF, LOGG, LOG_RADIUS, LOG_LUMINOSITY, MASS = range(6)
SOURCES = ("embedded", "mist", "auto")
# Raise when the numbers that a source puts on the grid change: caches of earlier recipes are then rebuilt.
_RECIPE = 1


class PairStatus(IntEnum):
    """What became of one pair."""

    OK = 0
    OFF_GRID = (
        1  # a star beyond the grid in [Fe/H] or mass, or an EEP that the primary's track does not reach
    )
    UNREACHABLE_AGE = 2  # at the primary's age the secondary's track has not begun, or has ended
    TOO_OLD = 3  # older than `max_age_gyr`


@dataclass(frozen=True)
class Pairs:
    """`primary`, `secondary`: (N, 7), `COLUMNS` + EEP, NaN where unknown; `status` (N,) uint8, a `PairStatus`."""

    primary: np.ndarray
    secondary: np.ndarray
    status: np.ndarray


class TrackGrid:
    """Tracks on a regular grid; between nodes everything is linear in [Fe/H], mass and EEP.

    `feh` (F,), `mass` (M,) initial M☉ and `eep` (E,), each ascending, EEPs in steps of one; `values` (F, M, E, 6)
    float64 in the order of `COLUMNS`, NaN after the end of a track; `provenance` plain settings and sources.
    A value is given only where every surrounding node of non-zero weight has one: never extrapolated.
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
                raise ValueError(
                    f"track grid: {name} needs two or more ascending nodes, found {axis.tolist()}"
                )
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

    def evaluate(self, mass: np.ndarray, eep: np.ndarray, feh: np.ndarray) -> np.ndarray:
        """Stars of given initial mass [M☉], EEP and [Fe/H] (broadcast to (N,)): (N, 6) `COLUMNS`, NaN off the grid."""
        return _evaluate(*self._arrays, *_flat(mass, eep, feh))

    def eep_at_age(self, mass: np.ndarray, log_age: np.ndarray, feh: np.ndarray) -> np.ndarray:
        """EEPs (N,) of stars of given initial mass [M☉], log10 age [yr] and [Fe/H]; NaN where the track is not.

        Exact: the inverse of the age that `evaluate` gives, by binary search on the interpolated track.
        """
        return _eep_at_age(*self._arrays, *_flat(mass, log_age, feh))

    def pairs(
        self,
        m1: np.ndarray,
        q: np.ndarray,
        feh: np.ndarray,
        eep1: np.ndarray,
        max_age_gyr: float | None = None,
    ) -> Pairs:
        """Binaries of one age and [Fe/H]: primaries of mass `m1` [M☉] at `eep1`, secondaries of mass q·m1.

        Arguments broadcast to (N,). The secondary's EEP is that of the primary's age (Zhang et al. 2022, eqs. 2–3).
        Without `max_age_gyr` stars may be older than the Universe.
        """
        oldest = np.inf if max_age_gyr is None else np.log10(max_age_gyr) + 9.0
        return Pairs(*_pairs(*self._arrays, *_flat(m1, q, feh, eep1), oldest))

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
            with np.load(path, allow_pickle=False) as stored:
                axes = [stored[name] for name in ("feh", "mass", "eep", "values")]
                return cls(*axes, json.loads(str(stored["provenance"])))
        except (KeyError, ValueError, EOFError, OSError) as error:
            if isinstance(error, FileNotFoundError):
                raise
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

    `source`: "embedded" (analytic), "mist" (MIST v1.2 EEP tracks under `mist_dir`, or an error), or "auto" (MIST
    where it is complete, else embedded, with the reason in `provenance["fallback"]`). `feh`: nodes of [Fe/H] to use
    (None: all that the source has); `mass_max` [M☉]. `cache`: a file to keep the grid in; it is used only if it was
    made from the same source, files and selection, and is made again otherwise.
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
            return _cached(cache, request, lambda: mist.build(folder, feh, mass_max))
        except mist.MistError as error:
            if source == "mist":
                raise
            log.warning("tracks: falling back on the embedded analytic tracks, because %s", error)
            fallback = {"requested": "auto", "fallback": str(error)}
    else:
        fallback = {}
    nodes = None if feh is None else [float(f) for f in sorted(feh)]
    request = {"source": "embedded", "feh": nodes, "mass_max": mass_max}
    grid = _cached(cache, request, lambda: analytic.build(feh, mass_max))
    grid.provenance.update(fallback)
    return grid


def _cached(
    cache: str | os.PathLike | None, request: dict[str, Any], build: Callable[[], tuple[Any, ...]]
) -> TrackGrid:
    """The grid kept at `cache` if it was made for this very request, else one built and kept there."""
    request = {"recipe": _RECIPE, **request}
    if cache is not None and Path(cache).is_file():
        try:
            grid = TrackGrid.load(cache)
        except ValueError as error:
            log.warning("tracks: %s", error)
        else:
            if grid.provenance.get("request") == request:
                return grid
            log.info("tracks: %s was made for other settings or files: making it again", cache)
    *axes, provenance = build()
    grid = TrackGrid(*axes, {**provenance, "request": request})
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
    track = tracks.evaluate(mass, tracks.eep, feh)[:, LOG_AGE]
    reached = np.flatnonzero(np.isfinite(track))
    if age_gyr is not None:
        eep = float(tracks.eep_at_age(mass, np.log10(age_gyr) + 9.0, feh)[0])
    star = tracks.evaluate(mass, eep, feh)[0]
    if not np.isfinite(star[LOG_AGE]):
        given = f"age = {age_gyr:g} Gyr" if age_gyr is not None else f"EEP = {eep:g}"
        first, last = reached[0], reached[-1]
        raise ValueError(
            f"no star of {mass:g} M☉ and [Fe/H] = {feh:g} at {given}: its track runs from "
            f"EEP {tracks.eep[first]:.0f} ({10 ** (track[first] - 9):.4g} Gyr) to "
            f"EEP {tracks.eep[last]:.0f} ({10 ** (track[last] - 9):.4g} Gyr)"
        )
    return {
        "mass_initial": float(mass),
        "feh": float(feh),
        "eep": float(eep),  # type: ignore[arg-type]
        "age_gyr": float(10 ** (star[LOG_AGE] - 9.0)),
        "teff": float(10 ** star[LOG_TEFF]),
        "logg": float(star[LOGG]),
        "radius": float(10 ** star[LOG_RADIUS]),
        "luminosity": float(10 ** star[LOG_LUMINOSITY]),
        "mass": float(star[MASS]),
    }


def _flat(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """Arguments broadcast against each other, as contiguous float64 (N,)."""
    broadcast = np.broadcast_arrays(*(np.asarray(x, np.float64) for x in arrays))
    return tuple(np.ascontiguousarray(x).reshape(-1) for x in broadcast)


# --- compiled loops: one star at a time, so that nothing of size N × corners is ever held -------------------------


@njit(cache=True, inline="always")
def _bracket(axis: np.ndarray, x: float) -> int:
    """Index of the node at or below `x`, at most the last but one; −1 off the axis (NaN too)."""
    if not axis[0] <= x <= axis[-1]:
        return -1
    low, high = 0, axis.size - 1
    while high - low > 1:
        middle = (low + high) // 2
        if axis[middle] <= x:
            low = middle
        else:
            high = middle
    return low


@njit(cache=True, inline="always")
def _locate(feh_axis, mass_axis, length, feh, mass):
    """Lower corner (i, j), the fractions (y, x) above it, and the EEPs reached by all corners that count (0: none)."""
    i, j = _bracket(feh_axis, feh), _bracket(mass_axis, mass)
    if i < 0 or j < 0:
        return 0, 0, 0.0, 0.0, 0
    y = (feh - feh_axis[i]) / (feh_axis[i + 1] - feh_axis[i])
    x = (mass - mass_axis[j]) / (mass_axis[j + 1] - mass_axis[j])
    reach = 1 << 30
    if y < 1 and x < 1:
        reach = min(reach, length[i, j])
    if y < 1 and x > 0:
        reach = min(reach, length[i, j + 1])
    if y > 0 and x < 1:
        reach = min(reach, length[i + 1, j])
    if y > 0 and x > 0:
        reach = min(reach, length[i + 1, j + 1])
    return i, j, y, x, reach


@njit(cache=True, inline="always")
def _blend(corner_00, corner_01, corner_10, corner_11, y, x):
    """Bilinear mean of four corners; a corner without weight may be NaN."""
    low = corner_00 if x == 0 else corner_01 if x == 1 else (1 - x) * corner_00 + x * corner_01
    high = corner_10 if x == 0 else corner_11 if x == 1 else (1 - x) * corner_10 + x * corner_11
    return low if y == 0 else high if y == 1 else (1 - y) * low + y * high


@njit(cache=True, inline="always")
def _age(log_age, i, j, y, x, k):
    return _blend(
        log_age[i, j, k], log_age[i, j + 1, k], log_age[i + 1, j, k], log_age[i + 1, j + 1, k], y, x
    )


@njit(cache=True, inline="always")
def _fill(values, i, j, y, x, position, out):
    """Write all columns at a fractional EEP index into `out`."""
    k = int(position)
    t = position - k
    for c in range(values.shape[3]):
        star = _blend(
            values[i, j, k, c],
            values[i, j + 1, k, c],
            values[i + 1, j, k, c],
            values[i + 1, j + 1, k, c],
            y,
            x,
        )
        if t > 0:
            after = _blend(
                values[i, j, k + 1, c],
                values[i, j + 1, k + 1, c],
                values[i + 1, j, k + 1, c],
                values[i + 1, j + 1, k + 1, c],
                y,
                x,
            )
            star = (1 - t) * star + t * after
        out[c] = star


@njit(cache=True, inline="always")
def _position_at_age(log_age, i, j, y, x, reach, target):
    """Fractional EEP index at log age `target` on the interpolated track; −1 before its start or past its end."""
    low, high = 0, reach - 1
    before, after = _age(log_age, i, j, y, x, low), _age(log_age, i, j, y, x, high)
    if not before <= target <= after:
        return -1.0
    while high - low > 1:
        middle = (low + high) // 2
        at_middle = _age(log_age, i, j, y, x, middle)
        if at_middle <= target:
            low, before = middle, at_middle
        else:
            high, after = middle, at_middle
    return low + ((target - before) / (after - before) if after > before else 0.0)


@njit(cache=True)
def _evaluate(feh_axis, mass_axis, eep_axis, values, log_age, length, mass, eep, feh):
    out = np.full((mass.size, values.shape[3]), np.nan)
    for n in range(mass.size):
        i, j, y, x, reach = _locate(feh_axis, mass_axis, length, feh[n], mass[n])
        position = eep[n] - eep_axis[0]
        if 0 <= position <= reach - 1:
            _fill(values, i, j, y, x, position, out[n])
    return out


@njit(cache=True)
def _eep_at_age(feh_axis, mass_axis, eep_axis, values, log_age, length, mass, target, feh):
    out = np.full(mass.size, np.nan)
    for n in range(mass.size):
        i, j, y, x, reach = _locate(feh_axis, mass_axis, length, feh[n], mass[n])
        if reach > 0:
            position = _position_at_age(log_age, i, j, y, x, reach, target[n])
            if position >= 0:
                out[n] = eep_axis[0] + position
    return out


@njit(cache=True)
def _pairs(feh_axis, mass_axis, eep_axis, values, log_age, length, m1, q, feh, eep1, oldest):
    columns = values.shape[3]
    primary, secondary = np.full((m1.size, columns + 1), np.nan), np.full((m1.size, columns + 1), np.nan)
    status = np.full(m1.size, 1, np.uint8)  # OFF_GRID until shown otherwise
    for n in range(m1.size):
        i, j, y, x, reach = _locate(feh_axis, mass_axis, length, feh[n], m1[n])
        position = eep1[n] - eep_axis[0]
        if not 0 <= position <= reach - 1:
            continue
        _fill(values, i, j, y, x, position, primary[n])
        primary[n, columns] = eep1[n]
        i, j, y, x, reach = _locate(feh_axis, mass_axis, length, feh[n], q[n] * m1[n])
        if reach == 0:
            continue
        position = _position_at_age(log_age, i, j, y, x, reach, primary[n, 0])
        if position < 0:
            status[n] = 2  # UNREACHABLE_AGE
            continue
        _fill(values, i, j, y, x, position, secondary[n])
        secondary[n, columns] = eep_axis[0] + position
        status[n] = 3 if primary[n, 0] > oldest else 0  # TOO_OLD or OK
    return primary, secondary, status
