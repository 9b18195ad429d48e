"""How the gradients of the stages combine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from anytimenet.nets.contract import AnytimeNet
from anytimenet.schemes.hooks import GradientRule, GroupLoss, RunFacts


@dataclass(frozen=True)
class SummedGradients:
    """The gradient of the sum of the weighted losses, with one graph a pass of the net in memory."""

    def build(self, net: AnytimeNet, facts: RunFacts) -> GradientRule:
        """The rule for `net`."""
        return _SummedGradients()


class _SummedGradients(GradientRule):
    one_backward = True

    def forward(self, net: AnytimeNet, x: Tensor, stages: Sequence[int], loss: GroupLoss) -> None:
        for group in net.passes(x, stages):
            torch.stack(loss(group)).sum().backward()
