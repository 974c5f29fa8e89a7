"""The paper's 340,000 + 40,000 pairs in both arms: hours on one core and size on disk, from 20,000 of them."""

import json
import sys
import tempfile
import time
from pathlib import Path

import torch

from dioscuri.arms import Arm
from dioscuri.mocks.pairs import write_mock_shard
from dioscuri.stars.population import draw_pairs
from dioscuri.stars.tracks import load_tracks
from library import BLUE, made_up_library

RED = Arm("red", 6350.0, 6750.0, 3509, 7500.0)
N_PAIRS, N_PAPER = 20_000, 380_000
VARIANTS = 4  # libraries of the recipe "survey", in config.yaml


def rows() -> list[dict]:
    """One mapping per recipe, measured as the rule make_mocks works: population, both arms, shard on disk."""
    tracks = load_tracks()
    libraries = [made_up_library((BLUE, RED), seed) for seed in range(VARIANTS)]
    return [_production(recipe, tracks, libraries[:n]) for recipe, n in (("paper", 1), ("survey", VARIANTS))]


def _production(recipe: str, tracks, libraries) -> dict:
    work = {"arms": [BLUE, RED], "libraries": libraries, "recipe": recipe, "seed": 1}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shard.h5"
        few = draw_pairs(128, 1, tracks, libraries[0].limits, law=recipe)
        write_mock_shard(path, population=few, **work)  # compiles
        started = time.process_time()
        pairs = draw_pairs(N_PAIRS, 1, tracks, libraries[0].limits, law=recipe)
        drawn = time.process_time() - started
        written = write_mock_shard(path, population=pairs, **work)
        seconds = time.process_time() - started
        size = path.stat().st_size
    return {
        "name": f"{written:,} pairs in both arms, recipe {recipe}",
        "ours": written / seconds,
        "unit": "pairs per CPU second",
        "of it drawing the pairs (s)": drawn,
        "hours for 380,000 pairs on one core": seconds / written * N_PAPER / 3600,
        "GB for 380,000 pairs": size / written * N_PAPER / 1e9,
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    json.dump(rows(), sys.stdout, indent=2)
