"""Trains the paper's network of residual blocks on the common loop."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dioscuri.io import digest
from dioscuri.learn import loop
from dioscuri.learn.model_files import network_of, read_checkpoint
from dioscuri.learn.resume import pl, write_results
from dioscuri.learn.schedule import Schedule
from dioscuri.learn.spectra.dense import Sample, calibrate, generator_of, held_out, oversampled
from dioscuri.learn.spectra.residual import SCHEMA, ResidualNet, network, save_residual

COLUMNS = ("epoch", "learning_rate", "train_loss", "validation_loss", "validation_tpr", "validation_fpr", "seconds")
EVALUATED = 512  # spectra at once


@dataclass(frozen=True)
class ResidualSettings:
    """Dropout .5, rate 1e-4 and early stopping of Jing et al. (2025, §2.3); sizes, batch and patience are not given."""

    channels: int = 16
    kernel: int = 9
    stride: int = 4
    pool: int = 4
    hidden: int = 64
    dropout: float = 0.5
    learning_rate: float = 1e-4
    batch: int = 64
    patience: int = 4
    epochs: int = 40


class Nights:
    """What observation adds to noise-free pixels: white noise and systematics; 0 where a pixel takes no part.

    `bank` (B, L) of what nights differ by, `noise` (L,) 1σ at S/N_g = 1, `kept` (L,) bool.
    """

    def __init__(self, bank: np.ndarray, noise: np.ndarray, kept: np.ndarray) -> None:
        self.bank, self.noise, self.kept = (torch.from_numpy(a.astype(np.float32)) for a in (bank, noise, kept))

    def __call__(self, flux: Tensor, snrg: Tensor, generator: torch.Generator) -> Tensor:
        """Spectra (S, L) as nights show them at S/N_g `snrg` (S,)."""
        night = self.bank[torch.randint(len(self.bank), (len(flux),), generator=generator)]
        white = self.noise / snrg[:, None] * torch.randn(flux.shape, generator=generator)
        return (flux + white + (1 + flux) * night) * self.kept


def train_residual(
    sample: Sample, nights: Nights, seed: int, path: str | PathLike, settings: ResidualSettings
) -> dict[str, Any]:
    """Train on a sample whose `x` are normalised spectra (N, L) and write the network to `path`; returns its facts.

    A tenth of the stars validate; oversampled to parity in training only. The best epoch is kept, its logit calibrated
    on validation.
    """
    path, started = Path(path), time.monotonic()
    folder = path.parent
    random = np.random.default_rng(seed)
    held = held_out(sample, random)
    data = Spectra(sample, held, nights, seed, settings.batch)
    y = np.asarray(sample.y, bool)
    facts: dict[str, Any] = {"schema": SCHEMA, "n_pixels": sample.x.shape[1], "seed": seed} | asdict(settings)
    facts |= {"observed": sample.observed, "n_binaries": int(y.sum()), "n_singles": int((~y).sum())}
    fingerprint = digest([facts, float(np.abs(sample.x[::50].astype(np.float32)).sum())])
    plan = partial(Schedule, "patience", settings.learning_rate, 10**6, settings.patience, 0.0)
    module = loop.train(
        lambda: Classifier(network(facts), plan(), data.weight, seed, fingerprint),
        lambda module: SpectraData(data, module),
        folder / "resume",
        seed=seed,
        fingerprint=fingerprint,
        max_epochs=settings.epochs,
        started=started,
        max_seconds=None,
        threads=torch.get_num_threads(),
        accelerator="cpu",
    )
    reason = module.schedule.stop_reason or f"{settings.epochs} epochs"
    info = write_results(folder, folder / "resume", module, facts, COLUMNS, reason)
    net = network_of(folder, network, info, read_checkpoint(folder, SCHEMA)[0])
    seen, y = (torch.cat(part) for part in zip(*data.validation()))
    calibrate(net, seen, y)
    save_residual(path, [net], [info])
    return info


class Classifier(loop.ScheduledClasses):
    """The network with its loss, in which both classes weigh alike on validation; it stops early."""

    def __init__(self, net: ResidualNet, schedule: Schedule, weight: tuple[float, float], seed: int, fingerprint: str):
        super().__init__(schedule, seed, fingerprint)
        self.net, self.weight = net, weight

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), self.schedule.learning_rate)

    def training_loss(self, inputs: Tensor, y: Tensor) -> Tensor:
        return nn.functional.binary_cross_entropy_with_logits(self.net(inputs), y)

    def judged(self, inputs: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.net(inputs)
        weight = torch.where(y > 0.5, *self.weight)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, y, weight=weight, reduction="sum")
        return loss, (logits > 0).float()

    def on_validation_epoch_end(self) -> None:
        row = self.epoch_row(self.schedule.learning_rate)
        self.record({name: row[name] for name in COLUMNS}, "look at the spectra")
        self.improved = self.schedule.update(row["validation_loss"])


class Spectra:
    """Batches (flux, class) of a sample: those of an epoch, with noise of its own, and of the validation, always the
    same."""

    def __init__(self, sample: Sample, held: np.ndarray, nights: Nights, seed: int, batch: int) -> None:
        self.flux, self.snrg = torch.from_numpy(sample.x), torch.tensor(sample.snrg, dtype=torch.float32)
        self.y, self.held, self.observed = np.asarray(sample.y, bool), held, sample.observed
        self.nights, self.seed, self.batch = nights, seed, batch
        share = float(self.y[held].mean())
        self.weight = (0.5 / share, 0.5 / (1 - share))

    def epoch(self, number: int) -> list[np.ndarray]:
        """Rows of the batches of an epoch."""
        random = np.random.default_rng([self.seed, number])
        order = oversampled(self.y & ~self.held, ~self.y & ~self.held, random)
        return np.array_split(order, max(len(order) // self.batch, 1))

    def validation(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of the stars that are held out."""
        rows = np.flatnonzero(self.held)
        return self.batches(np.array_split(rows, -(-len(rows) // EVALUATED)), 1 << 30)

    def batches(self, rows: Sequence[np.ndarray], stream: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Spectra of these rows with the noise of `stream`; real ones as they are."""
        generator = generator_of(self.seed + 7919 * (stream + 1))
        for part in rows:
            flux = self.flux[part].float()
            seen = flux * self.nights.kept if self.observed else self.nights(flux, self.snrg[part], generator)
            yield seen, torch.tensor(self.y[part], dtype=torch.float32)


class Batches:
    """An iterable of known length, as the loop wants it."""

    def __init__(self, spectra: Spectra, rows: Sequence[np.ndarray], stream: int) -> None:
        self.spectra, self.rows, self.stream = spectra, rows, stream

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self.spectra.batches(self.rows, self.stream)


class SpectraData(pl.LightningDataModule):
    """The batches of both splits."""

    def __init__(self, spectra: Spectra, module: Classifier) -> None:
        super().__init__()
        self.spectra, self.module = spectra, module

    def train_dataloader(self) -> Batches:  # type: ignore[override]
        number = len(self.module.history)
        return Batches(self.spectra, self.spectra.epoch(number), number)

    def val_dataloader(self) -> Batches:  # type: ignore[override]
        rows = np.flatnonzero(self.spectra.held)
        return Batches(self.spectra, np.array_split(rows, -(-len(rows) // EVALUATED)), 1 << 30)
