"""Binaries of one age from tracks: ours beside the interpolators of isochrones and of scipy."""

import json
import logging
import sys
import time
import warnings

import numpy as np
from scipy.interpolate import RegularGridInterpolator

from dioscuri.stars.tracks import COLUMNS, LOG_AGE, PairStatus, TrackGrid, load_tracks
from inference import median_seconds, row

N_LOOP, N_ACCURATE, N_SCIPY = 2000, 20, 20_000
SIZES = (10_000, 100_000, 1_000_000)
PRE_MAIN_SEQUENCE = 201  # EEPs before the main sequence: isochrones counts them from one


def rows() -> list[dict]:
    """One mapping per comparison: name, ours, published, unit, ratio. One thread, the same tracks for all."""
    grid = complete_tracks()
    pairs = possible_pairs(grid, SIZES[-1])
    isochrones, scipy = IsochronesPairs(grid), ScipyPairs(grid)
    ways = {
        "isochrones, star by star": (N_LOOP, isochrones.pairs),
        "isochrones, star by star, accurate": (N_ACCURATE, isochrones.accurate_pairs),
        "scipy, vectorised": (N_SCIPY, scipy.pairs),
    }
    calls = {name: lambda way=way, n=n: way(*pairs[:, :n]) for name, (n, way) in ways.items()}
    ours = {size: lambda size=size: grid.pairs(*pairs[:, :size]) for size in SIZES}
    seconds = median_seconds(
        {**calls, **{str(size): call for size, call in ours.items()}}, repeats=3, clock=time.process_time
    )
    rate = SIZES[-1] / seconds[str(SIZES[-1])]
    table = []
    for name, (n, way) in ways.items():
        age = grid.evaluate(pairs[0, :n], pairs[3, :n], pairs[2, :n])[:, LOG_AGE]
        error = np.nanmedian(np.abs(way(*pairs[:, :n])[:, LOG_AGE] - age))
        compared = row(f"pairs of stars from tracks, against {name}", rate, n / seconds[name], "pairs/s")
        table.append({**compared, "its median error of log age (dex)": float(error)})
    small = SIZES[0] / seconds[str(SIZES[0])]
    table.append(row("pairs of stars from tracks, 1e6 at once against 1e4", rate, small, "pairs/s"))
    return table


def complete_tracks() -> TrackGrid:
    """Embedded tracks from 0.6 M☉ on, all as long as each other and begun at EEP 1, as MIST's are."""
    grid = load_tracks()
    values = grid.values[:, grid.mass >= 0.6]
    before = np.repeat(values[:, :, :1], PRE_MAIN_SEQUENCE, axis=2)
    steps = np.arange(PRE_MAIN_SEQUENCE) / PRE_MAIN_SEQUENCE
    before[..., LOG_AGE] = 3.3 + (before[..., LOG_AGE] - 3.3) * steps
    eep = np.arange(1.0, grid.eep[-1] + 1)
    return TrackGrid(grid.feh, grid.mass[grid.mass >= 0.6], eep, np.concatenate([before, values], axis=2))


def possible_pairs(grid: TrackGrid, n: int) -> np.ndarray:
    """m1, q, feh, eep1 of `n` pairs that are on the tracks, (4, n)."""
    rng = np.random.default_rng(0)
    ends = ((0.6, 2.0), (0.3, 1.0), (-2.0, 0.5), (202.0, 605.0))
    drawn = np.stack([rng.uniform(low, high, 4 * n) for low, high in ends])
    possible = np.flatnonzero(grid.pairs(*drawn).status == PairStatus.OK)[:n]
    if possible.size < n:
        raise ValueError(f"{possible.size} of {4 * n} pairs are on the tracks; needed: {n}")
    return np.ascontiguousarray(drawn[:, possible])


class IsochronesPairs:
    """The grid in the layout of isochrones, and pairs by its own functions."""

    def __init__(self, grid: TrackGrid) -> None:
        logging.getLogger("isochrones").setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of isochrones at import, about what we do not use
            import pandas as pd
            from isochrones.interp import DFInterpolator
            from isochrones.mist.models import MISTEvolutionTrackGrid
            from isochrones.models import EvolutionTrackInterpolator
        self.columns = ["age", *COLUMNS[1:]]
        index = pd.MultiIndex.from_product([grid.feh, grid.mass, grid.eep])
        table = pd.DataFrame(grid.values.reshape(-1, len(COLUMNS)), index=index, columns=self.columns)
        stored = MISTEvolutionTrackGrid()
        stored.fehs, stored._masses, stored._n_masses = grid.feh, grid.mass, grid.mass.size
        stored._interp = DFInterpolator(table, is_full=True)
        stored._age_grid = grid.values[..., LOG_AGE].reshape(-1, grid.eep.size)
        stored._dt_deep_grid = np.gradient(stored._age_grid, axis=1)
        stored._array_lengths = np.full(len(stored._age_grid), grid.eep.size)
        self.tracks = EvolutionTrackInterpolator(bands=[])
        self.tracks._model_grid = stored

    def pairs(self, m1, q, feh, eep1) -> np.ndarray:
        """Secondaries (N, 6) by interpolation, `get_eep`, interpolation."""
        return self._pairs(m1, q, feh, eep1, self.tracks.get_eep)

    def accurate_pairs(self, m1, q, feh, eep1) -> np.ndarray:
        """As `pairs`, by the minimiser of `get_eep(accurate=True)`, which itself fails with NumPy ≥ 2.4."""

        def search(mass: float, age: float, feh: float) -> float:
            return float(self.tracks.get_eep_accurate(mass, age, feh, return_object=True).x[0])

        return self._pairs(m1, q, feh, eep1, search)

    def _pairs(self, m1, q, feh, eep1, eep_at_age) -> np.ndarray:
        secondaries = []
        for mass, ratio, metals, eep in zip(m1.tolist(), q.tolist(), feh.tolist(), eep1.tolist()):
            age = float(self.tracks.interp_value([mass, eep, metals], self.columns)[0])
            eep2 = eep_at_age(ratio * mass, age, metals)
            secondaries.append(self.tracks.interp_value([ratio * mass, eep2, metals], self.columns))
        return np.array(secondaries)


class ScipyPairs:
    """The grid in RegularGridInterpolators, and all ages inverted together by bisection."""

    def __init__(self, grid: TrackGrid) -> None:
        axes = (grid.feh, grid.mass, grid.eep)
        self.first, self.last = grid.eep[[0, -1]]
        self.columns = RegularGridInterpolator(axes, grid.values)
        self.log_age = RegularGridInterpolator(axes, grid.values[..., LOG_AGE])

    def pairs(self, m1, q, feh, eep1) -> np.ndarray:
        """Secondaries (N, 6), exact as ours are."""
        age = self.columns(np.column_stack([feh, m1, eep1]))[:, LOG_AGE]
        low, high = np.full(age.size, self.first), np.full(age.size, self.last)
        while (high - low > 1).any():
            middle = (low + high) // 2
            below = self.log_age(np.column_stack([feh, q * m1, middle])) <= age
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        before, after = (self.log_age(np.column_stack([feh, q * m1, end])) for end in (low, low + 1))
        return self.columns(np.column_stack([feh, q * m1, low + (age - before) / (after - before)]))


if __name__ == "__main__":
    json.dump(rows(), sys.stdout, indent=2)
