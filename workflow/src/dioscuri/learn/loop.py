"""The training loop that all networks share: start or go on, epochs with their history, results of the best epoch."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from dioscuri.learn.lightning_quirks import quiet_lightning
from dioscuri.learn.memory import keep_freed_memory
from dioscuri.learn.resume import Keeper, Recorded, fit, pl, reproducible, resolved_accelerator, saved_state
from dioscuri.learn.schedule import Schedule

Module = TypeVar("Module", bound=Recorded)


def train(
    make: Callable[[], Module],
    data: Callable[[Module], pl.LightningDataModule],
    resume_dir: Path,
    *,
    seed: int,
    fingerprint: str,
    max_epochs: int,
    started: float,
    max_seconds: float | None,
    threads: int,
    accelerator: str,
    precision: str = "32-true",
) -> Module:
    """Train what `make` makes, with weights that depend on `seed` alone, and return it after its last epoch.

    A training that was stopped or killed goes on from `resume_dir` where `fingerprint` is the same: on one machine
    with the same number of threads the result is that of an undisturbed one. `data`: the batches, asked of the module
    only if there is an epoch to train. `started` (time.monotonic) begins the time that `max_seconds` limits: no epoch
    is begun that would probably end later; then, and after SIGTERM or SIGUSR1 (walltime), `Unfinished` is raised.
    """
    keep_freed_memory()
    torch.set_num_threads(threads)
    accelerator = resolved_accelerator(accelerator)
    with reproducible(), quiet_lightning():
        torch.manual_seed(seed)
        module = make()
        checkpoint = saved_state(resume_dir / "last.ckpt", fingerprint)
        if checkpoint is not None:
            module.on_load_checkpoint(checkpoint)
            module.load_state_dict(checkpoint["state_dict"])
        if not module.finished(max_epochs):
            keeper = Keeper(resume_dir, started, max_seconds, max_epochs)
            fit(module, data(module), checkpoint, keeper, accelerator=accelerator, precision=precision)
    return module


class TwoClasses(Recorded, ABC):
    """A network that tells two classes apart: the sums of an epoch, from which its losses and rates come.

    A subclass has `training_loss` (the mean of a batch) and `judged`, and records a row of its own after validation.
    """

    @abstractmethod
    def training_loss(self, inputs: Tensor, y: Tensor) -> Tensor:
        """Mean loss of a batch with classes `y` (B,)."""

    @abstractmethod
    def judged(self, inputs: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Summed loss of a batch, and which are taken for positives: 0 or 1, (B,)."""

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        self.train_sums = torch.zeros(2, device=self.device)  # loss, batches
        self.validation_sums = torch.zeros(5, dtype=torch.float64)  # loss, positives, found, negatives, false

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        loss = self.training_loss(*batch)
        self.train_sums += torch.stack([loss.detach(), torch.ones_like(loss)])
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        _, y = batch
        loss, found = self.judged(*batch)
        sums = torch.stack([loss, y.sum(), (y * found).sum(), (1 - y).sum(), ((1 - y) * found).sum()])
        self.validation_sums += sums.cpu()

    def epoch_row(self, learning_rate: float) -> dict[str, float]:
        """The epoch that ends, in a row of the history."""
        loss, positives, found, negatives, false = self.validation_sums.tolist()
        return {
            "epoch": len(self.history) + 1,
            "learning_rate": learning_rate,
            "train_loss": float(self.train_sums[0] / self.train_sums[1]),
            "validation_loss": loss / (positives + negatives),
            "validation_accuracy": (found + negatives - false) / (positives + negatives),
            "validation_tpr": found / positives,
            "validation_fpr": false / negatives,
            "seconds": time.monotonic() - self.epoch_started,
        }


class ScheduledClasses(TwoClasses):
    """The same with a learning rate that follows the validation loss (`Schedule`), also when it is taken up again."""

    def __init__(self, schedule: Schedule, seed: int, fingerprint: str):
        super().__init__(seed, fingerprint)
        self.schedule = schedule

    def finished(self, max_epochs: int) -> bool:
        """Whether the schedule has come to its end, or the last epoch that is wanted has been trained."""
        return bool(self.schedule.stop_reason) or super().finished(max_epochs)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["schedule"] = asdict(self.schedule)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self.schedule = Schedule(**checkpoint["schedule"])
