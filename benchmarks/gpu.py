"""What a GPU does with our networks: spectra and images per second, and the share of what the machine could do.

    PYTHONPATH=workflow/src python benchmarks/gpu.py --output gpu.json     (at most 8 minutes)

Needs torch, lightning, numpy, numba, h5py and timm, and nothing else; `--dry-run` tries every piece on a CPU, at tiny
size.
"""

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dioscuri.learn.images.backbones import build as build_image_network
from dioscuri.learn.images.training import smoothed_cross_entropy
from dioscuri.learn.spectra.inference import ROWS_PER_PASS, Ensemble
from dioscuri.learn.spectra.networks import SpectrumCNN, multiply_adds
from dioscuri.learn.spectra.objective import weighted_bce
from dioscuri.learn.spectra.training import train
from dioscuri.shards import mock_shard

N_PIXELS = 3347  # blue arm
PENALTIES, SEEDS, DRAWS = (8.0, 16.0, 32.0), range(1, 6), 20  # 300 evaluations (Zhang et al. 2022, §3.3)
NETWORKS: dict[str, dict[str, Any]] = {"cnn_s": {}, "cnn_m": {"kernels": (9, 7, 5), "strides": (2, 2, 2)}}
ALLOWED_DP = 0.02


class Bench:
    """Rows of the report, and the time that is left for more."""

    def __init__(self, device: torch.device, seconds: float, tiny: bool):
        self.device, self.tiny = device, tiny
        self.deadline = time.monotonic() + seconds
        self.rows: list[dict[str, Any]] = []
        self.peaks: dict[str, float] = {}

    def add(self, name: str, piece: Callable[[], dict[str, Any]]) -> None:
        """Run a piece and keep its row; one that fails, or for which no time is left, says so."""
        started = time.monotonic()
        if started > self.deadline:
            self.rows.append({"name": name, "skipped": "no time left"})
            return
        try:
            row = piece()
        except (RuntimeError, ImportError, ValueError) as error:  # out of memory, no compiler, …
            row = {"failed": " ".join(str(error).split())[:300]}
        if self.device.type == "cuda":
            row["peak memory (GiB)"] = round(torch.cuda.max_memory_allocated() / 2**30, 3)
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        self.rows.append({"name": name, **row, "took (s)": round(time.monotonic() - started, 1)})
        print(json.dumps(self.rows[-1]), file=sys.stderr, flush=True)

    def seconds(self, call: Callable[[], Any], repeats: int = 5) -> float:
        """Median time of a call, after two that warm up."""
        times = []
        warm = 0 if self.tiny else 2
        for repeat in range(warm + (1 if self.tiny else repeats)):
            self.wait()
            started = time.perf_counter()
            call()
            self.wait()
            if repeat >= warm:
                times.append(time.perf_counter() - started)
        return float(np.median(times))

    def wait(self) -> None:
        """Until the device has done all that it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def size(self, full: int, tiny: int) -> int:
        """Of a batch or an image: tiny in a dry run."""
        return tiny if self.tiny else full

    def bound(self, flop: float, traffic: float, kind: str) -> float:
        """Seconds that the machine needs at least: arithmetic at the GEMM's speed, or memory traffic [bytes]."""
        return max(flop / self.peaks[kind], traffic / self.peaks["bandwidth"])


def measure_peaks(bench: Bench) -> dict[str, Any]:
    """FLOP/s of large matrix products, fp32 without TF32, bf16, and bytes/s of copies."""
    n = bench.size(8192, 256)
    found: dict[str, Any] = {}
    for kind, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        a = torch.randn(n, n, device=bench.device, dtype=dtype)
        bench.peaks[kind] = 2.0 * n**3 / bench.seconds(lambda a=a: a @ a)
        found[f"{kind} GEMM (TFLOP/s)"] = bench.peaks[kind] / 1e12
    block = torch.empty(bench.size(1 << 30, 1 << 20), dtype=torch.uint8, device=bench.device)
    other = torch.empty_like(block)
    bench.peaks["bandwidth"] = 2.0 * block.numel() / bench.seconds(lambda: other.copy_(block))
    return found | {"copy (GB/s)": bench.peaks["bandwidth"] / 1e9}


