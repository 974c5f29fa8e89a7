"""A catalogue of the paper's size: memory against the number of images, from a stack to features, and ridge on them."""

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from scipy import linalg

from dioscuri.analogues.catalogue import Frame, Pieces, write_catalogue
from dioscuri.analogues.regression import COMPONENTS, fit
from dioscuri.analogues.search import measure_catalogue
from scaling import _measured

SIDE, FEW, MANY = 400, 100, 1000  # the paper: 45,000 images of 800 × 800
PAPER = 45_000
N_FEATURES, N_SYSTEMS, N_PARAMETERS = 1024, 60, 12
CHANNEL = "continuum_1300um"


def rows() -> list[dict]:
    """Memory of features from 100 and from 1,000 images; ridge by systems over 45,000 images. One thread."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        runs = {}
        for n in (FEW, MANY):
            shard = Path(folder) / f"{n}.h5"
            written = _measured(partial(_write, shard), n)
            runs[n] = (*written, *_measured(partial(_features, shard), n))
            shard.unlink()
    table = [
        {
            "name": f"a catalogue of {MANY:,} images of {SIDE} px written and its features measured, against {FEW}",
            "ours": MANY / (runs[MANY][0] + runs[MANY][2]),
            "published": FEW / (runs[FEW][0] + runs[FEW][2]),
            "unit": "images per CPU second",
            "ratio": MANY / FEW * (runs[FEW][0] + runs[FEW][2]) / (runs[MANY][0] + runs[MANY][2]),
            "peak memory writing (MiB)": runs[MANY][1],
            "… in the small run (MiB)": runs[FEW][1],
            "peak memory measuring (MiB)": runs[MANY][3],
            "… in the small run, too (MiB)": runs[FEW][3],
            "images of the larger run (MiB)": MANY * SIDE**2 * 4 / 2**20,
        }
    ]
    return [*table, _ridge()]


def _write(path: Path, n: int) -> None:
    def blocks() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        rng = np.random.default_rng(0)
        for row in range(n):
            yield np.array([row]), 10 ** rng.normal(9, 0.5, (1, SIDE, SIDE)).astype(np.float32)

    names = {"image_id": np.array([f"{row}" for row in range(n)]), "system": np.array(["0"] * n)}
    write_catalogue(path, {CHANNEL: Pieces((n, SIDE, SIDE), blocks())}, names, Frame(4.0, units={CHANNEL: "Jy/sr"}))


def _features(shard: Path, _: int) -> None:
    network = {"architecture": "random_cnn", "weights": "none", "size": 96}
    measure_catalogue(shard.with_suffix(".features"), [shard], CHANNEL, network, decades=4.0, relative=False, seed=0)


def _ridge() -> dict:
    """Penalty and intervals from leaving out every system, beside principal components found anew each time."""
    rng = np.random.default_rng(0)
    system = np.arange(PAPER) % N_SYSTEMS
    values = rng.normal(size=(PAPER, N_PARAMETERS))
    features = (values @ rng.normal(size=(N_PARAMETERS, N_FEATURES))).astype(np.float32)
    features += rng.standard_normal(features.shape, np.float32)
    seconds, held = _measured(lambda _: fit([features], values, system), PAPER)
    started = time.process_time()
    rest = features[system != 0].astype(float)
    _, axes = linalg.eigh(np.cov(rest.T), subset_by_index=(N_FEATURES - COMPONENTS, N_FEATURES - 1))
    linalg.lstsq(rest @ axes, values[system != 0])
    anew = N_SYSTEMS * (time.process_time() - started)
    name = f"ridge and intervals by {N_SYSTEMS} systems, {PAPER:,} images, against components anew for each system"
    line = {"name": name, "ours": 3600 / seconds, "published": 3600 / anew, "unit": "fits per CPU hour"}
    return line | {
        "ratio": anew / seconds,
        "peak memory (MiB)": held,
        "the features themselves (MiB)": features.nbytes / 2**20,
    }


if __name__ == "__main__":
    json.dump(rows(), sys.stdout, indent=2, ensure_ascii=False)
