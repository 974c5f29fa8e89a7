"""Features of images: networks in batches beside one image at a time, and heads that are trained on them."""

import json
import sys
import tempfile

import numpy as np
import torch

from dioscuri.analogues.features import Stretch, measure
from dioscuri.learn.features.networks import FeatureNetwork, build
from dioscuri.learn.features.training import train
from dioscuri.learn.features.triplets import SCORED
from inference import median_seconds, row

N_PIXELS = 96
# Architecture → size; weights are random, which changes no speed. The paper's eight take from seconds to minutes each.
NETWORKS: dict[str, int | None] = {"random_cnn": None, "efficientnet_lite0": 96, "mobilenet": 224, "densenet121": 224}
N_IMAGES = {"random_cnn": 128, "efficientnet_lite0": 128, "mobilenet": 64, "densenet121": 64}
PAPERS_HEAD = 5 * 3600  # s on an A100 GPU for a head, its frozen network included (§3.3)


def rows() -> list[dict]:
    """One mapping per comparison: name, ours, published, unit, ratio. One thread."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    images = 10 ** rng.normal(9, 0.5, (max(N_IMAGES.values()), N_PIXELS, N_PIXELS))
    stretch = Stretch("log", 1e11)
    table = []
    for name, size in NETWORKS.items():
        network, n = build(name, "none", size=size), N_IMAGES[name]
        seconds = median_seconds(
            {
                "ours": lambda net=network, n=n: measure(images[:n], net, stretch),
                "single": lambda net=network: _one_by_one(images[:8], net, stretch),
            },
            repeats=1 if size else 3,
        )
        title = f"features by {name}" + (f" at {size} px" if size else "") + ", against one image at a time"
        table.append(row(title, n / seconds["ours"], 8 / seconds["single"], "images/s"))
    return [*table, _head(rng)]


def _one_by_one(images: np.ndarray, network: FeatureNetwork, stretch: Stretch) -> None:
    with torch.no_grad():
        for image in images:
            network(torch.from_numpy(stretch(image[None])[:, None]))


def _head(rng: np.random.Generator) -> dict:
    """A head on features that were measured once, beside the paper's, whose network sees every image in every epoch."""
    features = rng.normal(size=(4000, 480)).astype(np.float32)
    metadata = {name: 10 ** rng.normal(0, 0.5, len(features)) for name in SCORED}
    with tempfile.TemporaryDirectory() as folder:
        seconds = median_seconds(
            {
                "ours": lambda: train(
                    features, metadata, range(len(features)), None, "corrected", 0, folder, max_epochs=1
                )
            },
            repeats=1,
        )
    return row("training a head, against 5 h on an A100", 3600 / (10 * seconds["ours"]), 3600 / PAPERS_HEAD, "heads/h")


if __name__ == "__main__":
    json.dump(rows(), sys.stdout, indent=2)
