"""The classifier of one stage: BN - ReLU - global average pooling - FC, one for each label level.

Source: the sliced-networks paper, appendix B; hierarchical heads g_{k,d} of its equation 2.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LevelHead(nn.Module):
    """Logits `(N, classes)` of one label level from features `(N, channels, H, W)`."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu_(self.norm(x))
        if not torch.is_grad_enabled():
            return self.fc(h.mean((2, 3)))
        # The gradient of a mean divides every pixel; that of a sum, divided afterwards, none.
        return self.fc(h.sum((2, 3)) / (h.shape[2] * h.shape[3]))


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
