"""Layers of multi-scale dense nets: edges within and between scales, first layers, transitions, classifiers.

Source: Huang et al., "Multi-Scale Dense Networks for Resource Efficient Image Classification" (2018).
Everything is post-activation: convolution, BatchNorm, ReLU.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anytimenet.core.segments import INPUT
from anytimenet.nets.chain.blocks import Node


class DenseNode(nn.Module):
    """Features of one layer at one scale: the old ones, new ones from the finer scale, new ones from its own.

    Called with the layer before at the finer scale `(N, finer, 2H, 2W)` and at its own `(N, own, H, W)` it
    returns `(N, own + growth, H, W)`; with `finer=None`, at the finest scale kept, with its own alone.

    Args:
        own: channels of the layer before at this scale.
        growth: channels that are added; half of them come from each scale if there are two.
        own_bottleneck: bottleneck factor of this scale, None for no bottlenecks.
        finer: channels of the layer before at the finer scale; None if that scale is not read.
        finer_bottleneck: bottleneck factor of the finer scale.
        own_first: the new features from its own scale come before those from the finer one.
        capped: bottlenecks are never wider than what they read.

    >>> node = DenseNode(8, 4, own_bottleneck=2, finer=6, finer_bottleneck=1)
    >>> node(torch.zeros(1, 6, 8, 8), torch.zeros(1, 8, 4, 4)).shape
    torch.Size([1, 12, 4, 4])
    """

    continues = -1

    def __init__(
        self,
        own: int,
        growth: int,
        *,
        own_bottleneck: int | None,
        finer: int | None = None,
        finer_bottleneck: int | None = None,
        own_first: bool = False,
        capped: bool = True,
    ) -> None:
        super().__init__()
        self.own_first = own_first
        new = growth if finer is None else growth // 2
        rest = growth - new if own_first else new
        self.down = (
            None if finer is None else Edge(finer, rest, bottleneck=finer_bottleneck, stride=2, capped=capped)
        )
        self.same = Edge(own, new, bottleneck=own_bottleneck, capped=capped)

    def forward(self, *inputs: Tensor) -> Tensor:
        return torch.cat((inputs[-1], *self.grow(*inputs)), 1)

    def grow(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """What is appended to the last input."""
        if self.down is None:
            return (self.same(inputs[-1]),)
        if self.own_first:
            return self.same(inputs[-1]), self.down(inputs[0])
        return self.down(inputs[0]), self.same(inputs[-1])


class ConvNormReLU(nn.Module):
    """Convolution, BatchNorm, ReLU; padded so that stride 1 keeps the size and 2 halves it."""

    folds = (("conv", "norm"),)

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, bias: bool = False
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=bias)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu_(self.norm(self.conv(x)))


class Edge(nn.Module):
    """What a node adds from one scale: a 1x1 bottleneck, if any, and a 3x3 convolution.

    The bottleneck is `bottleneck * out_channels` wide, and if `capped` never wider than what it reads.
    """

    folds = (("conv1", "norm1"), ("conv2", "norm2"))

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        bottleneck: int | None,
        stride: int = 1,
        capped: bool = True,
    ) -> None:
        super().__init__()
        # Not two ConvNormReLU: on images of 8x8 pixels the calls of modules in modules are 3 % of the time.
        middle = in_channels if bottleneck is None else bottleneck * out_channels
        middle = min(in_channels, middle) if capped else middle
        self.has_bottleneck = bottleneck is not None
        if self.has_bottleneck:
            self.conv1 = nn.Conv2d(in_channels, middle, 1, bias=False)
            self.norm1 = nn.BatchNorm2d(middle)
        self.conv2 = nn.Conv2d(middle, out_channels, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        if self.has_bottleneck:
            x = F.relu_(self.norm1(self.conv1(x)))
        return F.relu_(self.norm2(self.conv2(x)))


class LargeImageStem(nn.Module):
    """First layer at the finest scale of the ImageNet form: 7x7 with stride 2, then max-pooling.

    `(N, C, H, W)` to `(N, out_channels, H/4, W/4)`. `bias`: of the convolution, which the BatchNorm behind it
    makes idle.
    """

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = False) -> None:
        super().__init__()
        self.first = ConvNormReLU(in_channels, out_channels, 7, stride=2, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(self.first(x), 3, stride=2, padding=1)


class MultiScaleHead(nn.Module):
    """The classifier of one stage: a `ConvClassifier` or `LinearClassifier` of its own for each label level.

    Called on features `(N, channels, H, W)` it returns an output, a tuple with `(N, classes)` per level.

    Args:
        channels: of the features.
        num_classes: of each label level.
        classifier: "conv" or "linear".
        width: channels of the convolutions of "conv"; those of the features if None.

    >>> [tuple(t.shape) for t in MultiScaleHead(8, (10, 2), "linear")(torch.zeros(3, 8, 4, 4))]
    [(3, 10), (3, 2)]
    """

    def __init__(
        self, channels: int, num_classes: Sequence[int], classifier: str, width: int | None = None
    ) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            LinearClassifier(channels, classes)
            if classifier == "linear"
            else ConvClassifier(channels, width or channels, classes)
            for classes in num_classes
        )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(level(x) for level in self.levels)


class LinearClassifier(nn.Module):
    """Global average pooling and one linear layer: `(N, channels, H, W)` to `(N, classes)`."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(x.mean((2, 3)))
        return logits


class ConvClassifier(nn.Module):
    """Two 3x3 convolutions with stride 2, then as `LinearClassifier`."""

    def __init__(self, channels: int, width: int, classes: int) -> None:
        super().__init__()
        self.conv1 = ConvNormReLU(channels, width, 3, stride=2)
        self.conv2 = ConvNormReLU(width, width, 3, stride=2)
        self.fc = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.conv2(self.conv1(x)).mean((2, 3)))
        return logits


def first_layer(prefix: str, widths: Sequence[int], form: str, in_channels: int) -> list[Node]:
    """Features of the images at every scale, each from the finer one: nodes `{prefix}_scale0` and coarser."""
    finest: nn.Module = (
        LargeImageStem(in_channels, widths[0])
        if form == "imagenet"
        else ConvNormReLU(in_channels, widths[0], 3)
    )
    nodes = [Node(f"{prefix}_scale0", finest, (INPUT,))]
    for scale, (width, coarser) in enumerate(pairwise(widths), 1):
        down = ConvNormReLU(width, coarser, 3, stride=2)
        nodes.append(Node(f"{prefix}_scale{scale}", down, (nodes[-1].name,)))
    return nodes
