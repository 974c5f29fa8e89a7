"""Trains one network of one arm, penalty and seed; stops and resumes at epochs, also at a walltime signal."""

import os
import time
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dioscuri import __version__
from dioscuri.io import digest, read_provenance
from dioscuri.learn import loop
from dioscuri.learn.loop import ScheduledClasses
from dioscuri.learn.memory import keep_freed_memory
from dioscuri.learn.resume import WALLTIME_SIGNALS, Unfinished, pl, resolved_accelerator, write_results
from dioscuri.learn.schedule import Schedule
from dioscuri.learn.spectra.data import Batches, PairedSpectra, epoch_order
from dioscuri.learn.spectra.models import MODEL_SCHEMA, load_released
from dioscuri.learn.spectra.networks import SpectrumCNN, build
from dioscuri.learn.spectra.objective import weighted_bce

__all__ = ["HISTORY_COLUMNS", "WALLTIME_SIGNALS", "Unfinished", "train"]

HISTORY_COLUMNS = (
    "epoch",
    "learning_rate",
    "train_loss",
    "validation_loss",
    "validation_tpr",
    "validation_fpr",
    "seconds",
)


def train(
    train_shards: Sequence[str | PathLike],
    validation_shards: Sequence[str | PathLike],
    arm: str,
    network: dict[str, Any],
    penalty: float,
    seed: int,
    out_dir: str | PathLike,
    *,
    grid: dict[str, Any] | None = None,
    learning_rate: float = 1e-3,
    batch: int = 256,
    max_epochs: int = 100,
    schedule: str = "literal",
    patience: int = 3,
    stop_patience: int = 10,
    learning_rate_floor: float = 1e-6,
    max_seconds: float | None = None,
    threads: int = 1,
    accelerator: str = "auto",
    memory_limit: float = 64 * 2**30,
    start: str | PathLike | None = None,
    noisy: float = 0.0,
) -> dict[str, Any]:
    """Train a network on mock shards and write `model.ckpt`, `history.csv` and `model.json` into `out_dir`.

    network: settings of `SpectrumCNN` (channels, kernels, strides, dense, dropout). penalty: Λ of eq. 7.
    grid: the arm's wavelength grid (wave_min, wave_max [Å, vacuum], n_pixels, resolution), kept with the
    model. schedule, patience, stop_patience, learning_rate_floor: see `Schedule`. batch: spectra per step;
    each epoch drops the remainder of its own permutation. accelerator: auto, cpu or gpu. start: released networks
    of this arm, whose one of the same seed is trained further, instead of one of random weights; a seed beyond those
    starts from theirs in turn. noisy: share of the training spectra that get the noise of their S/N once more, as
    the draws of eq. 9 add it to observations.

    Initial weights depend on `seed`, order and dropout of an epoch on (seed, epoch): on one machine with the
    same number of threads a rerun gives the same network, also when it was killed and resumed. The state
    after each epoch is in `out_dir/resume/`. With `max_seconds`, no epoch is begun that would probably end
    later; then, and after SIGTERM or SIGUSR1 (walltime), `Unfinished` is raised. Returns the content of
    model.json.
    """
    started = time.monotonic()
    out_dir = Path(out_dir)
    resume_dir = out_dir / "resume"
    _refuse_overlap(train_shards, validation_shards)
    keep_freed_memory()
    training = PairedSpectra(train_shards, arm, memory_limit)
    validation = PairedSpectra(validation_shards, arm, memory_limit)
    grid = _checked_grid(grid, training, validation)
    begun = None if start is None else _begun(start, arm, network, int(seed))
    settings = {
        "schema": MODEL_SCHEMA,
        "arm": arm,
        "network": network,
        "penalty": float(penalty),
        "seed": int(seed),
        "grid": grid,
        "version": __version__,
        "training": {
            "learning_rate": learning_rate,
            "batch": batch,
            "schedule": schedule,
            "patience": patience,
            "stop_patience": stop_patience,
            "learning_rate_floor": learning_rate_floor,
            "start": None if start is None else digest(Path(start).read_bytes().hex()),
            "noisy": noisy,
            "n_pairs": training.n_pairs,
            "n_validation_pairs": validation.n_pairs,
            "mocks": [read_provenance(path) for path in (train_shards[0], validation_shards[0])],
        },
    }
    fingerprint = digest(settings)

    def make() -> Classifier:
        plan = Schedule(schedule, learning_rate, patience, stop_patience, learning_rate_floor)
        net = build(network, training.n_pixels)
        if begun is not None:
            net.load_state_dict(begun)
        return Classifier(net, float(penalty), seed, plan, fingerprint)

    def data(module: Classifier) -> PairsData:
        if resolved_accelerator(accelerator) == "gpu":
            _place_on_gpu(training, validation)
        return PairsData(training, validation, batch, module, noisy)

    module = loop.train(
        make,
        data,
        resume_dir,
        seed=seed,
        fingerprint=fingerprint,
        max_epochs=max_epochs,
        started=started,
        max_seconds=max_seconds,
        threads=threads,
        accelerator=accelerator,
    )
    stop_reason = module.schedule.stop_reason or f"{max_epochs} epochs"
    return write_results(out_dir, resume_dir, module, settings, HISTORY_COLUMNS, stop_reason)


