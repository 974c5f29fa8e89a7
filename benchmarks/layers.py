"""The spectra's networks layer by layer: microseconds of a spectrum beside its multiply-adds at the speed of GEMM."""

import json
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from dioscuri.learn.memory import keep_freed_memory
from dioscuri.learn.spectra.blocks import BlockedCNN
from dioscuri.learn.spectra.inference import ROWS_PER_PASS
from dioscuri.learn.spectra.networks import SpectrumCNN, folded, multiply_adds

N_PIXELS, ROWS, ROUNDS = 3347, ROWS_PER_PASS["cpu"], 6  # blue arm
NETWORKS = {"cnn_s": {}, "cnn_m": {"kernels": (9, 7, 5), "strides": (2, 2, 2)}}  # of config.yaml


def rows() -> list[dict]:
    """A row per network and way, and per layer of the fast way: least CPU time, in turn with the matrix product."""
    torch.set_num_threads(1)
    keep_freed_memory()
    with torch.inference_mode():
        return [row for name, sizes in NETWORKS.items() for row in _of_network(name, SpectrumCNN(N_PIXELS, **sizes))]


def _of_network(name: str, net: SpectrumCNN) -> list[dict]:
    net.eval()
    plain, fast, square = folded(net), BlockedCNN(net), torch.randn(1024, 1024)
    flux = torch.randn(ROWS, N_PIXELS)
    fitted, whole = fast.fitted(flux), 2.0 * multiply_adds(net)
    works = [("batch normalisation folded", lambda: plain(flux), whole), ("in blocks", lambda: fast(fitted), whole)]
    works += layers(net, fast, fitted)
    least = least_seconds({"gemm": lambda: square @ square, **{words: call for words, call, _ in works}})
    peak, found = 2 * 1024**3 / least["gemm"], []
    for words, _, flop in works:
        seconds, limit = least[words] / ROWS, flop / peak
        row = {"name": f"{name}, {words}, against fp32 GEMM speed", "ours": 1 / seconds, "unit": "spectra/s"}
        row |= {"published": 1 / limit, "ratio": limit / seconds, "microseconds": 1e6 * seconds}
        found.append(row | {"at GEMM speed": 1e6 * limit, "GEMM, GFLOP/s": peak / 1e9})
    return found


def layers(net: SpectrumCNN, fast: BlockedCNN, flux: Tensor) -> list[tuple[str, Callable[[], object], float]]:
    """Name, call and FLOP of a spectrum of each layer with its activation, on activations of the layer before."""
    found: list[tuple[str, Callable[[], object], float]] = []
    first, *rest = [layer for layer in net.convolutions if isinstance(layer, nn.Conv2d)]
    found.append(("convolution 1", lambda: fast.first(flux), 2.0 * first.weight.numel() * fast.length))
    features = fast.first(flux)
    for number, layer in enumerate(rest):
        out = fast.further(number, features)
        flop = 2.0 * layer.weight.numel() * out.shape[-1]
        found.append((f"convolution {number + 2}", lambda k=number, x=features: fast.further(k, x), flop))
        features = out
    flat = features.permute(0, 2, 3, 1).flatten(1)
    dense = sum(2.0 * layer.weight.numel() for layer in net.dense if isinstance(layer, nn.Linear))
    return [*found, ("dense layers", lambda: fast.dense(flat), dense)]


def least_seconds(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Least CPU time of each call, in turn so that a busy machine slows all alike."""
    least = dict.fromkeys(calls, float("inf"))
    for _ in range(ROUNDS):
        for name, call in calls.items():
            started = time.process_time()
            call()
            least[name] = min(least[name], time.process_time() - started)
    return least


if __name__ == "__main__":
    json.dump(rows(), sys.stdout, indent=2)
