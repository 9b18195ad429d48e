"""What densely connected nets are made of: layers that append to what they read, transitions between them.

Source: Huang, Liu, van der Maaten and Weinberger, "Densely Connected Convolutional Networks" (CVPR 2017).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BOTTLENECK = 4
"""Channels between the two convolutions of a layer with a bottleneck, in multiples of the growth."""


class DenseLayer(nn.Module):
    """BN-ReLU-conv3x3, appended to its input: `(N, C, H, W)` to `(N, C + growth, H, W)`.

    With a bottleneck the convolution reads BN-ReLU-conv1x1-BN-ReLU, `4 * growth` channels wide. A layer that
    begins a block runs the transition to it first, so that a head after the layer before reads that block's
    features as they are.

    Args:
        channels: that the layer reads; with a transition, what the transition gives.
        growth: channels that the layer appends.
        bottleneck: whether a 1x1 convolution comes first.
        transition: runs before everything else, the appending too; None inside a block.

    >>> DenseLayer(6, 4, bottleneck=True)(torch.zeros(2, 6, 8, 8)).shape
    torch.Size([2, 10, 8, 8])
    """

    folds = (("conv1", "norm2"),)

    def __init__(
        self, channels: int, growth: int, *, bottleneck: bool, transition: nn.Module | None = None
    ) -> None:
        super().__init__()
        middle = BOTTLENECK * growth if bottleneck else growth
        self.transition = transition
        self.continues = 0 if transition is None else None
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, middle, *((1, 1, 0) if bottleneck else (3, 1, 1)), bias=False)
        self.norm2 = nn.BatchNorm2d(middle) if bottleneck else None
        self.conv2 = nn.Conv2d(middle, growth, 3, padding=1, bias=False) if bottleneck else None

    def forward(self, x: Tensor) -> Tensor:
        if self.transition is not None:
            x = self.transition(x)
        return torch.cat((x, *self.grow(x)), 1)

    def grow(self, x: Tensor) -> tuple[Tensor, ...]:
        """What is appended to `x`."""
        h = self.conv1(F.relu_(self.norm1(x)))
        if self.norm2 is not None and self.conv2 is not None:
            h = self.conv2(F.relu_(self.norm2(h)))
        return (h,)


class DenseTransition(nn.Module):
    """BN-ReLU-conv1x1 and a 2x2 average: `(N, channels, H, W)` to `(N, out_channels, H/2, W/2)`.

    An odd last row or column is dropped.

    >>> DenseTransition(6, 3)(torch.zeros(2, 6, 8, 9)).shape
    torch.Size([2, 3, 4, 4])
    """

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(self.conv(F.relu_(self.norm(x))), 2)
