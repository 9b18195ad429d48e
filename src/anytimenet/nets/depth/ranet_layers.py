"""Layers of nets that read images at growing resolution: they take in features of a coarser flow.

Source: Yang et al., "Resolution Adaptive Networks for Efficient Inference" (2020). Everything is
post-activation: convolution, BatchNorm, ReLU. Whatever is joined is resized to what the layer computes, so
that a coarse flow may have any size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anytimenet.nets.depth.multiscale_layers import ConvNormReLU, Edge


class FusionLayer(nn.Module):
    """A dense layer: the old features, new ones from a coarser flow, and new ones from the old.

    Called with its own features `(N, channels, H, W)` and, with `coarse`, those of the coarser flow
    `(N, coarse or more, h, w)`, of which it reads the first `coarse`, it returns
    `(N, channels + growth, H', W')`, the three kinds in the order above. H' and W' are H and W, or their
    halves, rounded up, with `stride=2`: the old features are then resized, too. The edge from the coarser
    flow runs at h x w; what it gives is resized.

    Args:
        channels: of its own features.
        growth: channels that are added.
        bottleneck: bottleneck factor of the edge from its own features.
        coarse: channels of the coarser flow that are read; None if none are.
        borrowed: how many of the `growth` channels come from the coarser flow.
        coarse_bottleneck: bottleneck factor of the edge from there.
        stride: 2 for the layer that ends a shrinking block.

    >>> layer = FusionLayer(8, 4, bottleneck=1, coarse=6, borrowed=1, coarse_bottleneck=2, stride=2)
    >>> layer(torch.zeros(1, 8, 5, 5), torch.zeros(1, 9, 2, 2)).shape
    torch.Size([1, 12, 3, 3])
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
        stride: int = 1,
    ) -> None:
        super().__init__()
        self.coarse = coarse
        self.continues = 0 if stride == 1 else None
        new = growth if coarse is None else growth - borrowed
        self.same = Edge(channels, new, bottleneck=bottleneck, stride=stride)
        self.up = None if coarse is None else Edge(coarse, borrowed, bottleneck=coarse_bottleneck)

    def forward(self, own: Tensor, coarse: Tensor | None = None) -> Tensor:
        new = self.grow(own, coarse)
        return torch.cat((fitted(own, new[-1]), *new), 1)

    def grow(self, own: Tensor, coarse: Tensor | None = None) -> tuple[Tensor, ...]:
        """What is appended to its own features."""
        new = self.same(own)
        if self.up is None or coarse is None:
            return (new,)
        return fitted(self.up(coarse[:, : self.coarse]), new), new


class FusionTail(nn.Module):
    """The end of a block: more features from the end of the same block in the coarser flow.

    Called with its own features `(N, C, H, W)` and those of the coarser flow `(N, coarse, h, w)` it returns
    `(N, C + borrowed, H, W)`, its own first. A 1x1 convolution reads the coarser flow's at h x w; what it
    gives is resized.

    >>> tail = FusionTail(coarse=6, borrowed=2)
    >>> tail(torch.zeros(1, 8, 5, 5), torch.zeros(1, 6, 2, 2)).shape
    torch.Size([1, 10, 5, 5])
    """

    continues = 0

    def __init__(self, *, coarse: int, borrowed: int) -> None:
        super().__init__()
        self.coarse = ConvNormReLU(coarse, borrowed, 1)

    def forward(self, own: Tensor, coarse: Tensor) -> Tensor:
        return torch.cat((own, *self.grow(own, coarse)), 1)

    def grow(self, own: Tensor, coarse: Tensor) -> tuple[Tensor, ...]:
        """What is appended to its own features."""
        return (fitted(self.coarse(coarse), own),)


def fitted(x: Tensor, like: Tensor) -> Tensor:
    """`x` resized bilinearly to the height and width of `like`, corner on corner, also where that shrinks it.

    `x` itself where it has them.

    >>> fitted(torch.ones(1, 2, 3, 3), torch.zeros(1, 7, 5, 6)).shape
    torch.Size([1, 2, 5, 6])
    """
    if x.shape[2:] == like.shape[2:]:
        return x
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=True)
