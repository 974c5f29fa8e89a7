"""Figure of the image networks: layers, what leaves each of them, and one MBConv block (Wu et al. 2023, Fig. 3)."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from textwrap import fill
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor, nn

from dioscuri.images.channels import RENDERINGS
from dioscuri.learn.backbones import SIZE, Backbone, Compact, build
from dioscuri.plots.images_models import label
from dioscuri.plots.style import ACCENT, FAINT, figure

IMAGES, VECTORS = FAINT, ACCENT
# Blocks of timm by their names in the papers.
BLOCKS = {"InvertedResidual": "MBConv", "DepthwiseSeparableConv": "separable", "BasicBlock": "residual"}
MBCONV = "InvertedResidual"
PARTS = {"conv_pw": "expand 1 × 1", "conv_dw": "depth-wise", "se": "squeeze and excite", "conv_pwl": "project 1 × 1"}


@dataclass
class Stage:
    """A box of the figure: what it does, the shape that leaves it without the batch, and its number of weights."""

    name: str
    shape: tuple[int, ...]
    n_weights: int


def architectures(networks: Mapping[str, Mapping[str, Any]], out: str | os.PathLike, settings: Any = None) -> None:
    """Draw every network of `networks` (name → its settings, as in the configuration) as a row of boxes.

    Boxes are as high as the logarithm of their images' sides; vectors are coloured.
    """
    rows: list[tuple[str, list[Stage]]] = []
    for name, network in networks.items():
        layers = {**network.get("layers", {}), "weights": "none"}
        if network["architecture"] == "compact":
            del layers["weights"]
        n_channels = RENDERINGS[network["rendering"]]
        net = build({"architecture": network["architecture"], **layers}, n_channels).eval()
        stages = traced(net, _stages(net), torch.zeros(1, n_channels, SIZE, SIZE))
        side = net.upscale if isinstance(net, Backbone) else SIZE
        n_weights = sum(parameter.numel() for parameter in net.parameters())
        rows.append((f"{label(name)}: {side} × {side} px, {n_weights / 1e6:.2g} million weights", stages))
        block = _last_mbconv(net)
        if block is not None:
            stages = traced(net, dict(_parts(block)), torch.zeros(1, n_channels, SIZE, SIZE))
            rows.append((f"{label(name)}: inside one MBConv block; its input is added to what leaves it", stages))
    with figure(out, 9.0, 1.9 * len(rows), settings) as drawing:
        for axes, (title, stages) in zip(drawing.subplots(len(rows), 1, squeeze=False)[:, 0], rows):
            _draw(axes, title, stages)


def traced(net: nn.Module, modules: Mapping[str, list[nn.Module]], image: Tensor) -> list[Stage]:
    """The stages (name → the modules that follow each other in it) with the shapes that `image` has behind them."""
    shapes: dict[str, tuple[int, ...]] = {}

    def remember(name: str):
        return lambda module, inputs, output: shapes.update({name: tuple(output.shape[1:])})

    hooks = [parts[-1].register_forward_hook(remember(name)) for name, parts in modules.items()]
    with torch.inference_mode():
        net(image)
    for hook in hooks:
        hook.remove()
    weights = {name: sum(p.numel() for part in parts for p in part.parameters()) for name, parts in modules.items()}
    return [Stage(name.split("|")[1], shapes[name], weights[name]) for name in modules]


def _stages(net: Compact | Backbone) -> dict[str, list[nn.Module]]:
    """Layers with weights, in their order; a normalisation of images belongs to the convolution before it."""
    if isinstance(net, Compact):
        layers: list[nn.Module] = [*net.convolutions, *net.dense]
    else:
        layers = [*_flat(net.features), *net.head]
    stages: dict[str, list[nn.Module]] = {}
    for layer in layers:
        if isinstance(layer, nn.BatchNorm2d) and stages:
            stages[next(reversed(stages))].append(layer)
        elif any(True for _ in layer.parameters()):
            stages[f"{len(stages)}|{_called(layer)}"] = [layer]
    return stages


def _flat(features: nn.Module) -> Iterator[nn.Module]:
    """Children of a network of timm; the stages of EfficientNet lie one level deeper, in `blocks`."""
    for name, child in features.named_children():
        yield from child.children() if name == "blocks" else [child]


def _called(layer: nn.Module) -> str:
    if isinstance(layer, nn.Conv2d):
        return f"conv. {layer.kernel_size[0]} × {layer.kernel_size[1]}"
    if isinstance(layer, nn.Linear):
        return "dense"
    if isinstance(layer, nn.modules.batchnorm._BatchNorm):
        return "batch norm"
    blocks = [type(child).__name__ for child in layer.children()]
    return f"{len(blocks)} × {BLOCKS.get(blocks[-1], blocks[-1])}"


def _last_mbconv(net: nn.Module) -> nn.Module | None:
    """The last block of the kind that has a residual connection, if there is one."""
    found = [module for module in net.modules() if type(module).__name__ == MBCONV and module.has_skip]
    return found[-1] if found else None


def _parts(block: nn.Module) -> Iterator[tuple[str, list[nn.Module]]]:
    for name, child in block.named_children():
        if name in PARTS:
            size = f" {child.kernel_size[0]} × {child.kernel_size[1]}" if name == "conv_dw" else ""  # type: ignore
            yield f"{name}|{PARTS[name]}{size}", [child]


def _draw(axes: Axes, title: str, stages: list[Stage]) -> None:
    tallest = max(np.log2(1 + stage.shape[-1]) for stage in stages if len(stage.shape) == 3)
    for k, stage in enumerate(stages):
        is_image = len(stage.shape) == 3
        height = max(np.log2(1 + stage.shape[-1]) / tallest, 0.1) if is_image else 0.1
        axes.add_patch(Rectangle((k - 0.36, -height / 2), 0.72, height, color=IMAGES if is_image else VECTORS))
        if k + 1 < len(stages):
            axes.annotate("", (k + 0.62, 0), (k + 0.38, 0), arrowprops={"arrowstyle": "->", "lw": 0.6})
        shape = f"{stage.shape[0]} × {stage.shape[-1]}²" if is_image else str(stage.shape[0])
        axes.text(k, height / 2 + 0.03, shape, ha="center", va="bottom", fontsize=6.5)
        name = fill(stage.name.replace(" × ", "\u00a0×\u00a0"), 13)  # no line ends at the sign
        axes.text(k, -0.58, f"{name}\n{_thousands(stage.n_weights)}", ha="center", va="top", fontsize=6.5)
    axes.set(xlim=(-0.6, max(len(stages), 12) - 0.3), ylim=(-0.95, 0.72), title=title)
    axes.axis("off")


def _thousands(number: int) -> str:
    return f"{number / 1e6:.1f} M" if number >= 1e6 else f"{number / 1e3:.1f} k" if number >= 1e3 else str(number)
