"""Trains one network on images of single stars and binaries; stops and resumes at epochs, also at a walltime signal."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dioscuri import __version__
from dioscuri.io import digest
from dioscuri.learn import loop
from dioscuri.learn.images.augmentation import Augmentation
from dioscuri.learn.images.backbones import N_CLASSES, Backbone, Compact, build
from dioscuri.learn.images.cycles import MOMENTUM, RECIPES, Recipe, one_cycle, range_test
from dioscuri.learn.images.inference import IMAGE_MODEL_SCHEMA
from dioscuri.learn.loop import TwoClasses
from dioscuri.learn.resume import pl, write_results
from dioscuri.learn.spectra.data import epoch_order

log = logging.getLogger(__name__)

HISTORY_COLUMNS = (
    "epoch",
    "learning_rate",
    "train_loss",
    "validation_loss",
    "validation_accuracy",
    "validation_tpr",
    "validation_fpr",
    "seconds",
)
LEAST_STEPS = 3


class Epochs(Protocol):
    """Training images: `epochs(e)` gives channels (N, C, H, W) and classes (N,; 1 = binary) of epoch e = 0, 1, …

    `size`: N, the same in every epoch. `description`: plain values, kept with the model.
    """

    size: int

    @property
    def description(self) -> dict[str, Any]: ...

    def __call__(self, epoch: int) -> tuple[np.ndarray, np.ndarray]: ...


def train(
    epochs: Epochs,
    validation: tuple[np.ndarray, np.ndarray],
    network: Mapping[str, Any],
    seed: int,
    out_dir: str | PathLike,
    *,
    max_epochs: int = 30,
    batch: int = 64,
    learning_rate: float = 0.004,
    label_smoothing: float = 0.1,
    freeze_epochs: int = 0,
    augment: Sequence[str] | Mapping[str, float] = (),
    rendering: str = "",
    context: Mapping[str, Any] | None = None,
    max_seconds: float | None = None,
    threads: int = 1,
    accelerator: str = "auto",
    precision: str = "32-true",
    recipe: str = "ours",
) -> dict[str, Any]:
    """Train a network and write `model.ckpt`, `history.csv` and `model.json` into `out_dir`.

    epochs: see `Epochs`. validation: channels (V, C, H, W) and classes (V,). network: settings of
    `backbones.build`. Adam with the one-cycle policy up to `learning_rate` over all `max_epochs`, label smoothing
    by eq. 3, `augment`: names (or name → strength) of `augmentation.STRENGTHS` (Wu et al. 2023, §2.3–2.5). The
    first `freeze_epochs` train the head and the BatchNorms of a pretrained network; one that is not has nothing to
    freeze. `recipe`: one of `cycles.RECIPES`; "authors" has two cycles, and finds `learning_rate` by itself. Each
    epoch drops the remainder of its own permutation. rendering: name of what the channels are;
    context: plain values that say for which stars the model is made; both are kept with the model.
    accelerator: auto, cpu or gpu; precision: Lightning's, such as bf16-mixed on a GPU.

    Initial weights depend on `seed`, order, dropout and augmentation of an epoch on (seed, epoch): on one machine
    a rerun gives the same network, also when it was killed and resumed. `max_seconds` and signals as in
    `loop.train`: then `Unfinished` is raised. Returns the content of model.json.
    """
    started = time.monotonic()
    out_dir = Path(out_dir)
    resume_dir = out_dir / "resume"
    n_channels = validation[0].shape[1]
    _check(epochs, validation, batch, label_smoothing, freeze_epochs, max_epochs, recipe)
    settings = {
        "schema": IMAGE_MODEL_SCHEMA,
        "network": dict(network),
        "n_channels": n_channels,
        "rendering": rendering,
        "seed": int(seed),
        "context": dict(context or {}),
        "version": __version__,
        "training": {
            "max_epochs": max_epochs,
            "batch": batch,
            "learning_rate": learning_rate,
            "label_smoothing": label_smoothing,
            "freeze_epochs": freeze_epochs,
            "augment": dict(augment) if isinstance(augment, Mapping) else list(augment),
            "precision": precision,
            **({"recipe": recipe} if recipe != "ours" else {}),
            "epochs": epochs.description,
            "n_validation": len(validation[1]),
        },
    }
    fingerprint = digest(settings)

    def make() -> Classifier:
        net = build(network, n_channels)
        views = Augmentation(augment, net.upscale if isinstance(net, Backbone) else None)
        plan = Plan(RECIPES[recipe], learning_rate, max_epochs, epochs.size // min(batch, epochs.size), freeze_epochs)
        return Classifier(net, views, seed, plan, label_smoothing, fingerprint)

    module = loop.train(
        make,
        lambda module: ImageData(epochs, validation, batch, module),
        resume_dir,
        seed=seed,
        fingerprint=fingerprint,
        max_epochs=max_epochs,
        started=started,
        max_seconds=max_seconds,
        threads=threads,
        accelerator=accelerator,
        precision=precision,
    )
    return write_results(out_dir, resume_dir, module, settings, HISTORY_COLUMNS, f"{max_epochs} epochs")


def smoothed_cross_entropy(
    logits: Tensor, y: Tensor, epsilon: float, reduction: str = "mean", over: str = "others"
) -> Tensor:
    """Cross-entropy with smoothed labels (Wu et al. 2023, eqs. 2–3), from logits (B, K) and classes `y` (B,).

    The target is 1 − ε for the true class and ε/(K − 1) for the others, as printed. With `over` "all" ε is spread over
    all K classes, as torch and the authors' code do: for K = 2 that smooths half as much.
    """
    n_classes = logits.shape[1]
    epsilon *= (n_classes - 1) / n_classes if over == "all" else 1.0
    targets = torch.full_like(logits, epsilon / (n_classes - 1)).scatter_(1, y[:, None], 1.0 - epsilon)
    return F.cross_entropy(logits, targets, reduction=reduction)


@dataclass(frozen=True)
class Plan:
    """Learning rates of a training: its recipe, peak rate, epochs, steps of an epoch, and epochs that are frozen."""

    recipe: Recipe
    learning_rate: float
    max_epochs: int
    steps: int
    freeze_epochs: int

    def cycle(self, epoch: int) -> tuple[int, int]:
        """First epoch of the cycle that an epoch belongs to, and the cycle's length in epochs."""
        first = self.recipe.first_cycle
        return (0, first) if epoch < first else (first, self.max_epochs - first)


