"""Are both arms of LAMOST MRS as one network worth more than the sum of logits? A head on both arms' hidden layers.

    python benchmarks/rates/mrs_two_arms.py SEED TEST.h5 TRAIN.h5 …   mocks as they are seen (results/…/seen)

The networks of one seed stay as they are; a head of 64 units on their last hidden layers (84 + 84, each also with noise
once more) learns with the same loss from START times the sum of their logits. TPR of TEST at three FPR.
"""

import sys

import numpy as np
import torch
from mrs_product import PENALTY, rate
from torch import Tensor, nn

from dioscuri.learn.spectra.data import PairedSpectra
from dioscuri.learn.spectra.models import load_released
from dioscuri.learn.spectra.networks import LEAK, SpectrumCNN, folded
from dioscuri.learn.spectra.objective import weighted_bce
from dioscuri.paths import models_folder

START, WIDTH, DROPOUT, EPOCHS, BATCH, WEIGHT_DECAY = 0.6, 64, 0.3, 12, 512, 1e-3
ARMS = ("blue", "red")


class Head(nn.Module):
    """Logits (B,) from hidden layers (B, H) of both arms."""

    def __init__(self, nets: list[SpectrumCNN]) -> None:
        super().__init__()
        last = [net.dense[-1] for net in nets]
        n = sum(layer.in_features for layer in last)
        self.linear = nn.Linear(n, 1)
        with torch.no_grad():
            self.linear.weight.copy_(START * torch.cat([layer.weight for layer in last], dim=1))
            self.linear.bias.copy_(START * sum(layer.bias for layer in last))
        layers = [nn.BatchNorm1d(n), nn.Linear(n, WIDTH), nn.BatchNorm1d(WIDTH), nn.LeakyReLU(LEAK)]
        self.bent = nn.Sequential(*layers, nn.Dropout(DROPOUT), nn.Linear(WIDTH, 1))
        with torch.no_grad():
            self.bent[-1].weight.mul_(0.1)

    def forward(self, hidden: Tensor) -> Tensor:
        return (self.linear(hidden) + self.bent(hidden)).squeeze(-1)


@torch.no_grad()
def hidden(net: SpectrumCNN, spectra: PairedSpectra, noisy: float) -> Tensor:
    """The last hidden layer (2N, H) of all spectra of one arm."""
    generator, parts = torch.Generator().manual_seed(1), []
    for index in np.array_split(np.arange(len(spectra)), -(-len(spectra) // BATCH)):
        rows = spectra.noisier(spectra.gather(index)[0], index, noisy, generator)
        features = net.convolutions(rows[:, None, None].contiguous(memory_format=torch.channels_last))
        parts.append(net.dense[:-1](features.permute(0, 2, 3, 1).flatten(1)))
    return torch.cat(parts)


def main() -> None:
    seed, test, train = int(sys.argv[1]), sys.argv[2:3], sys.argv[3:]
    torch.set_num_threads(1)
    released = [load_released(models_folder() / f"lamost_mrs/{arm}.safetensors", arm) for arm in ARMS]
    nets = [folded(next(net for net, info in models if info["seed"] == seed)) for models in released]
    known, seen = ([PairedSpectra(paths, arm) for arm in ARMS] for paths in (train, test))
    versions = [[hidden(net, spectra, noisy) for net, spectra in zip(nets, known)] for noisy in (0.0, 1.0)]
    x = torch.cat([torch.cat(version, dim=1) for version in versions])
    y = (torch.arange(len(known[0])) >= known[0].n_pairs).float().repeat(2)
    of_arm = [hidden(net, spectra, 0.0) for net, spectra in zip(nets, seen)]
    unseen, truth = torch.cat(of_arm, dim=1), (torch.arange(len(seen[0])) >= seen[0].n_pairs).float()
    with torch.no_grad():
        logits = [net.dense[-1](values).squeeze(-1) for net, values in zip(nets, of_arm)]
    show("blue", logits[0], truth)
    show("red", logits[1], truth)
    show("sum of logits", logits[0] + logits[1], truth)
    torch.manual_seed(seed)
    head = Head(nets)
    optimizer = torch.optim.AdamW(head.parameters(), 1e-3, weight_decay=WEIGHT_DECAY)
    for epoch in range(EPOCHS):
        for rows in torch.randperm(len(x)).split(BATCH)[:-1]:
            optimizer.zero_grad()
            weighted_bce(head.train()(x[rows]), y[rows], PENALTY).backward()
            optimizer.step()
        with torch.no_grad():
            show(f"head, epoch {epoch + 1}", head.eval()(unseen), truth)


def show(name: str, logits: Tensor, y: Tensor) -> None:
    """Loss and TPR."""
    tprs = [f"{rate(logits.numpy(), y.numpy(), fpr):.3f} at {fpr:g}" for fpr in (0.0013, 0.003, 0.01)]
    print(f"  {name:16s} loss {weighted_bce(logits, y, PENALTY):.4f}, TPR {', '.join(tprs)}")


if __name__ == "__main__":
    main()
