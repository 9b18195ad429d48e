"""What a head computes before its last linear layer: features to one vector an example.

Each body says in `width` how long its vector is, so that different last layers can follow: a plain one
(`heads.named`), or one that reads the answer before it, too.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anytimenet.layers.heads.pooling import mean_of_positions

SIDE = 4
"""Positions along each side that a convolutional head's linear layer reads."""


class Pooling(nn.Module):
    """The mean of all positions or tokens, or the first token: features to `(N, channels)`, no weights.

    Args:
        pool: "mean" or "first".
        channels_last: whether maps are `(N, H, W, C)`, as Swin transformers have them.

    >>> Pooling("first")(torch.zeros(2, 5, 8)).shape, Pooling("mean")(torch.zeros(2, 8, 4, 4)).shape
    (torch.Size([2, 8]), torch.Size([2, 8]))
    """

    def __init__(self, pool: str = "mean", *, channels_last: bool = False) -> None:
        super().__init__()
        self.pool = pool
        self.channels_last = channels_last

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 4 and not self.channels_last:
            return mean_of_positions(x)
        tokens = x.flatten(1, -2)
        return tokens[:, 0] if self.pool == "first" else tokens.mean(1)

    def extra_repr(self) -> str:
        return f"{self.pool}, channels_last={self.channels_last}"


class Body(nn.Module):
    """Features to one vector an example, in two halves: `body(x)` is `learned(reduce(x))`.

    Attributes:
        width: numbers of the vector.
    """

    width: int

    def reduce(self, x: Tensor) -> Tensor:
        """What needs no weights and draws nothing, so that it can be stored; see `layers.reducing`."""
        return x

    def learned(self, h: Tensor) -> Tensor:
        """The vector from what `reduce` gave."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        return self.learned(self.reduce(x))


class Perceptron(Body):
    """Pooling, `layers` - 1 linear layers of the features' width with GELU, dropout."""

    def __init__(self, channels: int, pooling: Pooling, dropout: float, layers: int) -> None:
        super().__init__()
        self.pooling = pooling
        hidden = (part for _ in range(layers - 1) for part in (nn.Linear(channels, channels), nn.GELU()))
        self.hidden = nn.Sequential(*hidden, nn.Dropout(dropout))
        self.width = channels

    def reduce(self, x: Tensor) -> Tensor:
        y: Tensor = self.pooling(x)
        return y

    def learned(self, h: Tensor) -> Tensor:
        y: Tensor = self.hidden(h)
        return y


class NormedToken(Body):
    """LayerNorm over the channels of each token or position, pooling, dropout."""

    def __init__(self, channels: int, pooling: Pooling, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.pooling = Pooling(pooling.pool)
        self.dropout = nn.Dropout(dropout)
        self.channels_first = not pooling.channels_last
        self.width = channels

    def reduce(self, x: Tensor) -> Tensor:
        if x.ndim == 4 and self.channels_first:
            x = x.permute(0, 2, 3, 1)
        tokens = x.flatten(1, -2)
        return tokens[:, :1] if self.pooling.pool == "first" else tokens

    def learned(self, h: Tensor) -> Tensor:
        y: Tensor = self.dropout(self.pooling(self.norm(h)))
        return y


class Convolutional(Body):
    """ReLU, a 3x3 convolution of stride 2 to half the channels, mixed pooling to 4x4, flattened; dropout.

    Source: the convolutional head of Wojcik et al., "Zero time waste in pre-trained early exit neural
    networks" (the pooling is SDN's, Kaya et al., "Shallow-deep networks").

    Args:
        shape: (C, H, W) of the features that it is made for. The convolution has no padding, as published,
            unless a side is shorter than its kernel: then it is padded by 1. A side that has fewer than 4
            positions after it is pooled to as many as it has, for a larger grid would repeat them; with
            nothing to pool there is no `alpha`, for a maximum and a mean of one value are the same.
        channels_last: whether the features come as `(N, H, W, C)`; `shape` is (C, H, W) all the same.
        dropout: chance of each value of the vector to be left out in training.
    """

    def __init__(self, shape: Sequence[int], *, channels_last: bool = False, dropout: float = 0.0) -> None:
        super().__init__()
        channels, *sides = shape
        filters = max(1, channels // 2)
        padding = 1 if min(sides) < 3 else 0
        self.conv = nn.Conv2d(channels, filters, 3, stride=2, padding=padding)
        found = [(side + 2 * padding - 3) // 2 + 1 for side in sides]
        height, width = (min(SIDE, side) for side in found)
        pooled = [height, width] != found
        self.pooling = MixedPooling(height, width) if pooled else nn.AdaptiveAvgPool2d((height, width))
        self.dropout = nn.Dropout(dropout)
        self.channels_last = channels_last
        self.width = filters * height * width

    def learned(self, h: Tensor) -> Tensor:
        if self.channels_last:
            h = h.permute(0, 3, 1, 2)
        h = self.conv(F.relu(h))  # not in place: the next block reads the features, too
        y: Tensor = self.dropout(self.pooling(h).flatten(1))
        return y


class MixedPooling(nn.Module):
    """`alpha * max + (1 - alpha) * mean` over the cells of a grid; `alpha` is one learned number.

    Alpha is drawn from U(0, 1) and not bounded afterwards.

    >>> MixedPooling(4, 4)(torch.zeros(2, 8, 9, 9)).shape
    torch.Size([2, 8, 4, 4])
    """

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.grid = (height, width)
        self.alpha = nn.Parameter(torch.empty(1))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draws alpha anew."""
        self.alpha.uniform_()

    def forward(self, x: Tensor) -> Tensor:
        largest, mean = F.adaptive_max_pool2d(x, self.grid), F.adaptive_avg_pool2d(x, self.grid)
        return self.alpha * largest + (1 - self.alpha) * mean

    def extra_repr(self) -> str:
        return f"{self.grid}"
