"""Runs a training so that it may stop after any epoch, or be killed, and go on as if it had not."""

import csv
import logging
import math
import os
import pickle
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import TQDMProgressBar
from pytorch_lightning.plugins.environments import LightningEnvironment

from dioscuri.io import atomic, write_json
from dioscuri.learn.model_files import sealed_checkpoint
from dioscuri.seals import DamagedFile

PREVIOUS = "previous.ckpt"  # the state of the epoch before, beside last.ckpt
# What torch raises on a file that is not what it wrote.
READ_ERRORS = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    OSError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
)
WALLTIME_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)

log = logging.getLogger(__name__)


class Unfinished(RuntimeError):
    """Training stopped before its end with its state saved: the same call continues it."""


class Recorded(pl.LightningModule):
    """A module that carries the history of its epochs, also in its checkpoints.

    After the validation of an epoch a subclass calls `record` and says in `improved` whether it was the best.
    `fingerprint`: digest of all that a saved state must have in common with the training that continues it.
    """

    def __init__(self, seed: int, fingerprint: str):
        super().__init__()
        self.seed, self.fingerprint = seed, fingerprint
        self.history: list[dict[str, float]] = []
        self.improved = False

    def finished(self, max_epochs: int) -> bool:
        """Whether the last epoch that is wanted has been trained."""
        return len(self.history) >= max_epochs

    def summary(self) -> str:
        """The last epoch in a line, for the log."""
        return ", ".join(f"{name} {value:.4g}" for name, value in self.history[-1].items())

    def record(self, row: dict[str, float], remedy: str) -> None:
        """Append an epoch to the history; a loss that is not finite is an error, which ends with `remedy`."""
        if not np.isfinite([row["train_loss"], row["validation_loss"]]).all():
            raise FloatingPointError(
                f"the loss is not finite after epoch {row['epoch']} (train {row['train_loss']}, "
                f"validation {row['validation_loss']}): {remedy}"
            )
        self.history.append(row)

    def on_train_epoch_start(self) -> None:
        # Dropout and its like are functions of (seed, epoch) alone; the constant keeps them apart from the
        # initial weights.
        torch.manual_seed(int(np.random.SeedSequence([self.seed, len(self.history), 1]).generate_state(1)[0]))
        self.epoch_started = time.monotonic()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["fingerprint"] = self.fingerprint
        checkpoint["history"] = self.history

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.history = checkpoint["history"]


class Keeper(pl.Callback):
    """Saves the state after each epoch, logs it, and stops the run at its end, its time limit or a signal."""

    def __init__(self, resume_dir: Path, started: float, max_seconds: float | None, max_epochs: int):
        self.resume_dir, self.started = resume_dir, started
        self.max_seconds = math.inf if max_seconds is None else max_seconds
        self.max_epochs = max_epochs
        self.received: int | None = None

    def on_train_start(self, trainer: pl.Trainer, module: Recorded) -> None:  # type: ignore[override]
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

    def on_train_batch_end(self, trainer: pl.Trainer, module: Recorded, *_: Any) -> None:  # type: ignore[override]
        if self.received is not None:
            self._stop_unfinished(module, f"signal {signal.Signals(self.received).name}")

    def on_train_epoch_end(self, trainer: pl.Trainer, module: Recorded) -> None:  # type: ignore[override]
        # The best model first: killed between the two, the epoch is run again and gives the same one.
        if module.improved:
            save(self.resume_dir / "best.ckpt", lambda path: trainer.save_checkpoint(path, weights_only=True))
        last = self.resume_dir / "last.ckpt"
        if last.exists():
            os.replace(last, last.with_name(PREVIOUS))
        save(last, lambda path: trainer.save_checkpoint(path, weights_only=False))
        log.info("%s%s", module.summary(), " (best)" if module.improved else "")
        if module.finished(self.max_epochs):
            trainer.should_stop = True
        elif self.received is not None:
            self._stop_unfinished(module, f"signal {signal.Signals(self.received).name}")
        elif time.monotonic() - self.started + module.history[-1]["seconds"] > self.max_seconds:
            self._stop_unfinished(module, f"limit of {self.max_seconds:g} s")

    def _note(self, number: int, _: Any) -> None:
        self.received = number

    def _stop_unfinished(self, module: Recorded, why: str) -> None:
        raise Unfinished(
            f"training stopped ({why}) after {len(module.history)} epochs: rerun to continue "
            f"(state in {self.resume_dir})"
        )


