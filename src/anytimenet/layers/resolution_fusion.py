"""Layers of nets that read images at growing resolution: they take in features of a coarser flow.

Source: Yang et al., "Resolution Adaptive Networks for Efficient Inference" (2020). Everything is
post-activation: convolution, BatchNorm, ReLU.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anytimenet.layers.multiscale import ConvNormReLU, Edge


class FusionLayer(nn.Module):
    """A dense layer: the old features, new ones from them, and new ones from a coarser flow.

    Called with its own features `(N, channels, H, W)` and, with `coarse`, those of the coarser flow
    `(N, coarse or more, h, w)`, of which it reads the first `coarse`, it returns
    `(N, channels + growth, H, W)`. The edge from the coarser flow runs at h x w; what it gives is up-sampled.

    Args:
        channels: of its own features.
        growth: channels that are added.
        bottleneck: bottleneck factor of the edge from its own features.
        coarse: channels of the coarser flow that are read; None if none are.
        borrowed: how many of the `growth` channels come from the coarser flow.
        coarse_bottleneck: bottleneck factor of the edge from there.

    >>> layer = FusionLayer(8, 4, bottleneck=1, coarse=6, borrowed=1, coarse_bottleneck=2)
    >>> layer(torch.zeros(1, 8, 5, 5), torch.zeros(1, 9, 3, 3)).shape
    torch.Size([1, 12, 5, 5])
    """

    def __init__(
        self,
        channels: int,
        growth: int,
        *,
        bottleneck: int,
        coarse: int | None = None,
        borrowed: int = 0,
        coarse_bottleneck: int = 1,
    ) -> None:
        super().__init__()
        self.coarse = coarse
        self.same = Edge(channels, growth if coarse is None else growth - borrowed, bottleneck=bottleneck)
        self.up = None if coarse is None else Edge(coarse, borrowed, bottleneck=coarse_bottleneck)

    def forward(self, own: Tensor, coarse: Tensor | None = None) -> Tensor:
        if self.up is None or coarse is None:
            return torch.cat((own, self.same(own)), 1)
        return torch.cat((own, self.same(own), fitted(self.up(coarse[:, : self.coarse]), own)), 1)


class ShrinkingFusion(nn.Module):
    """The end of a block that halves the image: a strided convolution, and features of the coarser flow.

    Called with its own features `(N, channels, H, W)` and those of the coarser flow `(N, coarse, h, w)` it
    returns `(N, channels + borrowed, H/2, W/2)`, sides rounded up. The coarser flow's are up-sampled to that
    size, if they are smaller, and read by a 3x3 convolution.

    >>> end = ShrinkingFusion(8, coarse=6, borrowed=2)
    >>> end(torch.zeros(1, 8, 5, 5), torch.zeros(1, 6, 2, 2)).shape
    torch.Size([1, 10, 3, 3])
    """

    def __init__(self, channels: int, *, coarse: int, borrowed: int) -> None:
        super().__init__()
        self.down = ConvNormReLU(channels, channels, 3, stride=2)
        self.coarse = ConvNormReLU(coarse, borrowed, 3)

    def forward(self, own: Tensor, coarse: Tensor) -> Tensor:
        down = self.down(own)
        return torch.cat((down, self.coarse(fitted(coarse, down))), 1)


def fitted(x: Tensor, like: Tensor) -> Tensor:
    """`x` resized bilinearly to the height and width of `like`; `x` itself where it has them.

    >>> fitted(torch.ones(1, 2, 3, 3), torch.zeros(1, 7, 5, 6)).shape
    torch.Size([1, 2, 5, 6])
    """
    if x.shape[2:] == like.shape[2:]:
        return x
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)
