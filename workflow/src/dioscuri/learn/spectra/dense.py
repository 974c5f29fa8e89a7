"""Classifies compressed spectra: a small dense network on whitened components, noise drawn anew in every epoch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from os import PathLike
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dioscuri.learn.model_files import network_of, read_release, write_release

SCHEMA = "dioscuri/dense/1"
SCATTER = 0.5  # ln of the amplitude of systematics from spectrum to spectrum


@dataclass(frozen=True)
class DenseSettings:
    """Sizes and training of a dense network; `epochs` at most, of which the best on validation is kept."""

    hidden: int = 96
    dropout: float = 0.2
    learning_rate: float = 4e-3
    batch: int = 256
    epochs: int = 16


class DenseNet(nn.Module):
    """K components → logit of a binary; `scale` (K,) brings the components to unit variance."""

    scale: Tensor
    calibration: Tensor

    def __init__(self, n_inputs: int, hidden: int = 96, dropout: float = 0.2) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(n_inputs))
        self.register_buffer("calibration", torch.tensor([0.0, 1.0]))
        self.layers = nn.Sequential(
            nn.Linear(n_inputs, hidden), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(hidden, 1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Logits (S,) of components (S, K)."""
        offset, slope = self.calibration
        return offset + slope * self.layers(x / self.scale).squeeze(1)


@dataclass(frozen=True)
class Sample:
    """Components `x` (N, K), class `y` (N,) bool, S/N_g `snrg` (N,), and `group` (N,), one per star.

    `observed`: the components have their noise already, as those of real spectra do; else it is drawn anew.
    """

    x: np.ndarray
    y: np.ndarray
    snrg: np.ndarray
    group: np.ndarray
    observed: bool = False


class Noise:
    """What observation adds to components: white noise of 1/snrg and systematics of covariance `systematics` (K, K)."""

    def __init__(self, systematics: np.ndarray, generator: torch.Generator) -> None:
        regular = np.asarray(systematics, float) + 1e-10 * np.eye(len(systematics))
        self.root = torch.tensor(np.linalg.cholesky(regular).T, dtype=torch.float32)
        self.generator = generator

    def __call__(self, x: Tensor, snrg: Tensor) -> Tensor:
        white = torch.randn(x.shape, generator=self.generator) / snrg[:, None]
        amplitude = torch.exp(SCATTER * torch.randn(len(x), 1, generator=self.generator))
        return x + white + amplitude * (torch.randn(x.shape, generator=self.generator) @ self.root)


class _Kept:
    """Leaves components as they are."""

    def __call__(self, x: Tensor, snrg: Tensor) -> Tensor:
        return x


def train_dense(
    sample: Sample, systematics: np.ndarray, seed: int, settings: DenseSettings = DenseSettings()
) -> tuple[DenseNet, list[dict[str, float]]]:
    """Train on a sample: oversampled to parity, a tenth of the stars kept for validation and calibration.

    Returns the network of the epoch with the least validation loss, its logit calibrated there, and the history.
    """
    torch.manual_seed(seed)
    generator = generator_of(seed)
    random = np.random.default_rng(seed)
    x, snrg = (torch.tensor(values, dtype=torch.float32) for values in (sample.x, sample.snrg))
    y = np.asarray(sample.y, bool)
    held = held_out(sample, random)
    noise = _Kept() if sample.observed else Noise(systematics, generator)
    net = DenseNet(x.shape[1], settings.hidden, settings.dropout)
    net.scale.copy_(x.std(0) + 0.01)
    # Validation spectra are seen eight times, each time with other noise: a steadier loss.
    rows = np.repeat(np.flatnonzero(held), 8)
    seen = (_Kept() if sample.observed else Noise(systematics, generator_of(seed + 99)))(x[rows], snrg[rows])
    target = torch.tensor(y[rows], dtype=torch.float32)
    steps = len(oversampled(y & ~held, ~y & ~held, random)) // settings.batch
    optimiser = torch.optim.AdamW(net.parameters(), settings.learning_rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, total_steps=max(settings.epochs * steps, 1) + 1
    )
    best: tuple[float, dict[str, Tensor]] = (np.inf, {})
    history = []
    for epoch in range(settings.epochs):
        order = oversampled(y & ~held, ~y & ~held, random)
        net.train()
        total = 0.0
        for step in range(steps):
            batch = order[step * settings.batch : (step + 1) * settings.batch]
            logit = net(noise(x[batch], snrg[batch]))
            wanted = torch.tensor(y[batch], dtype=torch.float32)
            loss = nn.functional.binary_cross_entropy_with_logits(logit, wanted)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item()
        loss_seen = _balanced_loss(net, seen, target)
        history.append({"epoch": epoch + 1, "train_loss": total / max(steps, 1), "validation_loss": loss_seen})
        if loss_seen < best[0]:
            best = (loss_seen, {name: value.clone() for name, value in net.state_dict().items()})
    net.load_state_dict(best[1])
    calibrate(net, seen, target)
    return net.eval(), history