def fit(
    module: Recorded,
    data: pl.LightningDataModule,
    checkpoint: dict[str, Any] | None,
    keeper: Keeper,
    *,
    accelerator: str,
    precision: str = "32-true",
) -> None:
    """Train `module` to its last epoch on one device; `checkpoint` is its `saved_state`, or None to begin."""
    trainer = pl.Trainer(
        accelerator=accelerator,
        devices=1,
        precision=precision,  # type: ignore[arg-type]
        plugins=[LightningEnvironment()],  # one model is one task, also inside a SLURM allocation
        max_epochs=keeper.max_epochs,
        callbacks=[keeper, *([TQDMProgressBar(leave=False)] if sys.stderr.isatty() else [])],
        enable_progress_bar=sys.stderr.isatty(),
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,
        default_root_dir=keeper.resume_dir.parent,
    )
    with keeper.signals_restored():
        trainer.fit(
            module,
            datamodule=data,
            ckpt_path=None if checkpoint is None else keeper.resume_dir / "last.ckpt",
            weights_only=True,
        )


def save(path: Path, writer: Callable[[Path], None]) -> None:
    """Let `writer` write a file that appears whole or not at all."""
    with atomic(path) as temporary:
        writer(temporary)


def saved_state(path: Path, fingerprint: str) -> dict[str, Any] | None:
    """The saved state of an earlier start of the same training, if there is one.

    A damaged one is replaced by that of the epoch before; where that is no better, training starts afresh.
    """
    previous = path.with_name(PREVIOUS)
    for candidate in (path, previous):
        if not candidate.exists():
            continue
        try:
            checkpoint = torch.load(candidate, map_location="cpu", weights_only=True)
            found, epochs = checkpoint["fingerprint"], len(checkpoint["history"])
        except READ_ERRORS as error:
            log.warning("%s is damaged (%s): it is left out", candidate, str(error).split(".")[0])
            continue
        if found != fingerprint:
            log.warning("%s belongs to other settings or other mocks: training starts afresh", candidate)
            return None
        if candidate is previous:
            os.replace(previous, path)
        log.info("continuing after epoch %d (%s)", epochs, candidate)
        return checkpoint
    return None


def write_results(
    out_dir: Path,
    resume_dir: Path,
    module: Recorded,
    settings: dict[str, Any],
    columns: Sequence[str],
    stop_reason: str,
) -> dict[str, Any]:
    """Write the best epoch as `model.ckpt`, `history.csv` and `model.json`, and drop the saved states.

    Returns model.json: `settings`, the best epoch with its `validation_*` columns, and why the training ended.
    """
    best = min(module.history, key=lambda row: row["validation_loss"])
    info = {
        **settings,
        "best_epoch": best["epoch"],
        **{name: best[name] for name in columns if name.startswith("validation_")},
        "epochs": len(module.history),
        "stop_reason": stop_reason,
    }
    try:
        checkpoint = torch.load(resume_dir / "best.ckpt", map_location="cpu", weights_only=True)
        checkpoint |= sealed_checkpoint(checkpoint["state_dict"], info)
    except READ_ERRORS as error:
        raise DamagedFile(f"{resume_dir / 'best.ckpt'} is damaged: delete {resume_dir} and train again") from error
    return write_files(out_dir, resume_dir, checkpoint, module.history, columns)


def write_files(
    out_dir: Path,
    resume_dir: Path,
    checkpoint: dict[str, Any],
    history: Sequence[dict[str, float]],
    columns: Sequence[str],
) -> dict[str, Any]:
    """Write `checkpoint` as `model.ckpt`, `history.csv` and `model.json` (its "model"); drop the saved states."""
    info = checkpoint["model"]
    save(out_dir / "model.ckpt", lambda path: torch.save(checkpoint, path))
    with atomic(out_dir / "history.csv") as temporary, open(temporary, "w", encoding="utf-8", newline="") as stream:
        table = csv.DictWriter(stream, columns)
        table.writeheader()
        table.writerows(history)
    write_json(out_dir / "model.json", info)
    shutil.rmtree(resume_dir)
    return info


def resolved_accelerator(accelerator: str) -> str:
    """`gpu` or `cpu`; auto takes a GPU where there is one."""
    if accelerator not in ("auto", "cpu", "gpu"):
        raise ValueError(f"unknown accelerator '{accelerator}': use auto, cpu or gpu")
    if accelerator == "auto":
        return "gpu" if torch.cuda.is_available() else "cpu"
    return accelerator


@contextmanager
def reproducible() -> Iterator[None]:
    """On a GPU no kernel chosen by timing and no TF32; the caller's random state comes back at the end."""
    cudnn = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    with torch.random.fork_rng(range(torch.cuda.device_count())), cudnn:
        yield
