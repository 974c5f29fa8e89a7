"""Cost and memory against N, over two decades: seconds per item stay the same, and so does the memory."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from continuum import WAVE, _spectra
from dioscuri.mocks.pairs import make_mocks
from dioscuri.spectra.continuum import fit_continuum
from dioscuri.synthesis.kinematics import Kinematics
from kinematics import NATIVE
from library import BLUE, made_up_library, random_labels
from mocks import made_up_pairs
from tracks import complete_tracks, possible_pairs

BATCH = 64
SMALL, LARGE = 64, 6400
TRACKS = 10_000  # pairs in the small run of the tracks, which take a microsecond each


def rows() -> list[dict]:
    """One mapping per piece: `ours` at 100 N and `published` at N, items per CPU second; peak memory of each run."""
    library, grid = made_up_library(), complete_tracks()
    pairs = possible_pairs(grid, 100 * TRACKS)
    wave, flux = library.grid("blue"), _spectra(np.random.default_rng(0))[:BATCH]
    move, rng = Kinematics(wave, BLUE.wave, NATIVE), np.random.default_rng(1)
    tensor = torch.from_numpy(np.tile(np.interp(wave, WAVE, flux[0]).astype(np.float32), (BATCH, 1)))
    vsini, rv = rng.uniform(0, 500, BATCH), rng.uniform(-500, 500, BATCH)
    labels, columns = random_labels(library, LARGE), made_up_pairs(library, LARGE)

    def tracks(n: int) -> None:
        for first in range(0, n, TRACKS):
            grid.pairs(*pairs[:, first : first + TRACKS])

    def batches(call: Callable[[int], object]) -> Callable[[int], None]:
        def run(n: int) -> None:
            for first in range(0, n, BATCH):
                call(first)

        return run

    def mocks(n: int) -> None:
        chosen = {name: values[:n] for name, values in columns.items()}
        for _ in make_mocks(chosen, [library], [BLUE], recipe="paper", seed=1, batch=BATCH):
            pass

    pieces: dict[str, tuple[Callable[[int], None], int]] = {
        "pairs from tracks": (tracks, TRACKS),
        "library interpolation": (batches(lambda k: library.flux("blue", labels[k : k + BATCH])), SMALL),
        "kinematics": (batches(lambda k: move(tensor, vsini, rv)), SMALL),
        "continuum": (batches(lambda k: fit_continuum(WAVE, flux, exact=False)), SMALL),
        "mock pairs": (mocks, SMALL),
    }
    return [_compared(name, call, n) for name, (call, n) in pieces.items()]


def _compared(name: str, call: Callable[[int], None], n: int) -> dict:
    """Rates at 100 n and at n, and how much the process has ever held after each."""
    call(n)  # compiles
    (few, held), (many, held_in_many) = sorted(_measured(call, n) for _ in range(5))[2], _measured(call, 100 * n)
    return {
        "name": f"{name}: {100 * n:,} against {n:,}",
        "ours": 100 * n / many,
        "published": n / few,
        "unit": "per CPU second",
        "ratio": 100 * few / many,
        "peak memory (MiB)": held_in_many,
        "peak memory in the small run (MiB)": held,
    }


def _measured(call: Callable[[int], None], n: int) -> tuple[float, float]:
    """CPU seconds of a run, and the most memory [MiB] that the process held during it."""
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # forget the peak so far (Linux)
    started = time.process_time()
    call(n)
    seconds = time.process_time() - started
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return seconds, int(status.split("VmHWM:")[1].split()[0]) / 1024


if __name__ == "__main__":
    torch.set_num_threads(1)
    json.dump(rows(), sys.stdout, indent=2)