# --- spectra ------------------------------------------------------------------------------------------------


def models(network: dict[str, Any]) -> list[tuple[SpectrumCNN, dict[str, Any]]]:
    """An untrained network for every penalty and seed."""
    made = []
    for penalty in PENALTIES:
        for seed in SEEDS:
            torch.manual_seed(seed)
            info = {"arm": "blue", "grid": {"n_pixels": N_PIXELS}, "penalty": penalty, "seed": seed}
            made.append((SpectrumCNN(N_PIXELS, **network).eval(), info))
    return made


def spectra(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Noise in place of spectra, its errors, and keys."""
    flux = np.random.default_rng(0).normal(0, 0.1, (n, N_PIXELS)).astype(np.float16)
    return flux, np.full_like(flux, 0.02), np.arange(n)


def scoring(bench: Bench, name: str, precision: str, compiled: bool) -> dict[str, Any]:
    """Spectra per second from flux to percentiles, 300 evaluations each."""
    network = NETWORKS[name]
    given = spectra(bench.size(4000, 2))
    ensemble = Ensemble(models(network), str(bench.device), precision=precision)
    if compiled:
        for nets in ensemble._nets.values():
            for net in nets:
                net.compile()
    found = ensemble.percentiles(*given, 0, n_draws=DRAWS)
    seconds = bench.seconds(lambda: ensemble.percentiles(*given, 0, n_draws=DRAWS), repeats=3)
    net = SpectrumCNN(N_PIXELS, **network)
    evaluations = len(given[0]) * DRAWS * len(PENALTIES) * len(SEEDS)
    kind, size = ("fp32", 4) if precision == "fp32" else ("bf16", 2)
    least = bench.bound(2.0 * multiply_adds(net) * evaluations, traffic(net.eval(), N_PIXELS, size) * evaluations, kind)
    row = {"spectra/s": len(given[0]) / seconds, "roofline": len(given[0]) / least, "share": least / seconds}
    if precision != "fp32":
        exact = Ensemble(models(network), str(bench.device)).percentiles(*given, 0, n_draws=DRAWS)
        row["largest |dp|"] = max(float(np.nanmax(np.abs(found[k] - exact[k]))) for k in exact)
        row["allowed |dp|"] = ALLOWED_DP
    return row


def traffic(net: nn.Module, n_pixels: int, size: int) -> float:
    """Bytes per spectrum that layers read and write if each is a pass of its own; weights stay in cache."""
    moved = 0

    def note(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal moved
        moved += inputs[0].numel() + output.numel()

    kinds = (nn.Conv2d, nn.Linear)
    handles = [layer.register_forward_hook(note) for layer in net.modules() if isinstance(layer, kinds)]
    with torch.no_grad():
        net(torch.zeros(1, n_pixels))
    for handle in handles:
        handle.remove()
    return float(moved * size)


def grid(bench: Bench, name: str, together: bool, learn: bool) -> dict[str, Any]:
    """A step of all 15 models of an arm on one batch: as one ensemble, or one after the other."""
    nets = [net.to(bench.device).train(learn) for net, _ in models(NETWORKS[name])]
    whole = Together(len(nets), N_PIXELS, **NETWORKS[name]).to(bench.device).train(learn)
    x = torch.randn(bench.size(1024, 8), N_PIXELS, device=bench.device) * 0.1
    y = (torch.arange(len(x), device=bench.device) % 2).float()
    penalties = [penalty for penalty in PENALTIES for _ in SEEDS]
    weights = [p for net in ([whole] if together else nets) for p in net.parameters()]
    optimizer = torch.optim.Adam(weights, 1e-3)

    def logits() -> list[Tensor]:
        return list(whole(x)) if together else [net(x) for net in nets]

    def step() -> None:
        if not learn:
            with torch.inference_mode():
                logits()
            return
        optimizer.zero_grad()
        torch.stack([weighted_bce(one, y, penalty) for one, penalty in zip(logits(), penalties)]).sum().backward()
        optimizer.step()

    seconds = bench.seconds(step)
    flop = 2.0 * multiply_adds(nets[0]) * len(x) * len(nets) * (3 if learn else 1)
    moved = traffic(nets[0].cpu().eval(), N_PIXELS, 4) * len(x) * len(nets) * (3 if learn else 1)
    least = bench.bound(flop, moved, "fp32")
    return {"spectra x models/s": len(x) * len(nets) / seconds, "share": least / seconds}


class Together(nn.Module):
    """M networks of one kind as one: convolutions in groups, dense layers as batched products; logits (M, B)."""

    def __init__(
        self, m: int, n_pixels: int, channels=(8, 16, 32), kernels=(7, 7, 7), strides=(4, 4, 4), dense=(120, 84)
    ):
        super().__init__()
        layers: list[nn.Module] = []
        for k, (n_in, n_out) in enumerate(zip((1, *channels), channels)):
            kernel, stride, groups = (1, kernels[k]), (1, strides[k]), m if k else 1  # all look at the same spectra
            layers.append(nn.Conv2d(m * n_in if k else 1, m * n_out, kernel, stride, groups=groups))
            layers += [nn.BatchNorm2d(m * n_out), nn.LeakyReLU(0.01, inplace=True)]
            n_pixels = (n_pixels - kernels[k]) // strides[k] + 1
        self.m, self.convolutions = m, nn.Sequential(*layers)
        sizes = [n_pixels * channels[-1], *dense, 1]
        self.weights = nn.ParameterList(torch.randn(m, a, b) * a**-0.5 for a, b in pairwise(sizes))
        self.norms = nn.ModuleList(nn.BatchNorm1d(m * size) for size in dense)

    def forward(self, flux: Tensor) -> Tensor:
        """Logits (M, B) of spectra (B, L)."""
        b = len(flux)
        x = self.convolutions(flux[:, None, None]).view(b, self.m, -1).transpose(0, 1)
        for weight, norm in zip(self.weights, self.norms):
            x = torch.bmm(x, weight).transpose(0, 1).flatten(1)
            x = nn.functional.leaky_relu(norm(x), 0.01).view(b, self.m, -1).transpose(0, 1)
        return torch.bmm(x, self.weights[-1]).squeeze(-1)


def training(bench: Bench, name: str) -> dict[str, Any]:
    """Spectra per second of the best epoch of `train`, through Lightning, from shards."""
    n_pairs, batch = bench.size(20_000, 64), bench.size(256, 32)
    with tempfile.TemporaryDirectory() as folder:
        shards = [Path(folder) / "train.h5", Path(folder) / "validation.h5"]
        for path, n in zip(shards, (n_pairs, max(n_pairs // 16, 8))):
            flux = np.random.default_rng(0).normal(0, 0.1, (2, n, N_PIXELS)).astype(np.float16)
            with mock_shard(path, n, ("pair_id",), {"blue": N_PIXELS}, {}) as writer:
                writer.append({"pair_id": np.arange(n)}, {"blue": (flux[0], flux[1])})
        out = Path(folder) / "model"
        accelerator = "gpu" if bench.device.type == "cuda" else "cpu"
        settings = {"batch": batch, "max_epochs": 3, "accelerator": accelerator}
        train(shards[:1], shards[1:], "blue", dict(NETWORKS[name]), 16.0, 0, out, **settings)
        lines = (out / "history.csv").read_text(encoding="utf-8").splitlines()
    column = lines[0].split(",").index("seconds")
    rate = 2 * n_pairs // batch * batch / min(float(line.split(",")[column]) for line in lines[1:])
    net = SpectrumCNN(N_PIXELS, **NETWORKS[name])
    least = bench.bound(6.0 * multiply_adds(net), 3 * traffic(net.eval(), N_PIXELS, 4), "fp32")
    return {"spectra/s": rate, "share": least * rate}


# --- images -------------------------------------------------------------------------------------------------


def image_step(bench: Bench, architecture: str, side: int, precision: str) -> dict[str, Any]:
    """A training step of an image network on pictures of `side` pixels."""
    batch, side = bench.size(64, 2), bench.size(side, 32)
    net = build_image_network({"architecture": architecture, "upscale": side}, 1).to(bench.device).train()
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    images = torch.rand(batch, 1, 14, 14, device=bench.device)
    y = torch.arange(batch, device=bench.device) % 2

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(bench.device.type, torch.bfloat16) if precision == "bf16" else nullcontext():
            logits = net(images)
        smoothed_cross_entropy(logits.float(), y, 0.1).backward()
        optimizer.step()

    with FlopCounterMode(display=False) as counter:
        step()
    seconds = bench.seconds(step)
    least = counter.get_total_flops() / bench.peaks[precision]
    return {"images/s": batch / seconds, "batch": batch, "GFLOP/image": counter.get_total_flops() / batch / 1e9,
            "share of GEMM": least / seconds}  # fmt: skip


# --- all of it ----------------------------------------------------------------------------------------------


def pieces(bench: Bench) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """Everything that is measured, what matters most first."""
    yield "the machine", lambda: measure_peaks(bench)
    compiles = [False] if bench.tiny else [False, True]
    for name in NETWORKS:
        for precision in ("fp32", "bf16"):
            for compiled in compiles:
                how = f"{precision}{', compiled' if compiled else ''}"
                yield (
                    f"scoring with {name}, 300 evaluations, {how}",
                    lambda n=name, p=precision, c=compiled: scoring(bench, n, p, c),
                )
    for learn in (False, True):
        for together in (False, True):
            what = f"{'training' if learn else 'scoring'} step, {'as one ensemble' if together else 'one by one'}"
            yield f"15 models of an arm, {what}", lambda t=together, n=learn: grid(bench, "cnn_s", t, n)
    for name in NETWORKS:
        yield f"training of {name}, an epoch", lambda n=name: training(bench, n)
    for side in (224, 448):
        for architecture in ("efficientnet_b3", "resnet34"):
            for precision in ("fp32", "bf16"):
                yield (
                    f"training step of {architecture}, {side} px, {precision}",
                    lambda a=architecture, s=side, p=precision: image_step(bench, a, s, p),
                )


@contextmanager
def plain_arithmetic() -> Iterator[None]:
    """fp32 is fp32: no TF32."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def main() -> None:
    """Measure and write one JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("gpu.json"))
    parser.add_argument("--minutes", type=float, default=7.5, help="no piece is begun later")
    parser.add_argument("--dry-run", action="store_true", help="tiny sizes, on the CPU")
    options = parser.parse_args()
    if not options.dry_run and not torch.cuda.is_available():
        parser.error("no GPU is at hand: --dry-run tries the script on a CPU")
    device = torch.device("cpu" if options.dry_run else "cuda")
    bench = Bench(device, 60 * options.minutes, options.dry_run)
    if options.dry_run:
        ROWS_PER_PASS["cpu"] = 2 * DRAWS
    with plain_arithmetic():
        for name, piece in pieces(bench):
            bench.add(name, piece)
    about = {"device": torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or "CPU"}
    about |= {"torch": torch.__version__, "cuda": torch.version.cuda, "python": platform.python_version()}
    content = {"dry run": options.dry_run, **about, "peaks": bench.peaks, "rows": bench.rows}
    options.output.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
