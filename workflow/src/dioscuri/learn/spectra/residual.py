"""The paper's network and its files: one residual block and two dense layers on the pixels."""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import torch
from torch import Tensor, nn

from dioscuri.learn.model_files import network_of, read_release, write_release

SCHEMA = "dioscuri/residual/1"


class ResidualNet(nn.Module):
    """Normalised flux − 1 (S, L) → logit: a block of two convolutions with a shortcut (He et al. 2015, Fig. 2), two
    dense layers with dropout."""

    calibration: Tensor

    def __init__(self, n_pixels: int, channels: int, kernel: int, stride: int, pool: int, hidden: int, dropout: float):
        super().__init__()
        self.register_buffer("calibration", torch.tensor([0.0, 1.0]))
        margin = kernel // 2
        self.first = nn.Sequential(nn.Conv1d(1, channels, kernel, stride, margin), nn.BatchNorm1d(channels), nn.ReLU())
        self.second = nn.Sequential(nn.Conv1d(channels, channels, kernel, 1, margin), nn.BatchNorm1d(channels))
        self.shortcut = nn.Conv1d(1, channels, 1, stride)
        n_features = channels * (-(-n_pixels // stride) // pool)
        self.dense = nn.Sequential(
            nn.ReLU(), nn.AvgPool1d(pool), nn.Flatten(),
            nn.Linear(n_features, hidden), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(hidden, 1),
        )  # fmt: skip

    def forward(self, flux: Tensor) -> Tensor:
        """Logits (S,) of normalised flux − 1 (S, L)."""
        x = flux[:, None]
        offset, slope = self.calibration
        return offset + slope * self.dense(self.second(self.first(x)) + self.shortcut(x)).squeeze(1)


def network(info: Mapping[str, Any]) -> ResidualNet:
    """The network that a header describes."""
    names = ("n_pixels", "channels", "kernel", "stride", "pool", "hidden", "dropout")
    return ResidualNet(*(info[name] for name in names))


def save_residual(path: str | PathLike, nets: Sequence[nn.Module], infos: Sequence[dict[str, Any]]) -> None:
    """Pack networks into one safetensors file."""
    write_release(path, {"schema": SCHEMA}, list(zip(nets, infos)))


def load_residual(path: str | PathLike) -> tuple[list[ResidualNet], dict[str, Any]]:
    """The networks of a file written by `save_residual`, and its header."""
    header, states = read_release(path, SCHEMA)
    return [network_of(path, network, info, state) for state, info in zip(states, header["models"])], header
