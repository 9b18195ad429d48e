"""Layers that never learn."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Frozen(nn.Sequential):
    """Layers that stay as they are: in eval mode always, and without a graph."""

    stays_as_it_is = True

    def train(self, mode: bool = True) -> Frozen:
        super().train(False)
        return self

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            y: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
            return y


def frozen_modules(net: nn.Module) -> frozenset[nn.Module]:
    """The modules inside `net` that training leaves alone: those marked by `stays_as_it_is`, and all in them.

    >>> len(frozen_modules(nn.Sequential(nn.ReLU(), Frozen(nn.BatchNorm2d(4)))))
    2
    """
    marked = (module for module in net.modules() if getattr(module, "stays_as_it_is", False))
    return frozenset(part for whole in marked for part in whole.modules())
