"""Image networks: the compact one with fresh mocks beside the published way, an enlarged EfficientNet-B3 on files."""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from dioscuri.learn.images.augmentation import Augmentation
from dioscuri.learn.images.backbones import build
from dioscuri.learn.images.inference import Classifier
from dioscuri.learn.images.training import train
from dioscuri.psf.optics import OPTICS, optical_psf
from dioscuri.stamps.epochs import FreshStamps, Observer
from dioscuri.stamps.mocks import Law, Noise, Renderer, draw_sources, make_stamps
from inference import median_seconds, row

N_STAMPS, BATCH, UPSCALE = 12_800, 256, 224
PUBLISHED_BATCH = 4  # of 64: a step of the published network takes a minute otherwise
VIEWS = ("flip", "rotation", "zoom", "warp", "brightness_contrast")


def rows() -> list[dict]:
    """One mapping per comparison: name, ours, published, unit, ratio. One thread, CSST."""
    torch.set_num_threads(1)
    renderer, noise = Renderer(optical_psf(OPTICS["csst_u"], size=21)), Noise()
    observer = Observer("compact", noise.variance, renderer)
    epochs = FreshStamps(N_STAMPS, Law(), renderer, noise, observer, seed=1)
    sources = draw_sources(1024, 2, Law(), noise=noise)
    stamps = make_stamps(sources, renderer, noise, 2)
    with tempfile.TemporaryDirectory() as folder:
        training = _our_training(epochs, (observer.channels(stamps), sources["is_binary"]), Path(folder))
        classifier = Classifier.load(folder, "cpu")
    published = build({"architecture": "efficientnet_b3", "upscale": UPSCALE}, 1)
    images, pictures = torch.rand(PUBLISHED_BATCH, 1, UPSCALE, UPSCALE), torch.rand(64, 1, 14, 14)
    views, transform = Augmentation(VIEWS, size=UPSCALE), _transform()
    step = median_seconds({"published": lambda: _published_step(published, images)}, repeats=2)
    scoring = median_seconds(
        {
            "ours": lambda: classifier.probability(observer.channels(stamps)),
            "published": lambda: _published_scores(published, images),
        },
        repeats=3,
    )
    augmentation = median_seconds(
        {"ours": lambda: views(pictures), "published": lambda: [transform(picture) for picture in pictures]}
    )
    return [
        row(
            "compact network, an epoch with its fresh stamps, against EfficientNet-B3 at 224 px",
            training,
            PUBLISHED_BATCH / step["published"],
            "images/s",
        ),
        row(
            "compact network, stamps to p with 8 views, against EfficientNet-B3 at 224 px, one view",
            len(stamps) / scoring["ours"],
            PUBLISHED_BATCH / scoring["published"],
            "images/s",
        ),
        row(
            "augmentation 14 to 224 px, a batch at a time, against torchvision image by image",
            len(pictures) / augmentation["ours"],
            len(pictures) / augmentation["published"],
            "images/s",
        ),
    ]


def _our_training(epochs: FreshStamps, validation: tuple, out: Path) -> float:
    """Images per second of the best epoch of `train`: stamps, fits, training and validation."""
    started: list[float] = []

    class Timed:
        size = epochs.size
        description = epochs.description

        def __call__(self, epoch: int):
            started.append(time.perf_counter())
            return epochs(epoch)

    settings = {"max_epochs": 4, "batch": BATCH, "augment": ["dihedral"], "rendering": "compact"}
    train(Timed(), validation, {"architecture": "compact"}, 0, out, accelerator="cpu", **settings)
    return N_STAMPS / float(np.diff(started).min())


def _published_step(net: nn.Module, images: torch.Tensor) -> None:
    """One training step; reading and augmenting the files comes on top."""
    optimizer = torch.optim.Adam(net.parameters(), 0.004)
    logits = net.train()(images)
    nn.functional.cross_entropy(logits, torch.arange(len(images)) % 2, label_smoothing=0.1).backward()
    optimizer.step()
    optimizer.zero_grad()


@torch.inference_mode()
def _published_scores(net: nn.Module, images: torch.Tensor) -> torch.Tensor:
    return torch.softmax(net.eval()(images), dim=1)


def _transform() -> Callable[[torch.Tensor], torch.Tensor]:
    """The five augmentations of §2.3 as torchvision transforms of one image."""
    from torchvision.transforms import v2

    return v2.Compose(
        [
            v2.Resize(UPSCALE, antialias=True),
            v2.RandomHorizontalFlip(),
            v2.RandomVerticalFlip(),
            v2.RandomRotation(30, interpolation=v2.InterpolationMode.BILINEAR),
            v2.RandomAffine(0, scale=(1.0, 1.5), interpolation=v2.InterpolationMode.BILINEAR),
            v2.RandomPerspective(0.2, p=1.0),
            v2.ColorJitter(0.2, 0.2),
        ]
    )


if __name__ == "__main__":
    json.dump(rows(), sys.stdout, indent=2)