class Classifier(TwoClasses):
    """A network with its augmentations, its loss, its one-cycle policies and the history of its epochs."""

    def __init__(
        self,
        net: Compact | Backbone,
        views: Augmentation,
        seed: int,
        plan: Plan,
        label_smoothing: float,
        fingerprint: str,
    ):
        super().__init__(seed, fingerprint)
        self.net, self.views, self.plan, self.epsilon = net, views, plan, label_smoothing
        self.freeze_epochs = plan.freeze_epochs if getattr(net, "pretrained", False) else 0
        self.peaks: dict[int, float] = {}  # first epoch of a cycle → its peak rate

    def summary(self) -> str:
        """The last epoch in a line, for the log."""
        row = self.history[-1]
        return (
            f"epoch {row['epoch']}: rate {row['learning_rate']:.1e}, loss {row['train_loss']:.4f}, validation "
            f"{row['validation_loss']:.4f}, accuracy {row['validation_accuracy']:.4f}, {row['seconds']:.1f} s"
        )

    def configure_optimizers(self) -> torch.optim.Optimizer:  # type: ignore[override]
        recipe = self.plan.recipe
        given: dict[str, Any] = {"betas": (MOMENTUM[0], recipe.square_memory), "eps": recipe.epsilon, "fused": True}
        if recipe.weight_decay:
            return torch.optim.AdamW(
                self.parameters(), self.plan.learning_rate, weight_decay=recipe.weight_decay, **given
            )
        return torch.optim.Adam(self.parameters(), self.plan.learning_rate, **given)

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        epoch = len(self.history)
        self.net.freeze(epoch < self.freeze_epochs)
        first, _ = self.plan.cycle(epoch)
        if first not in self.peaks:
            self.peaks[first] = self._tested_rate() if self.plan.recipe.range_test else self.plan.learning_rate

    def _tested_rate(self) -> float:
        """The peak rate by a range test, which leaves no trace in the weights or the random numbers of the epoch."""
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            torch.manual_seed(self.seed)
            batches = self.trainer.datamodule.train_dataloader()  # type: ignore[attr-defined]
            rate = range_test(self.net, self.training_loss, batches, self.configure_optimizers())
        log.info("range test before epoch %d: rate %.2g", len(self.history) + 1, rate)
        return rate

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        first, length = self.plan.cycle(len(self.history))
        step = (len(self.history) - first) * self.plan.steps + batch_idx
        rate, momentum = one_cycle(step, length * self.plan.steps, self.peaks[first], self.plan.recipe.end)
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"], group["betas"] = rate, (momentum, group["betas"][1])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["peaks"] = self.peaks

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self.peaks = checkpoint["peaks"]

    def training_loss(self, inputs: Tensor, y: Tensor) -> Tensor:
        with torch.autocast(inputs.device.type, enabled=False):  # positions need more digits than weights do
            views = self.views(inputs)
        return self._loss(self.net(views).float(), y)

    def judged(self, inputs: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.net(inputs).float()
        return self._loss(logits, y, reduction="sum"), logits.argmax(dim=1).double()

    def _loss(self, logits: Tensor, y: Tensor, reduction: str = "mean") -> Tensor:
        return smoothed_cross_entropy(logits, y, self.epsilon, reduction, self.plan.recipe.smoothing_over)

    def on_validation_epoch_end(self) -> None:
        row = self.epoch_row(self.trainer.optimizers[0].param_groups[0]["lr"])
        self.improved = not self.history or row["validation_loss"] < min(r["validation_loss"] for r in self.history)
        self.record(row, "lower the learning rate or look at the images")


class ImageData(pl.LightningDataModule):
    """Batches on the device of the network: training ones in the order of (seed, epoch), the others as they are."""

    def __init__(self, epochs: Epochs, validation: tuple[np.ndarray, np.ndarray], batch: int, module: Classifier):
        super().__init__()
        self.epochs, self.validation, self.batch, self.module = epochs, validation, batch, module
        self.made: tuple[int, ImageBatches] | None = None

    def train_dataloader(self) -> "ImageBatches":  # type: ignore[override]
        epoch = len(self.module.history)
        if self.made is None or self.made[0] != epoch:  # Lightning asks twice when it resumes
            channels, classes = self.epochs(epoch)
            order = epoch_order(len(classes), self.module.seed, epoch)
            batches = ImageBatches(channels, classes, order, self.batch, self.module.device, keep_last=False)
            self.made = epoch, batches
        return self.made[1]

    def val_dataloader(self) -> "ImageBatches":  # type: ignore[override]
        channels, classes = self.validation
        order = np.arange(len(classes))
        return ImageBatches(channels, classes, order, self.batch, self.module.device, keep_last=True)


class ImageBatches:
    """Batches of channels and classes in a given order; the incomplete last one is kept or dropped."""

    def __init__(
        self,
        channels: np.ndarray,
        classes: np.ndarray,
        order: np.ndarray,
        batch: int,
        device: torch.device,
        keep_last: bool,
    ):
        # The whole epoch goes to the device at once: 14 × 14 pixels weigh less than a kilobyte a channel.
        self.channels = torch.from_numpy(np.ascontiguousarray(channels, np.float32)).to(device)
        self.classes = torch.from_numpy(np.asarray(classes, np.int64)).to(device)
        self.order = torch.from_numpy(order).to(device)
        self.batch = min(batch, len(order))
        self.n_batches = -(-len(order) // self.batch) if keep_last else len(order) // self.batch

    def __len__(self) -> int:
        return self.n_batches

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for rows in self.order[: self.n_batches * self.batch].split(self.batch):
            yield self.channels[rows], self.classes[rows]


def _check(
    epochs: Epochs,
    validation: tuple[np.ndarray, np.ndarray],
    batch: int,
    label_smoothing: float,
    freeze_epochs: int,
    max_epochs: int,
    recipe: str,
) -> None:
    if recipe not in RECIPES:
        raise ValueError(f"unknown recipe '{recipe}'; accepted: {', '.join(RECIPES)}")
    if 0 < max_epochs <= RECIPES[recipe].first_cycle:
        least = RECIPES[recipe].first_cycle + 1
        raise ValueError(f"recipe '{recipe}' needs max_epochs of {least} or more, found {max_epochs}")
    if batch < 2 or epochs.size < 2:
        raise ValueError(f"batch {batch}, images per epoch {epochs.size}; accepted: at least 2 (BatchNorm)")
    if max_epochs * (epochs.size // min(batch, epochs.size)) < LEAST_STEPS:
        raise ValueError(
            f"{max_epochs} epochs of {epochs.size} images in batches of {batch} are too few steps; "
            f"accepted: {LEAST_STEPS} or more in all"
        )
    if not 0.0 <= label_smoothing < 0.5:
        raise ValueError(f"label_smoothing is {label_smoothing:g}; accepted: 0 or more, below 0.5")
    if not 0 <= freeze_epochs <= max_epochs:
        raise ValueError(f"freeze_epochs is {freeze_epochs}; accepted: 0 to max_epochs = {max_epochs}")
    if len(set(np.unique(validation[1]).tolist()) & {0, 1}) < N_CLASSES:
        raise ValueError("the validation images need single stars (0) and binaries (1)")
    if not np.isfinite(validation[0]).all():
        raise ValueError("some validation images are not finite: make these stamps again")
