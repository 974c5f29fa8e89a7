"""Figure of the image networks: layers, what leaves each of them, and one MBConv block (Wu et al. 2023, Fig. 3)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from textwrap import fill
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor, nn

from dioscuri.learn.images.backbones import SIZE, Backbone, Compact, build
from dioscuri.plots.images_models import label
from dioscuri.plots.style import ACCENT, BINARY, FAINT, PAGE, File, figure
from dioscuri.stamps.channels import RENDERINGS

# Blocks of timm by their names in the papers.
BLOCKS = {"InvertedResidual": "MBConv", "DepthwiseSeparableConv": "separable", "BasicBlock": "residual"}
MBCONV = "InvertedResidual"
PARTS = {"conv_pw": "expand", "conv_dw": "depth-wise", "se": "squeeze and excite", "conv_pwl": "project"}
# Words of a box's name → its colour: convolutions, blocks of them, weights of channels, scaling, dense layers.
COLOURS = {
    "conv. expand depth-wise project": "#56B4E9",
    "MBConv separable residual": BINARY,
    "squeeze": "#CC79A7",
    "batch": FAINT,
    "dense": ACCENT,
}


@dataclass
class Stage:
    """A box of the figure: what it does, the shape that leaves it without the batch, and its number of weights."""

    name: str
    shape: tuple[int, ...]
    n_weights: int


def architectures(out: File, networks: Mapping[str, Mapping[str, Any]], settings: Any = None) -> None:
    """Draw every network of `networks` (name → its settings, as in the configuration) as a row of boxes.

    Boxes are as high as the logarithm of their images' sides, vectors are flat; colours say what a box does.
    """
    rows: list[tuple[str, list[Stage]]] = []
    for name, network in networks.items():
        layers = {**network.get("layers", {}), "weights": "none"}
        if network["architecture"] == "compact":
            del layers["weights"]
        n_channels = RENDERINGS[network["rendering"]]
        net = build({"architecture": network["architecture"], **layers}, n_channels).eval()
        whole, block = _whole(net), _inside_mbconv(net)
        stages = _traced(net, [*whole, *block], torch.zeros(1, n_channels, SIZE, SIZE))
        side = net.upscale if isinstance(net, Backbone) else SIZE
        n_weights = sum(parameter.numel() for parameter in net.parameters())
        rows.append((f"{label(name)}: {side} × {side} px, {n_weights / 1e6:.2g} million weights", stages[: len(whole)]))
        if block:
            title = f"{label(name)}: inside one MBConv block; its input is added to what leaves it"
            rows.append((title, stages[len(whole) :]))
    with figure(out, PAGE, 1.9 * len(rows), settings) as drawing:
        for axes, (title, stages) in zip(drawing.subplots(len(rows), 1, squeeze=False)[:, 0], rows):
            _draw(axes, title, stages)


# What a box is called, and the modules in it, in their order.
Named = tuple[str, list[nn.Module]]


def _traced(net: nn.Module, boxes: list[Named], image: Tensor) -> list[Stage]:
    """The boxes with the shapes that `image` has behind them."""
    shapes: dict[nn.Module, tuple[int, ...]] = {}

    def remember(module: nn.Module, _: Any, output: Tensor) -> None:
        shapes[module] = tuple(output.shape[1:])

    hooks = [modules[-1].register_forward_hook(remember) for _, modules in boxes]
    with torch.inference_mode():
        net(image)
    for hook in hooks:
        hook.remove()
    return [
        Stage(name, shapes[modules[-1]], sum(p.numel() for module in modules for p in module.parameters()))
        for name, modules in boxes
    ]


def _whole(net: Compact | Backbone) -> list[Named]:
    """Layers with weights, in their order; a normalisation of images belongs to the convolution before it."""
    if isinstance(net, Compact):
        layers: list[nn.Module] = [*net.convolutions, *net.dense]
    else:
        layers = [*_flat(net.features), *net.head]
    boxes: list[Named] = []
    for layer in layers:
        if isinstance(layer, nn.BatchNorm2d):
            boxes[-1][1].append(layer)
        elif next(layer.parameters(), None) is not None:
            boxes.append((_called(layer), [layer]))
    return boxes


def _inside_mbconv(net: nn.Module) -> list[Named]:
    """The parts of the last MBConv block with a residual connection; none where there is no such block."""
    found = [module for module in net.modules() if type(module).__name__ == MBCONV and module.has_skip]
    return (
        [(_part(name, child), [child]) for name, child in found[-1].named_children() if name in PARTS] if found else []
    )


def _part(name: str, child: nn.Module) -> str:
    return (
        f"{PARTS[name]} {child.kernel_size[0]} × {child.kernel_size[1]}"
        if isinstance(child, nn.Conv2d)
        else PARTS[name]
    )


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


def _draw(axes: Axes, title: str, stages: list[Stage]) -> None:
    tallest = max(np.log2(1 + stage.shape[-1]) for stage in stages if len(stage.shape) == 3)
    for k, stage in enumerate(stages):
        is_image = len(stage.shape) == 3
        height = max(np.log2(1 + stage.shape[-1]) / tallest, 0.1) if is_image else 0.1
        axes.add_patch(Rectangle((k - 0.36, -height / 2), 0.72, height, color=_colour(stage)))
        if k + 1 < len(stages):
            axes.annotate("", (k + 0.62, 0), (k + 0.38, 0), arrowprops={"arrowstyle": "->", "lw": 0.6})
        shape = f"{stage.shape[0]} × {stage.shape[-1]}²" if is_image else str(stage.shape[0])
        axes.text(k, height / 2 + 0.03, shape, ha="center", va="bottom", fontsize=6.5)
        name = fill(stage.name.replace(" × ", "\u00a0×\u00a0"), 13)  # no line ends at the sign
        axes.text(k, -0.58, f"{name}\n{_thousands(stage.n_weights)}", ha="center", va="top", fontsize=6.5)
    axes.set(xlim=(-0.6, max(len(stages), 12) - 0.3), ylim=(-0.95, 0.72), title=title)
    axes.axis("off")


def _colour(stage: Stage) -> str:
    """By what a box does, so that the same parts are found again in every network."""
    return next(colour for words, colour in COLOURS.items() if any(word in stage.name for word in words.split()))


def _thousands(number: int) -> str:
    return f"{number / 1e6:.1f} M" if number >= 1e6 else f"{number / 1e3:.1f} k" if number >= 1e3 else str(number)
