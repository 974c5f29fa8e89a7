"""The published recipe of Wu et al. beside ours and the compact network, on the same stamps, in pieces that resume.

    PYTHONPATH=workflow/src python benchmarks/recipes.py --folder recipes --minutes 8     (again until it says "done")

Needs torch, lightning, numpy, scipy, numba, h5py and timm. Writes recipes/table.json: accuracy, AUC, rates, hours.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from dioscuri.learn.images.inference import Classifier
from dioscuri.learn.images.training import train
from dioscuri.learn.metrics import auc
from dioscuri.learn.resume import Unfinished
from dioscuri.psf.optics import OPTICS, optical_psf
from dioscuri.stamps.epochs import FreshStamps, Observer
from dioscuri.stamps.mocks import Law, Noise, Renderer

VIEWS = ["flip", "rotation", "zoom", "warp", "brightness_contrast"]
AUTHORS = {
    "rendering": "rgb_log_8bit",
    "layers": {"upscale": 448, "head": "authors"},
    "training": {
        "recipe": "authors",
        "freeze_epochs": 5,
        "augment": ["flip", "rotation", "zoom", "warp", "brightness"],
    },
    "tta": False,
}
OURS = {
    "rendering": "rgb_log",
    "layers": {"upscale": 224},
    "training": {"freeze_epochs": 1, "augment": VIEWS},
    "tta": True,
}
COMPACT = {"rendering": "compact", "layers": {}, "training": {"batch": 256, "augment": ["dihedral"]}, "tta": True}
NETWORKS: dict[str, dict[str, Any]] = {
    "compact": {"architecture": "compact", **COMPACT},
    "efficientnet_b3": {"architecture": "efficientnet_b3", **OURS},
    "resnet34": {"architecture": "resnet34", **OURS},
    "efficientnet_b3_authors": {"architecture": "efficientnet_b3", **AUTHORS},
    "resnet34_authors": {"architecture": "resnet34", **AUTHORS},
}
LAWS = {"random_equal": Law(), "centred_equal": Law(placement="primary_centred")}
N_VALIDATION, N_TEST = 14_568, 40_000


class Fixed:
    """The same stamps in every epoch, as the paper has them."""

    def __init__(self, epochs: FreshStamps):
        self.size, self.description = epochs.size, {**epochs.description, "fixed": True}
        self.made = epochs(0)

    def __call__(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The same, whatever the epoch."""
        return self.made


def stamps(case: str, rendering: str, n: int, seed: int) -> Fixed:
    """Stamps of a case as a network sees them; all networks see the same ones."""
    renderer, noise = Renderer(optical_psf(OPTICS["csst_u"], size=21)), Noise()
    observer = Observer(rendering, noise.variance, renderer)
    return Fixed(FreshStamps(n, LAWS[case], renderer, noise, observer, seed))


def train_one(name: str, case: str, folder: Path, options: argparse.Namespace, seconds: float) -> None:
    """Train a network of a case, or go on with it; Unfinished where the time is up."""
    network = NETWORKS[name]
    layers = dict(network["layers"])
    if network["architecture"] != "compact":
        layers |= {"weights": options.weights} | ({"upscale": options.upscale} if options.upscale else {})
    train(
        stamps(case, network["rendering"], options.stamps, 1),
        stamps(case, network["rendering"], min(N_VALIDATION, options.stamps // 4), 2)(0),
        {"architecture": network["architecture"], **layers},
        1,
        folder / case / name,
        max_epochs=options.epochs,
        rendering=network["rendering"],
        max_seconds=seconds,
        accelerator=options.accelerator,
        precision=options.precision,
        **network["training"],
    )


def judge(name: str, case: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Accuracy, AUC and rates of a trained network on stamps that no training saw, and the hours of its training."""
    network = NETWORKS[name]
    channels, classes = stamps(case, network["rendering"], min(N_TEST, options.stamps), 3)(0)
    device = "auto" if options.accelerator == "auto" else "cpu"
    p = Classifier.load(folder / case / name, device).probability(channels, tta=network["tta"])
    found = p > 0.5
    lines = (folder / case / name / "history.csv").read_text(encoding="utf-8").splitlines()
    column = lines[0].split(",").index("seconds")
    return {
        "case": case,
        "network": name,
        "accuracy": float((found == classes).mean()),
        "auc": auc(p, classes.astype(int)),
        "false positives": float(found[~classes].mean()),
        "missed": float((~found[classes]).mean()),
        "epochs": len(lines) - 1,
        "hours": sum(float(line.split(",")[column]) for line in lines[1:]) / 3600,
        "stamps": options.stamps,
    }


def main() -> None:
    """Go on where the last call stopped; write the table when all networks are trained."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("recipes"))
    parser.add_argument("--minutes", type=float, default=8.0, help="of this call")
    parser.add_argument("--stamps", type=int, default=58_272, help="of the training")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--networks", nargs="*", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--cases", nargs="*", choices=list(LAWS), default=["centred_equal"])
    parser.add_argument("--weights", default="none", help="none, hub, or a file; of ImageNet")
    parser.add_argument("--upscale", type=int, help="px of all enlarged pictures, for a trial at small size")
    parser.add_argument("--precision", default="32-true", choices=["32-true", "bf16-mixed"])
    parser.add_argument("--accelerator", default="auto", choices=["auto", "cpu", "gpu"])
    options = parser.parse_args()
    started = time.monotonic()
    table = []
    for case in options.cases:
        for name in options.networks:
            if not (options.folder / case / name / "model.json").exists():
                left = 60 * options.minutes - (time.monotonic() - started)
                try:
                    train_one(name, case, options.folder, options, max(left, 1.0))
                except Unfinished as stopped:
                    print(f"{case}, {name}: {stopped}: call again")
                    return
            table.append(judge(name, case, options.folder, options))
    (options.folder / "table.json").write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    print(f"done: {options.folder / 'table.json'}")


if __name__ == "__main__":
    main()
