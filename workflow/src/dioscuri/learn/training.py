"""Trains one network of one arm, penalty and seed; stops and resumes at epochs, also at a walltime signal."""

import csv
import logging
import math
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dioscuri import __version__
from dioscuri.io import atomic, digest, read_provenance, write_json
from dioscuri.learn.data import Batches, PairedSpectra, epoch_order
from dioscuri.learn.inference import MODEL_SCHEMA
from dioscuri.learn.lightning_quirks import declare_missing_operators, quiet_lightning
from dioscuri.learn.memory import keep_freed_memory
from dioscuri.learn.networks import SpectrumCNN, build
from dioscuri.learn.objective import weighted_bce
from dioscuri.learn.schedule import Schedule

declare_missing_operators()

import pytorch_lightning as pl  # noqa: E402  (torchvision has to be mended first)
from pytorch_lightning.callbacks import TQDMProgressBar  # noqa: E402
from pytorch_lightning.plugins.environments import LightningEnvironment  # noqa: E402

HISTORY_COLUMNS = (
    "epoch",
    "learning_rate",
    "train_loss",
    "validation_loss",
    "validation_tpr",
    "validation_fpr",
    "seconds",
)
WALLTIME_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)

log = logging.getLogger(__name__)


class Unfinished(RuntimeError):
    """Training stopped before its end with its state saved: the same call continues it."""


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
) -> dict[str, Any]:
    """Train a network on mock shards and write `model.ckpt`, `history.csv` and `model.json` into `out_dir`.

    network: settings of `SpectrumCNN` (channels, kernels, strides, dense, dropout). penalty: Λ of eq. 7.
    grid: the arm's wavelength grid (wave_min, wave_max [Å, vacuum], n_pixels, resolution), kept with the
    model. schedule, patience, stop_patience, learning_rate_floor: see `Schedule`. batch: spectra per step;
    each epoch drops the remainder of its own permutation. accelerator: auto, cpu or gpu.

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
    torch.set_num_threads(threads)
    accelerator = _resolved(accelerator)

    training = PairedSpectra(train_shards, arm, memory_limit)
    validation = PairedSpectra(validation_shards, arm, memory_limit)
    grid = _checked_grid(grid, training, validation)
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
            "n_pairs": training.n_pairs,
            "n_validation_pairs": validation.n_pairs,
            "mocks": [read_provenance(path) for path in (train_shards[0], validation_shards[0])],
        },
    }
    fingerprint = digest(settings)

    with torch.random.fork_rng(range(torch.cuda.device_count())), quiet_lightning(), _cuda_reproducible():
        torch.manual_seed(seed)
        plan = Schedule(schedule, learning_rate, patience, stop_patience, learning_rate_floor)
        module = Classifier(build(network, training.n_pixels), float(penalty), seed, plan, fingerprint)
        checkpoint = _resumable(resume_dir / "last.ckpt", fingerprint)
        if checkpoint is not None:
            module.on_load_checkpoint(checkpoint)
        if not module.finished(max_epochs):
            if accelerator == "gpu":
                _place_on_gpu(training, validation)
            keeper = Keeper(resume_dir, started, max_seconds, max_epochs)
            trainer = pl.Trainer(
                accelerator=accelerator,
                devices=1,
                plugins=[LightningEnvironment()],  # one model is one task, also inside a SLURM allocation
                max_epochs=max_epochs,
                callbacks=[keeper, *([TQDMProgressBar(leave=False)] if sys.stderr.isatty() else [])],
                enable_progress_bar=sys.stderr.isatty(),
                logger=False,
                enable_checkpointing=False,
                enable_model_summary=False,
                num_sanity_val_steps=0,
                reload_dataloaders_every_n_epochs=1,
                use_distributed_sampler=False,
                default_root_dir=out_dir,
            )
            with keeper.signals_restored():
                trainer.fit(
                    module,
                    datamodule=PairsData(training, validation, batch, module),
                    ckpt_path=None if checkpoint is None else resume_dir / "last.ckpt",
                    weights_only=True,
                )
    return _write_results(out_dir, resume_dir, module, settings, max_epochs)


class Classifier(pl.LightningModule):
    """A network with its penalised loss, its learning-rate schedule and the history of its epochs."""

    def __init__(self, net: SpectrumCNN, penalty: float, seed: int, schedule: Schedule, fingerprint: str):
        super().__init__()
        self.net, self.penalty, self.seed = net, penalty, seed
        self.schedule, self.fingerprint = schedule, fingerprint
        self.history: list[dict[str, float]] = []
        self.improved = False

    def finished(self, max_epochs: int) -> bool:
        """Whether the last epoch that is wanted has been trained."""
        return bool(self.schedule.stop_reason) or len(self.history) >= max_epochs

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), self.schedule.learning_rate, fused=True)

    def on_train_epoch_start(self) -> None:
        # Dropout, too, is a function of (seed, epoch) alone; the constant keeps it apart from the initial
        # weights.
        torch.manual_seed(int(np.random.SeedSequence([self.seed, len(self.history), 1]).generate_state(1)[0]))
        self.epoch_started = time.monotonic()
        self.train_sums = torch.zeros(2, device=self.device)  # loss, batches
        self.validation_sums = torch.zeros(5, dtype=torch.float64)  # loss, positives, found, negatives, false

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        flux, y = batch
        loss = weighted_bce(self.net(flux.float()), y, self.penalty)
        self.train_sums += torch.stack([loss.detach(), torch.ones_like(loss)])
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        flux, y = batch
        logits = self.net(flux.float())
        found = (logits > 0).float()
        loss = weighted_bce(logits, y, self.penalty, reduction="sum")
        sums = torch.stack([loss, y.sum(), (y * found).sum(), (1 - y).sum(), ((1 - y) * found).sum()])
        self.validation_sums += sums.cpu()

    def on_validation_epoch_end(self) -> None:
        loss, positives, found, negatives, false = self.validation_sums.tolist()
        row = {
            "epoch": len(self.history) + 1,
            "learning_rate": self.schedule.learning_rate,
            "train_loss": float(self.train_sums[0] / self.train_sums[1]),
            "validation_loss": loss / (positives + negatives),
            "validation_tpr": found / positives,
            "validation_fpr": false / negatives,
            "seconds": time.monotonic() - self.epoch_started,
        }
        if not np.isfinite([row["train_loss"], row["validation_loss"]]).all():
            raise FloatingPointError(
                f"the loss is not finite after epoch {row['epoch']} (train {row['train_loss']}, "
                f"validation {row['validation_loss']}): lower the learning rate or look at the mocks"
            )
        self.history.append(row)
        self.improved = self.schedule.update(row["validation_loss"])
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self.schedule.learning_rate

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["fingerprint"] = self.fingerprint
        checkpoint["schedule"] = asdict(self.schedule)
        checkpoint["history"] = self.history

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.schedule = Schedule(**checkpoint["schedule"])
        self.history = checkpoint["history"]


class PairsData(pl.LightningDataModule):
    """Batches of both splits: training ones in the order of (seed, epoch), validation ones in file order."""

    def __init__(self, training: PairedSpectra, validation: PairedSpectra, batch: int, module: Classifier):
        super().__init__()
        self.training, self.validation, self.batch, self.module = training, validation, batch, module

    def train_dataloader(self) -> Batches:  # type: ignore[override]
        order = epoch_order(len(self.training), self.module.seed, len(self.module.history))
        return Batches(self.training, order, self.batch, keep_last=False)

    def val_dataloader(self) -> Batches:  # type: ignore[override]
        return Batches(self.validation, np.arange(len(self.validation)), self.batch, keep_last=True)


class Keeper(pl.Callback):
    """Saves the state after each epoch, logs it, and stops the run at its end, its time limit or a signal."""

    def __init__(self, resume_dir: Path, started: float, max_seconds: float | None, max_epochs: int):
        self.resume_dir, self.started = resume_dir, started
        self.max_seconds = math.inf if max_seconds is None else max_seconds
        self.max_epochs = max_epochs
        self.received: int | None = None

    def on_train_start(self, trainer: pl.Trainer, module: Classifier) -> None:  # type: ignore[override]
        # Here, because Lightning puts its own handler for SIGTERM in place when the fit begins.
        if threading.current_thread() is threading.main_thread():
            for number in WALLTIME_SIGNALS:
                signal.signal(number, self._note)

    @contextmanager
    def signals_restored(self) -> Iterator[None]:
        """Give the signals back to their handlers at the end."""
        before: dict[int, Any] = {number: signal.getsignal(number) for number in WALLTIME_SIGNALS}
        try:
            yield
        finally:
            if threading.current_thread() is threading.main_thread():
                for number, handler in before.items():
                    signal.signal(number, handler)

    def on_train_batch_end(self, trainer: pl.Trainer, module: Classifier, *_: Any) -> None:  # type: ignore[override]
        if self.received is not None:
            self._stop_unfinished(module, f"signal {signal.Signals(self.received).name}")

    def on_train_epoch_end(self, trainer: pl.Trainer, module: Classifier) -> None:  # type: ignore[override]
        # The best model first: killed between the two, the epoch is run again and gives the same one.
        if module.improved:
            _save(self.resume_dir / "best.ckpt", lambda path: trainer.save_checkpoint(path, weights_only=True))
        _save(self.resume_dir / "last.ckpt", lambda path: trainer.save_checkpoint(path, weights_only=False))
        row = module.history[-1]
        log.info(
            "epoch %d: rate %.1e, loss %.4f, validation %.4f, TPR %.4f, FPR %.5f, %.1f s%s",
            *(row[name] for name in HISTORY_COLUMNS),
            " (best)" if module.improved else "",
        )
        if module.finished(self.max_epochs):
            trainer.should_stop = True
        elif self.received is not None:
            self._stop_unfinished(module, f"signal {signal.Signals(self.received).name}")
        elif time.monotonic() - self.started + row["seconds"] > self.max_seconds:
            self._stop_unfinished(module, f"limit of {self.max_seconds:g} s")

    def _note(self, number: int, _: Any) -> None:
        self.received = number

    def _stop_unfinished(self, module: Classifier, why: str) -> None:
        raise Unfinished(
            f"training stopped ({why}) after {len(module.history)} epochs: rerun to continue "
            f"(state in {self.resume_dir})"
        )


def _save(path: Path, writer: Callable[[Path], None]) -> None:
    with atomic(path) as temporary:
        writer(temporary)


def _resumable(path: Path, fingerprint: str) -> dict[str, Any] | None:
    """The saved state of an earlier start of the same training, if there is one."""
    if not path.exists():
        return None
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    if checkpoint["fingerprint"] != fingerprint:
        log.warning("%s belongs to other settings or other mocks: training starts afresh", path)
        return None
    log.info("continuing after epoch %d (%s)", len(checkpoint["history"]), path)
    return checkpoint


def _write_results(
    out_dir: Path, resume_dir: Path, module: Classifier, settings: dict[str, Any], max_epochs: int
) -> dict[str, Any]:
    best = min(module.history, key=lambda row: row["validation_loss"])
    info = {
        **settings,
        "best_epoch": best["epoch"],
        "validation_loss": best["validation_loss"],
        "validation_tpr": best["validation_tpr"],
        "validation_fpr": best["validation_fpr"],
        "epochs": len(module.history),
        "stop_reason": module.schedule.stop_reason or f"{max_epochs} epochs",
    }
    checkpoint = torch.load(resume_dir / "best.ckpt", map_location="cpu", weights_only=True)
    checkpoint["model"] = info
    _save(out_dir / "model.ckpt", lambda path: torch.save(checkpoint, path))
    with atomic(out_dir / "history.csv") as temporary, open(temporary, "w", newline="") as stream:
        table = csv.DictWriter(stream, HISTORY_COLUMNS)
        table.writeheader()
        table.writerows(module.history)
    write_json(out_dir / "model.json", info)
    shutil.rmtree(resume_dir)
    return info


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


def _resolved(accelerator: str) -> str:
    if accelerator not in ("auto", "cpu", "gpu"):
        raise ValueError(f"unknown accelerator '{accelerator}': use auto, cpu or gpu")
    if accelerator == "auto":
        return "gpu" if torch.cuda.is_available() else "cpu"
    return accelerator


def _place_on_gpu(*splits: PairedSpectra) -> None:
    # Gathering a batch on the GPU costs microseconds; more than half of its memory is left to the network.
    for spectra in splits:
        if spectra.n_bytes < 0.4 * torch.cuda.mem_get_info()[0]:
            spectra.to("cuda")


@contextmanager
def _cuda_reproducible() -> Iterator[None]:
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield
