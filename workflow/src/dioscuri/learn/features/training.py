"""Trains a head on frozen features by triplets; stops and resumes at epochs, also at a walltime signal."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from dioscuri import __version__
from dioscuri.io import digest
from dioscuri.learn import loop
from dioscuri.learn.features.triplets import Head, Recipe, draw_triplets, scored_columns, triplet_loss
from dioscuri.learn.features.triplets import recipe as named_recipe
from dioscuri.learn.model_files import network_of, read_checkpoint, sealed_checkpoint
from dioscuri.learn.resume import Recorded, write_files

HEAD_SCHEMA = "dioscuri/head/1"
HISTORY_COLUMNS = ("epoch", "train_loss", "train_ordered", "validation_loss", "validation_ordered", "seconds")
N_VALIDATION_TRIPLETS = 4096
# Validation triplets are the same after every epoch: their own epoch number, far from any real one.
VALIDATION_EPOCH = 1 << 40


def train(
    features: np.ndarray,
    metadata: Mapping[str, np.ndarray],
    training: Sequence[int] | np.ndarray,
    validation: Sequence[int] | np.ndarray | None,
    recipe: str | Recipe,
    seed: int,
    out_dir: str | os.PathLike,
    *,
    network: Mapping[str, Any] | None = None,
    cells: int = 1,
    layers: Sequence[int] = (256, 128, 100),
    max_epochs: int = 10,
    n_triplets: int = 18000,
    batch: int = 64,
    learning_rate: float = 1e-4,
    max_seconds: float | None = None,
    threads: int = 1,
    accelerator: str = "cpu",
) -> dict[str, Any]:
    """Train a head and write `model.ckpt`, `history.csv` and `model.json` into `out_dir`; returns model.json.

    features (N, F) float32 of all images, metadata column → (N,). training, validation: rows of the images that
    triplets are drawn from; no image may be in both. Without validation rows, other triplets of the training images
    take their place, seen without dropout. recipe: literal, corrected, log_score, or a `Recipe`. network: what made
    the features, kept with the head. cells: features per channel (see `Head`). Defaults are the paper's: 10 epochs ×
    18,000 triplets in batches of 64, rate 1e-4.

    The last epoch is the model, as in the paper; `*_ordered` of the history is the share of triplets with
    d_ap < d_an. Weights and triplets depend on `seed` alone: a rerun, also one that was killed and resumed, gives the
    same head. With `max_seconds`, and after SIGTERM or SIGUSR1, `resume.Unfinished` is raised with the state saved.
    """
    started = time.monotonic()
    out_dir = Path(out_dir)
    resume_dir = out_dir / "resume"
    recipe = named_recipe(recipe) if isinstance(recipe, str) else recipe
    features = np.ascontiguousarray(features, dtype=np.float32)
    training = np.asarray(training)
    validation = training if validation is None else np.asarray(validation)
    _check(features, metadata, training, validation)

    settings = {
        "schema": HEAD_SCHEMA,
        "version": __version__,
        "seed": int(seed),
        "n_features": features.shape[1],
        "cells": cells,
        "layers": list(layers),
        "recipe": asdict(recipe) | {"parameters": list(recipe.parameters)},
        "network": dict(network or {}),
        "training": {
            "n_triplets": n_triplets,
            "batch": batch,
            "learning_rate": learning_rate,
            "n_images": len(training),
            "validation": "other triplets of the training images" if validation is training else len(validation),
        },
    }
    columns = scored_columns(metadata, recipe, training)
    sums = [float(features[training].sum(dtype=float)), float(columns[training].sum()), float(training.sum())]
    fingerprint = digest([settings, sums])

    def make() -> TripletModule:
        head = Head(features.shape[1], cells, layers, recipe.dropout)
        if recipe.standardise:
            head.standardise(torch.from_numpy(features[training]))
        return TripletModule(head, torch.from_numpy(features), recipe, learning_rate, seed, fingerprint)

    module = loop.train(
        make,
        lambda module: TripletData(module, columns, training, validation, n_triplets, batch),
        resume_dir,
        seed=seed,
        fingerprint=fingerprint,
        max_epochs=max_epochs,
        started=started,
        max_seconds=max_seconds,
        threads=threads,
        accelerator=accelerator,
    )
    last = module.history[-1]
    info = {**settings, "epochs": last["epoch"]} | {name: last[name] for name in HISTORY_COLUMNS[1:-1]}
    weights = module.head.state_dict()
    content = sealed_checkpoint(weights, info)
    return write_files(out_dir, resume_dir, content, module.history, HISTORY_COLUMNS)


class TripletModule(Recorded):
    """A head with its loss and the history of its epochs; `features` (N, F) are those of all images."""

    features: Tensor

    def __init__(self, head: Head, features: Tensor, recipe: Recipe, learning_rate: float, seed: int, fingerprint: str):
        super().__init__(seed, fingerprint)
        self.head, self.recipe, self.learning_rate = head, recipe, learning_rate
        self.register_buffer("features", features, persistent=False)

    def summary(self) -> str:
        """The last epoch in a line, for the log."""
        row = self.history[-1]
        return (
            f"epoch {row['epoch']}: loss {row['train_loss']:.4f} ({row['train_ordered']:.3f} in order), validation "
            f"{row['validation_loss']:.4f} ({row['validation_ordered']:.3f}), {row['seconds']:.1f} s"
        )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        betas = (self.recipe.beta1, 0.999)
        return torch.optim.Adam(self.head.parameters(), self.learning_rate, betas=betas, eps=1e-7, fused=True)

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        # Loss, triplets in order, triplets
        self.train_sums = torch.zeros(3, device=self.device)
        self.validation_sums = torch.zeros(3, device=self.device)

    def training_step(self, triplets: Tensor, _: int) -> Tensor:
        return self._loss(triplets, self.train_sums) + self.recipe.penalty * self.head.penalty()

    def validation_step(self, triplets: Tensor, _: int) -> None:
        self._loss(triplets, self.validation_sums)

    def _loss(self, triplets: Tensor, sums: Tensor) -> Tensor:
        anchor, positive, negative = self.head(self.features[triplets.T.flatten()]).chunk(3)
        loss = triplet_loss(anchor, positive, negative, self.recipe.loss)
        ordered = (anchor - positive).abs().sum(1) < (anchor - negative).abs().sum(1)
        n = len(triplets)
        sums += torch.stack([n * loss.detach(), ordered.sum(), torch.full_like(loss, n)])
        return loss

    def on_validation_epoch_end(self) -> None:
        train, validation = self.train_sums.tolist(), self.validation_sums.tolist()
        row = {
            "epoch": len(self.history) + 1,
            "train_loss": train[0] / train[2],
            "train_ordered": train[1] / train[2],
            "validation_loss": validation[0] / validation[2],
            "validation_ordered": validation[1] / validation[2],
            "seconds": time.monotonic() - self.epoch_started,
        }
        self.record(row, "lower the learning rate or look at the features")


class TripletData(pl.LightningDataModule):
    """Triplets of an epoch, drawn from (seed, epoch), and those of the validation, always the same."""

    def __init__(
        self,
        module: TripletModule,
        columns: np.ndarray,
        training: np.ndarray,
        validation: np.ndarray,
        n_triplets: int,
        batch: int,
    ):
        super().__init__()
        self.module, self.columns, self.training, self.validation = module, columns, training, validation
        self.n_triplets, self.batch = n_triplets, batch

    def train_dataloader(self) -> "Triplets":  # type: ignore[override]
        return self._drawn(self.training, self.n_triplets, len(self.module.history))

    def val_dataloader(self) -> "Triplets":  # type: ignore[override]
        return self._drawn(self.validation, N_VALIDATION_TRIPLETS, VALIDATION_EPOCH)

    def _drawn(self, rows: np.ndarray, n: int, epoch: int) -> "Triplets":
        return Triplets(draw_triplets(self.columns, rows, n, self.module.recipe, self.module.seed, epoch), self.batch)


class Triplets:
    """Batches of triplets (B, 3); the incomplete last one is kept."""

    def __init__(self, triplets: np.ndarray, batch: int):
        self.triplets, self.batch = torch.from_numpy(triplets), batch

    def __len__(self) -> int:
        return -(-len(self.triplets) // self.batch)

    def __iter__(self) -> Iterator[Tensor]:
        yield from self.triplets.split(self.batch)


def load_head(path: str | os.PathLike) -> tuple[Head, dict[str, Any]]:
    """A trained head, ready for use, and the content of its model.json."""
    state, info = read_checkpoint(path, HEAD_SCHEMA)
    return network_of(path, _head, info, state), info


def _head(info: dict[str, Any]) -> Head:
    return Head(info["n_features"], info["cells"], info["layers"], info["recipe"]["dropout"])


@torch.no_grad()
def embed(head: Head, features: np.ndarray, batch: int = 1024) -> np.ndarray:
    """Features (N, F) through a head: (N, D) float32."""
    if features.ndim != 2 or features.shape[1] != len(head.mean):
        raise ValueError(f"this head takes features (N, {len(head.mean)}), found {features.shape}: another network's?")
    parts = torch.from_numpy(np.ascontiguousarray(features, dtype=np.float32)).split(batch)
    return torch.cat([head(part) for part in parts]).numpy()


def _check(
    features: np.ndarray, metadata: Mapping[str, np.ndarray], training: np.ndarray, validation: np.ndarray
) -> None:
    for name, column in metadata.items():
        if len(column) != len(features):
            raise ValueError(f"{len(features)} features, but {len(column)} values of '{name}': not the same images")
    if not np.isfinite(features[training].sum(dtype=float)):
        raise ValueError("some features are not finite: look at the images that they come from")
    both = np.intersect1d(training, validation)
    if validation is not training and len(both):
        raise ValueError(f"{len(both)} images given for training and for validation, first rows: {both[:5]}")
