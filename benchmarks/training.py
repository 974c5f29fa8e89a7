"""Training: whole epochs through Lightning beside a textbook loop over items, and the arithmetic's limit."""

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from dioscuri.learn.spectra.networks import SpectrumCNN, multiply_adds
from dioscuri.learn.spectra.training import train
from dioscuri.shards import mock_shard
from inference import plain_network

N_PIXELS = 3347  # blue arm
N_PAIRS, BATCH = 3200, 256


def rows() -> list[dict]:
    """One mapping per comparison: name, ours, published, unit, ratio. One thread, blue arm."""
    torch.set_num_threads(1)
    flux = np.random.default_rng(0).normal(0, 0.1, (2, N_PAIRS, N_PIXELS)).astype(np.float16)
    # The textbook loop first: our training changes the allocator of the whole process.
    published = _textbook_rate(flux)
    ours = _our_rate(flux)
    limit = _gemm_flops() / (3 * 2.0 * multiply_adds(SpectrumCNN(N_PIXELS)))  # backward costs twice forward
    return [
        row("training, batch 256, against a textbook loop", ours, published, "spectra/s"),
        row("training, batch 256, against fp32 GEMM speed", ours, limit, "spectra/s"),
    ]


def row(name: str, ours: float, published: float, unit: str) -> dict:
    """A line of the benchmark table."""
    return {"name": name, "ours": ours, "published": published, "unit": unit, "ratio": ours / published}


def _our_rate(flux: np.ndarray) -> float:
    """Spectra per CPU second of `train`, validation on a sixteenth included, the start not."""
    with tempfile.TemporaryDirectory() as folder:
        shards = [Path(folder) / "train.h5", Path(folder) / "validation.h5"]
        for path, (single, binary) in zip(shards, (flux, flux[:, : N_PAIRS // 16])):
            with mock_shard(path, len(single), ("pair_id",), {"blue": N_PIXELS}, {}) as writer:
                writer.append({"pair_id": np.arange(len(single))}, {"blue": (single, binary)})
        seconds = {}
        for epochs in (1, 1, 4):  # the first warms up
            out, started = Path(folder) / f"model{len(seconds)}{epochs}", time.process_time()
            train(shards[:1], shards[1:], "blue", {}, 16.0, 0, out, batch=BATCH, max_epochs=epochs, accelerator="cpu")
            seconds[epochs] = time.process_time() - started
            shutil.rmtree(out)
    return 3 * (2 * N_PAIRS // BATCH * BATCH) / (seconds[4] - seconds[1])


class _Items(Dataset):
    """Spectra one by one, as a `Dataset` hands them out."""

    def __init__(self, flux: np.ndarray):
        self.flux = flux.reshape(-1, N_PIXELS)

    def __len__(self) -> int:
        return len(self.flux)

    def __getitem__(self, item: int) -> tuple[np.ndarray, np.float32]:
        return self.flux[item][None].astype(np.float32), np.float32(item >= len(self.flux) // 2)


def _textbook_rate(flux: np.ndarray) -> float:
    """Spectra per second of the better of two epochs: `Conv1d`, a shuffling DataLoader, default Adam."""
    net = plain_network()
    optimizer, loss = torch.optim.Adam(net.parameters(), 1e-3), nn.BCEWithLogitsLoss()
    loader, best = DataLoader(_Items(flux), BATCH, shuffle=True, drop_last=True), np.inf
    for _ in range(2):
        started = time.process_time()
        for x, y in loader:
            optimizer.zero_grad()
            loss(net(x)[:, 0], y).backward()
            optimizer.step()
        best = min(best, time.process_time() - started)
    return len(loader) * BATCH / best


def _gemm_flops() -> float:
    square, best = torch.randn(1024, 1024), np.inf
    for _ in range(6):
        started = time.process_time()
        torch.mm(square, square)
        best = min(best, time.process_time() - started)
    return 2 * 1024**3 / best


if __name__ == "__main__":
    json.dump(rows(), sys.stdout, indent=2)
