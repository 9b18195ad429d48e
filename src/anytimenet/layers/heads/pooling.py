"""The classifier of one stage: pooling over positions or tokens and FC, one for each label level.

Source: BN - ReLU before the pooling is the sliced-networks paper, appendix B, with the hierarchical heads
g_{k,d} of its equation 2; pooling without BN is Hu et al., "Learning Anytime Predictions in Neural Networks
via Adaptive Loss Balancing".
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anytimenet.core.checks import choice, number


class LevelHead(nn.Module):
    """Logits `(N, classes)` of one label level from features `(N, channels, H, W)`."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(mean_of_positions(F.relu_(self.norm(x))))
        return logits


class Head(nn.Module):
    """One `LevelHead` per entry of `num_classes`; called on features it returns an output (a tuple).

    >>> [tuple(t.shape) for t in Head(8, (10, 2))(torch.zeros(3, 8, 4, 4))]
    [(3, 10), (3, 2)]
    """

    def __init__(self, channels: int, num_classes: Sequence[int]) -> None:
        super().__init__()
        self.levels = nn.ModuleList(LevelHead(channels, classes) for classes in num_classes)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(level(x) for level in self.levels)


class PooledHead(nn.Module):
    """ReLU, global average pooling and one linear layer for each entry of `num_classes`; no BatchNorm.

    Features `(N, channels, H, W)` to an output, a tuple of logits `(N, classes)`. The levels share the pooled
    features.

    Args:
        channels: of the features.
        num_classes: classes of each label level, fine level first.
        relu: false for features that come out of a ReLU.
        dropout: share of the pooled features that is left out in training.

    Raises:
        ValueError: unless `dropout` is from 0 to below 1.

    >>> [tuple(t.shape) for t in PooledHead(8, (10, 2))(torch.zeros(3, 8, 4, 4))]
    [(3, 10), (3, 2)]
    """

    def __init__(
        self, channels: int, num_classes: Sequence[int], *, relu: bool = True, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.relu = relu
        share = number(dropout, "dropout", 0, below=1)
        self.dropout = nn.Dropout(share) if share else nn.Identity()
        self.levels = nn.ModuleList(nn.Linear(channels, classes) for classes in num_classes)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.predict(self.reduce(x))

    def reduce(self, x: Tensor) -> Tensor:
        """The pooled features `(N, channels)`; see `layers.reducing`."""
        return mean_of_positions(F.relu(x) if self.relu else x)  # not in place: the next block reads x, too

    def predict(self, pooled: Tensor) -> tuple[Tensor, ...]:
        """The output from what `reduce` gave."""
        h = self.dropout(pooled)
        return tuple(level(h) for level in self.levels)


class TokenHead(nn.Module):
    """LayerNorm, one token for all, and one linear layer for each entry of `num_classes`.

    Tokens `(N, T, width)` to an output, a tuple of logits `(N, classes)`. The levels share the token.

    Args:
        width: of a token.
        num_classes: classes of each label level, fine level first.
        pool: "mean" of all tokens, or the "first", where the net has put a class token there.

    Raises:
        ValueError: for another pooling.

    >>> [tuple(t.shape) for t in TokenHead(8, (10, 2))(torch.zeros(3, 5, 8))]
    [(3, 10), (3, 2)]
    """

    def __init__(self, width: int, num_classes: Sequence[int], *, pool: str = "mean") -> None:
        super().__init__()
        self.pool = choice(pool, "pool", ("mean", "first"))
        self.norm = nn.LayerNorm(width)
        self.levels = nn.ModuleList(nn.Linear(width, classes) for classes in num_classes)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        h = self.norm(x[:, 0] if self.pool == "first" else x)
        if self.pool == "mean":
            h = h.mean(1)
        return tuple(level(h) for level in self.levels)


def mean_of_positions(x: Tensor) -> Tensor:
    """Global average pooling: `(N, C, H, W)` to `(N, C)`."""
    if not torch.is_grad_enabled():
        return x.mean((2, 3))
    # The gradient of a mean divides every pixel; that of a sum, divided afterwards, none.
    return x.sum((2, 3)) / (x.shape[2] * x.shape[3])
