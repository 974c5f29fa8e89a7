"""The spectra's network as a CPU multiplies it fastest: the same function, in blocks that fill vectors."""

import torch
from torch import Tensor, nn

from dioscuri.learn.spectra.networks import LEAK, SpectrumCNN, folded

LANES = 16  # float32 numbers of the widest vectors


class BlockedCNN(nn.Module):
    """`folded(net)` for float32 on a CPU with oneDNN: the same numbers to rounding, half as long.

    The first convolution has one channel in and few out, and strides over the pixels: as it stands it fills neither
    vectors nor registers. Here a row of pixels is read as blocks, `width` in all, that are channels of a dense
    convolution without a stride; its outputs are those of several neighbouring positions, and lie in memory as before.
    Activations are applied within the convolution, while its output is in registers.
    """

    def __init__(self, net: SpectrumCNN):
        super().__init__()
        net = folded(net)
        self.n_pixels = net.n_pixels
        convolutions = [layer for layer in net.convolutions if isinstance(layer, nn.Conv2d)]
        first, self.rest, self.dense = convolutions[0], convolutions[1:], net.dense
        channels, _, _, kernel = first.weight.shape
        stride, self.together = first.stride[1], max(1, LANES // channels)
        self.channels, self.block = channels, self.together * stride
        deep = -(-(kernel + self.block - stride) // self.block)  # blocks that one output looks at
        weight = torch.zeros(self.together, channels, deep * self.block)
        for position in range(self.together):
            weight[position, :, position * stride : position * stride + kernel] = first.weight[:, 0, 0]
        weight = weight.view(self.together * channels, 1, deep, self.block).permute(0, 3, 1, 2)
        self.weight = weight.contiguous(memory_format=torch.channels_last)
        assert first.bias is not None
        self.bias = first.bias.repeat(self.together)
        self.length = (self.n_pixels - kernel) // stride + 1  # positions of the first convolution
        self.width = (-(-self.length // self.together) + deep - 1) * self.block

    @staticmethod
    def works() -> bool:
        """Whether this torch has convolutions with activations (oneDNN's, which its compiler uses)."""
        return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")

    def forward(self, flux: Tensor) -> Tensor:
        """Logits (B,) of normalised flux − 1, (B, n_pixels) or, with whatever finite at the end, (B, width)."""
        features = self.first(self.fitted(flux))
        for number in range(len(self.rest)):
            features = self.further(number, features)
        return self.dense(features.permute(0, 2, 3, 1).flatten(1)).squeeze(-1)

    def first(self, rows: Tensor) -> Tensor:
        """Activations of the first convolution, (B, C, 1, length), of rows of `width`."""
        features = _activated(rows.view(len(rows), 1, -1, self.block).permute(0, 3, 1, 2), self.weight, self.bias, 1)
        features = features.permute(0, 2, 3, 1).reshape(len(rows), 1, -1, self.channels)[:, :, : self.length]
        return features.permute(0, 3, 1, 2)

    def further(self, number: int, features: Tensor) -> Tensor:
        """Activations of the convolution `number` after the first."""
        layer = self.rest[number]
        return _activated(features, layer.weight, layer.bias, layer.stride[1])

    def fitted(self, flux: Tensor) -> Tensor:
        """Rows of `width` pixels, (B, width): itself where it is so already."""
        if flux.shape[1] == self.width:
            return flux
        return nn.functional.pad(flux, (0, self.width - flux.shape[1]))  # cuts where that is negative


def _activated(features: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
    """Convolution and leaky ReLU in one."""
    steps = [[0, 0], [1, stride], [1, 1], 1]  # padding, stride, dilation, groups
    return torch.ops.mkldnn._convolution_pointwise(features, weight, bias, *steps, "leaky_relu", [LEAK], "")