def held_out(sample: Sample, random: np.random.Generator) -> np.ndarray:
    """A tenth of the stars, for validation and calibration: their spectra, (N,) bool. Both classes must be in both."""
    groups, y = np.unique(sample.group), np.asarray(sample.y, bool)
    held = np.isin(sample.group, random.choice(groups, max(len(groups) // 10, 1), replace=False))
    if not all(part.any() for part in (y & ~held, ~y & ~held, y & held, ~y & held)):
        raise ValueError(f"LRS network: {int(y.sum())} binaries and {int((~y).sum())} singles; both are needed")
    return held


def oversampled(positive: np.ndarray, negative: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Rows of an epoch in random order: all of the larger class, as many of the smaller one, some of them repeated."""
    smaller, larger = sorted((np.flatnonzero(positive), np.flatnonzero(negative)), key=len)
    return random.permutation(np.concatenate([larger, random.choice(smaller, len(larger))]))


def generator_of(seed: int) -> torch.Generator:
    """Torch's random numbers from a seed."""
    generator = torch.Generator()
    generator.manual_seed(seed)
    return generator


def _balanced_loss(net: DenseNet, x: Tensor, y: Tensor) -> float:
    net.eval()
    with torch.no_grad():
        each = nn.functional.binary_cross_entropy_with_logits(net(x), y, reduction="none")
    return float(0.5 * (each[y > 0.5].mean() + each[y < 0.5].mean()))


def calibrate(net: nn.Module, x: Tensor, y: Tensor) -> None:
    """Offset and slope of the logit by Platt (1999) on validation, classes weighing alike."""
    net.eval()
    with torch.no_grad():
        logit = net(x)
    weight = torch.where(y > 0.5, 0.5 / (y > 0.5).float().mean(), 0.5 / (y < 0.5).float().mean())
    line = torch.tensor([0.0, 1.0], requires_grad=True)
    optimiser = torch.optim.LBFGS([line], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = nn.functional.binary_cross_entropy_with_logits(line[0] + line[1] * logit, y, weight=weight)
        value.backward()
        return value

    optimiser.step(loss)
    net.calibration.copy_(line.detach())  # type: ignore[operator]


def probabilities(nets: Sequence[nn.Module], x: np.ndarray) -> np.ndarray:
    """Mean probability (S,) of a binary over the networks, of what they take: components (S, K) or pixels (S, L)."""
    inputs = torch.tensor(np.asarray(x), dtype=torch.float32)
    with torch.no_grad():
        return np.mean([torch.sigmoid(net.eval()(inputs)).numpy() for net in nets], axis=0)


def save_dense(path: str | PathLike, nets: Sequence[DenseNet], infos: Sequence[dict[str, Any]]) -> None:
    """Pack networks into one safetensors file; `infos` say how each was trained (hidden, dropout, seed …)."""
    write_release(path, {"schema": SCHEMA}, list(zip(nets, infos)), dtype=torch.float32)


def load_dense(path: str | PathLike) -> tuple[list[DenseNet], dict[str, Any]]:
    """The networks of a file written by `save_dense`, and its header."""
    header, states = read_release(path, SCHEMA)
    nets = [network_of(path, partial(_network, state), info, state) for state, info in zip(states, header["models"])]
    return nets, header


def _network(state: Mapping[str, Tensor], info: dict[str, Any]) -> DenseNet:
    return DenseNet(len(state["scale"]), info["hidden"], info["dropout"])