class Classifier(ScheduledClasses):
    """A network with its penalised loss, its learning-rate schedule and the history of its epochs."""

    def __init__(self, net: SpectrumCNN, penalty: float, seed: int, schedule: Schedule, fingerprint: str):
        super().__init__(schedule, seed, fingerprint)
        self.net, self.penalty = net, penalty

    def summary(self) -> str:
        """The last epoch in a line, for the log."""
        row = self.history[-1]
        return (
            f"epoch {row['epoch']}: rate {row['learning_rate']:.1e}, loss {row['train_loss']:.4f}, validation "
            f"{row['validation_loss']:.4f}, TPR {row['validation_tpr']:.4f}, FPR {row['validation_fpr']:.5f}, "
            f"{row['seconds']:.1f} s"
        )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), self.schedule.learning_rate, fused=True)

    def training_loss(self, inputs: Tensor, y: Tensor) -> Tensor:
        return weighted_bce(self.net(inputs.float()), y, self.penalty)

    def judged(self, inputs: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.net(inputs.float())
        return weighted_bce(logits, y, self.penalty, reduction="sum"), (logits > 0).float()

    def on_validation_epoch_end(self) -> None:
        row = self.epoch_row(self.schedule.learning_rate)
        self.record({name: row[name] for name in HISTORY_COLUMNS}, "lower the learning rate or look at the mocks")
        self.improved = self.schedule.update(row["validation_loss"])
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self.schedule.learning_rate


class PairsData(pl.LightningDataModule):
    """Batches of both splits: training ones in the order of (seed, epoch), validation ones in file order."""

    def __init__(
        self, training: PairedSpectra, validation: PairedSpectra, batch: int, module: Classifier, noisy: float = 0.0
    ):
        super().__init__()
        self.training, self.validation, self.batch, self.module = training, validation, batch, module
        self.noisy = noisy

    def train_dataloader(self) -> Batches:  # type: ignore[override]
        seed, epoch = self.module.seed, len(self.module.history)
        order = epoch_order(len(self.training), seed, epoch)
        noise_seed = int(digest(["noise", seed, epoch]), 16) % 2**63
        return Batches(self.training, order, self.batch, False, self.noisy, noise_seed)

    def val_dataloader(self) -> Batches:  # type: ignore[override]
        return Batches(self.validation, np.arange(len(self.validation)), self.batch, keep_last=True)


def _begun(path: str | PathLike, arm: str, network: dict[str, Any], seed: int) -> dict[str, Tensor]:
    """Weights of the network of a seed in a released file, of the n seeds there the one that comes in turn after them.

    Another layout is an error.
    """
    found = {int(info["seed"]): net for net, info in load_released(path, arm) if info["network"] == network}
    if not found:
        raise ValueError(f"{path}: no network of layers {network} to start from")
    seeds = sorted(found)
    return found[seed if seed in found else seeds[(seed - 1) % len(seeds)]].state_dict()


def _refuse_overlap(train_shards: Sequence[str | PathLike], validation_shards: Sequence[str | PathLike]) -> None:
    both = {os.path.realpath(path) for path in train_shards} & {os.path.realpath(path) for path in validation_shards}
    if both:
        raise ValueError(f"shards given for training and for validation: {', '.join(sorted(both))}")


def _checked_grid(grid: dict[str, Any] | None, training: PairedSpectra, validation: PairedSpectra) -> dict[str, Any]:
    grid = {"n_pixels": training.n_pixels} if grid is None else dict(grid)
    found = {"training mocks": training.n_pixels, "validation mocks": validation.n_pixels}
    for where, n_pixels in found.items():
        if n_pixels != grid["n_pixels"]:
            raise ValueError(f"{where} of the {training.arm} arm have {n_pixels} pixels, the grid {grid['n_pixels']}")
    return grid


def _place_on_gpu(*splits: PairedSpectra) -> None:
    # Gathering a batch on the GPU costs microseconds; more than half of its memory is left to the network.
    for spectra in splits:
        if spectra.n_bytes < 0.4 * torch.cuda.mem_get_info()[0]:
            spectra.to("cuda")
